"""The records that the options of `orcac answers` select."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.errors import InputError

if TYPE_CHECKING:
    from orcac.chat.ledger.record import Record

_PATIENCE_S = 5.0  # for one answer: some expressions take exponential time on some texts


def read_selection(
    *,
    model: str | None,
    contains: str | None,
    matches: str | None,
    error: str | None,
    finish_reason: str | None,
    teacher: str | None,
    key: str | None,
    spec: Path | None,
    patience_s: float = _PATIENCE_S,
) -> Callable[[Record], bool]:
    """Return whether a record has all the properties that are given, as a function.

    Raises InputError for an unknown class of error, a bad expression, or a teacher that the spec does not have; the
    function raises it if the expression takes longer than `patience_s` on one answer.
    """
    from orcac.chat.ledger.record import RECORDED_FAILURES

    if error not in (None, "any", *RECORDED_FAILURES):
        raise InputError(
            f"the ledger keeps no failures of class {error!r}",
            fix=f"give --error {' or '.join(('any', *RECORDED_FAILURES))}",
        )
    if spec and not spec.is_file():
        raise InputError(f"{spec}: no such file", fix="give the path of a spec, or leave --spec out")
    if key and not re.fullmatch("[0-9a-f]{1,32}", key):
        raise InputError(
            f"--key {key}: not the beginning of a key", fix="give hex digits, as `list --json` prints them"
        )
    pattern = _compile(matches) if matches is not None else None
    asked = {(teacher, "")} if teacher else None
    if spec and teacher:
        asked = _read_teacher(spec, teacher)

    def is_selected(record: Record) -> bool:
        request, response, failure = record["request"], record["response"], failure_of(record)
        origin = request["origin"].partition("/")[0]
        return (
            (model is None or request["model"] == model)
            and (asked is None or not asked.isdisjoint({(request["model"], ""), (request["model"], origin)}))
            and (key is None or record["key"].startswith(key))
            and (error is None or failure == error or (error == "any" and failure != ""))
            and (finish_reason is None or response["finish_reason"] == finish_reason)
            and (contains is None or any(contains in text for text in (*texts_of(record), record.get("reasoning", ""))))
            and (pattern is None or _has_match(pattern, record, patience_s))
        )

    return is_selected


def texts_of(record: Record) -> list[str]:
    """Return the texts of the messages, and the answer, or the refusal in its place."""
    answer = record["response"]["text"] or record.get("refusal", "")
    return [*(content for _, content in record["request"]["messages"]), answer]


def failure_of(record: Record) -> str:
    """Return the class of a failure, "" for an answer.

    OpenAI's filter removes the text of an answer and still charges for it, so the ledger holds it as an answer.
    """
    response = record["response"]
    filtered = response["finish_reason"] == "content_filter" and not response["text"]
    return response["error"] or ("content_filter" if filtered else "")


def _compile(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"--matches: not a regular expression: {error}", fix="correct it, or use --contains") from None


def _has_match(pattern: re.Pattern[str], record: Record, patience_s: float) -> bool:
    with _stop_after(patience_s, record["key"]):
        return any(pattern.search(text) for text in (texts_of(record)[-1], record.get("reasoning", "")))


@contextmanager
def _stop_after(seconds: float, key: str) -> Iterator[None]:
    """Raise InputError in the block after so many seconds; `re` lets a signal stop a search."""

    def stop(number: int, frame: object) -> None:
        raise InputError(
            f"--matches: the expression takes more than {seconds:g} s on the answer {key}",
            fix="avoid repetitions inside repetitions, or use --contains",
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _read_teacher(spec: Path, name: str) -> set[tuple[str, str]]:
    """Return (model, origin) of a teacher in each arm of a spec."""
    from orcac.plan.asking import find_origin
    from orcac.spec.load import load

    found = [arm.spec.teachers[name] for arm in load(spec).arms.values() if name in arm.spec.teachers]
    if not found:
        raise InputError(f"{spec}: there is no teacher `{name}`", fix="name one of its `teachers`")
    return {(teacher.model, find_origin(teacher.endpoint)) for teacher in found}
