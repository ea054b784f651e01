"""Tests of orcac/cli/delta.py, on folders, the store and a hub."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import hub_server
import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.errors import InputError
from orcac.study import find_study

REF = "train/" + "0f" * 10


def orcac(*line: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in line], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def weights(*values: float) -> bytes:
    end = 4 * len(values)
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, end]}}).encode()
    return struct.pack(f"<Q{len(header)}s{len(values)}f", len(header), header, *values)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base, and a stage in the store that was trained from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(weights(1, 2, 3))
    (tmp_path / "base" / "config.json").write_text("{}")
    store, out = find_study().store, tmp_path / "out"
    (out / "model").mkdir(parents=True)
    (out / "model" / "model.safetensors").write_bytes(weights(1, 2.5, 3))
    (out / "model" / "config.json").write_text('{"a": 1}')
    (out / "metrics.jsonl").write_text("")
    with store.lease(REF):
        store.publish(REF, out, {"ref": REF})
    return tmp_path


def same(one: Path, other: Path) -> bool:
    return {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }


def test_a_stage_of_the_store_and_back(place: Path) -> None:
    assert "1 tensors: 0 equal the base's, 0 have no counterpart in it" in orcac(
        "delta", "make", "base", REF[:10], "delta"
    )
    assert "every file restored bit for bit" in orcac("delta", "apply", "base", "delta", "back")
    assert same(place / "back", place / "store" / REF / "model")
    sizes: dict[str, Any] = json.loads(orcac("delta", "make", "base", "back", "again", "--json"))
    assert sizes["tensors"] == 1
    assert (place / "delta" / "delta.safetensors").read_bytes() == (place / "again" / "delta.safetensors").read_bytes()


def test_the_base_may_lie_on_a_hub(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orcac("delta", "make", "base", REF, "delta")
    base = {f"m/{path.name}": path.read_bytes() for path in (place / "base").iterdir()}
    with hub_server.serving(monkeypatch, str(place / "cache")) as server:
        server.add("models/o/m", base)
        orcac("delta", "apply", "hf://o/m/m", "delta", "back")
    assert same(place / "back", place / "store" / REF / "model")


def test_what_is_no_model_is_told(place: Path) -> None:
    with pytest.raises(InputError, match="nowhere: neither a folder nor a train or student node"):
        orcac("delta", "make", "base", "nowhere", "delta")
    (place / "store" / REF / "model" / "config.json").write_text("damaged")
    with pytest.raises(Exception, match="the file is damaged"):
        orcac("delta", "make", "base", REF, "delta")
