r"""The checker `math`: answers that are mathematical expressions, compared by math-verify (`pip install orcac[math]`).

Only texts that look like an expression are sent there, e.g. `\frac{x}{2}`, `(x-1)(x+1)`, `[0, 1)`. Numbers, units,
percentages, dates and times never are: math-verify calls 5 km and 5 m equal, 10 % and 10, 3:45 and 3:30 (measured).
They are compared by the checker `number`, and everything else as text.

The comparison runs in a worker process, which is started at the first use and serves all later ones. A pair that takes
more CPU time or memory than the worker allows itself (see `worker`) is unequal.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import re
import select
import subprocess
import sys
import threading
import time

from orcac.checkers import number, text
from orcac.checkers.characters import fold
from orcac.checkers.checker import UNPARSED, Checker, Extraction, Item, found
from orcac.checkers.number import moment, quantity
from orcac.checkers.statements import answer_in, find_statements
from orcac.checkers.visible import visible
from orcac.errors import InputError
from orcac.extras import fix_of, is_installed

PATIENCE = 120.0  # seconds of wall time for one pair; the worker ends itself after less CPU time
_START = 120.0  # seconds in which the worker must be ready: it imports sympy
_LONGEST = 400  # characters of an expression

_COMMAND = re.compile(r"\\[a-zA-Z]+")
_NAMED = r"(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|pi|theta|alpha|beta)"
_FUNCTION = re.compile(rf"\b(?:{_NAMED}|sqrt|infinity|inf|mod|max|min|gcd)\b")
_WORD = re.compile(r"[^\W\d_]{3,}")
_MEMBER = re.compile(
    r"[\w})\]|'!]\s*(?:[+*/=<>≤≥^×·÷-]|\*\*|[<>]=)\s*[\w\\({\[|+-]|[√π∞±∪∩∈]|^-[a-zA-Z(\\]|\d[a-zA-Z(]|[\w)]\(|\w!"
)
_BRACKETS = re.compile(r"[(\[{].*,.*[)\]}]|\\\{.*\\\}", re.DOTALL)
_LATEX_OF = (
    (re.compile(r"(?<!\\)\bsqrt\s?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s?(?:\(([^()]*)\)|(\w+))"), r"\\sqrt{\1\2}"),
    (re.compile(rf"(?<![\\a-zA-Z])({_NAMED})(?![a-zA-Z])"), r"\\\1 "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"[*×·]"), r"\\cdot "),
    (re.compile(r"÷"), "/"),
    (re.compile(r"≤|<="), r"\\le "),
    (re.compile(r"≥|>="), r"\\ge "),
    (re.compile(r"π"), r"\\pi "),
    (re.compile(r"∞|\binfinity\b"), r"\\infty "),
    (re.compile(r"±"), r"\\pm "),
    (re.compile(r"∪"), r"\\cup "),
    (re.compile(r"∩"), r"\\cap "),
    (re.compile(r"∈"), r"\\in "),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[,;!: ]"), ""),
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ]+")
_SPAN = re.compile(r"\$\$?(?P<a>[^$]{1,400})\$\$?|\\\((?P<b>.{1,400}?)\\\)|\\\[(?P<c>.{1,400}?)\\\]", re.DOTALL)


def is_expression(value: str) -> bool:
    """Return whether a text is a mathematical expression and nothing else: no words, no list without brackets."""
    value = _inner(fold(value))
    if not value or len(value) > _LONGEST or "####" in value or not re.search(r"[a-zA-Z\dπ∞]", value):
        return False
    if value in ("pi", "infinity", "∞"):
        return True
    bare = _FUNCTION.sub("", _COMMAND.sub("", value))
    if _WORD.search(bare) or value.count("$"):
        return False
    if "," in value and not _BRACKETS.search(value):
        return False
    return bool(
        _COMMAND.search(value) or _MEMBER.search(value) or (_BRACKETS.search(value) and re.search(r"\d", value))
    )


def read(response: str, item: Item) -> Extraction:
    """Return the expression that a response states: the whole of it, or of a sentence with formulas, the last one."""
    visible_text = visible(fold(response), item.query)
    if is_expression(visible_text) or quantity.parse(visible_text.strip()):
        return found(visible_text)
    for statement in reversed(find_statements(visible_text)):
        value = visible_text[statement.start : statement.end]
        if statement.kind == "marked":
            return found(value.strip())
        spans = list(_SPAN.finditer(visible_text, statement.start, max(statement.end, statement.start + _LONGEST)))
        if spans and spans[0].start() <= statement.end:
            return found(_right_side(next(group for group in spans[0].groups() if group).strip()))
        if value.strip(" *_`\"'."):
            return found(_right_side(value.strip(" *_`\"'.")))
    spans = list(_SPAN.finditer(visible_text))
    return found(_right_side(next(group for group in spans[-1].groups() if group).strip())) if spans else UNPARSED


def same(value: str, other: str, item: Item) -> bool:
    """Return whether two values are equal: as quantities if either is one with a unit, as expressions, or as texts."""
    if text.same(_inner(fold(value)), _inner(fold(other)), item) or number.same(value, other, item):
        return True
    folded = fold(value), fold(other)
    for one in folded:
        parsed = quantity.parse(one)
        if moment.parse(one) is not None or (parsed is not None and not parsed.is_bare):
            return False
    if not any(map(is_expression, folded)) or not all(map(_is_operand, folded)):
        return False
    return _verified(*sorted(map(_latex, folded)))


def score(value: str, item: Item) -> float:
    """Return 1 for a value equal to the reference, else 0."""
    return float(bool(value) and same(value, answer_in(item.reference), item))


CHECKER = Checker(name="math", read=read, same=same, score=score)


def _is_operand(value: str) -> bool:
    """Return whether a value may be compared with an expression: another one, a bare number, a letter."""
    return (
        is_expression(value) or quantity.parse(value) is not None or re.fullmatch("[a-zA-Z]", _inner(value)) is not None
    )


def _right_side(value: str) -> str:
    """Return the right side of an equation that defines a letter ("3" of "x = 3"), and any other value unchanged."""
    match = re.fullmatch(r"[a-zA-Z](?:_\w)?\s*=\s*([^=]+)", value)
    return match[1] if match else value


def _inner(value: str) -> str:
    value = value.strip(" \t\n*_`\"'").rstrip(".")
    for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if len(value) > len(left) + len(right) and value.startswith(left) and value.endswith(right):
            return value[len(left) : -len(right)].strip()
    return value


def _latex(value: str) -> str:
    value = _SUPERSCRIPT.sub(lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", _inner(value))
    for pattern, latex in _LATEX_OF:
        value = pattern.sub(latex, value)
    return value


@functools.lru_cache(maxsize=65_536)
def _verified(first: str, second: str) -> bool:
    return _WORKER.ask(first, second)


class _Worker:
    """The one worker of this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, first: str, second: str) -> bool:
        """Return whether math-verify calls two expressions equal. Raises InputError if it is not installed."""
        with self._lock:
            process = self._process or self._start()
            assert process.stdin
            try:
                process.stdin.write(json.dumps([first, second]).encode() + b"\n")
                process.stdin.flush()
                return self._line(process, PATIENCE) == b"true"
            except (OSError, TimeoutError):
                self.stop()
                return False

    def stop(self) -> None:
        """End the worker; the next question starts another."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # a question that the killed worker did not read
                    if stream:
                        stream.close()

    def _start(self) -> subprocess.Popen[bytes]:
        if not is_installed("math"):
            raise InputError(
                "expressions are compared by math-verify, which is not installed",
                fix=f"{fix_of('math')}, or choose the checker text",
            )
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "orcac.checkers.math.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt of the terminal ends it through this process
        )
        self._process = process
        if self._line(process, _START) != b"ready":
            self.stop()
            raise InputError(
                "the worker of math-verify does not start", fix="run python -m orcac.checkers.math.worker to see why"
            )
        return process

    def _line(self, process: subprocess.Popen[bytes], patience: float) -> bytes:
        """Return the worker's next line. Raises TimeoutError if it does not come, OSError if the worker has ended."""
        assert process.stdout
        line, deadline = b"", time.monotonic() + patience
        while not line.endswith(b"\n"):
            if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                raise OSError("the worker has ended")
            line += part
        return line.strip()


_WORKER = _Worker()
atexit.register(_WORKER.stop)
