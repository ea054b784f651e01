"""Models on the disk: whether what was given can be read, and what to say where one cannot be written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orcac.errors import InputError, OrcacError, as_input_error

_PROBE = 1 << 20  # bytes


def check(folder: Path) -> None:
    """Raise InputError where a .safetensors file is not whole, or one that an index names is missing.

    Headers alone are read: they say how long their file must be.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (it is no dict)
                    file.get_slice(name).get_shape()
        except SafetensorError as error:
            raise InputError(
                f"{path.relative_to(folder)}: the student's weights cannot be read: {error}",
                fix="fetch the file again: it is cut short, or no safetensors file at all",
            ) from error
    for path in sorted(folder.rglob("*.safetensors.index.json")):
        for shard in sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())):
            if not (path.parent / shard).is_file():
                raise InputError(f"{path.relative_to(folder)}: names {shard}, which is missing", fix="add that file")


@contextlib.contextmanager
def os_errors(folder: Path) -> Iterator[None]:
    """Raise what the system refused as the OSError that it is, for whoever names a full disk.

    safetensors and tokenizers put its number in their words; torch gives no reason at all, so the disk is asked.
    """
    try:
        yield
    except (OSError, OrcacError):
        raise
    except Exception as error:
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error
        if isinstance(error, RuntimeError):
            with tempfile.TemporaryFile(dir=folder) as probe:
                os.posix_fallocate(probe.fileno(), 0, _PROBE)
        raise


def load_model(folder: Path, *, whose: str, **how: Any) -> Any:
    """The causal language model in `folder`, with further arguments of `from_pretrained`.

    Raises InputError, which begins with `whose`, where it is none or lacks weights: transformers draws those at random,
    and says so in a warning.
    """
    from transformers import AutoModelForCausalLM

    fix = "give all files of one model that generates text"
    with as_input_error(f"{whose} cannot be loaded as a causal language model", fix=fix):
        model, found = AutoModelForCausalLM.from_pretrained(
            str(folder),
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **how,
        )
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"{whose} lacks weights: {', '.join(missing[:3])}{more}",
            fix="give all its .safetensors files, with their index",
        )
    return model
