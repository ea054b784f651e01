"""The server, in a thread of its own, and its faults."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from aiohttp import web

from .bodies import BODIES, FIXED, REFUSED
from .limits import Limits

Fault = Literal[
    "",
    "429",
    "429 with Retry-After",  # seconds
    "429 with retry-after-ms",
    "quota",
    "minute quota",  # a push-back that speaks of a quota, in a list, and names a wait in its details alone
    "no system role",  # refuses a request with a message of the system
    "no system",  # the same, in words that give no reason
    "500",
    "503",
    "400",  # the context is too long
    "401",
    "repeats the headers",  # refuses the key, and shows all headers in its message
    "403",
    "404",
    "422",
    "reasoning",  # refuses the parameters that reasoning models do not know, and answers requests without them
    "fixed sampling",  # refuses any temperature and top_p, each in the words of another provider
    "azure filter",
    "filter",  # an answer without text, as OpenAI filters content
    "malformed",  # a whole response whose JSON ends in the middle
    "page",  # HTML with status 200
    "dropped",  # before the first byte of the response
    "dropped midway",  # in the middle of its body
    "slow",  # the first byte comes after `slow_s`
    "uncounted",  # an answer without usage
    "miscounted",  # a usage that makes no sense
    "half counted",  # a usage without the output tokens
    "not counted",  # a usage of no output tokens
    "overcounted",  # a usage that no integer of 32 bits holds
]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A response with a body of its own, which is billed only if it says so."""

    body: object
    status: int = 200
    bills: bool = False


Behaviour = Callable[[str, int], Fault | Reply]  # (user message, earlier attempts at it) -> fault
INPUT_TOKENS = 7


@dataclasses.dataclass(slots=True)
class Bill:
    """The tokens billed so far for one request body."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class FaultServer:
    """A server in a thread of its own, to be used as a context manager.

    The answer to a question is `answer to QUESTION`, with filler words up to `answer_tokens`. It has 7 input tokens and
    `answer_tokens` output tokens, or fewer if `max_tokens` cuts it. `asked` counts the attempts at each question and
    `billed` the answers made, whether or not they arrived; `bills` counts answers and tokens by a digest of the whole
    body. `hidden_tokens(question)` tokens of reasoning are written and billed beside `max_tokens`; the usage has them
    in its total alone, or else in its completion tokens too. With `slots`, the server works on so many requests at once
    and the others wait, as on a GPU, so that latency grows with load. `write` returns the text of the answer to a body
    instead. `mount` adds routes.
    """

    def __init__(
        self,
        behaviour: Behaviour = lambda question, before: "",
        *,
        latency_s: float = 0.0,
        slow_s: float = 1.0,
        answer_tokens: int = 11,
        hidden_tokens: Callable[[str], int] = lambda question: 0,
        hidden_in_total: bool = True,
        slots: int | None = None,
        limits: Limits | None = None,
        healthy_after_s: float = 0.0,
        write: Callable[[Mapping[str, Any]], str] | None = None,
        mount: Callable[[web.Application], None] = lambda app: None,
    ) -> None:
        self._behaviour, self._mount, self.limits = behaviour, mount, limits
        self._latency_s, self._slow_s, self._answer_tokens, self._slots = latency_s, slow_s, answer_tokens, slots
        self._hidden_tokens, self._hidden_in_total = hidden_tokens, hidden_in_total
        self._healthy_at = time.monotonic() + healthy_after_s
        self._write = write
        self.asked: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.bills: dict[str, Bill] = {}
        self.statuses: Counter[int] = Counter()
        self.answered_at: Counter[int] = Counter()  # whole second of the server's life -> answers
        self.pushed_back_at: Counter[int] = Counter()  # -> responses 429
        self.in_flight = self.most_in_flight = 0
        self.span = (0.0, 0.0)  # the times of the first request and of the last response
        self.last_request: web.Request | None = None
        self.last_body: dict[str, object] = {}
        self.base_url = ""
        self.is_held = False  # while it is set, no answer leaves the server
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._begun = time.monotonic()

    def __enter__(self) -> FaultServer:
        self._thread.start()
        assert self._ready.wait(300)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        runner, self.base_url = await self.start()
        self._ready.set()
        await self._done.wait()
        await runner.cleanup()

    async def start(self, port: int = 0) -> tuple[web.AppRunner, str]:
        """Start to serve on the running loop. Returns the runner and the base URL."""
        self._slot = asyncio.Semaphore(self._slots or 1 << 30)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/openai/deployments/{deployment}/chat/completions", self._complete)
        app.router.add_get("/health", self._health)
        self._mount(app)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        host, port = runner.addresses[0][:2]
        return runner, f"http://{host}:{port}/v1"

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if time.monotonic() >= self._healthy_at else 503)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        came = time.monotonic()
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            content = await request.read()
            self.last_request = request
            response = await self._respond(request, content)
        finally:
            self.in_flight -= 1
        while self.is_held:
            await asyncio.sleep(0.01)
        self.span = (self.span[0] or came, time.monotonic())
        self.statuses[response.status] += 1
        if response.status in (200, 429):
            at = self.answered_at if response.status == 200 else self.pushed_back_at
            at[int(time.monotonic() - self._begun)] += 1
        return response

    async def _respond(self, request: web.Request, content: bytes) -> web.StreamResponse:
        body = self.last_body = json.loads(content)
        if not body["messages"]:  # some clients send an empty request first, for the headers
            return web.json_response({"error": {"message": "Invalid 'messages': empty array."}}, status=400)
        question = body["messages"][-1]["content"]
        fault = self._behaviour(question, self.asked[question])
        self.asked[question] += 1
        if isinstance(fault, Reply):
            self.billed[question] += fault.bills
            return web.json_response(fault.body, status=fault.status)
        if fault == "401":  # some servers repeat the key in the message
            key = request.headers.get("Authorization") or request.headers.get("api-key")
            error = {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}
            return web.json_response({"error": error}, status=401)
        if fault == "reasoning" and (unknown := body.keys() & REFUSED.keys()):
            status, refusal = REFUSED[max(unknown)]
            return web.json_response(refusal, status=status)
        if fault == "repeats the headers":
            return web.json_response({"error": {"message": str(dict(request.headers))[-250:]}}, status=401)
        if fault in ("no system role", "no system"):
            has_system = any(one["role"] == "system" for one in body["messages"])
            fault = "" if not has_system else "422" if fault == "no system" else "system role"
        if fault == "fixed sampling" and (fixed := body.keys() & FIXED.keys()):
            return web.json_response(FIXED[max(fixed)], status=400)
        most = body.get("max_tokens") or body.get("max_completion_tokens") or self._answer_tokens
        written = min(most, self._answer_tokens)
        headers: dict[str, str] = {}
        if limits := self.limits:
            charged = INPUT_TOKENS + (most if limits.charge == "max_tokens" else 0)
            used_up, wait_s = limits.admit(charged)
            headers = limits.state()
            if used_up:
                headers |= {"retry-after-ms": f"{wait_s * 1000:.0f}", "Retry-After": f"{wait_s:.0f}"}
                status, refusal = BODIES["429"]
                return web.json_response(refusal, status=status, headers=headers if limits.headers else {})
        if fault == "429 with Retry-After":
            headers |= {"Retry-After": "0.2"}
        elif fault == "429 with retry-after-ms":
            headers |= {"retry-after-ms": "200", "Retry-After": "1"}
        if fault[:3] in BODIES or fault in BODIES:
            status, refusal = BODIES[fault if fault in BODIES else fault[:3]]
            if status >= 500:
                await asyncio.sleep(self._latency_s)
            return web.json_response(refusal, status=status, headers=headers)
        self.billed[question] += 1
        bill = self.bills.setdefault(hashlib.sha256(content).hexdigest(), Bill())
        bill.answers += 1
        bill.input_tokens += INPUT_TOKENS
        bill.output_tokens += written + self._hidden_tokens(question)
        async with self._slot:
            await asyncio.sleep(self._latency_s + (self._slow_s if fault == "slow" else 0.0))
        if limits and limits.charge == "used":
            limits.charge_tokens(written)
        if fault == "dropped":
            _hang_up(request)
            return web.Response()
        if fault == "page":
            return web.Response(text="<html><body>Sign in to this network</body></html>", content_type="text/html")
        text = self._write(body) if self._write else f"answer to {question}"
        answer = self._answer(question, text, written, fault)
        if fault == "malformed":
            return web.Response(body=answer[: len(answer) // 2], content_type="application/json", headers=headers)
        if fault == "dropped midway":
            half = web.StreamResponse(headers={"Content-Length": str(len(answer)), "Content-Type": "application/json"})
            await half.prepare(request)
            await half.write(answer[: len(answer) // 2])
            _hang_up(request)
            return half
        return web.Response(body=answer, content_type="application/json", headers=headers)

    def _answer(self, question: str, text: str, written: int, fault: Fault) -> bytes:
        filtered = fault == "filter"
        text += " and so on" * ((self._answer_tokens - 11) // 3)
        cut = written < self._answer_tokens
        if cut:
            text = text[: max(1, len(text) * written // self._answer_tokens)]
        hidden = self._hidden_tokens(question)
        usage: dict[str, object] | None = {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": written + (0 if self._hidden_in_total else hidden),
            "total_tokens": INPUT_TOKENS + written + hidden,
        }
        if fault == "uncounted":
            usage = None
        elif fault == "miscounted":
            usage = {"prompt_tokens": -3, "completion_tokens": "many", "total_tokens": None}
        elif fault == "half counted":
            usage = {"prompt_tokens": INPUT_TOKENS}
        elif fault == "not counted":
            usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": 0}
        elif fault == "overcounted":
            usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": 3_000_000_000}
        return json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 0,
                "model": "mock",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": None if filtered else text},
                        "finish_reason": "content_filter" if filtered else "length" if cut else "stop",
                    }
                ],
                "usage": usage,
            }
        ).encode()


def _hang_up(request: web.Request) -> None:
    assert request.transport
    request.transport.close()
