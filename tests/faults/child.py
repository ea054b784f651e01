"""The server as a process: `Child` starts it, reads its counters and changes its limits."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).resolve().parent


class Counters(NamedTuple):
    """The counters of a server since it started or was reset."""

    asked: int  # attempts
    questions: int  # distinct questions among them
    billed: int  # answers made, whether or not they arrived
    bills: int  # distinct bodies that were answered
    billed_again: int  # answers beyond the first to the same body
    input_tokens: int  # billed
    output_tokens: int
    statuses: dict[str, int]
    answered_at: dict[str, int]  # whole second of the server's life -> answers
    pushed_back_at: dict[str, int]
    most_in_flight: int
    span_s: float  # from the first request to the last answer
    now: float  # seconds of the server's life
    cpu_s: float  # of the server


class Child:
    """A server process, to be used as a context manager. It ends with this process, which holds its input open."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.base_url = ""

    def __enter__(self) -> Child:
        line = [sys.executable, "-m", f"{_HERE.parent.name}.{_HERE.name}", *self._arguments]
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_HERE.parent.parent
        )
        assert self._process.stdout
        self.base_url = json.loads(self._process.stdout.readline())["base_url"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(300)

    def counters(self) -> Counters:
        """Return the present counters."""
        return Counters(**self._call("counters"))

    def reset(self) -> None:
        """Set all counters to zero."""
        self._call("reset", {})

    def limit(self, *, requests_per_minute: float | None, tokens_per_minute: float | None = None) -> None:
        """Replace the server's limits."""
        self._call("limits", {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute})

    def billed(self) -> dict[str, int]:
        """Return how often each question was answered, by its last message."""
        return self._call("billed")

    def _call(self, name: str, body: object = None) -> dict:
        url = self.base_url.removesuffix("/v1") + f"/control/{name}"
        data = None if body is None else json.dumps(body).encode()
        open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with open_directly(urllib.request.Request(url, data=data), timeout=300) as response:
            return json.load(response)
