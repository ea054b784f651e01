"""The size of a student: its parameters, and the arithmetic of training it on one token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orcac.cost import priors
from orcac.cost.figures import Range
from orcac.cost.gguf import read_gguf
from orcac.plan.node import Node
from orcac.spec.schema import SHAPES
from orcac.student.recipe import Scratch, StudentExecution, StudentRecipe
from orcac.train.recipe import Lora


@dataclass(frozen=True, slots=True)
class Model:
    """The size of a student's model."""

    parameters: Range
    layers: int
    hidden: int
    bytes_per_parameter: int  # on disk, in the student's own artifact
    basis: tuple[str, ...]
    shape: Scratch | None = None  # None if no more than the number of parameters is known

    def flops(self, length: int, adapter: Lora | None = None) -> Range:
        """Return the FLOPs of training on one slot: forward and backward, attention over a row of `length` included.

        Frozen weights have no gradient, which is a third of the arithmetic of a weight that is trained.
        """
        weights = self.parameters * 6
        if adapter:
            trained = count_adapter(self.shape, adapter) if self.shape else 0
            weights = self.parameters * 4 + Range(6.0 * trained)
        return weights + Range(12.0 * self.layers * self.hidden * length)


def student_model(node: Node, folder: Path | None, parameters: int | None) -> Model:
    """Return the size of a student node's model.

    `folder` is its model folder and `parameters` its recorded number of parameters; both are None if it is not made.
    """
    recipe, execution = node.recipe, node.execution
    assert isinstance(recipe, StudentRecipe)
    assert isinstance(execution, StudentExecution)
    if recipe.scratch:
        return Model(_size(recipe.scratch), recipe.scratch.layers, recipe.scratch.hidden, 4, (), recipe.scratch)
    files = recipe.pretrained.files if recipe.pretrained else ()
    configs = [Path(execution.files[file.sha256]) for file in files if file.name == "config.json"]
    shape = _read_config(folder / "config.json" if folder else next(iter(configs), None))
    why = "student's shape: its config.json"
    if not parameters and len(files) == 1 and files[0].name.endswith(".gguf"):
        parameters, shape = read_gguf(Path(execution.files[files[0].sha256])) or (None, shape)
    if not shape and execution.like:
        like = SHAPES[execution.like].model_dump()
        shape = Scratch(**like | {"vocabulary": 32_001, "kv_heads": like["kv_heads"] or like["heads"], "positions": 1})
        why = f"student's shape: {execution.like}, from student.like"
    if parameters:
        size = Range(float(parameters))
        return Model(size, shape.layers if shape else 0, shape.hidden if shape else 0, 2, (), shape)
    if not shape:
        return Model(priors.SHAPE.range, 32, 4096, 2, (priors.SHAPE.basis,))
    return Model(_size(shape), shape.layers, shape.hidden, 2, (why,), shape)


def _size(shape: Scratch) -> Range:
    return Range(float(count_parameters(shape)))


def count_parameters(shape: Scratch) -> int:
    """Return the number of weights of a LLaMA of this shape."""
    hidden = shape.hidden
    attention = 2 * hidden * hidden * (1 + shape.kv_heads / max(shape.heads, 1))
    block = attention + 3 * hidden * shape.intermediate + 2 * hidden
    embeddings = shape.vocabulary * hidden * (1 if shape.tie_embeddings else 2)
    return round(embeddings + shape.layers * block + hidden)


def _list_matrices(shape: Scratch) -> list[tuple[str, int, int]]:
    """Return the name, the width of the input and that of the output of each matrix of a layer of a LLaMA."""
    hidden, inner, kv = shape.hidden, shape.intermediate, shape.hidden * shape.kv_heads // max(shape.heads, 1)
    return [
        ("q_proj", hidden, hidden),
        ("k_proj", hidden, kv),
        ("v_proj", hidden, kv),
        ("o_proj", hidden, hidden),
        ("gate_proj", hidden, inner),
        ("up_proj", hidden, inner),
        ("down_proj", inner, hidden),
    ]


def count_adapter(shape: Scratch, adapter: Lora) -> int:
    """Return the number of weights of an adapter of a LLaMA of this shape."""
    return shape.layers * adapter.rank * sum(list_adapted(shape, adapter))


def list_adapted(shape: Scratch, adapter: Lora) -> list[int]:
    """Return the width of input and output together of each matrix of a layer that the adapter changes.

    A name that a LLaMA does not have counts for nothing.
    """
    is_all = adapter.targets == ("all-linear",)
    return [one + other for name, one, other in _list_matrices(shape) if is_all or name in adapter.targets]


def count_matrices(shape: Scratch) -> int:
    """Return the number of weights in the matrices of the layers and the output layer: all but embeddings and norms."""
    head = 0 if shape.tie_embeddings else shape.vocabulary * shape.hidden
    return head + count_layer_matrices(shape)


def count_layer_matrices(shape: Scratch) -> int:
    """Return the number of weights in the matrices of the layers, which `quantize` stores in 4 bits."""
    return shape.layers * sum(one * other for _, one, other in _list_matrices(shape))


def find_largest_matrix(shape: Scratch) -> int:
    """Return the number of weights in the largest matrix of a layer."""
    return max(one * other for _, one, other in _list_matrices(shape))


def _read_config(path: Path | None) -> Scratch | None:
    """Return the shape in the config.json of a LLaMA-like model; None if it is missing or incomplete."""
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path else {}
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
