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


def lower_protocol(benchmark: schema.Benchmark, teacher: schema.Teacher, seed: int) -> Sampling:
    """Return the decoding parameters of a benchmark, with which each baseline is asked as every student is.

    The teacher's `extra` parameters stay, since they are part of the model. A `local` model draws its answers from
    `seed`, as a student does; a served one gets the seed that the teacher names, if any.
    """
    is_drawn_here = benchmark.temperature > 0 and teacher.endpoint.kind == "local"
    return Sampling(
        temperature=benchmark.temperature,
        top_p=benchmark.top_p,
        max_tokens=benchmark.max_tokens,
        seed=seed if is_drawn_here else teacher.sampling.seed,
        extra=teacher.sampling.extra,
        stop=getattr(benchmark, "stop", ()),
        reasoning=getattr(benchmark, "reasoning", None),
    )


def lower_judging(judge: schema.Judge, teacher: schema.Teacher) -> Sampling:
    """Return the decoding parameters of a judge: its own, beside the teacher's `seed`, `extra` and `reasoning`."""
    return Sampling(
        temperature=judge.temperature,
        max_tokens=judge.max_tokens,
        seed=teacher.sampling.seed,
        extra=teacher.sampling.extra,
        reasoning=teacher.sampling.reasoning,
    )


def lower_teacher(
    teacher: schema.Teacher,
    *,
    files: LocalFiles,
    hub: tuple[HubRef, ...] = (),
    questions: LocalFiles,
    sampling: Sampling | None = None,
    sample_index: int = 0,
    samples: int = 1,
) -> CollectRecipe:
    """Return the recipe for asking a teacher.

    files, hub: the endpoint's `path`: recorded answers of a `replay` endpoint, weights of a `local` one
    questions: the endpoint's `questions` (`replay`)
    sampling: replaces the teacher's own
    sample_index: the number of the first answer, if each prompt is asked several times
    samples: answers to each prompt
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
            samples=endpoint.samples,
        )
    if isinstance(endpoint, schema.LocalEndpoint):
        weights = Weights(files=files.refs, hub=hub[0] if hub else None)
    origin = find_origin(endpoint)
    return CollectRecipe(
        model=teacher.model,
        sampling=sampling or teacher.sampling,
        origin=origin,
        solver_version=SOLVER_VERSION if origin == "solver" else None,
        recording=recording,
        weights=weights,
        system_role=teacher.system_role,
        sample_index=sample_index,
        samples=samples,
    )


def find_origin(endpoint: schema.Endpoint) -> Origin:
    """Return where answers of an endpoint come from; the servers of one model count as one origin."""
    if isinstance(endpoint, schema.OpenAIEndpoint | schema.VLLMEndpoint):
        return "api"
    return endpoint.kind


def lower_endpoint(
    teacher: schema.Teacher, *, budget_usd: float | None, budget_name: str, may_omit: bool = False
) -> EndpointSettings:
    """Return the settings for reaching a teacher. Without `budget_usd` the settings name no budget."""
    endpoint = teacher.endpoint
    settings: dict[str, object] = {"kind": endpoint.kind, "may_omit": may_omit}
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
            "ready_within_seconds": endpoint.ready_within,
            "azure": endpoint.azure,
            "headers": endpoint.headers,
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
