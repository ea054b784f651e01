"""A property of orcac/cli/verify.py on a real store: it finds every flipped bit, in every kind of file."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from survey import make_all

from orcac.chat.ledger.files import check_records, read_records
from orcac.chat.ledger.forgotten import RecordId, forget
from orcac.chat.ledger.sealing import seal
from orcac.cli import cli
from orcac.errors import StoreError
from orcac.store.store import Store

FLIPS = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with a node of each kind of survey.SPEC, a log, a sealed file and a forgotten answer."""
    folder = tmp_path_factory.mktemp("flips")
    _, store = make_all(folder)
    (log,) = store.answers.glob("*.jsonl")
    shutil.copy(log, folder / "copy.jsonl")
    age(log)
    seal(store.answers, min_logs=1)
    shutil.move(folder / "copy.jsonl", store.answers / "host-2-0a1b2c3d.jsonl")
    record = next(read_records(store.answers))
    forget(store.answers, [RecordId(record["key"], record["at"])])
    return store.root


def age(log: Path) -> None:
    """Make a log look as if its writer had died long ago."""
    os.utime(log, (0, 0))


def find_damage(store: Store, path: Path | None = None) -> Iterator[object]:
    """Yield all damage of a store, as `verify` does, or that of the artifact or of the ledger that `path` is in."""
    for ref in store.refs():
        if path is None or store.folder(ref) in path.parents:
            yield from store.find_damage(ref)
    if path is None or store.answers in path.parents:
        yield from check_records(store.answers).damaged


def list_files(root: Path) -> list[Path]:
    """Return the files of a store that hold anything, but for the locks of jobs that have ended."""
    return [path for path in sorted(root.rglob("*")) if path.is_file() and path.stat().st_size]


def test_verify_finds_every_flipped_bit_of_every_kind_of_file(made: Path) -> None:
    store, rng = Store(made), random.Random(19)
    files = list_files(made)
    kinds = {path.parent.name if path.parent.name == "forgotten" else path.name for path in files}
    assert {"artifact.json", "complete.json", "prompts.parquet", "forgotten", "host-2-0a1b2c3d.jsonl"} <= kinds
    assert not any(find_damage(store)) and check_records(store.answers).unverifiable == 0
    missed = []
    for number in range(FLIPS):
        path = files[number % len(files)]
        content = path.read_bytes()
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        if not any(find_damage(store, path)):
            missed.append((path, at, bit))
        path.write_bytes(content)
    assert not missed


def test_every_bit_at_the_ends_of_checksums_is_covered(made: Path) -> None:
    """The names of checksums and the last line ends are where a flip could turn a check off."""
    store = Store(made)
    missed = []
    for path in (*made.glob("sample/*/artifact.json"), *made.glob("answers/**/*.jsonl")):
        content = path.read_bytes()
        for at in range(len(content) - 20, len(content)):
            for bit in range(8):
                path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
                if not any(find_damage(store, path)):
                    missed.append((path, at, bit))
        path.write_bytes(content)
    assert not missed


@pytest.mark.parametrize("name", ["*.jsonl", "*.parquet"])
def test_a_reader_of_the_ledger_gives_the_same_answers_or_an_error(made: Path, name: str) -> None:
    rng = random.Random(19)
    (path,) = (made / "answers").glob(name)
    content, before = path.read_bytes(), {str(record["response"]) for record in read_records(made / "answers")}
    for _ in range(100):
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        try:
            assert {str(record["response"]) for record in read_records(made / "answers")} <= before
        except StoreError:
            pass
        finally:
            path.write_bytes(content)


def test_records_of_an_older_orcac_are_counted_and_sealed(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path / "store")
    store = Store(tmp_path / "store")
    monkeypatch.setenv("ORCAC_STORE", str(store.root))
    for path in (store.folder(ref) / name for ref in store.refs() for name in ("artifact.json", "complete.json")):
        record = json.loads(path.read_text())
        record.pop("sha256")
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    sealed, log = *store.answers.glob("*.parquet"), *store.answers.glob("*.jsonl")
    sealed.rename(sealed.with_stem("0123456789abcdef"))
    log.write_text("".join(line[:-18] + "}\n" for line in log.read_text().splitlines()))
    age(log)
    times = [store.marker(ref).stat().st_mtime_ns for ref in store.refs()]
    text = CliRunner().invoke(cli, ["verify"]).output
    assert "3 of their records are older and have no checksum: add --seal" in text
    assert "24 are older and have no checksum" in text
    text = CliRunner().invoke(cli, ["verify", "--seal"]).output
    assert "3 of their records had no checksum, and have one now" in text
    assert "25 recorded answers match their checksums; 0 damaged" in text
    assert times == [store.marker(ref).stat().st_mtime_ns for ref in store.refs()], "Snakemake compares them"
    assert not any(find_damage(store))


def test_a_damaged_record_is_replaced_by_its_copy(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "store")
    store = Store(tmp_path / "store")
    monkeypatch.setenv("ORCAC_STORE", str(store.root))
    ref = store.refs()[0]
    for name in ("artifact.json", "complete.json"):
        path = store.folder(ref) / name
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b'"seconds": ', b'"seconds": 1'))
        result = CliRunner().invoke(cli, ["verify", "--repair"], standalone_mode=False)
        assert result.return_value == 1 and f"the record of {ref} is replaced by its sound copy" in result.output
        assert path.read_bytes() == whole and not any(find_damage(store))


def test_a_repair_unmakes_an_artifact_whose_marker_and_file_are_damaged(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path / "store")
    store = Store(tmp_path / "store")
    monkeypatch.setenv("ORCAC_STORE", str(store.root))
    (ref,) = [ref for ref in store.refs() if ref.startswith("sample/")]
    for name in ("artifact.json", "prompts.parquet"):
        path = store.folder(ref) / name
        path.write_bytes(path.read_bytes()[:-9])
    assert CliRunner().invoke(cli, ["verify", "--repair"], standalone_mode=False).return_value == 1
    assert not store.has_record(ref)
    assert CliRunner().invoke(cli, ["verify"], standalone_mode=False).return_value == 0


def test_the_record_of_another_artifact_is_damage(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "store")
    store = Store(tmp_path / "store")
    one, *_, other = store.refs()
    for name in ("artifact.json", "complete.json"):
        shutil.copy(store.folder(other) / name, store.folder(one) / name)
    with pytest.raises(StoreError, match="the record of another artifact"):
        store.artifact(one)
    assert any(store.find_damage(one))
