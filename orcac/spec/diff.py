"""Which fields of two specs differ, with the class of each: what a person changed, in the spec's own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from orcac.spec.schema import Spec


@dataclass(frozen=True, slots=True)
class Change:
    """`old` or `new` is ABSENT where one side lacks the field."""

    path: str
    old: Any
    new: Any
    kind: str  # semantic, execution or label


ABSENT = "(absent)"


def changes(old: Spec, new: Spec) -> list[Change]:
    """Every leaf that differs, defaults filled in, in the order of the schema; ablations are left out."""
    leaves = [dict(_leaves(spec, "", "semantic")) for spec in (old, new)]
    return [
        Change(path=path, old=left[0], new=right[0], kind=(right if right[0] != ABSENT else left)[1])
        for path in dict.fromkeys([*leaves[0], *leaves[1]])
        if (left := leaves[0].get(path, (ABSENT, "")))[0] != (right := leaves[1].get(path, (ABSENT, "")))[0]
    ]


def _leaves(value: Any, path: str, kind: str) -> Iterator[tuple[str, tuple[Any, str]]]:
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if (path, name) != ("", "ablations"):
                extra = info.json_schema_extra
                assert isinstance(extra, dict)
                # an execution part (hardware.eval) makes all that is in it execution
                inner = str(extra["class"]) if kind == "semantic" else kind
                step = info.alias or name
                yield from _leaves(getattr(value, name), f"{path}.{step}" if path else step, inner)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}", kind)
    else:
        yield path, (list(value) if isinstance(value, tuple) else value, kind)
