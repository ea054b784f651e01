"""A model as its difference to another: a way to publish a model whose base may not be published.

The derivatives of LLaMA were released as weights minus base. A subtraction of floats rounds, so these restored the
trained weights only approximately. Here the difference is that of the bit patterns, read as integers that wrap around:
adding it again restores every bit, in every type, NaN included. A small change of a weight is a small integer, whose
upper bytes are zero; so each byte of a chunk goes into a plane of its own, and the planes are compressed (zstd, which
comes with pyarrow).

- If base and model have different float types, the base is first converted to the model's type, by a rule on its bits
  that is the same on every machine. The rule may be coarse: the result only has to be near the model's weights.
- Rows that the base lacks (added tokens) are compared with zeros, and so are tensors without a counterpart: the delta
  contains these whole.
- For a model of 135 M weights, 40 steps from its base at a learning rate of 2e-5, the delta has 16 % of the size in
  bfloat16 and 57 % in float32 (whose lower bits are noise); with an exclusive or instead of the difference it has 18
  and 61 %, without planes 19 and 68 %.

A delta is a folder:

    delta.json          digests of the base's weight files, and of every file of the model
    delta.safetensors   for each tensor of the model a tensor of bytes (frames: 8 bytes of length, then zstd), and the
                        header of each of its weight files
    files/              the model's other files: configuration, tokenizer, card

`apply` restores the same files, byte for byte. It compares only the weights of the base, since it uses nothing else of
it, and refuses another base before it writes anything. Both directions work tensor by tensor and chunk by chunk, so
they need some hundred MB of memory for any model. The new folder gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from orcac import __version__
from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.progress import Progress
from orcac.publish.weights import BITS, Bits, Files, Tensor, TensorFile, Weights, parse_header
from orcac.store.durable import new_folder
from orcac.store.links import is_inside

FORMAT = 1
CHUNK = 1 << 22  # values compared at once
_LEVEL = 1  # of zstd: level 9 takes three times as long and saves one percent
_HEADER = "__header__/"  # prefix of the name of a weight file's header in delta.safetensors


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The digest and the size of a file, by which it is recognised."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of delta.json."""

    format: int
    orcac: str  # the version that made it
    base: dict[str, FileFacts]  # the base's weight files
    model: dict[str, FileFacts]  # all files of the model
    weights: list[str]  # those of them that are restored from delta.safetensors


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaSizes:
    """The sizes of a new delta, in bytes, and its numbers of tensors."""

    model_bytes: int
    delta_bytes: int
    tensors: int
    equal: int  # tensors that equal those of the base, bit for bit
    whole: int  # tensors without a counterpart in the base


def make(base: Files, model: Files, out: Path) -> DeltaSizes:
    """Write the delta of `model` to `base` as the folder `out`.

    Raises InputError if `out` exists, if `base` or `model` has no safetensors weights, or if they have no tensor in
    common.
    """
    ours, theirs = Weights(model, "the model"), Weights(base, "the base")
    whole = sum(theirs.counterpart(tensor) is None for tensor in ours.tensors.values())
    if whole == len(ours.tensors):
        raise InputError("the base has no tensor of the model's", fix="give the base that the model was trained from")
    progress = _ByteProgress("delta make", theirs.bytes + sum(path.stat().st_size for path in model.values()))
    with new_folder(out) as folder:
        digests = {name: file_digest(theirs.files[name].path, progress.add) for name in theirs.files}
        compared = _write_container(folder / "delta.safetensors", ours, theirs, progress)
        files = {}
        for name, path in sorted(model.items()):
            if name in ours.files:
                files[name] = _describe_file(path, compared.digests[name])
            else:
                target = folder / "files" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                files[name] = _describe_file(path, file_digest(path, progress.add))
        manifest = Manifest(
            format=FORMAT,
            orcac=__version__,
            base={name: _describe_file(file.path, digests[name]) for name, file in theirs.files.items()},
            model=files,
            weights=list(ours.files),
        )
        (folder / "delta.json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return DeltaSizes(
        model_bytes=sum(facts.bytes for facts in files.values()),
        delta_bytes=size,
        tensors=len(ours.tensors),
        equal=compared.equal,
        whole=whole,
    )


def apply(base: Files, delta: Path, out: Path) -> int:
    """Restore the model from `base` and `delta` as the folder `out`, and return its size in bytes.

    Raises InputError if `out` exists, if the delta was made with another base, if the delta is damaged, or if the disk
    is too small.
    """
    manifest = _read_manifest(delta)
    theirs = Weights(base, "the base")
    total = sum(facts.bytes for facts in manifest.model.values())
    progress = _ByteProgress("delta apply", theirs.bytes + total)
    _check_base(theirs, manifest.base, progress)
    with new_folder(out, needs=total) as folder, _refuse_damage(delta):
        container = TensorFile(delta / "delta.safetensors").tensors
        for name, facts in manifest.model.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in manifest.weights:
                found = _restore_file(path, name, container, theirs, progress)
            else:
                shutil.copyfile(delta / "files" / name, path)
                found = file_digest(path, progress.add)
            if found != facts.sha256:
                raise ValueError(f"{name} is not restored as it was")
    return total


class Entry(TypedDict):
    """The entry of a tensor in a safetensors header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Compared(NamedTuple):
    digests: dict[str, str]  # of the model's weight files
    equal: int


def _write_container(path: Path, ours: Weights, theirs: Weights, progress: _ByteProgress) -> _Compared:
    """Write delta.safetensors.

    Its header comes first but is known last, so space is reserved for it, and filled up with blanks.
    """
    names = [*ours.tensors, *(_HEADER + name for name in ours.files)]
    if len(set(names)) != sum(len(file.tensors) for file in ours.files.values()) + len(ours.files):
        raise InputError("the model has a tensor twice", fix="give a model's folder with no second copy of its weights")
    room = len(_json({name: _entry(10**15, 10**15) for name in names})) // 8 * 8 + 8
    entries: dict[str, Entry] = {}
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
                is_equal = True
                near = theirs.counterpart(tensor)
                for first in range(0, tensor.size // tensor.width, CHUNK):
                    bits = tensor.bits(first, first + CHUNK)
                    difference = _encode_difference(bits, _predict(near, first, bits))
                    is_equal = is_equal and near is not None and not difference.any()
                    for plane in _split_planes(difference):
                        frame = _codec().compress(plane, asbytes=True)
                        add(name, len(frame).to_bytes(8, "little") + frame)
                    digest.update(bits.data)
                    progress.add(bits.nbytes)
                equal += is_equal
            digests[source] = digest.hexdigest()
        header = _json(entries).ljust(room)
        file.seek(0)
        file.write(len(header).to_bytes(8, "little") + header)
    return _Compared(digests, equal)


def _restore_file(
    path: Path, name: str, container: Mapping[str, Tensor], theirs: Weights, progress: _ByteProgress
) -> str:
    """Restore a weight file of the model, and return its digest."""
    stored = container[_HEADER + name]
    header = stored.bits(0, stored.size).tobytes()
    digest = hashlib.sha256(header)
    with path.open("wb") as file:
        file.write(header)
        for tensor in parse_header(path, header).values():
            frames = _read_frames(container[tensor.name])
            near = theirs.counterpart(tensor)
            count = tensor.size // tensor.width
            for first in range(0, count, CHUNK):
                size = min(CHUNK, count - first)
                planes = [_codec().decompress(next(frames), size, asbytes=True) for _ in range(tensor.width)]
                difference = _join_planes(planes)
                bits = _restore_bits(difference, _predict(near, first, difference))
                digest.update(bits.data)
                file.write(bits.data)
                progress.add(bits.nbytes)
    return digest.hexdigest()


def _read_frames(tensor: Tensor) -> Iterator[bytes]:
    """Yield the compressed planes of a tensor. Raises ValueError if the caller wants more than there are."""
    at = 0
    while at < tensor.size:
        length = int.from_bytes(tensor.bits(at, at + 8).tobytes(), "little")
        at += 8 + length
        if at > tensor.size:
            break
        yield tensor.bits(at - length, at).tobytes()
    raise ValueError(f"{tensor.name} ends too early")


def _predict(near: Callable[[int, int], Bits] | None, first: int, like: Bits) -> Bits:
    """Return the base's values from `first` on, as many as `like` has; zeros if the base has none."""
    found = near(first, first + len(like)) if near else like[:0]
    return found if len(found) == len(like) else np.concatenate([found, np.zeros(len(like) - len(found), like.dtype)])


def _encode_difference(bits: Bits, predicted: Bits) -> Bits:
    """Return bits - predicted with wrap-around, in an encoding of 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    wrapped = bits - predicted
    signed = wrapped.view(wrapped.dtype.str.replace("u", "i"))
    return np.left_shift(wrapped, 1, dtype=wrapped.dtype) ^ (signed >> (8 * wrapped.itemsize - 1)).view(wrapped.dtype)


def _restore_bits(difference: Bits, predicted: Bits) -> Bits:
    """Return the `bits` from which `_encode_difference` made `difference`."""
    wrapped = (difference >> 1) ^ (~(difference & 1) + 1)
    return predicted + wrapped


def _split_planes(values: Bits) -> list[NDArray[np.uint8]]:
    """Return the bytes of the values: all lowest bytes, then all second bytes, and so on."""
    return [np.ascontiguousarray(plane) for plane in values.view(np.uint8).reshape(-1, values.itemsize).T]


def _join_planes(planes: list[bytes]) -> Bits:
    """Return the values whose bytes `_split_planes` has split into `planes`."""
    content = np.stack([np.frombuffer(plane, np.uint8) for plane in planes], axis=1)
    return content.reshape(-1).view(np.dtype(BITS[len(planes)]).newbyteorder("<"))


def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_LEVEL)


def _entry(start: int, end: int) -> Entry:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": (start, end)}


def _json(value: Mapping[str, Entry]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _describe_file(path: Path, digest: str) -> FileFacts:
    return FileFacts(sha256=digest, bytes=path.stat().st_size)


def _read_manifest(delta: Path) -> Manifest:
    """Read delta.json. Raises InputError if it is damaged, or of another format."""
    path = delta / "delta.json"
    try:
        content = path.read_bytes()
        found = json.loads(content)["format"]
        if found != FORMAT:
            raise InputError(
                f"{path}: its format is {found!r}, but this orcac reads format {FORMAT}",
                fix="use the orcac that made it, or a newer one",
            )
        manifest = TypeAdapter(Manifest).validate_json(content)
        assert all(facts.bytes >= 0 for facts in (*manifest.base.values(), *manifest.model.values()))
        assert all(is_inside(name) for name in manifest.model) and set(manifest.weights) <= set(manifest.model)
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "damaged, or not the manifest of a delta"
        raise InputError(f"{path}: {why}", fix="give a folder that `orcac delta make` wrote") from None
    return manifest


def _check_base(theirs: Weights, expected: Mapping[str, FileFacts], progress: _ByteProgress) -> None:
    """Raise InputError if a weight file of the base is not the one that the delta was made with."""
    for name, facts in expected.items():
        if name not in theirs.files:
            raise InputError(f"the base has no {name}", fix="give the base as the files that the delta was made with")
        path = theirs.files[name].path
        if path.stat().st_size != facts.bytes or file_digest(path, progress.add) != facts.sha256:
            raise InputError(
                f"{path}: not the file that the delta was made with (sha256 {facts.sha256[:16]}...)",
                fix="give the same base, at the same revision",
            )


@contextlib.contextmanager
def _refuse_damage(delta: Path) -> Iterator[None]:
    """Turn the errors of reading a damaged delta, of whatever origin, into an InputError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise InputError(f"{delta}: the delta is damaged: {error}", fix="fetch it again") from error
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):  # the errors of zstd have no number
            raise
        cause = f"{error.filename} is missing" if error.filename else error
        raise InputError(f"{delta}: the delta is damaged: {cause}", fix="fetch it again") from error


class _ByteProgress:
    """A progress line in MB that counts bytes."""

    def __init__(self, label: str, total: int) -> None:
        self._progress = Progress(label=label, total=max(total // 10**6, 1), unit="MB")
        self._total, self._done = max(total // 10**6, 1), 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress.update(min(self._done // 10**6, self._total))
