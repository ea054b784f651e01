"""The recipe of `tokenize`: `rows.safetensors`, the examples of one dataset packed into sequences. Its rows are read as

    input_ids     int32 (rows, max_length)   padded with the tokenizer's pad id
    position_ids  int32 (rows, max_length)   restart at 0 with every example, which isolates them in attention
    labels        int32 (rows, max_length)   -100 everywhere except on the teacher's tokens and the end token

and stored as flat ids with offsets (see rowfile.py). Beside them is `counts.json`: examples read, packed, and rejected
(too long), rows, tokens, supervised tokens, fill. With `holdout` the rows of the examples that are kept apart are in
`holdout.safetensors` (see holdout.py). The teacher's tokens are its reasoning, if the example has some, and its answer,
with the marks of the chat format between them.
Inputs: `examples` (one filter node; of a mixture one for each part), `student`, and for an order by values of questions
`rated` (one rate node for each of `examples`). If the rows are as many as those of another arm (equal.py): `same_as`,
its tokenize nodes, and for a number of dollars `answers`, the collect node of each of `examples`, and `same_answers`,
that of each part of `same_as`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.filter.recipe import Bounds
from orcac.recipe import Execution, Frozen, Recipe
from orcac.summary import OMIT_NONE, Summary
from orcac.tokenize.steps import Schedule

__all__ = [
    "ENOUGH",
    "VERSION",
    "AnswerPrice",
    "Mixture",
    "Order",
    "Part",
    "PartSummary",
    "TokenizeExecution",
    "TokenizeRecipe",
    "TokenizeSummary",
    "Transform",
]

VERSION = 2
ENOUGH = 10  # questions of a teacher and source that spare at least one for the holdout


class Transform(Frozen):
    """A change of each example's trace (transform.py). The three are applied in this order."""

    shuffle_steps: float | None = None  # share of the steps that change places
    delete_steps: float | None = None  # share of the steps that are left out
    keep_tokens: int | None = None  # length to which the trace is cut, in tokens of the student


class Part(Frozen):
    """One dataset of a mixture."""

    share: float
    learns_reasoning: bool = True
    transform: Transform | None = None
    lengths: dict[Literal["answer", "reasoning", "both"], Bounds] = {}  # to keep, in tokens of the student


class AnswerPrice(Frozen):
    """The price of a teacher's answers, in USD per million tokens."""

    input: float
    output: float


class Mixture(Frozen):
    """The examples of an epoch, drawn from several datasets (mixture.py)."""

    parts: tuple[Part, ...]  # one for each of the inputs `examples`, in their order
    shares: Literal["examples", "tokens"]  # unit of the shares and of `take`
    take: int | None = None  # size of the mixture
    repeat: bool = False  # repeat the examples of a part that is too short
    same: Literal["examples", "dollars"] | None = None  # as many as `same_as` has, in place of `take` (equal.py)
    prices: tuple[AnswerPrice, ...] = ()  # with `dollars`: one for each of the inputs `answers`
    same_prices: tuple[AnswerPrice, ...] = ()  # and one for each of the inputs `same_answers`


class Order(Frozen):
    """The order of the examples, and so of the rows (order.py)."""

    by: Literal["length", "pass_rate", "judge"]  # learnt tokens; or the input `rated`: questions of high values first
    descending: bool = False

    @property
    def is_by_value(self) -> bool:
        return self.by != "length"


class TokenizeRecipe(Recipe):
    seed: int
    max_length: int
    packing: Literal["best-fit", "shuffle", "none"] = "best-fit"  # shuffle-and-fill is the paper's (§4.1)
    learns_reasoning: bool = True  # if not, the rows hold each example's answer without its reasoning
    holdout: float | None = None  # share of the questions whose examples are kept apart
    transform: Transform | None = None
    lengths: dict[Literal["answer", "reasoning", "both"], Bounds] = {}  # to keep, in tokens of the student
    mixture: Mixture | None = None  # of several datasets, whose parts have `learns_reasoning`, `transform`, `lengths`
    order: Order | None = None  # None: the rows have no order

    @property
    def parts(self) -> tuple[Part, ...]:
        """The datasets; a single one without a mixture."""
        if self.mixture:
            return self.mixture.parts
        return (
            Part(
                share=1.0,
                learns_reasoning=self.learns_reasoning,
                transform=self.transform,
                lengths=self.lengths,
            ),
        )


class TokenizeExecution(Execution):
    datasets: tuple[str, ...] = ()  # names of the parts of a mixture
    stages: tuple[Schedule, ...] = ()  # that are trained on the rows, to warn of those with few steps


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSummary:
    """The counts of one dataset of a mixture."""

    dataset: str
    available: int  # examples that fit and are not kept apart
    examples: int  # in the rows, repetitions included
    tokens: int  # of these, without padding


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeSummary(Summary):
    """The counts of packed rows."""

    kind: ClassVar[str] = "tokenize"

    examples: int  # examples + repeated = packed + too_long + forged + held_out + undrawn + the sum of outside
    packed: int  # repetitions included
    too_long: int  # examples with more tokens than a row has slots
    rows: int
    tokens: int  # without padding
    supervised_tokens: int
    fill: float  # fraction of the rows' slots that hold tokens
    # examples whose length in tokens of the student is outside the recipe's bounds: reason -> examples; None if none
    outside: dict[str, int] | None = field(default=None, metadata=OMIT_NONE)
    forged: int | None = field(default=None, metadata=OMIT_NONE)  # examples with a mark of the chat template in a text
    held_out: int | None = field(default=None, metadata=OMIT_NONE)  # kept apart; None without `holdout`
    repeated: int | None = field(default=None, metadata=OMIT_NONE)  # of a mixture: occurrences beside the first
    undrawn: int | None = field(default=None, metadata=OMIT_NONE)  # of a mixture: examples that are in no row
    parts: tuple[PartSummary, ...] | None = field(default=None, metadata=OMIT_NONE)  # of a mixture
    dollars: float | None = field(default=None, metadata=OMIT_NONE)  # of its examples, if it has as many as another arm
    packing: str | None = field(default=None, metadata=OMIT_NONE)  # "none" if each row has one example
    unrated: int | None = field(default=None, metadata=OMIT_NONE)  # packed examples without a value; None if none
    transformed: int | None = field(default=None, metadata=OMIT_NONE)  # read examples that `transform` changed
    reasoned: int | None = field(default=None, metadata=OMIT_NONE)  # packed examples with reasoning; None if none has
