"""The base type of summaries: the figures of an artifact that its record holds under "summary".

Each kind's `recipe.py` has one such type. `run` returns it, `make` writes it, and the report, the cost model and the
model card read it. A store outlives the versions of orcac that fill it, so reading is tolerant: a field that an older
orcac did not write takes its default, and a field that only a newer one knows is ignored.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from orcac.errors import StoreError

__all__ = ["OMIT_NONE", "ShardSummary", "Summary"]

OMIT_NONE = {"omit_none": True}  # metadata of a field that the JSON form leaves out if it is None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The main figures of one artifact; `kind` is the kind of node that makes it."""

    kind: ClassVar[str] = ""

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON values, in the order of the type."""
        values = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if "omit_none" in field.metadata and values[field.name] is None:
                del values[field.name]
        return values

    @classmethod
    def from_json(cls, values: object, path: Path) -> Self:
        """Read the JSON form, which was found in the file `path`.

        Raises StoreError if a field without a default is missing, or if a value has the wrong type.
        """
        if cls not in _ADAPTERS:
            _ADAPTERS[cls] = TypeAdapter(cls)
        try:
            summary = _ADAPTERS[cls].validate_python(values)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise StoreError(
                f"{path}: the summary is damaged" + (f" ({place})" if place else ""),
                fix=f"delete {path.parent}, then run again: the artifact is made anew",
            ) from None
        assert isinstance(summary, cls)
        return summary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShardSummary(Summary):
    """The figures of one shard of a node; only the number of its answers if no model is asked."""

    prompts: int
    answered: int | None = dataclasses.field(default=None, metadata=OMIT_NONE)
    failed: dict[str, int] | None = dataclasses.field(default=None, metadata=OMIT_NONE)  # error class -> prompts
    usd: float | None = dataclasses.field(default=None, metadata=OMIT_NONE)


_ADAPTERS: dict[type[Summary], TypeAdapter[Summary]] = {}  # making one takes a millisecond
