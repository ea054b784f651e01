"""The fields in which two specs differ, each with its class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from orcac.spec.schema import Spec
from orcac.spec.units import BatchSize


@dataclass(frozen=True, slots=True)
class Change:
    """A field with two values; ABSENT is the value on a side that lacks the field."""

    path: str
    old: object
    new: object
    kind: str  # semantic, execution or label


ABSENT = "(absent)"


def compare_specs(old: Spec, new: Spec) -> list[Change]:
    """Return every field that differs, in the order of the schema, except `ablations`, `sweep` and `extends`.

    If both sides have a part, its defaults count. Of a part that one side lacks, only the written fields are returned.
    """
    before, after = ({leaf.path: leaf for leaf in _leaves(spec, "", "semantic", True)} for spec in (old, new))
    changes = []
    for path in dict.fromkeys([*before, *after]):
        left, right = before.get(path), after.get(path)
        leaf = right or left
        assert leaf
        if left and right:
            if left.value != right.value:
                changes.append(Change(path, left.value, right.value, leaf.kind))
        elif leaf.is_written:
            changes.append(Change(path, left.value if left else ABSENT, right.value if right else ABSENT, leaf.kind))
    return changes


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A field that has no fields of its own."""

    path: str
    value: object
    kind: str
    is_written: bool  # the spec contains it; otherwise it is a default


def _leaves(value: object, path: str, kind: str, is_written: bool) -> Iterator[_Leaf]:
    """Yield the leaves of a part of a spec, which has the class `kind`."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if path or name not in ("ablations", "sweep", "extends"):
                extra = info.json_schema_extra
                assert isinstance(extra, dict)
                # every field of an execution part (hardware.eval) is execution, whatever its own class
                inner = str(extra["class"]) if kind == "semantic" else kind
                step = info.alias or name
                field = f"{path}.{step}" if path else step
                yield from _leaves(getattr(value, name), field, inner, is_written and name in value.model_fields_set)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}", kind, is_written)
    else:
        plain = str(value) if isinstance(value, BatchSize) else list(value) if isinstance(value, tuple) else value
        yield _Leaf(path, plain, kind, is_written)
