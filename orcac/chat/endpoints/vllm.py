"""A vLLM server that runs as long as its model is in use: `vllm serve MODEL` on a free port of this machine.

Requests reach it over HTTP, as with any other server. So this module does not import vLLM, which may be installed in
another environment: the command is looked up beside this Python, then on the PATH. It runs under `guard`, which frees
its GPUs however this process dies. Its output goes to a log file; if the server does not start, or ends early, the
error shows the last lines of that file.

Other users of the machine cannot use the server: it demands a key, which is made here and passed in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from orcac.chat.endpoints.arguments import find_mistakes
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError

_LAST_LINES = 5


@asynccontextmanager
async def serve(
    settings: EndpointSettings, *, model: str, log: Path, poll_s: float = 0.25
) -> AsyncIterator[VLLMEndpoint]:
    """Start a server of `model` and yield its endpoint once it is healthy, which is checked every `poll_s` seconds.

    Raises EndpointError if vLLM is not installed, if it ends, or if it is not healthy within `start_seconds`.
    """
    port, key = _find_free_port(), secrets.token_hex(16)
    command = build_command(settings, model=model, port=port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "orcac.chat.endpoints.guard", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | {"VLLM_API_KEY": key},
            start_new_session=True,
        )
    assert server.stdin
    try:
        base_url = f"http://127.0.0.1:{port}"
        await _wait_until_healthy(server, base_url, settings=settings, model=model, log=log, poll_s=poll_s)
        async with openai.connect_to(f"{base_url}/v1", timeout_s=settings.timeout_seconds, key=key) as endpoint:
            yield VLLMEndpoint(endpoint, server, base_url=base_url, log=log)
    finally:
        server.stdin.close()
        await asyncio.shield(asyncio.to_thread(server.wait))


class VLLMEndpoint:
    """The endpoint of a server that this process started, which reports the server's end."""

    def __init__(
        self, endpoint: openai.OpenAIEndpoint, server: subprocess.Popen[bytes], *, base_url: str, log: Path
    ) -> None:
        self.label = endpoint.label
        self._endpoint, self._server, self._base_url, self._log = endpoint, server, base_url, log

    async def version(self) -> str:
        """Return the version of vLLM, "unknown" if the server does not say."""
        import aiohttp

        with contextlib.suppress(aiohttp.ClientError, ValueError, KeyError, TypeError):
            async with aiohttp.ClientSession() as session, session.get(f"{self._base_url}/version") as response:
                return str((await response.json())["version"])
        return "unknown"

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Make one attempt. Raises ChatError, or EndpointError if the server has ended and no attempt can succeed."""
        try:
            return await self._endpoint.complete(request)
        except ChatError as error:
            if error.error not in ("unreachable", "dropped") or self._server.poll() is None:
                raise
            raise EndpointError(
                f"vLLM ended with exit code {self._server.returncode} while it served {request.model}"
                f"{_last_lines(self._log)}",
                fix=f"find the cause in {self._log}, then run again; all answers so far are kept",
            ) from error


def build_command(settings: EndpointSettings, *, model: str, port: int) -> list[str]:
    """Return the command line of the server.

    Raises EndpointError if vLLM is not installed, or if the settings hold what only the user may switch on.
    """
    for _, reason in find_mistakes(model, settings.arguments):
        raise EndpointError(f"vLLM is not started: {reason}", fix="change the spec, or allow the argument")
    installed = Path(sys.executable).with_name("vllm")
    program = str(installed) if installed.is_file() else shutil.which("vllm")
    if not program:
        raise EndpointError(
            "there is no command `vllm`", fix="install vLLM (pip install vllm) or put its environment on the PATH"
        )
    address = ["--host", "127.0.0.1", "--port", str(port)]
    if settings.path:
        return [program, "serve", settings.path, "--served-model-name", model, *address, *settings.arguments]
    return [program, "serve", model, *address, *settings.arguments]


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _wait_until_healthy(
    server: subprocess.Popen[bytes], base_url: str, *, settings: EndpointSettings, model: str, log: Path, poll_s: float
) -> None:
    """Return once the server answers `/health`. Raises EndpointError if it ends or `start_seconds` are over."""
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
                await asyncio.sleep(poll_s)
    except TimeoutError:
        raise EndpointError(
            f"vLLM did not serve {model} in {settings.start_seconds:g} s{_last_lines(log)}",
            fix=f"find the cause in {log}, or raise the endpoint's `ready_within`",
        ) from None
    raise EndpointError(
        f"vLLM ended with exit code {server.returncode} before it served {model}{_last_lines(log)}",
        fix=f"find the cause in {log}, then run again",
    )


def _last_lines(log: Path) -> str:
    """Return the last lines of the log, each cut to 200 characters, to be appended to a message."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()][-_LAST_LINES:]
    return "".join(f"\n    {line[:200]}" for line in lines)
