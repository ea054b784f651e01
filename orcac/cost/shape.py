"""How large a student is: what training on one token of it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcac.cost import priors
from orcac.cost.figures import Range
from orcac.plan.node import Node
from orcac.spec.schema import SHAPES
from orcac.student.recipe import Scratch, StudentExecution, StudentRecipe


@dataclass(frozen=True, slots=True)
class Model:
    parameters: Range
    layers: int
    hidden: int
    octets: int  # a parameter, on disk, as the student comes
    basis: tuple[str, ...]
    shape: Scratch | None = None  # all that is known of it; None where that is the number of parameters at most

    def flops(self, length: int) -> Range:
        """Of training on one slot: forward and backward, and attention over a row of `length`."""
        return self.parameters * 6 + Range(12.0 * self.layers * self.hidden * length)


def student_model(node: Node, made: Path | None, known: int | None) -> Model:
    """Of a student node; `made` is its model's folder and `known` its parameters, where it is made."""
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, StudentRecipe)
    assert isinstance(execution, StudentExecution)
    if recipe.scratch:
        return Model(_size(recipe.scratch), recipe.scratch.layers, recipe.scratch.hidden, 4, (), recipe.scratch)
    files = recipe.pretrained.files if recipe.pretrained else ()
    configs = [Path(execution.files[file.sha256]) for file in files if file.name == "config.json"]
    shape = _read(made / "config.json" if made else next(iter(configs), None))
    why = "student's shape: its config.json"
    if not shape and execution.like:
        named = SHAPES[execution.like].model_dump()
        shape = Scratch(
            **named | {"vocabulary": 32_001, "kv_heads": named["kv_heads"] or named["heads"], "positions": 1}
        )
        why = f"student's shape: {execution.like}, as `like` says"
    if known:
        return Model(Range(float(known)), shape.layers if shape else 0, shape.hidden if shape else 0, 2, (), shape)
    if not shape:
        return Model(priors.SHAPE.range, 32, 4096, 2, (priors.SHAPE.basis,))
    return Model(_size(shape), shape.layers, shape.hidden, 2, (why,), shape)


def _size(shape: Scratch) -> Range:
    return Range(float(parameters(shape)))


def parameters(shape: Scratch) -> int:
    """How many weights a LLaMA of this shape has."""
    hidden = shape.hidden
    attention = 2 * hidden * hidden * (1 + shape.kv_heads / max(shape.heads, 1))
    block = attention + 3 * hidden * shape.intermediate + 2 * hidden
    embeddings = shape.vocabulary * hidden * (1 if shape.tie_embeddings else 2)
    return round(embeddings + shape.layers * block + hidden)


def _read(config: Path | None) -> Scratch | None:
    """The shape that a LLaMA-like model's config.json tells; None where it tells none."""
    try:
        values: Any = json.loads(config.read_text(encoding="utf-8")) if config else {}
        heads = values["num_attention_heads"]
        return Scratch(
            vocabulary=values["vocab_size"],
            hidden=values["hidden_size"],
            layers=values["num_hidden_layers"],
            heads=heads,
            kv_heads=values.get("num_key_value_heads") or heads,
            intermediate=values["intermediate_size"],
            positions=1,
            tie_embeddings=values.get("tie_word_embeddings", False),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
