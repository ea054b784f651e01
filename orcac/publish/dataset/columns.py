"""The columns of an exported dataset, by its form: a list of columns with their meanings, and the values of a row.

    messages    conversations, which chat templates read, with the provenance of each row; reasoning is the field
                `reasoning_content` of the answer's message
    openorca    the columns of the OpenOrca dataset: one text each; reasoning is a column of its own

Both forms have `sample` if the dataset has several answers to a prompt, and `verdict` and `reason` if the rows that the
filters dropped are exported too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

import pyarrow as pa

from orcac import rows
from orcac.rows import Rejected, Response

__all__ = ["Form", "Layout"]

Form = Literal["messages", "openorca"]

_MESSAGES = {  # column -> its meaning; the card lists them
    "messages": "the conversation: a system message, unless it is empty, the question, and the answer",
    "id": "digest of source, task, question and system message",
    "source": "the collection of the question",
    "task": "the task of the question in its collection",
    "system_id": "number of the system message in its library; 1 is the empty one",
    "teacher": "the model that answered",
    "reference": "the known right answer; empty if none is known",
    "options": "the allowed final answers; empty if the question lists none",
    "finish_reason": "the reason why the answer ended",
    "input_tokens": "tokens of the prompt, as the server counted them; 0 if nothing counted them",
    "output_tokens": "tokens of reasoning and answer, likewise",
}
_OPENORCA = {
    "id": _MESSAGES["id"],
    "system_prompt": "the system message, or an empty text",
    "question": "the question",
    "response": "the answer",
}
_REASONING = {"reasoning": "the reasoning before the answer, or an empty text"}
_SAMPLE = {"sample": "number of the answer among those to the same prompt"}
_VERDICT = {
    "verdict": "kept or rejected, by the filters",
    "reason": "the reason of a rejected row; empty for a kept one",
}
_OWN_NAMES = {"system_prompt": "system", "question": "query"}  # column -> field of a row


class _Message(TypedDict, total=False):
    role: str
    content: str
    reasoning_content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of one export."""

    form: Form
    has_reasoning: bool
    has_samples: bool
    has_verdicts: bool

    @property
    def columns(self) -> dict[str, str]:
        """The columns with their meanings."""
        columns = _MESSAGES if self.form == "messages" else _OPENORCA | (_REASONING if self.has_reasoning else {})
        return columns | (_SAMPLE if self.has_samples else {}) | (_VERDICT if self.has_verdicts else {})

    @property
    def schema(self) -> pa.Schema:
        """The columns of the Parquet file. Messages have a field of reasoning if some answer has any."""
        names = ["role", "content", *(["reasoning_content"] if self.has_reasoning else [])]
        message = pa.struct([(name, pa.string()) for name in names])
        stored = rows.schema(Rejected, {"reasoning", "sample"})
        types = {"messages": pa.list_(message), "verdict": pa.string()}
        return pa.schema(
            [(name, types.get(name) or stored.field(_OWN_NAMES.get(name, name)).type) for name in self.columns]
        )

    def values(self, row: Response) -> dict[str, object]:
        """Return the columns of a row."""
        made: dict[str, Callable[[], object]] = {
            "messages": lambda: _list_messages(row),
            "verdict": lambda: "rejected" if isinstance(row, Rejected) else "kept",
            "reason": lambda: getattr(row, "reason", ""),
        }
        return {
            name: made[name]() if name in made else getattr(row, _OWN_NAMES.get(name, name)) for name in self.columns
        }


def _list_messages(row: Response) -> list[_Message]:
    answer: _Message = {"role": "assistant", "content": row.response}
    if row.reasoning:
        answer["reasoning_content"] = row.reasoning
    before: list[_Message] = [{"role": "system", "content": row.system}] if row.system else []
    return [*before, {"role": "user", "content": row.query}, answer]
