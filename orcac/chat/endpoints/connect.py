"""The one table of the ways to ask a model. A new way is a new module here, and a new case in `connect`."""

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
    """Return a context manager that yields the endpoint of `model` by `settings`.

    Entering it starts a server or loads the model, if that kind of endpoint needs one. `weights` is the folder of a
    model that this process loads, `work` the folder for logs; threads and GPUs are those of the node. Entering raises
    EndpointError or InputError if there is no such endpoint or no usable model.
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
            return _serve_solver(settings)
    raise AssertionError(settings.kind)


@asynccontextmanager
async def _serve_solver(settings: EndpointSettings) -> AsyncIterator[Endpoint]:
    """Yield the embedded teacher, served on loopback until the block ends."""
    from orcac.chat.endpoints.solver import SolverServer  # imports an HTTP server

    async with (
        SolverServer() as server,
        openai.connect_to(server.base_url, timeout_s=settings.timeout_seconds) as endpoint,
    ):
        yield endpoint
