"""The parameters and the shape of a model in a GGUF file, from its header."""

from __future__ import annotations

import math
from pathlib import Path

from orcac.model.gguf_header import read_header
from orcac.student.recipe import Scratch

__all__ = ["read_gguf"]


def read_gguf(path: Path) -> tuple[int, Scratch | None] | None:
    """Return the number of weights of a GGUF file and its shape; None if the header cannot be read.

    The shape is None if the metadata lack a part of it.
    """
    header = read_header(path)
    if header is None:
        return None
    return sum(map(math.prod, header.dimensions.values())), _find_shape(header.metadata, header.dimensions)


def _find_shape(metadata: dict[str, object], dimensions: dict[str, tuple[int, ...]]) -> Scratch | None:
    kind = metadata.get("general.architecture")
    names = ("embedding_length", "block_count", "attention.head_count", "feed_forward_length")
    found = [metadata.get(f"{kind}.{name}") for name in names]
    numbers = [value for value in found if isinstance(value, int) and value > 0]
    embeddings = dimensions.get("token_embd.weight", ())
    if len(numbers) < len(names) or len(embeddings) != 2:
        return None
    hidden, layers, heads, intermediate = numbers
    kv_heads = metadata.get(f"{kind}.attention.head_count_kv")
    return Scratch(
        vocabulary=embeddings[1],
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads if isinstance(kv_heads, int) and kv_heads > 0 else heads,
        intermediate=intermediate,
        positions=1,
        tie_embeddings="output.weight" not in dimensions,
    )
