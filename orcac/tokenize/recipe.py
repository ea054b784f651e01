"""The recipe of `tokenize`: `rows.safetensors`, the examples of one dataset packed into sequences.

    input_ids     int32 (rows, max_length)   padded with the tokenizer's pad id
    position_ids  int32 (rows, max_length)   restart at 0 with every example, which isolates them in attention
    labels        int32 (rows, max_length)   -100 everywhere except on the teacher's tokens and the end token

and `counts.json`: examples read, packed, and rejected (too long), rows, tokens, supervised tokens, fill.
Inputs: `examples` (one filter node), `student`.
"""

from __future__ import annotations

from typing import Literal

from orcac.recipe import Execution, Recipe

__all__ = ["VERSION", "Execution", "TokenizeRecipe"]

VERSION = 1


class TokenizeRecipe(Recipe):
    seed: int
    max_length: int
    packing: Literal["best-fit", "shuffle"] = "best-fit"  # shuffle-and-fill is the paper's (§4.1)
