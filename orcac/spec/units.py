"""Values of a spec with a unit or a form of their own: `160 rows`, `60_000 USD`, `8 GiB`, `2 hours`, names, paths.

Plain numbers and shares are in `orcac.fields`, because requests and prices use them without a spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from orcac.fields import measure

Rows = Annotated[
    int,
    measure("rows?", "a number of rows, such as `160 rows`", {"row": 1, "rows": 1}),
    Field(ge=1),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^ *[0-9][0-9_]* +rows? *$"}]}
    ),
]


class ShortForm:
    """Marks a field that may be written in short: `expand` returns the full form, and any other value as it is.

    forms: the JSON Schemas of the short forms
    """

    def __init__(self, expand: Callable[[object], object], *forms: dict[str, object]) -> None:
        self._expand, self._forms = expand, forms

    def __get_pydantic_core_schema__(self, kind: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._expand, handler(kind))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [handler(core), *self._forms]}


class BatchSize(NamedTuple):
    """The size of an optimizer step, in the unit that the spec gives: rows, or tokens of full rows."""

    size: int
    unit: Literal["rows", "tokens"] = "rows"

    def __str__(self) -> str:
        return f"{self.size} {self.unit}"

    def rows(self, max_length: int) -> int:
        """Return the size in whole rows of `max_length` tokens."""
        return self.size if self.unit == "rows" else self.size // max_length


def _batch_size(value: object) -> BatchSize:
    """Return the batch size that a number, `160 rows` or `327_680 tokens` denotes."""
    if isinstance(value, BatchSize):
        return value
    match = (
        re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(row|token)s?\s*", value) if isinstance(value, str) else None
    )
    if not match and (not isinstance(value, int | float) or isinstance(value, bool)):
        shape = "a number of rows or tokens, such as `160 rows`"
        raise PydanticCustomError("measure", "a measure", {"shape": shape})
    count = Decimal(match[1] if match else str(value))
    if count != count.to_integral_value():
        raise PydanticKnownError("int_from_float")
    if count < 1:
        raise PydanticKnownError("greater_than_equal", {"ge": 1})
    if count > 2**40:
        raise PydanticKnownError("less_than_equal", {"le": 2**40})
    return BatchSize(int(count), "tokens" if match and match[2] == "token" else "rows")


RowsOrTokens = Annotated[
    BatchSize,
    PlainValidator(_batch_size),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^ *[0-9][0-9_]* *(row|token)s? *$"},
            ]
        }
    ),
]
Dollars = Annotated[
    float,
    measure("USD", "an amount, such as `60_000 USD`", {"USD": 1}),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^ *[0-9_.]+ *USD *$"}]}),
]
Points = Annotated[
    float,
    measure("pt|points?", "a number of percentage points, such as `2pt`", {"pt": 1, "point": 1, "points": 1}),
    Field(gt=0, lt=100),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100},
                {"type": "string", "pattern": "^ *[0-9_.]+ *(pt|points?) *$"},
            ]
        }
    ),
]
Megabytes = Annotated[
    int,
    measure("MiB|GiB", "a size, such as `8 GiB`", {"MiB": 1, "GiB": 1024}),
    Field(ge=100),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^ *[0-9_.]+ *[MG]iB *$"}]}),
]
Minutes = Annotated[
    int,
    measure(
        "minutes?|hours?|days?",
        "a duration, such as `2 hours`",
        {"minute": 1, "minutes": 1, "hour": 60, "hours": 60, "day": 1440, "days": 1440},
    ),
    Field(ge=1),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^ *[0-9_.]+ *(minute|hour|day)s? *$"}]}
    ),
]


def _check_learnt(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the learnt parts in the order of the text. Raises if the answer is not among them."""
    if "answer" not in value:
        message = "`learn` must contain `answer`, since a student stops after it: [answer] or [reasoning, answer]"
        raise PydanticCustomError("learn", message)
    return tuple(part for part in ("reasoning", "answer") if part in value)


Learnt = Annotated[tuple[Literal["reasoning", "answer"], ...], AfterValidator(_check_learnt)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


_VARIABLE = "^[A-Za-z_][A-Za-z0-9_]*$"


def _variable(value: str) -> str:
    """Return the name of an environment variable unchanged. Raises for any other text, which may be the key itself."""
    if re.fullmatch(_VARIABLE[1:-1], value):
        return value
    if match := re.fullmatch(r"\$(?:([A-Z][A-Z0-9_]*)|\{([A-Z][A-Z0-9_]*)\})", value):
        raise PydanticCustomError(
            "variable", "write the name of the variable without `$`: `{name}`", {"name": match[1] or match[2]}
        )
    message = (
        "this must be the NAME of an environment variable; put the key in that variable, since a key belongs in no file"
    )
    raise PydanticCustomError("variable", message)  # without the value, which would end up in logs


Variable = Annotated[str, AfterValidator(_variable), WithJsonSchema({"type": "string", "pattern": _VARIABLE})]
# The names of `orcac.checkers`, which takes longer to import than the rest of the language; a test compares the two.
CheckerName = Literal["auto", "option", "number", "math", "text", "rouge-l", "final-answer", "first-capital"]
Measure = Literal[CheckerName, "form"]  # `form` compares with the answers of a model, which only a benchmark has
_ONE_OR_MORE = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
Paths = Annotated[
    tuple[str, ...],
    _ONE_OR_MORE,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
_CHECKER: dict[str, JsonValue] = {"type": "string", "enum": [*get_args(Measure)]}
Checkers = Annotated[
    tuple[Measure, ...],
    _ONE_OR_MORE,
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_CHECKER, {"type": "array", "items": _CHECKER, "minItems": 1}]}),
]
Targets = Annotated[
    tuple[str, ...],
    _ONE_OR_MORE,
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
