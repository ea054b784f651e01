"""A chat completions server over real sockets that misbehaves on demand and counts what it would have billed."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal

from aiohttp import web

Fault = Literal[
    "", "429", "429 with Retry-After", "500", "503", "malformed", "dropped", "400", "401", "422", "uncounted"
]
Behaviour = Callable[[str, int], Fault]  # (the user message, how often it was asked before) -> what goes wrong

BODIES: dict[str, dict[str, object]] = {
    "429": {"message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"},
    "500": {"message": "The server had an error", "type": "server_error", "param": None, "code": None},
    "503": {"message": "The engine is currently overloaded", "type": "server_error", "code": None},
    "400": {
        "message": "This model's maximum context length is 4097 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
    "422": {"message": "Extra inputs are not permitted: top_k", "type": "invalid_request_error", "code": None},
}


class FaultServer:
    """Serves from a thread of its own while it is entered.

    The answer to a question is `answer to QUESTION`, of 7 input and 11 output tokens, unless they are uncounted.
    `billed` counts the answers that were made for each question, whether or not they arrived; `asked` counts the
    attempts.
    """

    def __init__(self, behaviour: Behaviour = lambda question, before: "", *, latency_s: float = 0.0) -> None:
        self._behaviour, self._latency_s = behaviour, latency_s
        self.asked: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.base_url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> FaultServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"
        self._ready.set()
        await self._done.wait()
        await runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        question = (await request.json())["messages"][-1]["content"]
        fault = self._behaviour(question, self.asked[question])
        self.asked[question] += 1
        if fault == "401":  # as some servers do, it repeats the key
            said = f"Incorrect API key provided: {request.headers['Authorization']}"
            return web.json_response({"error": {"message": said, "code": "invalid_api_key"}}, status=401)
        if fault in ("429", "429 with Retry-After", "500", "503", "400", "422"):
            status = int(fault[:3])
            headers = {"Retry-After": "0.2"} if fault.endswith("After") else {}
            return web.json_response({"error": BODIES[fault[:3]]}, status=status, headers=headers)
        self.billed[question] += 1
        await asyncio.sleep(self._latency_s)
        if fault == "dropped":
            assert request.transport
            request.transport.close()
            return web.Response()
        if fault == "malformed":
            return web.Response(text='{"id": "chatcmpl-1", "choices": [{"mess', content_type="application/json")
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 0,
                "model": "mock",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": f"answer to {question}"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": None if fault == "uncounted" else {"prompt_tokens": 7, "completion_tokens": 11},
            }
        )
