"""Files and batches of the fault server: `FaultServer(mount=batches.mount)`.

Time is virtual. A batch answers its requests one after another, each in `hours_each`, and expires after 24 hours. The
clock advances by `hours_per_look` at each `retrieve`, and by `pass_hours`. Every answer in a batch is billed.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from aiohttp import web

from .bodies import FIXED
from .server import Reply

Call = Literal["upload", "create", "list", "retrieve", "cancel", "content"]
Trouble = Literal["", "500", "429", "401", "dropped", "deaf", "hangs", "mute", "half"]
# dropped: closed before the call is carried out; deaf: closed after that, without a response
# hangs: never carried out; mute: carried out, but the response never comes; half: half of a file
Fate = Literal["", "400", "500", "429", "quota", "malformed", "torn", "silence", "renamed", "fixed"]
# torn: the line is cut off; silence: no line at all; renamed: the model takes max_completion_tokens, not max_tokens;
# fixed: the model takes no temperature
OVERFLOW = {"message": "maximum context length is 4097 tokens", "code": "context_length_exceeded"}
RENAMED = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
    "param": "max_tokens",
    "code": "unsupported_parameter",
}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Body(TypedDict):
    """The parts of a request's body that the server reads."""

    model: str
    messages: list[dict[str, str]]


class Line(TypedDict):
    """A line of an uploaded file."""

    custom_id: str
    method: str
    url: str
    body: Body


@dataclass
class Made:
    """A batch as it was created."""

    id: str
    input_file_id: str
    metadata: dict[str, str]
    lines: list[Line]
    made_at: float  # virtual hours
    status: str = "in_progress"
    errors: list[dict[str, object]] = field(default_factory=list)
    answered: int = 0
    output_file_id: str = ""
    error_file_id: str = ""


class Batches:
    """The files and batches of one account.

    `behaviour` maps a call and the number of earlier calls of its kind to the trouble it meets; `fate` maps a question
    to its result in a batch. `created` holds the batches by id; `billed` counts the answers to each question.
    """

    def __init__(
        self,
        behaviour: Callable[[Call, int], Trouble] = lambda call, before: "",
        fate: Callable[[str], Fate | Reply] = lambda question: "",
        *,
        hours_each: float = 0.1,
        hours_per_look: float = 2.0,
        queue_tokens: int | None = None,
        refuse: dict[str, object] | None = None,
        forget_metadata: bool = False,
        root: str = "/v1",  # for Azure: /openai
    ) -> None:
        self._root, self._url = root, "/v1/chat/completions" if root == "/v1" else "/chat/completions"
        self._behaviour, self._fate, self._refuse = behaviour, fate, refuse
        self.hours_each, self.hours_per_look, self._queue_tokens = hours_each, hours_per_look, queue_tokens
        self._forget_metadata = forget_metadata
        self.now = 0.0
        self.calls: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.created: dict[str, Made] = {}
        self.stuck = threading.Event()  # set when a call hangs or is mute

    def pass_hours(self, hours: float) -> None:
        self.now += hours

    def live(self) -> list[Made]:
        return [made for made in self.created.values() if made.status in ("in_progress", "cancelling")]

    def mount(self, app: web.Application) -> None:
        root, post, get = self._root, app.router.add_post, app.router.add_get
        post(f"{root}/files", self._wrapped("upload", self._upload))
        get(f"{root}/files/{{id}}/content", self._wrapped("content", self._content))
        post(f"{root}/batches", self._wrapped("create", self._create))
        get(f"{root}/batches", self._wrapped("list", self._list))
        get(f"{root}/batches/{{id}}", self._wrapped("retrieve", self._retrieve))
        post(f"{root}/batches/{{id}}/cancel", self._wrapped("cancel", self._cancel))

    def _wrapped(self, call: Call, handle: Handler) -> Handler:
        async def wrapped(request: web.Request) -> web.StreamResponse:
            try:
                return await answered(request)
            except ConnectionResetError:  # the client was killed
                return _closed(request)

        async def answered(request: web.Request) -> web.StreamResponse:
            trouble = self._behaviour(call, self.calls[call])
            self.calls[call] += 1
            if trouble in ("500", "429", "401"):
                text = f"Incorrect API key provided: {request.headers['Authorization']}"
                return web.json_response({"error": {"message": text}}, status=int(trouble))
            if call == "upload":
                await request.post()  # read it whole, or the client would not get as far
            if trouble == "hangs":
                await self._stick()
            if trouble == "dropped":
                return _closed(request)
            answer = await handle(request)
            if trouble == "deaf":
                return _closed(request)
            if trouble == "mute":
                await self._stick()
            if trouble == "half":
                assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
                whole = web.StreamResponse(headers={"Content-Length": str(len(answer.body))})
                await whole.prepare(request)
                await whole.write(answer.body[: len(answer.body) // 2])
                return _closed(request)
            return answer

        return wrapped

    async def _stick(self) -> None:
        self.stuck.set()
        await asyncio.sleep(3600)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()  # it is read already; this returns the parsed form
        assert form["purpose"] == "batch"
        part = form["file"]
        assert isinstance(part, web.FileField)
        return web.json_response({"id": self._file(part.file.read()), "object": "file", "purpose": "batch"})

    def _file(self, content: bytes) -> str:
        id = f"file-{len(self.files)}"
        self.files[id] = content
        return id

    async def _content(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["id"])
        return web.Response(body=content) if content is not None else _unknown("file")

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["endpoint"] == self._url and asked["completion_window"] == "24h"
        content = self.files.get(asked["input_file_id"])
        if content is None:
            return _unknown("file")
        lines = [json.loads(line) for line in content.splitlines()]
        metadata = {} if self._forget_metadata else asked.get("metadata") or {}
        id = f"batch_{len(self.created)}"
        made = Made(id, asked["input_file_id"], metadata, lines, self.now)
        waiting = sum(map(_tokens, self.live()))
        if self._refuse:
            made.status, made.errors = "failed", [self._refuse]
        elif self._queue_tokens is not None and waiting + _tokens(made) > self._queue_tokens:
            text = (
                f"Enqueued token limit reached for m in organization o. Limit: {self._queue_tokens:,} enqueued tokens."
            )
            made.status, made.errors = "failed", [{"code": "token_limit_exceeded", "message": text, "line": None}]
        elif wrong := _invalid(lines, self._url):
            made.status, made.errors = "failed", [{"code": "invalid_request", "message": wrong, "line": 1}]
        self.created[id] = made
        return web.json_response(self._describe(made))

    async def _list(self, request: web.Request) -> web.Response:
        newest = list(reversed(self.created.values()))
        if after := request.query.get("after"):
            newest = newest[[made.id for made in newest].index(after) + 1 :]
        page = newest[:2]  # short, so that lists have pages
        return web.json_response(
            {"object": "list", "data": [self._describe(made) for made in page], "has_more": len(newest) > len(page)}
        )

    async def _retrieve(self, request: web.Request) -> web.Response:
        made = self.created.get(request.match_info["id"])
        if made is None:
            return _unknown("batch")
        self.now += self.hours_per_look
        self._advance(made)
        return web.json_response(self._describe(made))

    async def _cancel(self, request: web.Request) -> web.Response:
        made = self.created.get(request.match_info["id"])
        if made is None:
            return _unknown("batch")
        self._advance(made)
        if made.status != "in_progress":
            return web.json_response({"error": {"message": f"cannot cancel: {made.status}"}}, status=409)
        made.status = "cancelling"
        return web.json_response(self._describe(made))

    def _advance(self, made: Made) -> None:
        """Answer the requests whose time has come, and end the batch if it is done, expired or cancelled."""
        if made.status not in ("in_progress", "cancelling"):
            return
        age = min(self.now - made.made_at, 24.0)
        if made.status == "in_progress":
            made.answered = min(len(made.lines), int(age / self.hours_each + 1e-9))
        if made.answered < len(made.lines) and age < 24 and made.status == "in_progress":
            return
        code = {"cancelling": "batch_cancelled"}.get(made.status, "batch_expired")
        done = made.answered == len(made.lines)
        made.status = "cancelled" if made.status == "cancelling" else "completed" if done else "expired"
        output, errors = list[object](), list[object]()
        for number, line in enumerate(made.lines):
            if number < made.answered:
                self._answer(line, output, errors)
            else:
                error = {"code": code, "message": "This request was not executed."}
                errors.append({"custom_id": line["custom_id"], "response": None, "error": error})
        output.reverse()  # the order is not that of the input
        made.output_file_id = self._jsonl(output)
        made.error_file_id = self._jsonl(errors)

    def _jsonl(self, lines: list[object]) -> str:
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        return self._file(text.encode()) if lines else ""

    def _answer(self, line: Line, output: list[object], errors: list[object]) -> None:
        question = line["body"]["messages"][-1]["content"]
        fate = self._fate(question)

        def response_line(status: int, body: object) -> dict[str, object]:
            response = {"status_code": status, "request_id": "r", "body": body}
            return {"id": "x", "custom_id": line["custom_id"], "response": response, "error": None}

        if fate == "silence":
            return
        if isinstance(fate, Reply):
            self.billed[question] += fate.bills
            output.append(response_line(fate.status, fate.body))
            return

        if fate in ("400", "500", "429"):
            body = OVERFLOW if fate == "400" else {"message": "The server had an error"}
            errors.append(response_line(int(fate), {"error": body}))
            return
        if fate == "quota":
            errors.append(response_line(429, {"error": {"message": "no credit", "code": "insufficient_quota"}}))
            return
        if fate == "fixed" and "temperature" in line["body"]:
            errors.append(response_line(400, FIXED["temperature"]))
            return
        if fate == "renamed" and "max_tokens" in line["body"]:
            errors.append(response_line(400, {"error": RENAMED}))
            return
        self.billed[question] += 1
        message = {"role": "assistant", "content": f"answer to {question}"}
        answer = {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 11},
        }
        whole = response_line(200, {"choices": "?"} if fate == "malformed" else answer)
        output.append(json.dumps(whole)[:-5] if fate == "torn" else whole)

    def _describe(self, made: Made) -> dict[str, object]:
        return {
            "id": made.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": 1 << 40,
            "input_file_id": made.input_file_id,
            "metadata": made.metadata or None,
            "status": made.status,
            "errors": {"object": "list", "data": made.errors} if made.errors else None,
            "output_file_id": made.output_file_id or None,
            "error_file_id": made.error_file_id or None,
            "request_counts": {"total": len(made.lines), "completed": self._completed(made), "failed": 0},
        }

    def _completed(self, made: Made) -> int:
        if made.status in ("in_progress", "cancelling"):
            return made.answered
        return self.files.get(made.output_file_id, b"").count(b"\n")


def _tokens(made: Made) -> int:
    """Count three tokens for each word, and three for each message."""
    messages = [message for line in made.lines for message in line["body"]["messages"]]
    return sum(3 * (1 + len(message["content"].split())) for message in messages)


def _invalid(lines: list[Line], url: str) -> str:
    if len({line["custom_id"] for line in lines}) < len(lines):
        return "duplicate custom_id"
    if len({line["body"]["model"] for line in lines}) > 1:
        return "mismatched model"
    if any(line["method"] != "POST" or line["url"] != url for line in lines):
        return "wrong url"
    return "too many requests" if len(lines) > 50_000 else ""


def _unknown(kind: str) -> web.Response:
    return web.json_response({"error": {"message": f"No such {kind}", "type": "invalid_request_error"}}, status=404)


def _closed(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.close()
    return web.Response()
