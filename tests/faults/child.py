"""The server as a process: `Child` starts it, asks it for its counters and moves its limits."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).resolve().parent


class Counters(NamedTuple):
    asked: int  # attempts
    questions: int  # of them, distinct
    billed: int  # answers made, whether or not they arrived
    bills: int  # distinct bodies that were answered
    billed_again: int  # answers beyond the first of a body
    input_tokens: int  # billed
    output_tokens: int
    statuses: dict[str, int]
    answered_at: dict[str, int]  # whole second of the server's life -> answers
    pushed_back_at: dict[str, int]
    most_in_flight: int
    now: float  # seconds of the server's life
    cpu_s: float  # of the server


class Child:
    """A server process while it is entered. It ends with us, since it reads until the end of its input."""

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
        self._process.wait(10)

    def counters(self) -> Counters:
        return Counters(**self._call("counters"))

    def reset(self) -> None:
        """Forget what was counted."""
        self._call("reset", {})

    def limit(self, *, requests_per_minute: float | None, tokens_per_minute: float | None = None) -> None:
        """From now on."""
        self._call("limits", {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute})

    def billed(self) -> dict[str, int]:
        """The last message of each question -> how often it was answered."""
        return self._call("billed")

    def _call(self, name: str, body: object = None) -> dict:
        url = self.base_url.removesuffix("/v1") + f"/control/{name}"
        data = None if body is None else json.dumps(body).encode()
        open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with open_directly(urllib.request.Request(url, data=data), timeout=30) as response:
            return json.load(response)
