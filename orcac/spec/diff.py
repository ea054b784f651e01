"""Which fields of two specs differ, with the class of each: what a person changed, in the spec's own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from orcac.spec.schema import Spec
from orcac.spec.units import BatchSize


@dataclass(frozen=True, slots=True)
class Change:
    """`old` or `new` is ABSENT where one side lacks the field."""

    path: str
    old: Any
    new: Any
    kind: str  # semantic, execution or label


ABSENT = "(absent)"


def changes(old: Spec, new: Spec) -> list[Change]:
    """Every leaf that differs, in the order of the schema; what makes arms, and `extends`, are left out.

    Where both sides have a part its defaults count; of a part that one side lacks, only what was written is shown.
    """
    before, after = ({leaf.path: leaf for leaf in _leaves(spec, "", "semantic", True)} for spec in (old, new))
    found = []
    for path in dict.fromkeys([*before, *after]):
        left, right = before.get(path), after.get(path)
        known = right or left
        assert known
        if left and right:
            if left.value != right.value:
                found.append(Change(path, left.value, right.value, known.kind))
        elif known.written:
            found.append(Change(path, left.value if left else ABSENT, right.value if right else ABSENT, known.kind))
    return found


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: str
    value: Any
    kind: str
    written: bool  # it stands in the spec, rather than being a default


def _leaves(value: Any, path: str, kind: str, written: bool) -> Iterator[_Leaf]:
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if path or name not in ("ablations", "sweep", "extends"):
                extra = info.json_schema_extra
                assert isinstance(extra, dict)
                # an execution part (hardware.eval) makes all that is in it execution
                inner = str(extra["class"]) if kind == "semantic" else kind
                step = info.alias or name
                where = f"{path}.{step}" if path else step
                yield from _leaves(getattr(value, name), where, inner, written and name in value.model_fields_set)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}", kind, written)
    else:
        plain = str(value) if isinstance(value, BatchSize) else list(value) if isinstance(value, tuple) else value
        yield _Leaf(path, plain, kind, written)
