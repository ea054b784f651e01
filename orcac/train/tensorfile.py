"""A safetensors file that is written one tensor at a time, so that what a stage holds in pieces is never whole in
memory: not all weights beside the pieces that they come from, and not AdamW's state, which is twice their size.

The format is a length (8 bytes, little-endian), a JSON header and the tensors one after another; safetensors' own
writer wants all of them at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from orcac.store import durable

_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64", torch.bool: "BOOL"}


class TensorFile:
    """Takes the tensors in the order in which they were announced. The file stands under its name once it is whole."""

    def __init__(self, path: Path, tensors: Mapping[str, tuple[torch.dtype, Sequence[int]]]) -> None:
        """Raises OSError where the disk has no room for all of it."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, (dtype, shape) in tensors.items():
            start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
            header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the tensors are aligned
        self._tensors, self._names = tensors, iter(tensors)
        self._path, self._part = path, durable.part_of(path)
        self._file = self._part.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._file.flush()
        os.posix_fallocate(self._file.fileno(), 0, 8 + len(text) + end)

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """The next tensor; its values are copied out before this returns."""
        dtype, shape = self._tensors[name]
        assert name == next(self._names) and tensor.dtype == dtype and list(tensor.shape) == list(shape), name
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self._file.write(flat.numpy().data)

    def close(self) -> None:
        """All tensors were added: put the file in its place."""
        assert next(self._names, None) is None
        self._file.close()
        durable.move(self._part, self._path)
