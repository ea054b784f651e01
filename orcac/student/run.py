"""Makes `student`: see recipe.py. The two ways to come by one have a module each."""

from __future__ import annotations

import json
import math
from pathlib import Path

from orcac.chat.offline import offline
from orcac.job import Job, Summary
from orcac.student.recipe import StudentExecution, StudentRecipe
from orcac.student.weights import os_errors


def run(job: Job[StudentRecipe, StudentExecution]) -> Summary:
    """Write `model/`. Raises InputError where the texts or the files make no student."""
    offline(threads=job.execution.threads)
    model = job.out / "model"
    model.mkdir()
    with os_errors(job.out):
        _build(job, model)
    return {"parameters": parameters(model), "vocabulary": vocabulary(model)}


def _build(job: Job[StudentRecipe, StudentExecution], model: Path) -> None:
    if job.recipe.scratch is not None:
        from orcac.student import scratch

        texts = [folder / "kept.parquet" for folder in job.inputs["texts"]]
        scratch.build(model, job.recipe.scratch, texts=texts, seed=job.recipe.seed)
    else:
        from orcac.student import pretrained

        assert job.recipe.pretrained is not None
        pretrained.build(model, job.recipe.pretrained, execution=job.execution, work=job.work, seed=job.recipe.seed)


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
    from orcac.chat.template import load_tokenizer

    return len(load_tokenizer(model))
