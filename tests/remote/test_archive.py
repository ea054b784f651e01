"""Tests of orcac/remote/archive.py, orcac/remote/reproduced.py, orcac/plan/replay.py and orcac/cli/reproduce.py.

A study of two arms with two draws of their data is made, archived, and made again: by the command with the real
Snakemake, and in this process where the archive or the replay is changed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import SPEC, Made
from patience import PATIENCE_S
from survey import orcac

from orcac.chat.ledger.closed import close
from orcac.chat.ledger.exchange import add_records
from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.record import Record
from orcac.errors import InputError, StoreError
from orcac.make import make
from orcac.plan.replay import list_exact, list_remade, list_targets
from orcac.remote.archive import read_archive, write_archive
from orcac.remote.place import FolderPlace, open_place
from orcac.remote.reproduced import Reproduced, compare_replay
from orcac.store.store import Store

BIN = Path(sys.executable).parent
SECTIONS: dict[str, Any] = {
    "replicates": {"data": 2},
    "benchmarks": {
        "test": {"format": "puzzles", "task": "object_counting", "size": [2, 3], "take": 40, "max_tokens": 8}
    },
    "ablations": {"longer": {"stages": {"s": {"epochs": 2}}}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The study, with all of its nodes, and its archive in `archive` beside the store."""
    found = Made(tmp_path_factory.mktemp("study"), **SECTIONS)
    for ref in found.plan.nodes:
        make(found.plan, found.store, ref)
    write_archive(found.plan, found.store, FolderPlace(found.store.root.parent / "archive"))
    return found


@pytest.fixture
def archive(made: Made, tmp_path: Path) -> Path:
    """A copy of the archive."""
    return shutil.copytree(made.store.root.parent / "archive", tmp_path / "archive")


def replay(made: Made, archive: Path, folder: Path) -> Reproduced:
    """Make the study again from the answers of an archive, in a store that asks no model, and compare the two."""
    store = Store(folder / "store")
    shutil.copytree(archive / "answers", store.answers)
    close(store.answers, "the archive")
    for ref in list_remade(made.plan):
        make(made.plan, store, ref)
    return compare_replay(made.plan, store, read_archive(FolderPlace(archive)))


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace each row of a Parquet file."""
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist([change(row) for row in table.to_pylist()], schema=table.schema), path)


def test_a_stranger_makes_the_study_again_with_one_command(made: Made, archive: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(made.store.root.parent / "spec.yaml", clone / "cut.yaml")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCAC_")}
    environment["ATEN_CPU_CAPABILITY"] = "default"  # instructions that round otherwise, as on another processor
    line = [BIN / "orcac", "reproduce", str(archive), "cut.yaml", "--json"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, cwd=clone, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)

    done = run()
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["reproduced"] and not result["changed"]
    kinds = [ref.partition("/")[0] for ref in list_exact(made.plan)]
    assert result["exact"] == {kind: kinds.count(kind) for kind in ("sample", "collect", "filter")}
    assert [(arm["arm"], arm["runs"], arm["items"]) for arm in result["arms"]] == [("base", 2, 40), ("longer", 2, 40)]
    store = clone / "build" / "reproduce" / "made" / "store"
    assert {path.parent.parent.name for path in store.glob("*/*/artifact.json")} >= {"train", "eval", "report"}
    assert not (clone / "store").exists() and len(list(read_records(store / "answers"))) == 24
    again = run()
    assert again.returncode == 0 and json.loads(again.stdout) == result and "snakemake" not in again.stderr


def test_an_archive_has_no_weights_and_few_files_and_is_not_replaced(
    made: Made, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()}
    (answers,) = (name for name in names if name.startswith("answers/"))
    assert names == {"nodes.parquet", "scores.parquet", "report.md", "results.json", answers}
    assert sum((archive / name).stat().st_size for name in names) < 100_000
    before = {name: (archive / name).read_bytes() for name in names}
    monkeypatch.setenv("ORCAC_STORE", str(made.store.root))
    spec = str(made.store.root.parent / "spec.yaml")
    written = json.loads(orcac("push", str(archive), spec, "--archive", "--json").output)
    assert before == {name: (archive / name).read_bytes() for name in names}
    assert (written["nodes"], written["scores"], written["answers"]) == (len(made.plan.nodes), 4 * 40, 24)
    assert written["unanswered"] == 0 and {*written["files"]} == names
    rewrite(archive / "nodes.parquet", lambda row: row | {"record": row["record"].replace(b'"cpu_', b'"cpi_')})
    with pytest.raises(InputError, match="has the archive of another run"):
        orcac("push", str(archive), spec, "--archive")
    with pytest.raises(InputError, match="of all arms of one spec"):
        orcac("push", str(archive), f"{spec}:longer", "--archive")


def test_an_archive_may_be_at_a_url(made: Made, archive: Path, address: str) -> None:
    there = open_place(address)
    written = write_archive(made.plan, made.store, there)
    here, found = (read_archive(place) for place in (FolderPlace(archive), there))
    assert found.digest == here.digest and len(found.records) == written.nodes == len(made.plan.nodes)
    assert compare_replay(made.plan, made.store, found).holds


def test_a_changed_answer_is_found(made: Made, archive: Path, tmp_path: Path) -> None:
    def change(record: Record) -> Record:
        changed = {**record["response"], "text": record["response"]["text"] + " Or not."}
        return {**record, "response": changed} if record is first else record  # type: ignore[typeddict-item]

    records = list(read_records(archive / "answers"))
    first = records[0]
    shutil.rmtree(archive / "answers")
    add_records(archive / "answers", map(change, records))
    result = replay(made, archive, tmp_path)
    assert not result.holds
    changed = {one.ref.partition("/")[0]: one.files for one in result.changed}
    assert changed["collect"] == ("responses.parquet",) and "filter" in changed


def test_a_lost_answer_ends_the_replay_before_anything_is_sent(made: Made, archive: Path, tmp_path: Path) -> None:
    records = list(read_records(archive / "answers"))
    shutil.rmtree(archive / "answers")
    add_records(archive / "answers", records[1:])
    with pytest.raises(InputError, match="1 of 12 questions have no answer in the archive"):
        replay(made, archive, tmp_path)
    assert len(list(read_records(tmp_path / "store" / "answers"))) == len(records) - 1


def test_shifted_scores_are_found(made: Made, archive: Path) -> None:
    """Scores alone contradict their records; with the records they are beyond the luck of rounding."""
    arm = made.plan.experiments["made"].addresses["longer"]
    shifted = {ref for address, ref in arm.items() if address.startswith("score/")}
    assert len(shifted) == 2

    def score(row: dict[str, Any]) -> dict[str, Any]:
        return row | ({"score": 1.0, "outcome": "right"} if row["node"] in shifted else {})

    def sum_up(row: dict[str, Any]) -> dict[str, Any]:
        record = json.loads(row["record"])
        if row["ref"] in shifted:
            outcomes = dict.fromkeys(record["summary"]["outcomes"], 0) | {"right": 40}
            record["summary"] |= {"n": 40, "mean": 1.0, "outcomes": outcomes}
            del record["sha256"]  # as in a record of an older orcac
        return row | {"record": json.dumps(record).encode() if row["ref"] in shifted else row["record"]}

    assert compare_replay(made.plan, made.store, read_archive(FolderPlace(archive))).holds
    rewrite(archive / "scores.parquet", score)
    with pytest.raises(StoreError, match="are not those that its record sums up"):
        read_archive(FolderPlace(archive))
    rewrite(archive / "nodes.parquet", sum_up)
    result = compare_replay(made.plan, made.store, read_archive(FolderPlace(archive)))
    assert not result.holds and not result.changed
    assert [(one.arm, one.holds) for one in result.arms] == [("base", True), ("longer", False)]


def test_the_verdict_names_what_differs(
    made: Made, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reproduce(folder: str) -> tuple[int, str]:
        """Compare the finished study with the archive as if it were a replay of it."""
        shutil.copytree(made.store.root, tmp_path / folder / "store")
        digest = read_archive(FolderPlace(archive)).digest
        close(tmp_path / folder / "store" / "answers", f"the archive {digest[:16]}")
        result = orcac("reproduce", str(archive), "made.yaml", "--into", folder)
        return result.return_value, result.output

    shutil.copy(made.store.root.parent / "spec.yaml", tmp_path / "made.yaml")
    monkeypatch.chdir(tmp_path)
    code, text = reproduce("one")
    exact = len(list_exact(made.plan))
    assert code == 0, text
    assert f"reproduced: all {exact} nodes that read no student have the same bytes, and no arm" in text
    filtered = next(ref for ref in made.plan.nodes if ref.startswith("filter/"))

    def change(row: dict[str, Any]) -> dict[str, Any]:
        record = json.loads(row["record"])
        if row["ref"] != filtered:
            return row
        del record["sha256"]
        record["files"]["kept.parquet"]["sha256"] = "0" * 64
        record["made"]["packages"]["pyarrow"] = "1.0"
        return row | {"record": json.dumps(record).encode()}

    rewrite(archive / "nodes.parquet", change)
    code, text = reproduce("two")
    assert code == 1 and "not reproduced: nodes with other bytes: 1" in text
    assert f"{filtered} (d): kept.parquet differ" in text and "pyarrow 1.0 there, " in text


def test_damage_is_named(made: Made, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no archive"):
        read_archive(FolderPlace(tmp_path / "nowhere"))
    content = (archive / "nodes.parquet").read_bytes()
    for damaged in (content[:-9], b"", content.replace(b"ref", b"fer")):
        (archive / "nodes.parquet").write_bytes(damaged)
        with pytest.raises(StoreError, match=r"nodes\.parquet: is damaged"):
            read_archive(FolderPlace(archive))
    (archive / "nodes.parquet").write_bytes(content)
    scores = archive / "scores.parquet"
    pq.write_table(pq.read_table(scores).slice(40), scores)
    with pytest.raises(StoreError, match=r"the scores of score/\w+ are missing"):
        read_archive(FolderPlace(archive))
    rewrite(scores, lambda row: row | {"sample": 1} if "sample" in row else row | {"id": None})
    with pytest.raises(StoreError, match=r"scores\.parquet"):
        read_archive(FolderPlace(archive))


def test_a_spec_or_a_store_of_another_archive_is_refused(
    made: Made, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "made.yaml"
    spec.write_text(json.dumps(SPEC | SECTIONS | {"seed": 7}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nodes of the spec are not in"):
        orcac("reproduce", str(archive), "made.yaml")
    spec.write_text(json.dumps(SPEC | SECTIONS))
    with pytest.raises(InputError, match="is a store that may ask models"):
        orcac("reproduce", str(archive), "made.yaml", "--into", str(made.store.root.parent))
    close(tmp_path / "old" / "store" / "answers", "the archive of another")
    with pytest.raises(InputError, match="is the replay of the archive of another, and not of"):
        orcac("reproduce", str(archive), "made.yaml", "--into", "old")


def test_scores_of_a_judge_are_not_made_again(tmp_path: Path) -> None:
    judge = {"model": "judge", "endpoint": {"kind": "solver"}}
    (tmp_path / "open.jsonl").write_text('{"question": "Why do I count?"}\n')
    judged = {"format": "open-ended", "path": "open.jsonl", "fields": {"query": "question"}, "judge": "j"}
    benchmarks = SECTIONS["benchmarks"] | {"judged": judged | {"against": ["t"]}}
    plan = Made(tmp_path, **SECTIONS | {"benchmarks": benchmarks, "teachers": SPEC["teachers"] | {"j": judge}}).plan
    remade, exact = {*list_remade(plan)}, {*list_exact(plan)}
    left = [node.label for ref, node in plan.nodes.items() if ref not in remade]
    assert {label.partition(" ~")[0] for label in left if "judged" in label} == {"base: judged", "longer: judged"}
    assert {plan.nodes[ref].kind for ref in plan.nodes if ref not in remade} == {"score", "report"}
    assert {plan.nodes[ref].kind for ref in exact} == {"sample", "collect", "filter"}
    targets = list_targets(plan, remade)
    assert plan.closure(targets) == [ref for ref in plan.nodes if ref in remade] and len(targets) < len(remade)


def test_answers_beside_a_replay_stay(
    made: Made, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(made.store.root.parent / "spec.yaml", tmp_path / "made.yaml")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.store.root, tmp_path / "lab" / "store")
    close(tmp_path / "lab" / "store" / "answers", f"the archive {read_archive(FolderPlace(archive)).digest[:16]}")
    paid = tmp_path / "lab" / "answers" / "paid.jsonl"  # the folder may be a store itself
    paid.parent.mkdir()
    paid.write_text("paid")
    result = orcac("reproduce", f"local://{archive}", "made.yaml", "--into", "lab")
    assert result.return_value == 0, result.output
    assert paid.read_text() == "paid" and not list((tmp_path / "lab").glob("answers-*"))


def test_an_arm_that_cannot_be_compared_is_not_reproduced() -> None:
    sound = Reproduced(exact={}, changed=(), others={}, arms=(), left_out=())
    assert sound.holds and not dataclasses.replace(sound, lost=("arm on test",)).holds
