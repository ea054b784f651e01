"""Translates a spec's teacher into the recipe and the endpoint settings of a `collect` node.

Everything that determines an answer (model, sampling, weights, recorded files) goes into the `CollectRecipe`, which is
hashed. Address, limits and prices go into the `EndpointSettings`, which are not. A model has the origin `api` whichever
server answers for it, so moving it from an OpenAI-compatible server to vLLM changes no id.

The functions are pure: they read one teacher and know no node, no arm and no file system.
"""

from __future__ import annotations

from typing import Literal

from orcac.chat.settings import SOLVER_VERSION, EndpointSettings, Sampling
from orcac.collect.recipe import CollectRecipe, Recording, Weights
from orcac.plan.sources import LocalFiles
from orcac.recipe import HubRef
from orcac.spec import schema

Origin = Literal["api", "local", "solver", "replay", "reference"]


def lower_sampling(teacher: schema.Teacher, max_tokens: int | None = None) -> Sampling:
    """Return the teacher's decoding parameters; `max_tokens` replaces the teacher's own limit."""
    if max_tokens is None:
        return teacher.sampling
    return teacher.sampling.model_copy(update={"max_tokens": max_tokens})


def lower_teacher(
    teacher: schema.Teacher,
    *,
    files: LocalFiles,
    hub: tuple[HubRef, ...] = (),
    questions: LocalFiles,
    max_tokens: int | None = None,
    draw: int = 0,
) -> CollectRecipe:
    """Return the recipe for asking a teacher.

    files, hub: the endpoint's `path`: recorded answers of a `replay` endpoint, weights of a `local` one
    questions: the endpoint's `questions` (`replay`)
    max_tokens: replaces the teacher's own limit
    draw: the number of the draw of the data
    """
    endpoint = teacher.endpoint
    recording = weights = None
    if isinstance(endpoint, schema.ReplayEndpoint):
        recording = Recording(
            answers=files.refs,
            hub=hub,
            fields={str(ours): key for ours, key in endpoint.fields.items()},
            questions=questions.refs,
            question_fields={str(ours): key for ours, key in endpoint.question_fields.items()},
        )
    if isinstance(endpoint, schema.LocalEndpoint):
        weights = Weights(files=files.refs, hub=hub[0] if hub else None)
    origin: Origin = "api"
    if not isinstance(endpoint, schema.OpenAIEndpoint | schema.VLLMEndpoint):
        origin = endpoint.kind
    return CollectRecipe(
        model=teacher.model,
        sampling=lower_sampling(teacher, max_tokens),
        origin=origin,
        solver_version=SOLVER_VERSION if origin == "solver" else None,
        recording=recording,
        weights=weights,
        sample_index=draw if teacher.is_sampled else 0,
    )


def lower_endpoint(teacher: schema.Teacher, *, budget_usd: float | None, budget_name: str) -> EndpointSettings:
    """Return the settings for reaching a teacher. Without `budget_usd` the settings name no budget."""
    endpoint = teacher.endpoint
    settings: dict[str, object] = {"kind": endpoint.kind}
    if budget_usd is not None:
        settings |= {"budget_usd": budget_usd, "budget_name": budget_name}
    if teacher.price:
        settings["price"] = teacher.price
    if isinstance(endpoint, schema.OpenAIEndpoint | schema.VLLMEndpoint | schema.SolverEndpoint):
        settings |= {
            "concurrency": endpoint.concurrency,
            "timeout_seconds": endpoint.timeout,
            "attempts": endpoint.attempts,
        }
    if isinstance(endpoint, schema.OpenAIEndpoint):
        settings |= {
            "base_url": endpoint.base_url,
            "mode": endpoint.mode,
            "requests_per_minute": endpoint.requests_per_minute,
            "tokens_per_minute": endpoint.tokens_per_minute,
            "azure": endpoint.azure,
            "api_key_env": endpoint.api_key_env or ("AZURE_OPENAI_API_KEY" if endpoint.azure else "OPENAI_API_KEY"),
        }
    if isinstance(endpoint, schema.VLLMEndpoint):
        settings |= {
            "path": endpoint.path,
            "arguments": endpoint.arguments,
            "start_seconds": endpoint.ready_within,
        }
    if isinstance(endpoint, schema.LocalEndpoint):
        settings["batch"] = endpoint.batch
    return EndpointSettings.model_validate(settings)
