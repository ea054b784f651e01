"""Mixtures as large as the data of another arm, in examples or in dollars.

An example of a dataset costs what all answers to the dataset cost, divided by the examples that are left to train on.
So answers that were rejected, or that do not fit in a row, are paid for by those that are used. The dollars of a stage
are those of its distinct examples, and of all answers if it uses every example. If several stages learn from the same
answers, the stage with the most of them counts. The tokens are those that the server reported; the prices are those of
the recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orcac.collect.recipe import CollectSummary
from orcac.errors import InputError
from orcac.store.store import read_record
from orcac.tokenize.recipe import AnswerPrice, Mixture

__all__ = ["Size", "find_size", "price_answers"]


class Size(NamedTuple):
    """The number of examples of a mixture that is as large as other data."""

    examples: int
    text: str  # for people
    usd: tuple[float, ...] | None = None  # of all answers of each part; None if the number is not by dollars


def find_size(
    mixture: Mixture, names: Sequence[str], inputs: Mapping[str, Sequence[Path]], available: Sequence[int]
) -> Size:
    """Return the size of a mixture that is as large as the rows of `inputs["same_as"]`.

    names: of the parts, for messages. available: the examples of each part that can be trained on. Raises InputError if
    no answer of the mixture has a cost, or if one example costs more than the other data.
    """
    counts = [json.loads((folder / "counts.json").read_text(encoding="utf-8")) for folder in inputs["same_as"]]
    if mixture.same == "examples":
        examples = sum(one["packed"] for one in counts)
        return Size(examples, f"{examples:,} examples, as many as the other arm has")
    used = [share for one in counts for share in _list_used(one)]
    paid: dict[Path, float] = {}  # answers that several stages learn from are paid for once
    for folder, price, share in zip(inputs["same_answers"], mixture.same_prices, used, strict=True):
        paid[folder] = max(paid.get(folder, 0.0), price_answers(folder, price) * share)
    spent = math.fsum(paid.values())
    own = [price_answers(*pair) for pair in zip(inputs["answers"], mixture.prices, strict=True)]
    each = math.fsum(
        part.share * usd / count for part, usd, count in zip(mixture.parts, own, available, strict=True) if count
    )
    if not spent or not each:
        whose = "of the other arm" if each else f"to {', '.join(f'`{name}`' for name in names)}"
        raise InputError(
            f"the answers {whose} have no cost: their server counted no tokens",
            fix="write `take` or `examples` in place of `dollars`",
        )
    examples = math.floor(spent / each * (1 + 1e-9))
    text = f"{examples:,} examples of {_usd(each)} each for {_usd(spent)}, the dollars of the other arm"
    if not examples:
        raise InputError(f"too few dollars: {text}", fix="take the dollars of a larger stage, or of several stages")
    return Size(examples, text, tuple(own))


def price_answers(folder: Path, price: AnswerPrice) -> float:
    """Return the USD of all answers of a collect node, by their recorded tokens. Raises StoreError if it is damaged."""
    path = folder / "artifact.json"
    summary = CollectSummary.from_json(read_record(path).get("summary"), path)
    return (summary.input_tokens * price.input + summary.output_tokens * price.output) / 1e6


def _list_used(counts: Mapping[str, object]) -> list[float]:
    """Return the share of the examples of each part that is used; 1 for the only dataset of rows without parts."""
    parts = counts.get("parts")
    if not isinstance(parts, list):
        return [1.0]
    return [min(1.0, part["examples"] / part["available"]) for part in parts]


def _usd(usd: float) -> str:
    return f"{usd:.4g} USD"
