"""The optional parts of orcac (`pip install 'orcac[EXTRA]'`), and the error that names a missing one.

A machine that compiles, prices, asks and filters needs none of them. A part is found by its packages, without importing
them, so a plan's needs are known before anything is asked. `pyproject.toml` lists all packages of a part; a few of
these are enough to recognise it.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Literal

from orcac.errors import MachineError

__all__ = ["EXTRAS", "Extra", "explain_missing_package", "fix_of", "is_installed"]

Extra = Literal["train", "adapters", "quantize", "measure", "math", "hub", "near", "remote"]

EXTRAS: dict[Extra, tuple[str, ...]] = {
    "train": ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "gguf", "tensorboardX"),
    "adapters": ("peft",),
    "quantize": ("bitsandbytes",),
    "measure": ("scipy",),
    "math": ("math_verify",),
    "hub": ("huggingface_hub",),
    "near": ("rensa",),
    "remote": ("fsspec",),
}
_EXTRA_OF = {package: extra for extra, packages in EXTRAS.items() for package in packages}


def is_installed(extra: Extra) -> bool:
    """Return whether all packages by which an extra is recognised can be found."""
    return all(importlib.util.find_spec(package) is not None for package in EXTRAS[extra])


def fix_of(*extras: Extra) -> str:
    """Return the command that installs extras. torch comes first, since pip alone then takes its small CPU build."""
    return ("pip install torch, then " if "train" in extras else "") + f"pip install 'orcac[{','.join(extras)}]'"


@contextlib.contextmanager
def explain_missing_package(user: str) -> Iterator[None]:
    """Raise MachineError, with the extra to install, if the block misses a package of one. `user` is what needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MachineError(f"{user} needs the package {error.name}", fix=fix_of(extra)) from None
