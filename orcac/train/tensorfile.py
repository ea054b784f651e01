"""A safetensors file that is written one tensor at a time, so that a sharded model is never whole in memory: neither
all weights beside the shards that they are gathered from, nor AdamW's state, which is twice their size.

The format is a length (8 bytes, little-endian), a JSON header and the tensors one after another; safetensors' own
writer needs all of them at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from orcac.store import durable

_DTYPE_NAMES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


class TensorFile:
    """A file under construction, which takes its final name when it is closed. Tensors are added in the order of the
    layout that it was created with."""

    def __init__(self, path: Path, layout: Mapping[str, tuple[torch.dtype, Sequence[int]]]) -> None:
        """Write the header and allocate the whole file. Raises OSError if the disk has no room for it."""
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, (dtype, shape) in layout.items():
            start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
            header[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the tensors are aligned
        self._layout, self._names = layout, iter(layout)
        self._path, self._part = path, durable.part_of(path)
        self._file = self._part.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._file.flush()
        os.posix_fallocate(self._file.fileno(), 0, 8 + len(text) + end)

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Append the next tensor; its values are copied before this returns."""
        dtype, shape = self._layout[name]
        assert name == next(self._names) and tensor.dtype == dtype and list(tensor.shape) == list(shape), name
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self._file.write(flat.numpy().data)

    def close(self) -> None:
        """Move the complete file to its path; all tensors must have been added."""
        assert next(self._names, None) is None
        self._file.close()
        durable.move(self._part, self._path)
