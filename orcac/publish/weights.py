"""The weights of a model as bit patterns, read from its safetensors files through memory maps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orcac.errors import InputError

_LARGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself
BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # bytes of a value -> the type of its bit pattern

Bits = NDArray[np.unsignedinteger]
Files = Mapping[str, Path]  # a model's files by their names in its folder


class Tensor(NamedTuple):
    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # offset in the file
    size: int  # bytes

    @property
    def width(self) -> int:
        """Return the bytes of a value; 1 for a type that does not have 1, 2, 4 or 8, so that each byte is a value."""
        count = math.prod(self.shape)
        width, rest = divmod(self.size, count) if count else (1, 0)
        return width if width in BITS and not rest else 1

    def bits(self, first: int, last: int) -> Bits:
        """Return the bit patterns of the values from `first` to before `last`, as little-endian unsigned integers."""
        kind = np.dtype(BITS[self.width]).newbyteorder("<")
        count = max(0, min(last, self.size // self.width) - first)
        if not count:
            return np.zeros(0, kind)
        return np.memmap(self.path, kind, "r", self.start + first * self.width, (count,))


class TensorFile:
    """A safetensors file, of which only the header is read. Raises ValueError or OSError if it is not complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise ValueError(f"{path}: not a safetensors file, or cut short")
            self.header = length.to_bytes(8, "little") + file.read(length)
        self.tensors = parse_header(path, self.header)
        if size != max((tensor.start + tensor.size for tensor in self.tensors.values()), default=len(self.header)):
            raise ValueError(f"{path}: cut short, or longer than its header states")


def parse_header(path: Path, header: bytes) -> dict[str, Tensor]:
    """Return the tensors that the header of a safetensors file lists, in the order of their bytes.

    Raises ValueError if they leave gaps or overlap.
    """
    entries = json.loads(header[8:])
    entries.pop("__metadata__", None)
    found: dict[str, Tensor] = {}
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if start != at or end < start or any(not isinstance(side, int) or side < 0 for side in shape):
            raise ValueError(f"{path}: its tensors are not contiguous")
        found[name] = Tensor(path, name, entry["dtype"], shape, len(header) + start, end - start)
        at = end
    return found


class Weights:
    """The tensors of all weight files of a model, which messages call `name`.

    Raises InputError if it has no weights, or they are damaged.
    """

    def __init__(self, files: Files, name: str) -> None:
        try:
            names = ["model.safetensors"] if "model.safetensors" in files else _indexed_files(files)
            self.files = {name: TensorFile(files[name]) for name in names}
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise InputError(
                f"{name} has no weights that can be read: {error}",
                fix="give a model's folder with all of its .safetensors files",
            ) from error
        self.tensors = {name: tensor for file in self.files.values() for name, tensor in file.tensors.items()}
        self.bytes = sum(file.path.stat().st_size for file in self.files.values())

    def counterpart(self, tensor: Tensor) -> Callable[[int, int], Bits] | None:
        """Return a reader of this model's tensor of the same name, as bit patterns of the other tensor's type.

        It takes a first and a last index, like `Tensor.bits`. It may have fewer rows than the other tensor, or more.
        Return None if there is no tensor of that name with rows of the same shape and a type that can be converted.
        """
        mine = self.tensors.get(tensor.name)
        if mine is None or mine.shape[1:] != tensor.shape[1:] or len(mine.shape) != len(tensor.shape):
            return None
        if mine.dtype == tensor.dtype:
            return mine.bits
        convert = _CONVERSIONS.get((mine.dtype, tensor.dtype))
        return None if convert is None else lambda first, last: convert(mine.bits(first, last))


def _indexed_files(files: Files) -> list[str]:
    """Return the weight files that the model's index names, each once."""
    index = json.loads(files["model.safetensors.index.json"].read_text(encoding="utf-8"))
    return sorted(set(index["weight_map"].values()))


# Conversions of bit patterns between types. They need to be near the value, not exact: a delta holds the rest.
_CONVERSIONS: dict[tuple[str, str], Callable[[Bits], Bits]] = {
    ("BF16", "F32"): lambda bits: bits.astype("<u4") << np.uint32(16),
    ("F32", "BF16"): lambda bits: ((bits.astype("<u8") + 0x8000) >> 16).astype("<u2"),
    ("F16", "F32"): lambda bits: bits.view("<f2").astype("<f4").view("<u4"),
    ("F32", "F16"): lambda bits: _to_half(bits.view("<f4")).view("<u2"),
    ("BF16", "F16"): lambda bits: _to_half((bits.astype("<u4") << np.uint32(16)).view("<f4")).view("<u2"),
    ("F16", "BF16"): lambda bits: (bits.view("<f2").astype("<f4").view("<u4") >> 16).astype("<u2"),
}


def _to_half(values: NDArray[np.floating]) -> NDArray[np.float16]:
    with np.errstate(all="ignore"):  # large values overflow to infinity
        return values.astype("<f2")
