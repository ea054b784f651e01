"""The settings with which a job asks a model through `chat.ask`: a teacher's, or a judge's."""

from __future__ import annotations

from typing import TypeVar

from orcac.chat.ask import ChatExecution
from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectRecipe
from orcac.collect.weights import link_weights
from orcac.job import Job
from orcac.recipe import Execution, Recipe

__all__ = ["chat_execution"]

R = TypeVar("R", bound=Recipe)
E = TypeVar("E", bound=Execution)


def chat_execution(job: Job[R, E], endpoint: EndpointSettings, asked: CollectRecipe) -> ChatExecution:
    """Return the settings with which `job` asks the model `asked` at an endpoint."""
    return ChatExecution(
        endpoint=endpoint,
        model=asked.model,
        label=job.label,
        answers=job.answers,
        upstream=job.upstream_answers,
        work=job.work,
        progress=job.progress,
        weights=lambda: link_weights(asked.weights, job.execution, work=job.work, label=job.label),
        threads=job.execution.threads,
        gpus=job.execution.gpus,
    )
