"""Makes a `student` node (see recipe.py): from nothing (scratch.py) or from a pretrained model (pretrained.py)."""

from __future__ import annotations

import json
import math
from pathlib import Path

from orcac.job import Job
from orcac.model.offline import go_offline
from orcac.model.weights import raising_os_errors
from orcac.student.recipe import StudentExecution, StudentRecipe, StudentSummary


def run(job: Job[StudentRecipe, StudentExecution]) -> StudentSummary:
    """Write `model/`, and return the number of its weights and of its tokens.

    Raises InputError if the texts, the files or the chat template make no student, and the errors of `hub.fetch` for a
    student on a hub.
    """
    from orcac.student import pretrained, scratch

    recipe, model = job.recipe, job.out / "model"
    assert (recipe.scratch is None) != (recipe.pretrained is None), "exactly one of scratch and pretrained"
    found, replaced = pretrained.ModelFiles({}, {}), None
    if recipe.pretrained is not None:  # may use the network, so it comes before `go_offline`
        found = pretrained.find_files(recipe.pretrained, execution=job.execution, label=job.label)
    go_offline(threads=job.execution.threads)
    model.mkdir()
    with raising_os_errors(job.out):
        if recipe.scratch is not None and "tokenizer" in job.inputs:
            scratch.build_replicate(model, recipe.scratch, like=job.input("tokenizer") / "model", seed=recipe.seed)
        elif recipe.scratch is not None:
            texts = [folder / "kept.parquet" for folder in job.inputs["texts"]]
            scratch.build(model, recipe.scratch, texts=texts, seed=recipe.seed)
        else:
            assert recipe.pretrained
            replaced = pretrained.build(
                model,
                found.paths,
                recipe.pretrained,
                work=job.work,
                seed=recipe.seed,
                execution=job.execution,
            )
    return StudentSummary(
        parameters=count_parameters(model),
        vocabulary=count_vocabulary(model),
        hub=found.commits or None,
        replaced=replaced,
    )


def count_parameters(model: Path) -> int:
    """Return the number of weights in the safetensors files of a model folder, from their headers alone."""
    count = 0
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return count


def count_vocabulary(model: Path) -> int:
    """Return the number of entries of a model folder's tokenizer."""
    from orcac.model.chat_format import load_tokenizer

    return len(load_tokenizer(model))
