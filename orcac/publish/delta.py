"""A model as its difference to another: what may be published where the base may not.

The derivatives of LLaMA were released as weights minus base. Subtracting floats rounds, so those restored almost what
was trained. Here the difference is that of the bit patterns, read as integers that wrap around: adding it again gives
every bit, in every type, NaN included. A small change of a weight is a small integer, whose upper bytes are zero; so
each byte of a chunk goes into a plane of its own, and the planes are compressed (zstd, which pyarrow brings).

- Where base and model are of different float types, the base is turned into the model's type first, by a rule on its
  bits that is the same on every machine: it only has to be near.
- Rows that the base lacks (added tokens) are compared with zeros, and so is a tensor that it has nothing like: these
  are in the delta whole.
- Of a model of 135 M weights, 40 steps from its base at a learning rate of 2e-5, it leaves 16 % in bfloat16 and 57 % in
  float32 (whose lower bits are noise); an exclusive or instead of the difference 18 and 61 %, no planes 19 and 68 %.

A delta is a folder:

    delta.json          digests of the base's weights, and of every file that comes out
    delta.safetensors   a tensor of bytes for each of the model's (frames: 8 bytes of length, then zstd), and the
                        header of each of its weight files
    files/              whatever else the model has: configuration, tokenizer, card

What comes out is the same files, byte for byte. Of the base only the weights are compared, since nothing else of it is
used: it is refused before anything is written. Both ways go tensor by tensor and chunk by chunk, so memory is some
hundred MB whatever the model; what is written appears under its name when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from orcac import __version__
from orcac.errors import InputError
from orcac.hub import is_inside
from orcac.progress import Progress
from orcac.recipe import file_digest
from orcac.store.durable import new_folder

FORMAT = 1
CHUNK = 1 << 22  # values compared at once
_LEVEL = 1  # of zstd: 9 takes three times as long, for a percent
_HEADER = "__header__/"  # begins the name of a weight file's header in delta.safetensors
_LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}

Files = Mapping[str, Path]  # a model's files by their names in its folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What `make` made. Sizes are in bytes."""

    model_bytes: int
    delta_bytes: int
    tensors: int
    equal: int  # tensors that are the base's, bit for bit
    whole: int  # tensors that the base has nothing like


def make(base: Files, model: Files, out: Path) -> Made:
    """Write the delta of `model` to `base` as the folder `out`.

    Raises InputError where `out` is there already, either is no model with safetensors weights, or the two have nothing
    in common.
    """
    ours, theirs = _Weights(model, "the model"), _Weights(base, "the base")
    strange = sum(theirs.like(tensor) is None for tensor in ours.tensors.values())
    if strange == len(ours.tensors):
        raise InputError("the base has no tensor of the model's", fix="give the base that the model was trained from")
    progress = _Bytes("delta make", theirs.bytes + sum(path.stat().st_size for path in model.values()))
    with new_folder(out) as folder:
        digests = {name: file_digest(theirs.files[name].path, progress.add) for name in theirs.files}
        compared = _write_container(folder / "delta.safetensors", ours, theirs, progress)
        results = {}
        for name, path in sorted(model.items()):
            if name in ours.files:
                results[name] = _facts(path, compared.digests[name])
            else:
                target = folder / "files" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                results[name] = _facts(path, file_digest(path, progress.add))
        manifest = {
            "format": FORMAT,
            "orcac": __version__,
            "base": {name: _facts(file.path, digests[name]) for name, file in theirs.files.items()},
            "model": results,
            "weights": list(ours.files),
        }
        (folder / "delta.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Made(
        model_bytes=sum(facts["bytes"] for facts in results.values()),
        delta_bytes=size,
        tensors=len(ours.tensors),
        equal=compared.equal,
        whole=strange,
    )


def apply(base: Files, delta: Path, out: Path) -> int:
    """Write the model that `delta` makes of `base` as the folder `out`; returns its size in bytes.

    Raises InputError where `out` is there already, the base is another, the delta is damaged or the disk is too small.
    """
    manifest = _manifest(delta)
    theirs = _Weights(base, "the base")
    total = sum(facts["bytes"] for facts in manifest["model"].values())
    progress = _Bytes("delta apply", theirs.bytes + total)
    _check_base(theirs, manifest["base"], progress)
    with new_folder(out, needs=total) as folder, _damage(delta):
        container = _File(delta / "delta.safetensors").tensors
        for name, facts in manifest["model"].items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in manifest["weights"]:
                found = _restore(path, name, container, theirs, progress)
            else:
                shutil.copyfile(delta / "files" / name, path)
                found = file_digest(path, progress.add)
            if found != facts["sha256"]:
                raise ValueError(f"{name} does not come out as it was")
    return total


class _Tensor(NamedTuple):
    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # of its bytes, in the file
    size: int  # bytes

    @property
    def width(self) -> int:
        """Bytes a value; of types that have no such number, each byte is a value."""
        count = math.prod(self.shape)
        width, rest = divmod(self.size, count) if count else (1, 0)
        return width if width in _BITS and not rest else 1

    def bits(self, first: int, last: int) -> np.ndarray:
        """The bit patterns of its values from `first` to before `last`: unsigned integers, little-endian."""
        kind = np.dtype(_BITS[self.width]).newbyteorder("<")
        count = max(0, min(last, self.size // self.width) - first)
        if not count:
            return np.zeros(0, kind)
        return np.memmap(self.path, kind, "r", self.start + first * self.width, (count,))


class _File:
    """A safetensors file, of which the header alone is read. Raises ValueError or OSError where it is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise ValueError(f"{path}: no safetensors file, or cut short")
            self.header = length.to_bytes(8, "little") + file.read(length)
        self.tensors = _tensors(path, self.header)
        if size != max((tensor.start + tensor.size for tensor in self.tensors.values()), default=len(self.header)):
            raise ValueError(f"{path}: cut short, or longer than it says")


def _tensors(path: Path, header: bytes) -> dict[str, _Tensor]:
    """What the header of a safetensors file says is in it, in the order of the bytes."""
    entries = json.loads(header[8:])
    entries.pop("__metadata__", None)
    found: dict[str, _Tensor] = {}
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if start != at or end < start or any(not isinstance(side, int) or side < 0 for side in shape):
            raise ValueError(f"{path}: its tensors do not lie one after the other")
        found[name] = _Tensor(path, name, entry["dtype"], shape, len(header) + start, end - start)
        at = end
    return found


class _Weights:
    """The tensors of a model, whatever files they lie in. Raises InputError where it has none, or they are damaged."""

    def __init__(self, files: Files, what: str) -> None:
        self.what = what
        try:
            names = ["model.safetensors"] if "model.safetensors" in files else _listed(files)
            self.files = {name: _File(files[name]) for name in names}
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise InputError(
                f"{what} has no weights that can be read: {error}",
                fix="give a model's folder with all of its .safetensors files",
            ) from error
        self.tensors = {name: tensor for file in self.files.values() for name, tensor in file.tensors.items()}
        self.bytes = sum(file.path.stat().st_size for file in self.files.values())

    def like(self, tensor: _Tensor) -> Callable[[int, int], np.ndarray] | None:
        """What stands in this model where `tensor` stands in the other, as bit patterns of that one's type; None where
        nothing comparable does. It may have fewer rows, or more."""
        mine = self.tensors.get(tensor.name)
        if mine is None or mine.shape[1:] != tensor.shape[1:] or len(mine.shape) != len(tensor.shape):
            return None
        turn = _TURNS.get((mine.dtype, tensor.dtype))
        if mine.dtype == tensor.dtype:
            return mine.bits
        return None if turn is None else lambda first, last: turn(mine.bits(first, last))


def _listed(files: Files) -> list[str]:
    """The weight files that the index names, each once."""
    index = json.loads(files["model.safetensors.index.json"].read_text(encoding="utf-8"))
    return sorted(set(index["weight_map"].values()))


# Bit patterns of one type as those of another, near the same values. What is lost or bent does not matter.
_TURNS: dict[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = {
    ("BF16", "F32"): lambda bits: bits.astype("<u4") << 16,
    ("F32", "BF16"): lambda bits: ((bits.astype("<u8") + 0x8000) >> 16).astype("<u2"),
    ("F16", "F32"): lambda bits: bits.view("<f2").astype("<f4").view("<u4"),
    ("F32", "F16"): lambda bits: _quietly(bits.view("<f4")).view("<u2"),
    ("BF16", "F16"): lambda bits: _quietly((bits.astype("<u4") << 16).view("<f4")).view("<u2"),
    ("F16", "BF16"): lambda bits: (bits.view("<f2").astype("<f4").view("<u4") >> 16).astype("<u2"),
}


def _quietly(values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype("<f2")


class _Compared(NamedTuple):
    digests: dict[str, str]  # of the model's weight files
    equal: int


def _write_container(path: Path, ours: _Weights, theirs: _Weights, progress: _Bytes) -> _Compared:
    """Write delta.safetensors. The header comes first and is known last, so room is left for it: spaces fill it."""
    names = [*ours.tensors, *(_HEADER + name for name in ours.files)]
    if len(set(names)) != sum(len(file.tensors) for file in ours.files.values()) + len(ours.files):
        raise InputError("the model has a tensor twice", fix="give a model's folder with no second copy of its weights")
    room = len(_json({name: _entry(10**15, 10**15) for name in names})) // 8 * 8 + 8
    entries: dict[str, Any] = {}
    digests: dict[str, str] = {}
    equal = at = 0
    with path.open("wb") as file:
        file.write(bytes(8 + room))

        def add(name: str, content: bytes) -> None:
            nonlocal at
            entries.setdefault(name, _entry(at, at))
            file.write(content)
            at += len(content)
            entries[name] = _entry(entries[name]["data_offsets"][0], at)

        for source, weights in ours.files.items():
            digest = hashlib.sha256(weights.header)
            add(_HEADER + source, weights.header)
            for name, tensor in weights.tensors.items():
                add(name, b"")
                same = True
                near = theirs.like(tensor)
                for first in range(0, tensor.size // tensor.width, CHUNK):
                    bits = tensor.bits(first, first + CHUNK)
                    difference = _difference(bits, _predicted(near, first, bits))
                    same = same and near is not None and not difference.any()
                    for plane in _planes(difference):
                        frame = _codec().compress(plane, asbytes=True)
                        add(name, len(frame).to_bytes(8, "little") + frame)
                    digest.update(bits.data)
                    progress.add(bits.nbytes)
                equal += same
            digests[source] = digest.hexdigest()
        header = _json(entries).ljust(room)
        file.seek(0)
        file.write(len(header).to_bytes(8, "little") + header)
    return _Compared(digests, equal)


def _restore(path: Path, name: str, container: Mapping[str, _Tensor], theirs: _Weights, progress: _Bytes) -> str:
    """Write a weight file of the model; returns its digest."""
    stored = container[_HEADER + name]
    header = stored.bits(0, stored.size).tobytes()
    digest = hashlib.sha256(header)
    with path.open("wb") as file:
        file.write(header)
        for tensor in _tensors(path, header).values():
            frames = _frames(container[tensor.name])
            near = theirs.like(tensor)
            count = tensor.size // tensor.width
            for first in range(0, count, CHUNK):
                size = min(CHUNK, count - first)
                planes = [_codec().decompress(next(frames), size, asbytes=True) for _ in range(tensor.width)]
                difference = _joined(planes)
                bits = _sum(difference, _predicted(near, first, difference))
                digest.update(bits.data)
                file.write(bits.data)
                progress.add(bits.nbytes)
    return digest.hexdigest()


def _frames(tensor: _Tensor) -> Iterator[bytes]:
    at = 0
    while at < tensor.size:
        length = int.from_bytes(tensor.bits(at, at + 8).tobytes(), "little")
        at += 8 + length
        if at > tensor.size:
            break
        yield tensor.bits(at - length, at).tobytes()
    raise ValueError(f"{tensor.name} ends too early")


def _predicted(near: Callable[[int, int], np.ndarray] | None, first: int, like: np.ndarray) -> np.ndarray:
    """What the base has for the values from `first`, as many as in `like`; zeros where it has none."""
    found = near(first, first + len(like)) if near else like[:0]
    return found if len(found) == len(like) else np.concatenate([found, np.zeros(len(like) - len(found), like.dtype)])


def _difference(bits: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """bits - predicted, around the end of the type; 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    wrapped = bits - predicted
    signed = wrapped.view(wrapped.dtype.str.replace("u", "i"))
    return (wrapped << 1) ^ (signed >> (8 * wrapped.itemsize - 1)).view(wrapped.dtype)


def _sum(difference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    wrapped = (difference >> 1) ^ (~(difference & 1) + 1)
    return predicted + wrapped


def _planes(values: np.ndarray) -> list[np.ndarray]:
    """The bytes of the values: all lowest ones, then all second ones, ..."""
    return [np.ascontiguousarray(plane) for plane in values.view(np.uint8).reshape(-1, values.itemsize).T]


def _joined(planes: list[bytes]) -> np.ndarray:
    content = np.stack([np.frombuffer(plane, np.uint8) for plane in planes], axis=1)
    return content.reshape(-1).view(np.dtype(_BITS[len(planes)]).newbyteorder("<"))


def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_LEVEL)


def _entry(start: int, end: int) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _facts(path: Path, digest: str) -> dict[str, Any]:
    return {"sha256": digest, "bytes": path.stat().st_size}


def _manifest(delta: Path) -> dict[str, Any]:
    """delta.json. Raises InputError where it is none of ours."""
    path = delta / "delta.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise InputError(
                f"{path}: of format {manifest['format']!r}, where this orcac knows {FORMAT}",
                fix="take the orcac that it was made with, or a newer one",
            )
        for facts in (*manifest["base"].values(), *manifest["model"].values()):
            assert isinstance(facts["sha256"], str) and facts["bytes"] >= 0
        assert all(is_inside(name) for name in manifest["model"]) and set(manifest["weights"]) <= set(manifest["model"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged, or none of orcac's"
        raise InputError(f"{path}: {why}", fix="give a folder that `orcac delta make` wrote") from None
    return manifest


def _check_base(theirs: _Weights, expected: Mapping[str, Any], progress: _Bytes) -> None:
    """Raise InputError where a weight file of the base is not the one that the delta was made with."""
    for name, facts in expected.items():
        if name not in theirs.files:
            raise InputError(f"the base has no {name}", fix="give the base in the files that the delta was made with")
        path = theirs.files[name].path
        if path.stat().st_size != facts["bytes"] or file_digest(path, progress.add) != facts["sha256"]:
            raise InputError(
                f"{path}: is not what the delta was made with (sha256 {facts['sha256'][:16]}...)",
                fix="give the same base, at the same revision",
            )


@contextlib.contextmanager
def _damage(delta: Path) -> Iterator[None]:
    """What reading a delta of unknown origin can end in, as an InputError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise InputError(f"{delta}: the delta is damaged: {error}", fix="fetch it again") from error
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):  # zstd's own have no number
            raise
        what = f"{error.filename} is missing" if error.filename else error
        raise InputError(f"{delta}: the delta is damaged: {what}", fix="fetch it again") from error


class _Bytes:
    """Counts bytes into a progress line of MB."""

    def __init__(self, label: str, total: int) -> None:
        self._progress = Progress(label=label, total=max(total // 10**6, 1), unit="MB")
        self._total, self._done = max(total // 10**6, 1), 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress.update(min(self._done // 10**6, self._total))
