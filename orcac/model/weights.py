"""The weights in a model folder: checks that files are whole, loading a model with all of its weights, and the OSError
behind a failed write."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.errors import InputError, OrcacError, as_input_error
from orcac.model.sizes import check_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PROBE = 1 << 20  # bytes


def check_weights(folder: Path) -> None:
    """Raise InputError if a .safetensors file is cut short, or if an index names a file that is missing.

    Only headers are read: they contain the length of the whole file.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    file.get_slice(name).get_shape()
        except SafetensorError as error:
            raise InputError(
                f"{path.relative_to(folder)}: the student's weights cannot be read: {error}",
                fix="fetch the file again: it is cut short, or not a safetensors file at all",
            ) from error
    for path in sorted(folder.rglob("*.safetensors.index.json")):
        for shard in sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())):
            if not (path.parent / shard).is_file():
                raise InputError(f"{path.relative_to(folder)}: names {shard}, which is missing", fix="add that file")


def load_model(folder: Path, *, subject: str, **options: object) -> PreTrainedModel:
    """Load the causal language model of a folder; `options` are further arguments of `from_pretrained`.

    Raises InputError, which begins with `subject` ("the student"), if the folder holds no such model or lacks weights:
    transformers would draw missing weights at random, and only warn.
    """
    from transformers import AutoModelForCausalLM

    check_size(folder, subject)
    fix = "give all files of one model that generates text"
    with as_input_error(f"{subject} cannot be loaded as a causal language model", fix=fix):
        model, report = AutoModelForCausalLM.from_pretrained(
            str(folder),
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"{subject} lacks weights: {', '.join(missing[:3])}{more}",
            fix="give all its .safetensors files, with their index",
        )
    return model


def order_by_columns(model: PreTrainedModel) -> None:
    """Store the matrices of the linear layers by columns instead of rows.

    On a CPU a product with 4 to 64 rows then takes a fifth less time, one with a single row 7 % more, and one with
    hundreds the same. A matrix that the output layer shares with the embeddings stays, since these look up its rows.
    """
    import torch

    embeddings = model.get_input_embeddings().weight
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear) and layer.weight is not embeddings:
            layer.weight.data = layer.weight.data.t().contiguous().t()


@contextlib.contextmanager
def raising_os_errors(folder: Path) -> Iterator[None]:
    """Raise the OSError that caused a library's error in the block, so that a full disk is reported as a full disk.

    safetensors and tokenizers put the error's number into their message. torch gives no reason at all, so 1 MiB is
    allocated in `folder` to get the system's answer.
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
