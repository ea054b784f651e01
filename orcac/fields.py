"""Fields that people write in a spec: how a field is declared, and the numbers that many of them hold.

A declaration gives the field's class, one line of help and its unit. Docs, the JSON Schema for editors, `orcac diff`
and the error messages read it. The classes:

    semantic    changes the result, so it enters the ids of the nodes that depend on it
    execution   changes where, how fast or at what cost a node is made; never enters an id
    label       names and descriptions; never enters an id

This module is below the spec's schema because the types that a spec, a recipe and a request share are declared with
it (`orcac.chat.settings`), and asking models needs no spec.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal, TypedDict, Unpack

from pydantic import BeforeValidator, Field, JsonValue, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

FieldClass = Literal["semantic", "execution", "label"]


class Limits(TypedDict, total=False):
    """Further arguments of a declaration, passed to pydantic's `Field` unchanged."""

    ge: float
    gt: float
    le: float
    lt: float
    min_length: int
    alias: str
    default_factory: Callable[[dict[str, object]], object]


def declare(
    kind: FieldClass, help: str, default: Any = ..., unit: str = "", **limits: Unpack[Limits]
) -> Any:  # pydantic's Field returns Any as well: the annotation beside it gives the type
    """Return a pydantic field of a class; without a default it is required."""
    extra: dict[str, JsonValue] = {"class": kind} | ({"unit": unit} if unit else {})
    given = {} if "default_factory" in limits else {"default": default}
    arguments: dict[str, Any] = {**given, **limits}
    return Field(description=help, json_schema_extra=extra, **arguments)


semantic = partial(declare, "semantic")
execution = partial(declare, "execution")
label = partial(declare, "label")


def _read_reasoning(value: object) -> Literal["on", "off"] | int:
    """Return a setting of reasoning: `on`, `off`, or the largest number of tokens, as in `2_000 tokens`.

    YAML 1.1 reads `on` and `off` as booleans.
    """
    if value is True or value == "on":
        return "on"
    if value is False or value == "off":
        return "off"
    match = re.fullmatch(r"\s*([0-9][0-9_]*)\s*tokens?\s*", value) if isinstance(value, str) else None
    count = int(match[1]) if match else value
    if not isinstance(count, int) or not 1 <= count < 2**31:
        raise PydanticCustomError("measure", "a measure", {"shape": "on, off or a length, such as `2_000 tokens`"})
    return count


Reasoning = Annotated[
    Literal["on", "off"] | int,
    PlainValidator(_read_reasoning),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["on", "off", True, False]},
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^ *[0-9][0-9_]* *tokens? *$"},
            ]
        }
    ),
]


_DEEPEST = 8  # levels of maps and lists in a parameter


def _read_parameter(value: object, depth: int = 0) -> object:
    """Return a value of a request's body unchanged. Raises for one that JSON, or a patch of a spec, cannot express."""
    if isinstance(value, Mapping | list | tuple) and depth < _DEEPEST:
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            if not isinstance(key, str) and isinstance(value, Mapping):
                raise PydanticCustomError("parameter", "a parameter", {"given": key})
            _read_parameter(inner, depth + 1)
        return list(value) if isinstance(value, tuple) else value
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise PydanticCustomError("parameter", "a parameter", {"given": value})


Parameter = Annotated[
    object,
    PlainValidator(_read_parameter),
    WithJsonSchema({"type": ["string", "number", "boolean", "array", "object"]}),
]


def _refuse_text(value: object) -> int | float:
    """Return a number unchanged. Raises for a text or a boolean, which pydantic would convert."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("number", "a number")


def measure(pattern: str, shape: str, scales: dict[str, float]) -> BeforeValidator:
    """Return a validator that reads a number with a unit, as in `3 %`; a plain number is accepted unchanged.

    `pattern` matches the units, `shape` describes the expected form in errors, and `scales` maps each unit to its
    factor.
    """

    def read(value: object) -> int | float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        text = value if isinstance(value, str) else ""
        match = re.fullmatch(rf"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*({pattern})\s*", text)
        if not match:
            raise PydanticCustomError("measure", "a measure", {"shape": shape})
        return float(Decimal(match[1]) * Decimal(str(scales[match[2]])))  # `7 %` is exactly 0.07

    return BeforeValidator(read)


NUMBERS_ONLY = BeforeValidator(_refuse_text)  # not pydantic's strict mode, which refuses 2.0 for a whole number
Whole = Annotated[int, NUMBERS_ONLY]
Number = Annotated[float, Field(strict=True)]
Count = Annotated[int, Field(ge=1), NUMBERS_ONLY]  # limits first, or the JSON Schema lacks them
Share = Annotated[
    float,
    measure("%", "a share, such as `3 %` or 0.03", {"%": 0.01}),
    Field(ge=0, le=1),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": "^ *[0-9_.]+ *% *$"}]}
    ),
]
