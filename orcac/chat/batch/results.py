"""The provider's description of a batch, and its output and error files.

Nothing in the files is trusted: a line that is not a result is skipped, and its request counts as not answered.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from orcac.chat.endpoints.body import MAX_BYTES, has_many_values
from orcac.chat.endpoints.completions import find_dispensable
from orcac.chat.endpoints.reader import Unanswered, read_completion
from orcac.chat.error_body import read_error
from orcac.chat.failures import ERRORS, classify, refused_setting
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.wire import loads, replace_surrogates

_QUEUE_FULL = "token_limit_exceeded"  # the provider's code for a batch that finds no room in the account's queue


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBatch:
    """A batch as its provider describes it. `code` and `message` are of its first error that is not of one request."""

    id: str
    status: str
    code: str = ""
    message: str = ""
    completed: int = 0  # requests with a line in the output file, once there is one
    failed: int = 0  # requests with a line in the error file
    output_file_id: str = ""
    error_file_id: str = ""

    @property
    def found_queue_full(self) -> bool:
        """Return whether it failed because the account's queue of tokens had no room for it."""
        return self.status == "failed" and self.code == _QUEUE_FULL


class Result(NamedTuple):
    """The result of one request: `response` if the request is settled, and the error if there is one."""

    response: ChatResponse | None
    error: str = ""  # a class in `ERRORS`; with a `response`, a failure that is recorded as the answer
    message: str = ""
    refused: str = ""  # the parameter that the model refuses; the request may be sent again without it
    setting: str = ""  # the decoding setting that the model refuses, and without which the answer would be another one


def parse_description(answer: Mapping[str, object]) -> RemoteBatch:
    """Return the description of a batch in a response of the Batch API."""
    errors, counts = answer.get("errors"), answer.get("request_counts")
    listed = errors.get("data") if isinstance(errors, dict) else None
    error = next((error for error in listed or [] if isinstance(error, dict)), {})
    counts = counts if isinstance(counts, dict) else {}
    return RemoteBatch(
        id=str(answer["id"]),
        status=str(answer.get("status") or "unknown"),
        code=str(error.get("code") or ""),
        message=error_text(error) if error else "",
        completed=_count(counts.get("completed")),
        failed=_count(counts.get("failed")),
        output_file_id=str(answer.get("output_file_id") or ""),
        error_file_id=str(answer.get("error_file_id") or ""),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


class _Line(NamedTuple):
    """A line of a result file: its content, or none if it is larger than any answer."""

    offset: int
    content: bytes
    is_whole: bool  # not cut off at the end of the file


def index_lines(path: Path, count: int) -> Iterator[tuple[int, int]]:
    """Yield (request number, byte offset) for each line of a result file that names one of `count` requests.

    A line that is larger than any answer is left out, so its request has no result.
    """
    for line in _read_lines(path):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            number = int(loads(line.content)["custom_id"])
            if 0 <= number < count:
                yield number, line.offset


def read_line(file: IO[bytes], offset: int) -> bytes:
    """Return the line of a file that begins at a byte offset."""
    file.seek(offset)
    return file.readline()


def count_whole_lines(path: Path) -> int:
    """Return the number of lines of a file that are not cut off; 0 if there is no file."""
    return sum(line.is_whole for line in _read_lines(path))


def _read_lines(path: Path) -> Iterator[_Line]:
    """Yield the lines of a file, none if it does not exist. At most MAX_BYTES are in memory."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_BYTES + 1):
            size, end = len(line), line[-1:]
            while size > MAX_BYTES and end != b"\n" and (rest := file.readline(MAX_BYTES)):
                size, end = size + len(rest), rest[-1:]
            is_bounded = size <= MAX_BYTES and not has_many_values(line)
            yield _Line(offset, line if is_bounded else b"", end in (b"\n", b"}"))
            offset += size


def parse_result(line: bytes, request: ChatRequest, refused: Container[str]) -> Result:
    """Return the result in one line; `refused` are the parameters without which the request was sent."""
    found = loads(line)
    response, error = found.get("response"), found.get("error")
    if isinstance(response, dict):
        code, body = response.get("status_code"), response.get("body")
        if isinstance(code, int) and 200 <= code < 300:
            try:
                answer = read_completion(body, cap=request.sampling.max_tokens)
                return Result(dataclasses.replace(answer, batched=True))
            except Unanswered as failed:
                return _failure(failed.error, failed.body, f"HTTP 200: {_one_line(str(failed))}", request, refused)
            except ValueError as wrong:
                return Result(None, "malformed", f"not a chat completion ({wrong}): {str(body)[:200]}")
        if isinstance(code, int) and code >= 400:
            return _failure(classify(code, body), body, f"HTTP {code}: {error_text(body)}", request, refused)
    code = error.get("code") if isinstance(error, dict) else ""
    if code in ("batch_expired", "batch_cancelled"):
        return Result(None, "not_answered", error_text(error) or str(code))
    if error:
        return _failure(classify(200, {"error": error}), error, error_text(error) or str(code), request, refused)
    return Result(None, "server", "no response")


def missing_result(ended: RemoteBatch, request: ChatRequest, refused: Container[str]) -> Result:
    """Return the result of a request that has no line in the files of an ended batch."""
    if ended.status == "failed" and not ended.found_queue_full:
        body = {"code": ended.code, "message": ended.message}
        return _failure(classify(400, body), body, f"the batch failed: {ended.code}: {ended.message}", request, refused)
    return Result(None, "not_answered", f"the batch is {ended.status} and has no result for this request")


def _failure(name: str, body: object, message: str, request: ChatRequest, refused: Container[str]) -> Result:
    """Return the result of a request that was answered with an error of the class `name`."""
    recorded = ChatResponse(error=name) if ERRORS[name].recorded else None
    parameter = find_dispensable(body, request) if name == "unsupported" else ""
    setting = refused_setting(body) if name == "unsupported" and not parameter else ""
    return Result(recorded, name, message, "" if parameter in refused else parameter, setting)


def error_text(body: object) -> str:
    """Return the message in an error body, on one line and at most 300 characters long."""
    return _one_line(read_error(body).message)


def _one_line(message: object) -> str:
    return " ".join(replace_surrogates(str(message or "")).split())[:300]
