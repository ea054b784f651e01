"""Makes `student`: see recipe.py. The two ways to come by one have a module each."""

from __future__ import annotations

import json
import math
from pathlib import Path

from orcac.job import Job
from orcac.model.offline import offline
from orcac.model.weights import os_errors
from orcac.student.recipe import StudentExecution, StudentRecipe, StudentSummary


def run(job: Job[StudentRecipe, StudentExecution]) -> StudentSummary:
    """Write `model/`.

    Raises InputError where the texts or the files make no student; of a student on a hub what `hub.fetch` raises.
    """
    from orcac.student import pretrained, scratch

    recipe, model = job.recipe, job.out / "model"
    assert (recipe.scratch is None) != (recipe.pretrained is None), "exactly one of scratch and pretrained"
    found = pretrained.Files({}, {})
    if recipe.pretrained is not None:  # the only step that may touch a network, and before `offline`
        found = pretrained.find(recipe.pretrained, execution=job.execution, label=job.label)
    offline(threads=job.execution.threads)
    model.mkdir()
    with os_errors(job.out):
        if recipe.scratch is not None:
            texts = [folder / "kept.parquet" for folder in job.inputs["texts"]]
            scratch.build(model, recipe.scratch, texts=texts, seed=recipe.seed)
        else:
            pretrained.build(model, found.paths, work=job.work, seed=recipe.seed)
    return StudentSummary(parameters=parameters(model), vocabulary=vocabulary(model), hub=found.commits or None)


def parameters(model: Path) -> int:
    """How many weights the safetensors files of a model folder hold, read from their headers alone."""
    count = 0
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return count


def vocabulary(model: Path) -> int:
    """How many entries the tokenizer of a model folder has."""
    from orcac.model.chat_format import load_tokenizer

    return len(load_tokenizer(model))
