"""A model served by vLLM for as long as it is asked: `vllm serve MODEL` on a free port of this machine.

It is asked over HTTP as any other server, so nothing of vLLM is imported and it may live in an environment of its
own; `vllm` is looked for beside our Python, then on the PATH. It runs under `chat.guard`, so no way of dying leaves a
GPU taken. What it says goes to a log file; its last lines are in the error where it does not come up, or ends early.

Other people of the machine cannot ask it: it wants a key, which is made here and handed on by the environment.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orcac.chat.endpoints import openai
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError

_POLL_S = 0.25
_LAST_LINES = 5


@asynccontextmanager
async def serve(settings: EndpointSettings, *, model: str, log: Path) -> AsyncIterator[Served]:
    """The endpoint of `model`, once it is healthy.

    Raises EndpointError where there is no vLLM, where it ends or where it is not healthy in `start_seconds`.
    """
    port, key = _free_port(), secrets.token_hex(16)
    line = command(settings, model=model, port=port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "orcac.chat.endpoints.guard", *line],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | {"VLLM_API_KEY": key},
            start_new_session=True,
        )
    assert server.stdin
    try:
        base_url = f"http://127.0.0.1:{port}"
        await _healthy(server, base_url, settings=settings, model=model, log=log)
        async with openai.connect_to(f"{base_url}/v1", timeout_s=settings.timeout_seconds, key=key) as endpoint:
            yield Served(endpoint, server, log=log)
    finally:
        server.stdin.close()
        await asyncio.shield(asyncio.to_thread(server.wait))


class Served:
    """The endpoint of a server of ours, which says so where that has ended."""

    def __init__(self, endpoint: openai.OpenAIEndpoint, server: subprocess.Popen[bytes], *, log: Path) -> None:
        self.where = endpoint.where
        self._endpoint, self._server, self._log = endpoint, server, log

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """One attempt. Raises ChatError, or EndpointError where no other attempt can help."""
        try:
            return await self._endpoint.complete(request)
        except ChatError as error:
            if error.error not in ("unreachable", "dropped") or self._server.poll() is None:
                raise
            raise EndpointError(
                f"vLLM ended with exit code {self._server.returncode} while it served {request.model}"
                f"{_said(self._log)}",
                fix=f"see {self._log}, then run again; what is answered is kept",
            ) from error


def command(settings: EndpointSettings, *, model: str, port: int) -> list[str]:
    """The command line. Raises EndpointError where there is no vLLM."""
    beside = Path(sys.executable).with_name("vllm")
    program = str(beside) if beside.is_file() else shutil.which("vllm")
    if not program:
        raise EndpointError(
            "there is no command `vllm`", fix="install vLLM (pip install vllm) or put its environment on the PATH"
        )
    local = ["--host", "127.0.0.1", "--port", str(port)]
    if settings.path:
        return [program, "serve", settings.path, "--served-model-name", model, *local, *settings.arguments]
    return [program, "serve", model, *local, *settings.arguments]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def _healthy(
    server: subprocess.Popen[bytes], base_url: str, *, settings: EndpointSettings, model: str, log: Path
) -> None:
    import aiohttp

    try:
        async with asyncio.timeout(settings.start_seconds), aiohttp.ClientSession() as session:
            while server.poll() is None:
                try:
                    async with session.get(f"{base_url}/health") as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, OSError):  # it does not listen yet
                    pass
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise EndpointError(
            f"vLLM did not serve {model} in {settings.start_seconds:g} s{_said(log)}",
            fix=f"see {log}, or raise the endpoint's `ready_within`",
        ) from None
    raise EndpointError(
        f"vLLM ended with exit code {server.returncode} before it served {model}{_said(log)}", fix=f"see {log}"
    )


def _said(log: Path) -> str:
    """The last lines of the log, for a message."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()][-_LAST_LINES:]
    return "".join(f"\n    {line[:200]}" for line in lines)
