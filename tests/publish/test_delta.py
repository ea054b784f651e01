"""Tests of orcac/publish/delta.py and orcac/publish/weights.py.

A delta gives back every bit, whatever the types and shapes; another base and a damaged delta are refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcac.errors import InputError
from orcac.publish import delta

TYPES = {"F32": "<u4", "BF16": "<u2", "F16": "<u2", "F64": "<u8", "I64": "<u8", "U8": "u1", "F8_E4M3": "u1"}
Tensors = dict[str, tuple[str, np.ndarray]]  # name -> (type, bit patterns)


def save(path: Path, tensors: Tensors, **metadata: str) -> None:
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, (kind, bits) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(bits.shape), "data_offsets": [at, at := at + bits.nbytes]}
    content = json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + b"".join(b.tobytes() for _, b in tensors.values()))


def model(folder: Path, tensors: Tensors, **others: str) -> Path:
    folder.mkdir(parents=True)
    save(folder / "model.safetensors", tensors, format="pt")
    for name, text in others.items():
        (folder / f"{name}.json").write_text(text)
    return folder


def files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in files(folder).items()}


def bits(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray:
    """Return random bit patterns, which include infinities, NaN with a payload, and denormals."""
    return rng.integers(0, 256, (*shape, np.dtype(TYPES[kind]).itemsize), np.uint8).view(TYPES[kind])[..., 0]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Return a base in float32 and a model near it that has two more rows and one more tensor."""
    rng = np.random.default_rng(0)
    old = {"embed": rng.normal(size=(50, 8)), "norm": np.ones(8), "up": rng.normal(size=(8, 4))}
    new = {
        "embed": np.concatenate([old["embed"] * 1.001, np.ones((2, 8))]),
        "norm": old["norm"],
        "up": old["up"] + 1e-5,
    }
    new["head"] = rng.normal(size=(52, 8))
    old_bits, new_bits = (
        {name: ("F32", array.astype("<f4").view("<u4")) for name, array in tensors.items()} for tensors in (old, new)
    )
    base = model(tmp_path / "base", old_bits, config='{"vocab_size": 50}')
    return base, model(tmp_path / "model", new_bits, config='{"vocab_size": 52}', tokenizer="{}")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    old=st.sampled_from(sorted(TYPES)),
    new=st.sampled_from(sorted(TYPES)),
    old_shape=st.sampled_from([(), (0,), (7,), (5, 3), (9, 3), (5, 4), (1, 5, 3)]),
    new_shape=st.sampled_from([(), (0,), (7,), (5, 3), (9, 3)]),
)
def test_every_bit_is_restored(
    tmp_path_factory: pytest.TempPathFactory, seed: int, old: str, new: str, old_shape: tuple, new_shape: tuple
) -> None:
    root, rng = tmp_path_factory.mktemp("delta"), np.random.default_rng(seed)
    base = model(root / "base", {"w": (old, bits(rng, old, *old_shape)), "other": ("U8", bits(rng, "U8", 3))})
    ours = model(
        root / "model",
        {
            "w": (new, bits(rng, new, *new_shape)),
            "more": ("F16", bits(rng, "F16", 2, 2)),
            "other": ("U8", bits(rng, "U8", 4)),
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta, "CHUNK", 4)
        delta.make(files(base), files(ours), root / "delta")
        delta.apply(files(base), root / "delta", root / "back")
    assert contents(root / "back") == contents(ours)


def test_a_model_in_shards_of_another_type_is_restored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {f"w{n}": rng.normal(size=(40, 30)).astype("<f4") for n in range(3)}
    base = model(
        tmp_path / "base", {name: ("BF16", (w.view("<u4") >> 16).astype("<u2")) for name, w in weights.items()}
    )
    ours = tmp_path / "model"
    (ours / "sub").mkdir(parents=True)
    index = {"w0": "a.safetensors", "w1": "b.safetensors", "w2": "a.safetensors"}
    for shard in ("a", "b"):
        mine = {name: w for name, w in weights.items() if index[name] == f"{shard}.safetensors"}
        save(ours / f"{shard}.safetensors", {name: ("F32", w.view("<u4")) for name, w in mine.items()})
    (ours / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (ours / "sub" / "notes.txt").write_text("whole")
    made = delta.make(files(base), files(ours), tmp_path / "delta")
    assert (made.tensors, made.equal, made.whole) == (3, 0, 0)
    assert made.model_bytes == sum(map(len, contents(ours).values()))
    assert made.delta_bytes == sum(map(len, contents(tmp_path / "delta").values()))
    delta.apply(files(base), tmp_path / "delta", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(ours)


def test_a_small_change_is_a_small_delta_that_others_can_read(tmp_path: Path) -> None:
    from safetensors import safe_open

    rng = np.random.default_rng(0)
    old = rng.normal(size=(1000, 200)).astype("<f4").view("<u4") & 0xFFFF0000
    new = old + (rng.integers(-2, 3, old.shape).astype("<i4") << 16).view("<u4")
    base = model(tmp_path / "base", {"w": ("F32", old), "same": ("F32", old)})
    ours = model(tmp_path / "model", {"w": ("F32", new), "same": ("F32", old)})
    made = delta.make(files(base), files(ours), tmp_path / "delta")
    assert (made.equal, made.whole) == (1, 0)
    assert made.delta_bytes < 0.1 * made.model_bytes
    with safe_open(tmp_path / "delta" / "delta.safetensors", "np") as file:
        assert set(file.keys()) == {"w", "same", "__header__/model.safetensors"}


def test_the_digests_are_those_of_the_files(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, ours = pair
    made = delta.make(files(base), files(ours), tmp_path / "delta")
    assert made.whole == 1
    manifest = json.loads((tmp_path / "delta" / "delta.json").read_text())
    for part, folder in (("base", base), ("model", ours)):
        for name, facts in manifest[part].items():
            content = (folder / name).read_bytes()
            assert facts == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert set(manifest["base"]) == {"model.safetensors"}
    assert set(manifest["model"]) == {"model.safetensors", "config.json", "tokenizer.json"}


def test_another_base_is_refused_before_anything_is_written(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, ours = pair
    delta.make(files(base), files(ours), tmp_path / "delta")
    content = bytearray((base / "model.safetensors").read_bytes())
    content[-1] ^= 1
    for wrong in (bytes(content), bytes(content) + b"\0"):
        (base / "model.safetensors").write_bytes(wrong)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match="base"):
            delta.apply(files(base), tmp_path / "delta", tmp_path / "back")
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(InputError, match="the base has no weights"):
        delta.apply({}, tmp_path / "delta", tmp_path / "back")


def test_no_damage_to_a_delta_gives_another_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, ours = pair
    delta.make(files(base), files(ours), tmp_path / "delta")
    rng = np.random.default_rng(0)
    refused = 0
    for name, content in contents(tmp_path / "delta").items():
        for place in rng.integers(0, len(content), 40):
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.integers(8)
            for wrong in (bytes(damaged), content[:place]):
                (tmp_path / "delta" / name).write_bytes(wrong)
                try:
                    delta.apply(files(base), tmp_path / "delta", tmp_path / "back")
                except InputError:
                    refused += 1
                    assert not list(tmp_path.glob("*back*"))
                else:  # a bit that says nothing: a space, the orcac that wrote it
                    assert contents(tmp_path / "back") == contents(ours)
                    shutil.rmtree(tmp_path / "back")
        (tmp_path / "delta" / name).write_bytes(content)
    assert refused > 200
    (tmp_path / "delta" / "files" / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json is missing"):
        delta.apply(files(base), tmp_path / "delta", tmp_path / "back")


@pytest.mark.parametrize("name", ["../outside.json", "/etc/outside", "a/../../b", "a\\b", "\x1b[2J"])
def test_a_delta_writes_nothing_outside_its_folder(pair: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    base, ours = pair
    delta.make(files(base), files(ours), tmp_path / "delta")
    path = tmp_path / "delta" / "delta.json"
    manifest = json.loads(path.read_text())
    manifest["model"][name] = manifest["model"]["config.json"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="damaged"):
        delta.apply(files(base), tmp_path / "delta", tmp_path / "back")


def test_existing_folders_are_kept(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, ours = pair
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        delta.make(files(base), files(ours), tmp_path / "there")
    delta.make(files(base), files(ours), tmp_path / "delta")
    with pytest.raises(InputError, match="exists already"):
        delta.apply(files(base), tmp_path / "delta", tmp_path / "there")
    with pytest.raises(InputError, match=r"delta\.json: No such file"):
        delta.apply(files(base), tmp_path / "nowhere", tmp_path / "back")


def test_a_model_with_no_tensor_in_common_is_refused_as_base(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Such a delta would contain the whole model."""
    stranger = model(tmp_path / "stranger", {"decoder.embed": ("F32", np.zeros((50, 8), "<u4"))})
    with pytest.raises(InputError, match="no tensor of the model's"):
        delta.make(files(stranger), files(pair[1]), tmp_path / "delta")
    assert not (tmp_path / "delta").exists()


def test_a_kill_leaves_no_half_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, ours = pair
    delta.make(files(base), files(ours), tmp_path / "delta")
    program = (
        "import sys, time; from pathlib import Path; from orcac.publish import delta\n"
        "real = delta.file_digest\n"
        "def slow(path, hashed):\n"
        "    if '.part' in str(path): print('writing', flush=True); time.sleep(60)\n"
        "    return real(path, hashed)\n"
        "delta.file_digest = slow\n"
        "base, made, out = map(Path, sys.argv[1:])\n"
        "delta.apply({path.name: path for path in base.iterdir()}, made, out)\n"
    )
    line = [sys.executable, "-c", program, str(base), str(tmp_path / "delta"), str(tmp_path / "back")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "back").exists()
    delta.apply(files(base), tmp_path / "delta", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(ours)
