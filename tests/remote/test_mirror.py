"""Tests of orcac/remote/mirror.py and orcac/cli/upstream.py: a study whose upstream is a URL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import set_keys
from survey import MORE, orcac

from orcac.chat.ledger.files import read_records
from orcac.errors import EndpointError, InputError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.remote import artifacts
from orcac.remote.answers import push_answers
from orcac.remote.place import open_place
from orcac.spec.load import load
from orcac.store.store import Store


@pytest.fixture
def study(made: Store, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a bucket with the nodes and answers of SPEC. The working folder is a study of MORE above it."""
    for name in ("ORCAC_STORE", "ORCAC_PLAN", "ORCAC_UPSTREAM", "ORCAC_TARGETS"):
        monkeypatch.delenv(name, raising=False)
    set_keys(monkeypatch, s3)
    address = f"s3://lab/{tmp_path.name}"
    place = open_place(address)
    for _ in artifacts.push(made, place, made.refs(), lambda size: None):
        pass
    push_answers(made.answers, place, lambda record: True, dry_run=False)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(MORE)
    Path("orcac.toml").write_text(f'upstream = "{address}"\n')
    return address


def test_a_run_pulls_what_it_needs_and_asks_nothing_that_the_upstream_has(study: str, made: Store) -> None:
    line = f"3 of 6 nodes are used from the upstream {study}"
    for command in ("compile", "plan", "cost"):
        assert line in orcac(command, "mine.yaml").output
    assert not Path("store").exists(), "only a run fetches files"
    states = {one["ref"]: one["state"] for one in json.loads(orcac("plan", "mine.yaml", "--json").output)}
    assert sorted(states.values()) == ["to do"] * 3 + ["upstream"] * 3
    done = subprocess.run(
        [sys.executable, "-m", "orcac", "run", "mine.yaml"],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert line in done.stderr and "artifacts (" in done.stderr
    store = Store(Path("store"))
    kinds = [ref.partition("/")[0] for ref in store.refs()]
    assert kinds.count("collect") == 1 and kinds.count("filter") == 2, "the upstream's answers need no collect node"
    theirs = {record["at"] for record in read_records(made.answers)}
    assert {record["at"] for record in read_records(store.answers)} < theirs
    assert f"{len(store.refs())} of {len(store.refs())} artifacts are sound" in orcac("verify").output
    assert orcac("report", "mine.yaml").output and json.loads(orcac("status", "mine.yaml", "--json").output)
    assert "nothing to do" in orcac("run", "mine.yaml").output


def test_a_node_that_the_upstream_loses_is_made_again(study: str) -> None:
    assert "3 of 6 nodes" in orcac("compile", "mine.yaml").output
    plan, place = Plan(), open_place(study)
    lower(plan, load(Path("mine.yaml")))
    (ref,) = [ref for ref in artifacts.list_refs(place) if ref.startswith("collect/")]
    place.remove(f"{ref}/artifact.json")
    assert "2 of 6 nodes" in orcac("compile", "mine.yaml").output


def test_a_damaged_record_in_the_upstream_is_named(study: str, tmp_path: Path) -> None:
    place = open_place(study)
    ref = artifacts.list_refs(place)[0]
    place.put(f"{ref}/artifact.json", b"{}")
    with pytest.raises(Exception, match=f"{study}/{ref}/artifact.json: the record is damaged"):
        orcac("compile", "mine.yaml")


def test_an_upstream_that_cannot_be_used_is_an_error_and_not_empty(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything would be asked and made again."""
    Path("orcac.toml").write_text('upstream = "s3://lab/nowhere"\n')
    with pytest.raises(InputError, match="s3://lab/nowhere: holds no artifacts and no answers"):
        orcac("run", "mine.yaml")
    Path("orcac.toml").write_text('\nupstream = "http://127.0.0.1:1/store"\n')
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1"):
        orcac("compile", "mine.yaml")
    Path("orcac.toml").write_text('\nupstream = "s3://me:hunter2@lab/store"\n')
    with pytest.raises(InputError, match=r"orcac\.toml:2: the upstream's address holds a user or a password"):
        orcac("compile", "mine.yaml")
    assert not Path("store").exists()
