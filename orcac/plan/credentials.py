"""The keys and headers that the endpoints of a plan need from the environment.

A run reads them before it makes anything, as the jobs do later, so that a missing key costs no time. A node whose
questions are all in the ledger needs no key. Only the asking job knows its questions, so a bad key is an error if the
ledger holds no record of the model, and a warning if it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orcac.chat.endpoints.environment import read_environment, read_headers
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError
from orcac.plan.asked import find_asked
from orcac.plan.asking import lower_endpoint
from orcac.plan.node import Node
from orcac.spec.load import Experiment
from orcac.spec.problems import Problem, SpecErrors
from orcac.spec.schema import OpenAIEndpoint
from orcac.store.store import Store

__all__ = ["check_credentials"]


def check_credentials(nodes: Iterable[Node], experiments: Sequence[Experiment], store: Store) -> list[Problem]:
    """Return a warning for each teacher that `nodes` ask if its key, headers or address cannot be used.

    Raises SpecErrors instead if the ledger has no answer of one of them.
    """
    asked: dict[tuple[object, ...], set[str]] = {}
    for model, settings in filter(None, map(find_asked, nodes)):
        if settings.kind == "openai":
            asked.setdefault(_place_of(settings), set()).add(model.model)
    errors, warnings = dict[Problem, None](), dict[Problem, None]()
    for arm in (arm for experiment in experiments for arm in experiment.arms.values()):
        for name, teacher in arm.spec.teachers.items():
            if not isinstance(teacher.endpoint, OpenAIEndpoint):
                continue
            settings = lower_endpoint(teacher, budget_usd=None, budget_name="")
            if teacher.model not in asked.get(_place_of(settings), ()):
                continue
            mark = arm.tree.locate(("teachers", name, "endpoint"))
            try:
                read_environment(settings)
                read_headers(settings)
            except EndpointError as error:
                message = f"teacher `{name}`: {error.message}; {error.fix}"
                if _has_answers(store, teacher.model):
                    warnings[Problem(mark, f"warning: {message}")] = None
                else:
                    errors[Problem(mark, message)] = None
    if errors:
        raise SpecErrors(errors)
    return list(warnings)


def _place_of(settings: EndpointSettings) -> tuple[object, ...]:
    """Return the settings that decide which variables are read."""
    return settings.base_url, settings.api_key_env, settings.azure, tuple(settings.headers.items())


def _has_answers(store: Store, model: str) -> bool:
    from orcac.chat.ledger.files import read_records

    folders = [folder for folder in (store.answers, store.upstream_answers) if folder and folder.is_dir()]
    return any(record["request"]["model"] == model for folder in folders for record in read_records(folder))
