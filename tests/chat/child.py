"""A collecting process to kill: `python child.py FOLDER BASE_URL` makes FOLDER/out from FOLDER/prompts."""

from __future__ import annotations

import sys
from pathlib import Path

from orcac.chat.settings import EndpointSettings, Sampling
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.collect.run import run
from orcac.job import Job

IN_FLIGHT = 8


def job(folder: Path, base_url: str, **settings: object) -> Job[CollectRecipe, CollectExecution]:
    endpoint = EndpointSettings(kind="openai", base_url=base_url, concurrency=IN_FLIGHT).model_copy(update=settings)
    for name in ("out", "work"):
        (folder / name).mkdir(exist_ok=True)
    return Job(
        ref="collect/x",
        label="child",
        recipe=CollectRecipe(model="m", sampling=Sampling(), origin="api"),
        execution=CollectExecution(endpoint=endpoint),
        inputs={"prompts": [folder / "prompts"]},
        by_ref={},
        out=folder / "out",
        work=folder / "work",
        answers=folder / "answers",
    )


if __name__ == "__main__":
    run(job(Path(sys.argv[1]), sys.argv[2]))
