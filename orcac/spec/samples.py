"""Rules for several answers to each prompt of a dataset: a teacher must be able to give more than one."""

from __future__ import annotations

from collections.abc import Iterator

from orcac.spec.finding import Finding
from orcac.spec.problems import SpecPath
from orcac.spec.schema import ReferenceEndpoint, ReplayEndpoint, SolverEndpoint, Spec

__all__ = ["check_samples"]


def check_samples(spec: Spec) -> Iterator[Finding]:
    """Yield a finding for each dataset whose teacher cannot give as many different answers as the dataset asks for."""
    for name, dataset in spec.datasets.items():
        teacher = spec.teachers.get(dataset.teacher)
        if dataset.samples == 1 or teacher is None:
            continue
        at, of = ("datasets", name, "samples"), ("teachers", dataset.teacher)
        endpoint, sampling, count, who = teacher.endpoint, teacher.sampling, dataset.samples, f"`{dataset.teacher}`"
        depends_on: tuple[SpecPath, ...] = (at, of)
        if isinstance(endpoint, ReferenceEndpoint):
            message = f"teacher {who} has one answer to each query, its reference; remove `samples`"
            yield Finding(at, message, depends_on)
        elif isinstance(endpoint, ReplayEndpoint):
            draws = spec.replicates.data if spec.curriculum or not spec.stages else 1
            needed, why = count * draws, f" for each of {draws} draws of the data" if draws > 1 else ""
            if needed > endpoint.samples:
                message = (
                    f"the recording of teacher {who} has {endpoint.samples} of the {count} answers to a prompt{why}; "
                    f"if it has more, write `samples: {needed}` in its endpoint"
                )
                yield Finding(at, message, (*depends_on, ("replicates", "data")))
        elif not sampling.temperature:
            message = (
                f"the {count} answers to a prompt are equal at temperature 0; write `temperature: 0.7` in the "
                f"`sampling` of teacher {who}, or `samples: 1`"
            )
            yield Finding(at, message, depends_on)
        elif isinstance(endpoint, SolverEndpoint) and sampling.seed is None:
            message = (
                f"the {count} answers of the embedded teacher to a prompt are equal without a seed; write `seed: 0` in "
                f"the `sampling` of teacher {who}"
            )
            yield Finding(at, message, depends_on)
