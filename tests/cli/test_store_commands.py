"""Tests of orcac/cli/status.py, orcac/cli/verify.py, orcac/cli/gc.py and orcac/cli/explain.py on two real nodes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orcac.cli import cli
from orcac.errors import InputError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = str(Path(__file__).parents[2] / "specs" / "smoke.yaml")
ELSEWHERE = json.dumps({"host": "elsewhere", "pid": 1, "started": "1"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled plan, and its first two sample nodes in the store."""
    folder, plan = tmp_path_factory.mktemp("made"), Plan()
    lower(plan, load(Path(SPEC)))
    plan.write(folder / "plan.json")
    for ref in _samples(plan):
        make(plan, Store(folder / "store"), ref)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    monkeypatch.setenv("ORCAC_STORE", str(folder / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(folder / "plan.json"))
    monkeypatch.setenv("COLUMNS", "80")
    return folder


def _samples(plan: Plan) -> list[str]:
    return [ref for ref, node in plan.nodes.items() if node.kind == "sample"][:2]


def orcac(*line: str) -> tuple[Any, str]:
    """What the command returns, and what it prints."""
    result: Result = CliRunner().invoke(cli, list(line), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.output


def test_status_of_a_spec_does_not_depend_on_the_plan_that_another_run_compiled(place: Path) -> None:
    nodes = Plan.read(place / "plan.json").nodes
    (place / "plan.json").unlink()
    with pytest.raises(InputError, match="there is no plan"):
        orcac("status")
    states = json.loads(orcac("status", SPEC, "--json")[1])["states"]
    assert states.keys() == nodes.keys()
    assert [ref for ref, state in states.items() if state["name"] == "done"] == _samples(Plan(nodes=nodes))


def test_status_tells_a_person_and_a_script(place: Path) -> None:
    plan = Plan.read(place / "plan.json")
    ref = next(ref for ref, node in plan.nodes.items() if node.kind == "train")
    work = place / "store" / ref / "work"
    work.mkdir(parents=True)
    (work / "progress.json").write_text(
        json.dumps({"done": 1200, "total": 1758, "unit": "steps", "rate": 22.1, "usd": None, "note": "", "at": 0})
    )
    (work.parent / "lease.json").write_text(ELSEWHERE)
    failed = next(ref for ref, node in plan.nodes.items() if node.kind == "filter")
    (place / "store" / failed).mkdir(parents=True)
    message = "no key\x1b[2J [red]in[/] OPENAI_API_KEY"
    (place / "store" / failed / "error.json").write_text(json.dumps({"message": message, "exit_code": 4}))
    _, text = orcac("status")
    assert f"{ref[:14]}" in text
    assert "1,200/1,758 steps  68 %" in text
    assert "2 of 18 nodes done" in text
    assert "[red]in[/] OPENAI_API_KEY" in text
    assert "\x1b" not in text
    states = json.loads(orcac("status", "--json")[1])["states"]
    assert list(states) == list(plan.nodes)
    assert states[ref]["name"] == "making"
    assert states[ref]["eta_seconds"] == pytest.approx(558 / 22.1)
    assert states[failed] | {"label": ""} == {
        "label": "", "name": "failed", "done": None, "total": None, "unit": "", "rate": None, "eta_seconds": None,
        "usd": None, "note": "", "error": message, "exit_code": 4, "shards": [],
    }  # fmt: skip


NARROW = """
node              what  progress
NODE              pool  400/1,200 answers  33 %
  8.0/s  ETA 1:40  0.75 USD
  shards: 1 making, 1 to do
  1 of 2                400/600 answers  67 %
    8.0/s  ETA 0:25  0.75 USD
    retried: 12 server, 3 rate_limit  64 in flight
    910 tokens/s
"""
MIDDLE = """
node              what  progress                  rate   ETA   USD
NODE              pool  400/1,200 answers  33 %  8.0/s  1:40  0.75
  shards: 1 making, 1 to do
  1 of 2                400/600 answers  67 %    8.0/s  0:25  0.75
    retried: 12 server, 3 rate_limit  64 in flight  910 tokens/s
"""
WIDE = """
node              what  progress                  rate   ETA   USD
NODE              pool  400/1,200 answers  33 %  8.0/s  1:40  0.75  shards: 1 making, 1 to do
  1 of 2                400/600 answers  67 %    8.0/s  0:25  0.75  """
WIDE += "retried: 12 server, 3 rate_limit  64 in flight  910 tokens/s\n"


@pytest.mark.parametrize(
    "columns, shown",
    [(50, NARROW), (80, MIDDLE), (140, WIDE)],
)
def test_status_shows_each_shard_at_any_width(
    place: Path, monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    plan = Plan.read(place / "plan.json")
    ref = next(ref for ref, node in plan.nodes.items() if getattr(node.execution, "shards", 1) == 2)
    shard = place / "store" / ref / "shards" / "1-of-2"
    (shard / "work").mkdir(parents=True)
    note = "retried: 12 server, 3 rate_limit  64 in flight  0.75 USD  910 tokens/s"
    record = {"done": 400, "total": 600, "unit": "answers", "rate": 8.0, "usd": 0.75, "note": note}
    (shard / "work" / "progress.json").write_text(json.dumps(record))
    (shard / "lease.json").write_text(ELSEWHERE)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [line.rstrip() for line in orcac("status")[1].splitlines()]
    assert (
        lines[lines.index("2 of 18 nodes done") + 2 :] == shown.replace("NODE            ", ref[:16]).split("\n")[1:-1]
    )
    states = json.loads(orcac("status", "--json")[1])["states"]
    assert [(shard["name"], shard["done"], shard["note"]) for shard in states[ref]["shards"]] == [
        ("making", 400, note),
        ("to do", None, ""),
    ]


def test_verify_names_what_is_damaged_and_repair_has_it_made_again(place: Path) -> None:
    plan, store = Plan.read(place / "plan.json"), Store(place / "store")
    ref, other = _samples(plan)
    assert orcac("verify")[0] == 0
    path = store.folder(ref) / "prompts.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\0" + whole[101:])
    code, text = orcac("verify", SPEC)
    assert code == 1
    assert str(path) in text
    assert "1 of 2 artifacts are sound" in text
    assert orcac("verify", other[:12])[0] == 0
    (path.parent / "lease.json").write_text(ELSEWHERE)
    code, text = orcac("verify", "--repair")
    assert (code, path.exists()) == (0, True)
    assert f"{ref} is being made now" in text
    (path.parent / "lease.json").unlink()
    code, text = orcac("verify", ref, "--repair", "--json")
    findings = json.loads(text)
    assert (code, findings["repaired"]) == (1, [ref])
    assert list(findings["damaged"]) == [ref]
    assert not store.has_record(ref)
    assert make(plan, store, ref)
    assert path.read_bytes() == whole
    assert orcac("verify")[0] == 0


def test_verify_looks_through_the_answers_too(place: Path) -> None:
    answers = place / "store" / "answers"
    answers.mkdir(exist_ok=True)
    (answers / "host-1.jsonl").write_text("no json\ncut off")
    code, text = orcac("verify")
    assert code == 1
    assert "host-1.jsonl:1: the record is damaged" in text
    assert "0 recorded answers match their checksums; 1 damaged" in text
    records = json.loads(orcac("verify", "--json")[1])["records"]
    assert (records["sound"], records["unverifiable"], len(records["damaged"])) == (0, 0, 1)


def test_gc_touches_nothing_unless_told_and_then_only_what_no_spec_reaches(place: Path) -> None:
    store, (ref, other) = Store(place / "store"), _samples(Plan.read(place / "plan.json"))
    assert "nothing to remove" in orcac("gc", SPEC)[1]
    gone = store.root / "sample" / ("0" * 20)
    shutil.copytree(store.folder(ref), gone)
    _, text = orcac("gc", SPEC)
    assert gone.name in text
    assert gone.exists()
    items = json.loads(orcac("gc", SPEC, "--json")[1])["items"]
    assert [(item["what"], item["path"], item["removed"]) for item in items] == [("artifact", str(gone), False)]
    running = store.root / "train" / ("1" * 20)
    running.mkdir(parents=True)
    for name in ("lease.json", "lease.lock"):
        (running / name).write_text(ELSEWHERE)
    with pytest.raises(InputError, match=f"{running.name} is being made now"):
        orcac("gc", SPEC, "--delete")
    assert gone.exists()
    shutil.rmtree(running)
    orcac("gc", SPEC, "--delete")
    assert store.refs() == sorted([ref, other])
    assert orcac("verify")[0] == 0


def test_explain_says_why_a_node_exists_and_what_its_id_is_of(place: Path) -> None:
    plan = Plan.read(place / "plan.json")
    ref, _ = _samples(plan)
    facts = json.loads(orcac("explain", ref[:12], "--json")[1])
    assert facts["used_by"] == ["smoke:base", "smoke:no-first"]
    assert {need.partition("/")[0] for need in facts["needed_by"]} == {"sample", "collect", "report"}
    assert facts["identity"]["recipe"]["source"]["puzzles"]["count"] == 200
    assert facts["state"]["name"] == "done"
    assert facts["made"]["seconds"] > 0
    assert set(facts["files"]) == {"prompts.parquet"}
    train = next(ref for ref, node in plan.nodes.items() if node.kind == "train")
    _, text = orcac("explain", train.partition("/")[2][:10])
    for words in ("to do", "smoke: base", "learning_rate: 0.002", "rows", "start", "tokenize/"):
        assert words in text


def test_explain_knows_the_store_where_the_plan_does_not(place: Path) -> None:
    ref, _ = _samples(Plan.read(place / "plan.json"))
    (place / "plan.json").unlink()
    _, text = orcac("explain", ref)
    assert "no compiled spec" in text
    assert "prompts.parquet" in text
    with pytest.raises(InputError, match="2 nodes begin so"):
        orcac("explain", "sample/")
    with pytest.raises(InputError, match="no such node"):
        orcac("explain", "train/0")
