"""Conversations as a row's query: a list of turns, `{from, value}` (ShareGPT) or `{role, content}` (messages).

The query is the first turn of the human, and a system turn before it is the row's own system message. The turns after
the first answer are not used, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orcac.tables.paths import lookup

__all__ = ["Conversation", "find_conversation", "lookup_turn"]

_ROLES = {
    "human": "human",
    "user": "human",
    "prompter": "human",
    "system": "system",
    "developer": "system",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The parts of a conversation; "" if it lacks one."""

    human: str
    system: str
    assistant: str  # the answer to the first turn of the human
    later_turns: int  # after that answer


def find_conversation(value: object) -> Conversation | None:
    """Return the conversation that a value is; None if it is not a list of turns.

    Raises ValueError if a turn that is needed is not text.
    """
    if isinstance(value, Mapping):
        value = _join_columns(value)
    if not isinstance(value, list) or not value:
        return None
    turns = [_read_turn(turn) for turn in value]
    if not all(turns):
        return None
    roles = [turn[0] for turn in turns if turn]
    texts = [turn[1] for turn in turns if turn]
    first = roles.index("human") if "human" in roles else len(roles)
    system = roles.index("system") if "system" in roles[:first] else None
    answered = roles[first + 1 : first + 2] == ["assistant"]
    return Conversation(
        human=_text(texts[first]) if first < len(roles) else "",
        system="" if system is None else _text(texts[system]),
        assistant=_text(texts[first + 1]) if answered else "",
        later_turns=max(0, len(roles) - first - 1 - answered),
    )


def lookup_turn(row: Mapping[str, object], path: str) -> str | None:
    """Return the turn that a path names by its role, as in `messages.user`; None if it names none."""
    before, _, name = path.rpartition(".")
    role = _ROLES.get(name)
    conversation = find_conversation(lookup(row, before)) if before and role else None
    return None if conversation is None or role is None else str(getattr(conversation, role))


def _join_columns(value: Mapping[str, object]) -> object:
    """Return turns that are stored as columns, `{role: [...], content: [...]}`, as a list."""
    columns = [column for column in value.values() if isinstance(column, list)]
    if len(columns) != len(value) or len({len(column) for column in columns}) != 1:
        return None
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _read_turn(turn: object) -> tuple[str, object] | None:
    """Return (role, content) of a turn; None if it is not one."""
    if not isinstance(turn, Mapping):
        return None
    role = turn.get("role") or turn.get("from")
    if not isinstance(role, str) or not {"content", "value", "text"} & turn.keys():
        return None
    content = next((turn[key] for key in ("content", "value", "text") if turn.get(key) is not None), "")
    return _ROLES.get(role.lower(), role), content


def _text(content: object) -> str:
    """Return the text of a turn, which may be a list of parts. Raises ValueError if a part is not text."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if all(isinstance(part, str) for part in parts):
            return "".join(map(str, parts)).strip()
    elif isinstance(content, str):
        return content.strip()
    raise ValueError("a turn of the conversation is not text")
