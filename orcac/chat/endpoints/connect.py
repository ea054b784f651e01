"""Which endpoint settings mean: the one table of ways to ask a model. A new one is a module and a line here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from orcac.chat.endpoints import openai
from orcac.chat.engine import Endpoint
from orcac.chat.settings import EndpointSettings


def connect(
    settings: EndpointSettings, *, model: str, weights: Path | None, work: Path, threads: int, gpus: int
) -> AbstractAsyncContextManager[Endpoint]:
    """The endpoint at which `settings` ask `model`; nothing is started or loaded before it is entered.

    `weights` is the folder of a model that is loaded here, `work` is for logs; threads and GPUs are those of the node.
    Entering it raises EndpointError or InputError, which say what to mend.
    """
    match settings.kind:
        case "openai":
            return openai.connect(settings)
        case "vllm":
            from orcac.chat.endpoints.vllm import serve

            return serve(settings, model=model, log=work / "vllm.log")
        case "local":
            from orcac.chat.endpoints.local import load

            assert weights
            return load(weights, settings, threads=threads, gpus=gpus)
        case "solver":
            return _solver(settings)
    raise AssertionError(settings.kind)


@asynccontextmanager
async def _solver(settings: EndpointSettings) -> AsyncIterator[Endpoint]:
    """The embedded teacher, served on loopback for as long as it is asked."""
    from orcac.chat.endpoints.solver import SolverServer  # brings an HTTP server

    async with (
        SolverServer() as server,
        openai.connect_to(server.base_url, timeout_s=settings.timeout_seconds) as endpoint,
    ):
        yield endpoint
