"""Tests of orcac/chat/checking.py and orcac/store/checksum.py: damage in the small records of a store is found."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from survey import SPEC, lay_out

from orcac.chat.batch.files import Batch, encode_request, read_record, read_unanswered, write_record, write_unanswered
from orcac.chat.checking import check_small_records, seal_small_records
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import Sampling
from orcac.cli import cli
from orcac.errors import StoreError
from orcac.make import make, make_shard
from orcac.store.checksum import add_checksum, parse_checked

FLIPS = 40  # in each file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a spent budget, a batch under way, a settled one that left questions, and a finished shard."""
    folder = tmp_path_factory.mktemp("made")
    plan, store = lay_out(folder, SPEC.replace("take: 12", "take: 4"))
    for ref in plan.nodes:
        if ref.startswith("sample/"):
            make(plan, store, ref)
        elif ref.startswith("collect/"):
            make_shard(plan, store, ref, 0, 2)
    with Budget(store.answers / "budgets" / "mine", 1.0) as budget:
        budget.reserve(0.1)
        budget.settle(0.1, 0.05)
    for name, is_settled in (("live", False), ("ended", True)):
        batch = store.answers / "batches" / name
        batch.mkdir(parents=True)
        fields = {"base_url": None, "api_key_env": "K", "model": "m", "requests": 2, "tokens": 1, "usd_bound": 0.5}
        write_record(batch, Batch(id=name, planned_at=1.0, settled=is_settled, **fields))  # type: ignore[arg-type]
        if is_settled:
            write_unanswered(batch, ["ff" * 16, "ab" * 16])
        else:
            (batch / "requests.jsonl").write_bytes(b"".join(map(encode_request, map(ask, "ab"))))
    return store.root


def ask(text: str) -> ChatRequest:
    return ChatRequest(model="m", messages=conversation(system="", user=text), sampling=Sampling(), origin="api")


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    return Path(shutil.copytree(made, tmp_path / "store"))


def list_small(root: Path) -> list[Path]:
    names = {"batch.json", "requests.jsonl", "left", "done.json"}
    return [path for path in sorted(root.rglob("*")) if path.name in names or path.parent.name == "log"]


def test_every_flipped_bit_of_a_small_record_is_found(root: Path) -> None:
    rng, missed = random.Random(19), []
    assert {path.name for path in list_small(root)} >= {"batch.json", "requests.jsonl", "left", "done.json"}
    found = check_small_records(root)
    assert found.sound == len(list_small(root)) > 5 and not found.unverifiable and not found.damaged
    for path in list_small(root):
        content = path.read_bytes()
        ends = range(max(0, len(content) - 20), len(content))
        for at in [*(rng.randrange(len(content)) for _ in range(FLIPS)), *ends]:
            bit = rng.randrange(8)
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            if not check_small_records(root).damaged:
                missed.append((path.name, at, bit))
        path.write_bytes(content)
    assert not missed


def test_verify_names_the_damage_and_its_readers_refuse_it(root: Path) -> None:
    assert "7 records of budgets, batches and shards match their checksums; 0 damaged" in orcac("verify")
    for pattern in ("answers/budgets/*/log/*.json", "answers/batches/live/batch.json"):
        path = max(root.glob(pattern))
        path.write_text(path.read_text().replace("0", "1", 1))
        assert f"{path}: " in orcac("verify")
    with pytest.raises(StoreError, match="not a record of a budget"):
        Budget(root / "answers/budgets/mine", 1).left()
    with pytest.raises(StoreError, match="the record is damaged"):
        read_record(root / "answers/batches/live")


def orcac(*line: str) -> str:
    return CliRunner().invoke(cli, line, standalone_mode=False).output


def test_records_of_an_older_orcac_are_read_counted_and_sealed(root: Path) -> None:
    for path in list_small(root):
        content = path.read_bytes()
        if path.name == "left":
            path.write_bytes(content[:-16])
        else:
            path.write_bytes(re.sub(rb',"crc":"[0-9a-f]{8}"}\n', b"}\n", content))
    found = check_small_records(root)
    assert len(found.unverifiable) == len(list_small(root)) and not found.damaged
    assert len(read_unanswered(root / "answers/batches/ended")) == 2
    assert read_record(root / "answers/batches/live").requests == 2
    (done,) = root.rglob("done.json")
    before = done.stat().st_mtime_ns
    seal_small_records(found)
    assert {path.name for path in check_small_records(root).unverifiable} == {"requests.jsonl", "left"}
    assert done.stat().st_mtime_ns == before and json.loads(done.read_text())["summary"]


def test_an_object_with_a_damaged_name_of_its_checksum_is_damaged() -> None:
    line = add_checksum(b'{"a":1}')
    assert parse_checked(line, ("a",)) == {"a": 1} == parse_checked(b'{"a":1}\n', ("a",))
    for damaged in (line.replace(b"crc", b"csc"), line.replace(b"1", b"2"), b"[1]", b"{"):
        with pytest.raises(ValueError):
            parse_checked(damaged, ("a",))


def test_a_deeply_nested_object_is_damage_and_no_recursion(root: Path) -> None:
    deep = b'{"a":' + b"[" * 200_000
    with pytest.raises(ValueError, match="nested"):
        parse_checked(deep, ("a",))
    (root / "answers" / "batches" / "live" / "batch.json").write_bytes(deep)
    with pytest.raises(StoreError, match="is damaged"):
        read_record(root / "answers" / "batches" / "live")


def test_a_lease_beside_the_records_of_a_budget_is_not_one_of_them(root: Path) -> None:
    """A killed `verify --seal` leaves it there."""
    (root / "answers" / "budgets" / "mine" / "log" / "lease.json").write_text('{"host": "a", "pid": 1}')
    assert not check_small_records(root).damaged
