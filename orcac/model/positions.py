"""The number of positions of a model: the tokens of the longest sequence that it can read.

Configurations name it differently, and that of a model for several kinds of input has it in the part for text. Some
models have no limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orcac.errors import InputError, as_input_error
from orcac.model.config_file import POSITIONS, first_size
from orcac.model.sizes import check_size

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["check_positions", "count_positions"]


def count_positions(config: PreTrainedConfig) -> int | None:
    """Return the number of positions of a model; None if it has no limit."""
    text = config.get_text_config()
    return first_size(getattr(text, name, None) for name in POSITIONS)


def check_positions(folder: Path, length: int) -> None:
    """Raise InputError if rows of `length` tokens are longer than the model in a folder can read.

    Raises InputError as well if transformers does not have a model of its type.
    """
    from transformers import AutoConfig

    check_size(folder, "the student")
    fix = "give a model of a type that transformers has; code that a model brings is never run"
    with as_input_error("the student's config.json cannot be used", fix=fix):
        positions = count_positions(AutoConfig.from_pretrained(str(folder), trust_remote_code=False))
    if positions is not None and length > positions:
        raise InputError(
            f"rows of {length} tokens, but the student has {positions} positions",
            fix=f"set max_length to {positions} or less",
        )
