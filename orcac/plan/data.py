"""Translates the data of a stage, one dataset or a mixture of several, into the recipe of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orcac.filter.recipe import Bounds
from orcac.plan.recipes import lower_transform
from orcac.spec import schema
from orcac.spec.filters import find_filters
from orcac.tokenize.recipe import Mixture, Order, Part, TokenizeRecipe

__all__ = ["StageData", "StagePart", "find_size", "lower_rows", "read_data"]


@dataclass(frozen=True, slots=True)
class StagePart:
    """One dataset of a stage."""

    dataset: str
    share: float = 1.0
    learns_reasoning: bool = True


@dataclass(frozen=True, slots=True)
class StageData:
    """The fields of a stage that its rows depend on."""

    parts: tuple[StagePart, ...]
    mixture: Mixture | None  # without its parts; None of one dataset
    holdout: float | None
    order: Order | None
    measure: schema.Measure | None = None  # of `order`
    rated: str = ""  # of an order by values: the dataset whose answers are rated, if it is not that of the examples
    equal: str = ""  # the arm, and its stages, whose rows have as many examples, or examples of as many dollars

    @property
    def name(self) -> str:
        """The name of the data in addresses, which no other data of an arm has."""
        only = self.parts[0]
        name = f"{only.dataset}{'' if only.learns_reasoning else '/answers'}"
        if self.mixture:
            shares, take, repeat = self.mixture.shares, self.mixture.take, self.mixture.repeat
            parts = (f"{p.dataset}-{p.share:g}{'' if p.learns_reasoning else '-answers'}" for p in self.parts)
            name = f"{'+'.join(parts)}/{shares}{f'-{take}' if take else ''}{'-repeat' * repeat}"
            name += f"/{self.mixture.same}-of-{self.equal}" if self.equal else ""
        name += f"/holdout-{self.holdout:g}" if self.holdout else ""
        judge = f"-{self.measure.judge}" if isinstance(self.measure, schema.ByJudge) else ""
        name += f"/by-{self.order.by}{judge}{'-descending' * self.order.descending}" if self.order else ""
        return name + (f"-of-{self.rated}" if self.rated else "")

    @property
    def label(self) -> str:
        """The name of the data for people: `long`, or `80 % long, 20 % short`."""
        names = [part.dataset + ("" if part.learns_reasoning else ", answers alone") for part in self.parts]
        return self._describe(names) + (f", by {self.order.by.replace('_', ' ')}" if self.order else "")

    @property
    def text(self) -> str:
        """The datasets with their shares: `long`, or `80 % long, 20 % short`."""
        return self._describe([part.dataset for part in self.parts])

    def _describe(self, names: Sequence[str]) -> str:
        """Return the names of the parts with their shares, and the arm whose data are as large."""
        if not self.mixture:
            return names[0]
        equal = f", as many {self.mixture.same} as {self.equal}" if self.equal else ""
        if equal and len(names) == 1:
            return names[0] + equal
        return (
            ", ".join(f"{part.share * 100:.4g} % {name}" for part, name in zip(self.parts, names, strict=True)) + equal
        )


def find_size(stage: schema.Stage) -> tuple[Literal["examples", "dollars"] | None, schema.SameAs | None]:
    """Return the figure of another arm that the size of a stage's data is by, and that arm; (None, None) if none."""
    if stage.dollars:
        return "dollars", stage.dollars
    return ("examples", stage.examples) if stage.examples else (None, None)


def read_data(stage: schema.Stage) -> StageData:
    """Return the data of a stage."""
    learns = "reasoning" in stage.learn
    parts = tuple(
        StagePart(name, part.share, "reasoning" in part.learn if part.learn else learns)
        for name, part in stage.data.items()
    )
    same, equal = find_size(stage)
    mixture = None
    if stage.data or equal:
        mixture = Mixture(parts=(), shares=stage.shares, take=stage.take, repeat=stage.repeat, same=same)
    return StageData(
        parts=parts or (StagePart(stage.datasets[0], learns_reasoning=learns),),
        mixture=mixture,
        holdout=stage.holdout,
        order=_read_order(stage.order) if stage.order else None,
        measure=stage.order.by if stage.order else None,
        rated=(stage.order.of if stage.order else None) or "",
        equal="+".join((equal.same_as, *equal.stages)) if equal else "",
    )


def _read_order(order: schema.Order) -> Order:
    return Order(by="judge" if isinstance(order.by, schema.ByJudge) else order.by, descending=order.descending)


def lower_rows(
    data: StageData, spec: schema.Spec, seed: int, examples: Mapping[str, str]
) -> tuple[TokenizeRecipe, tuple[StagePart, ...]]:
    """Return the recipe of the rows of a stage of `spec`, which has a student, and the parts in the recipe's order.

    The order depends on the content of the parts alone, so a dataset may get another name.

    examples: dataset -> KIND/ID of its filter node
    """
    assert spec.student is not None
    lowered = sorted(
        ((part, _lower_part(part, spec)) for part in data.parts),
        key=lambda one: (examples[one[0].dataset], one[1].model_dump_json()),
    )
    parts = tuple(part for part, _ in lowered)
    recipe = TokenizeRecipe(
        seed=seed,
        max_length=spec.student.max_length,
        packing=spec.student.packing,
        holdout=data.holdout,
        order=data.order,
    )
    if data.mixture is None:
        _, only = lowered[0]
        own = {name: getattr(only, name) for name in ("learns_reasoning", "transform", "lengths")}
        return recipe.model_copy(update=own), parts
    mixture = data.mixture.model_copy(update={"parts": tuple(part for _, part in lowered)})
    return recipe.model_copy(update={"mixture": mixture}), parts


def _lower_part(part: StagePart, spec: schema.Spec) -> Part:
    transform = lower_transform(spec.datasets[part.dataset].transform)
    bounds = find_filters(spec, part.dataset).student_tokens
    lengths = {name: Bounds(min=limit.min, max=limit.max) for name, limit in bounds.items()}
    return Part(share=part.share, learns_reasoning=part.learns_reasoning, transform=transform, lengths=lengths)
