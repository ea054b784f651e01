"""Renders chat templates within limits of time and memory.

A chat template is a program of a stranger. The sandbox of transformers holds what it may reach, but not what it costs:
`{{ 'a' * 10**9 }}` takes a gigabyte, even while it is compiled, and nested loops take for ever. So it is compiled and
rendered in a child process, which the system ends at a limit. The child is forked, because transformers takes a second
to import; it reads conversations from a pipe, and lives for one `Session`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from orcac.errors import InputError

Message = dict[str, Any]

CPU_S = 10  # of a session; a published template takes a hundredth of a second
MEMORY = 512 << 20  # bytes beyond those of this process
TEXT = 1_000_000  # characters of a template, and of a conversation that it renders
_WAIT_S = 900.0  # for one conversation: the CPU may be shared with many processes
_REASON = 300  # characters of an error
_DESCRIPTORS = 1 << 20
_FIX = "correct the model's chat template, or take another model"


class TooCostly(InputError):
    """A chat template exceeds a limit of time, of memory or of length."""


class Rejected(Exception):
    """A chat template rejects a conversation, in its own words."""


class Rendered(NamedTuple):
    """A rendered conversation."""

    text: str
    spans: list[tuple[int, int]]  # the first character of each part that is marked as generated, and the one behind it


class Session:
    """A child process that renders one chat template, as a context manager.

    special: the special tokens, by the names under which a template knows them. has_marks: whether spans are wanted
    """

    def __init__(self, template: str, special: Mapping[str, object], *, has_marks: bool) -> None:
        if len(template) > TEXT:
            raise _is_long("has", len(template))
        self._template, self._special, self._has_marks = template, special, has_marks
        self._child = 0

    def __enter__(self) -> Session:
        import transformers.utils.chat_template_utils  # noqa: F401 (imported before the fork, once for all children)

        asked, asks = os.pipe()
        answers, answered = os.pipe()
        self._child = os.fork()
        if not self._child:
            _serve(asked, answered, self._template, self._special, has_marks=self._has_marks)
        os.close(asked)
        os.close(answered)
        self._asks, self._answers = os.fdopen(asks, "wb"), os.fdopen(answers, "rb")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._asks.close()
        self._answers.close()
        if self._child:
            self._end()

    def render(self, messages: list[Message], **variables: object) -> Rendered:
        """Return the text of a conversation.

        Raises Rejected if the template rejects it, TooCostly if it exceeds a limit, InputError for any other failure.
        """
        if not self._child:
            raise _exceeds()
        with contextlib.suppress(BrokenPipeError):
            self._asks.write(json.dumps([messages, variables]).encode() + b"\n")
            self._asks.flush()
        ready, _, _ = select.select([self._answers], [], [], _WAIT_S)
        line = self._answers.readline() if ready else b""
        if not line.endswith(b"\n"):
            self._end()
            raise _exceeds()
        answer = json.loads(line)
        match answer.get("problem"):
            case None:
                return Rendered(answer["text"], [(start, end) for start, end in answer["spans"]])
            case "rejected":
                raise Rejected(answer["error"])
            case "length":
                raise _is_long("writes", answer["length"])
            case "memory":
                raise _exceeds()
        raise InputError(f"the model's chat template cannot be rendered ({answer['error']})", fix=_FIX)

    def _end(self) -> None:
        """End the child, which may be killed already, and forget it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._child, 0)
        self._child = 0


def _exceeds() -> TooCostly:
    return TooCostly(
        f"the model's chat template takes more than {CPU_S} seconds of CPU time or {MEMORY >> 20} MiB of memory",
        fix=_FIX,
    )


def _is_long(verb: str, length: int) -> TooCostly:
    return TooCostly(f"the model's chat template {verb} {length:,} characters; {TEXT:,} are the most", fix=_FIX)


def _serve(asked: int, answered: int, template: str, special: Mapping[str, object], *, has_marks: bool) -> NoReturn:
    """Answer the conversations of the pipe `asked` on the pipe `answered` until it is closed, and end this process.

    It is a copy of a process with any number of threads, files and handlers of signals, of which it keeps none.
    """
    try:
        gc.disable()  # it would run destructors of the parent's objects
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        low, high = sorted((asked, answered))
        for first, end in ((3, low), (low + 1, high), (high + 1, _DESCRIPTORS)):
            os.closerange(first, end)  # pipes of other children, locks
        _limit()
        with os.fdopen(asked, "rb") as questions, os.fdopen(answered, "wb") as answers:
            for line in questions:
                messages, variables = json.loads(line)
                answer = _render(template, messages, {**variables, **special}, has_marks=has_marks)
                answers.write(json.dumps(answer).encode() + b"\n")
                answers.flush()
    finally:
        os._exit(0)


def _limit() -> None:
    """Limit this process to CPU_S seconds, and to MEMORY more than it has."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    pages = Path("/proc/self/statm")
    if pages.exists():
        most = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + MEMORY
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _render(
    template: str,
    messages: list[Message],
    variables: dict[str, Any],
    *,
    has_marks: bool,
) -> dict[str, object]:
    """Return an answer to a conversation: a text and its spans, or an error."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        (text,), spans = render_jinja_template(
            conversations=[messages],
            chat_template=template,
            return_assistant_tokens_mask=has_marks,
            **variables,
        )
    except MemoryError:
        return {"problem": "memory"}
    except (TemplateError, TypeError) as error:
        return {"problem": "rejected", "error": str(error)[:_REASON]}
    except Exception as error:  # a template may raise any error of Python's, as for a division by 0
        return {"problem": "broken", "error": f"{type(error).__name__}: {error}"[:_REASON]}
    if len(text) > TEXT:
        return {"problem": "length", "length": len(text)}
    return {"text": text, "spans": spans[0] if spans else []}
