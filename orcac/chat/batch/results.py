"""What the output and error files of a batch say of each request (see batch.py). Nothing in them is trusted: a line
that is no result is skipped, and its request counts as not answered."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orcac.chat.endpoints.completions import find_dispensable, parse_completion
from orcac.chat.failures import ERRORS, classify
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.wire import dumps, loads, replace_surrogates

_QUEUE_FULL = "token_limit_exceeded"  # the provider's code for a batch that finds no room in the account's queue


class Result(NamedTuple):
    response: ChatResponse | None  # what settles the request, if anything does
    error: str = ""  # the class of `ERRORS` otherwise, or of a failure that settles it
    message: str = ""
    refused: str = ""  # a parameter: the request may be sent again, without it


class Verdict(NamedTuple):
    """How a batch ended, and the first error of it as a whole."""

    status: str
    code: str = ""
    message: str = ""

    @property
    def queue_full(self) -> bool:
        return self.status == "failed" and self.code == _QUEUE_FULL


def verdict(answer: dict[str, Any]) -> Verdict:
    """That of a batch as the provider describes it."""
    errors = answer.get("errors")
    for error in (errors.get("data") or []) if isinstance(errors, dict) else []:
        if isinstance(error, dict):
            return Verdict(status(answer), str(error.get("code") or ""), text(error))
    return Verdict(status(answer))


def status(answer: dict[str, Any]) -> str:
    return str(answer.get("status") or "unknown")


def lines(path: Path, count: int) -> Iterator[tuple[int, int]]:
    """(number of the request, where its line begins) for each line of a file that is about one of `count` requests."""
    if not path.exists():
        return
    at = 0
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                number = int(loads(line)["custom_id"])
                if 0 <= number < count:
                    yield number, at
            at += len(line)


def count(path: Path) -> int:
    """The whole lines of a file; 0 where there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith((b"\n", b"}")) for line in file)


def read(line: bytes, request: ChatRequest, refused: Container[str]) -> Result:
    """The result in one line. `refused` are parameters that the request was sent without."""
    found = loads(line)
    response, error = found.get("response"), found.get("error")
    if isinstance(response, dict):
        code, body = response.get("status_code"), response.get("body")
        if code == 200:
            try:
                answer = parse_completion(dumps(body), latency_s=0.0)
                return Result(dataclasses.replace(answer, batched=True))
            except ValueError as wrong:
                return Result(None, "malformed", str(wrong)[:300])
        if isinstance(code, int) and code >= 400:
            return _error(code, body, f"HTTP {code}: {text(body)}", request, refused)
    code = error.get("code") if isinstance(error, dict) else ""
    if code in ("batch_expired", "batch_cancelled"):
        return Result(None, "not_answered", text(error) or str(code))
    return Result(None, "server", text(error) or "no response")


def missing(ended: Verdict, request: ChatRequest, refused: Container[str]) -> Result:
    """The result of a request that no line is about."""
    if ended.status == "failed" and not ended.queue_full:
        told = {"code": ended.code, "message": ended.message}
        return _error(400, told, f"the batch failed: {ended.code}: {ended.message}", request, refused)
    return Result(None, "not_answered", f"the batch is {ended.status}, with no word of this request")


def _error(status: int, told: object, message: str, request: ChatRequest, refused: Container[str]) -> Result:
    """The result of a request that was answered with an error."""
    name = classify(status, told)
    kept = ChatResponse(error=name) if ERRORS[name].recorded else None
    parameter = find_dispensable(told, request) if name == "unsupported" else ""
    return Result(kept, name, message, "" if parameter in refused else parameter)


def text(body: object) -> str:
    """The message in an error body."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    message = inner.get("message") if isinstance(inner, dict) else inner
    return " ".join(replace_surrogates(str(message or "")).split())[:300]
