"""The embedded teachers: an OpenAI-compatible server on loopback that really solves reasoning tasks.

It is asked over HTTP by the same client as any other teacher, so a laptop without a key runs all of the code of a paid
run. The model's name is the skill, `assistant` or `expert`; `orcac.puzzles` solves the tasks for both, and
`orcac.puzzles.wording` words the answers. By hand:

    python -m orcac.chat.endpoints.solver --port 8000
    curl localhost:8000/v1/chat/completions -d '{"model": "expert", "messages": [
        {"role": "system", "content": "Think step by step."}, {"role": "user", "content": "not True or False is"}]}'

The answer is a function of the request alone: equal requests get equal bytes. So `temperature` and `top_p` are accepted
and have no effect. An unknown field is refused rather than ignored, since it may be a misspelt one that was meant to
change the answer. The system messages are joined, and the last message, which must be the user's, is the query. Each
word and each punctuation mark counts as a token.

With `"reasoning": true` a model sends its working as `reasoning_content` beside the answer, as reasoning models do,
unless `enable_thinking` of the chat template's variables is false. Without it, settings of reasoning have no effect.

A third model, `judge`, reviews answers with the biases that the request states (judge.py).
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable
from types import TracebackType
from typing import Literal, NamedTuple, TypeVar, get_args

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orcac.chat.endpoints.judge import write_review
from orcac.puzzles import solve
from orcac.puzzles.wording import Skill, write_answer, write_reasoned_answer

__all__ = ["SolverServer", "make_application"]

T = TypeVar("T")
MODELS = (*get_args(Skill), "judge")
CANNOT = "I can't solve this kind of question."
DEFAULT_ERROR_RATE = 0.2  # of the assistant, on hard queries
_TOKEN = re.compile(r"\w+|[^\w\s]")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Message(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class _Request(_Body):
    """The fields of a chat completion request that this server accepts."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    seed: int | None = None
    stop: list[str] = []
    reasoning: bool = False  # word the working as reasoning, beside the answer
    chat_template_kwargs: dict[str, bool] = {}  # with `reasoning`: `enable_thinking` can turn it off
    error_rate: float = Field(DEFAULT_ERROR_RATE, ge=0, le=1)  # the assistant's; an expert makes no errors
    full_rate: float = Field(0.0, ge=0, le=1)  # the assistant's: share of its explanations in full steps
    first_bonus: float = Field(0.0, ge=-9, le=9)  # the judge's: points for the answer that is shown first
    longer_bonus: float = Field(0.0, ge=-9, le=9)  # the judge's: points for the longer answer
    prose_rate: float = Field(0.0, ge=0, le=1)  # the judge's: share of its reviews that state no score


def make_application() -> web.Application:
    """Return the server's application, with its two routes."""
    app = web.Application()
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", _chat_completions)
    return app


class SolverServer:
    """A server on 127.0.0.1, at a port that the system picks, for the length of an `async with` block."""

    def __init__(self) -> None:
        # A client's idle connection must not delay the end of the node.
        self._runner = web.AppRunner(make_application(), access_log=None, shutdown_timeout=1.0)
        self.base_url = ""  # set once the server is entered

    async def __aenter__(self) -> SolverServer:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        self.base_url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


async def _models(_: web.Request) -> web.Response:
    data = [{"id": skill, "object": "model", "created": 0, "owned_by": "orcac"} for skill in MODELS]
    return web.json_response({"object": "list", "data": data})


async def _chat_completions(http: web.Request) -> web.Response:
    try:
        request = _Request.model_validate_json(await http.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _error(400, f"{where}: {first['msg']}" if where else first["msg"], param=where or None)
    if request.model not in MODELS:
        message = f"The model `{request.model}` does not exist; there are {' and '.join(MODELS)}."
        return _error(404, message, param="model", code="model_not_found")
    if request.messages[-1].role != "user":
        return _error(400, "messages: the last one must be the user's", param="messages")
    return web.json_response(_build_completion(request))


def _build_completion(request: _Request) -> dict[str, object]:
    """Return the body of the response. The limit is of all tokens, and reasoning comes first."""
    reasoning, text = _answer(request)
    text = text[: min((place for stop in request.stop if (place := text.find(stop)) >= 0), default=None)]
    limit = request.max_completion_tokens or request.max_tokens
    reasoning, thought = _cut(reasoning, limit)
    text, written = _cut(text, None if limit is None else limit - thought.kept)
    prompt_tokens = sum(len(_TOKEN.findall(message.content)) for message in request.messages)
    completion_tokens = thought.kept + written.kept
    message: dict[str, object] = {"role": "assistant", "content": text}
    usage: dict[str, object] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if reasoning:
        message["reasoning_content"] = reasoning
        usage["completion_tokens_details"] = {"reasoning_tokens": thought.kept}
    hashed = request.model_dump_json(exclude=None if request.full_rate else {"full_rate"})  # newer than stored answers
    return {
        "id": "chatcmpl-" + hashlib.sha256(hashed.encode()).hexdigest()[:24],
        "object": "chat.completion",
        "created": 0,
        "model": request.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "length" if thought.is_cut or written.is_cut else "stop",
            }
        ],
        "usage": usage,
    }


class _Cut(NamedTuple):
    kept: int  # tokens
    is_cut: bool


def _cut(text: str, limit: int | None) -> tuple[str, _Cut]:
    """Return the first `limit` tokens of a text, all of it if that is None."""
    ends = [match.end() for match in _TOKEN.finditer(text)]
    if limit is None or len(ends) <= limit:
        return text, _Cut(len(ends), is_cut=False)
    return text[: ends[limit - 1]] if limit else "", _Cut(limit, is_cut=True)


def _answer(request: _Request) -> tuple[str, str]:
    """Return the reasoning, "" if it does not reason, and the answer to the last message."""
    query = request.messages[-1].content
    if request.model == "judge":
        biases = {"first": request.first_bonus, "longer": request.longer_bonus, "prose": request.prose_rate}
        return "", write_review(query, **biases) or CANNOT
    solution = solve(query)
    if solution is None:
        return "", CANNOT

    def word(write: Callable[..., T]) -> T:
        return write(
            solution,
            system="\n".join(m.content for m in request.messages if m.role in ("system", "developer")),
            skill="expert" if request.model == "expert" else "assistant",
            error_rate=request.error_rate,
            full_rate=request.full_rate,
            query=query,
            seed=request.seed or 0,
        )

    if request.reasoning and request.chat_template_kwargs.get("enable_thinking", True):
        return word(write_reasoned_answer)
    return "", word(write_answer)


def _error(status: int, message: str, *, param: str | None = None, code: str | None = None) -> web.Response:
    """Return an error in OpenAI's form."""
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": body}, status=status)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m orcac.chat.endpoints.solver", description="Serve the embedded teachers."
    )
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    try:
        web.run_app(make_application(), host="127.0.0.1", port=port)
    except OSError as error:
        parser.exit(1, f"cannot serve on port {port}: {error.strerror}\n  fix: give another --port\n")


if __name__ == "__main__":
    main()
