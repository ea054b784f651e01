"""The one table of the servers that can be asked. A new one is a new module here, and a new case in `connect`.

A model that the job itself loads is no server: `chat.endpoints.local` asks it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from orcac.chat.endpoints import openai
from orcac.chat.engine import Endpoint
from orcac.chat.settings import EndpointSettings


def connect(settings: EndpointSettings, *, model: str, work: Path) -> AbstractAsyncContextManager[Endpoint]:
    """Return a context manager that yields the endpoint of `model` by `settings`.

    Entering it starts a server, if that kind of endpoint needs one; its log goes to the folder `work`. Entering raises
    EndpointError if there is no such endpoint.
    """
    match settings.kind:
        case "openai":
            return openai.connect(settings)
        case "vllm":
            from orcac.chat.endpoints.vllm import serve

            return serve(settings, model=model, log=work / "vllm.log")
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
