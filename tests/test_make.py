"""Tests of orcac/make.py: a node is found by a beginning of its id and made once, and its errors are recorded."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner

from orcac import rows
from orcac.cli import cli
from orcac.errors import InputError, StoreError, as_input_error
from orcac.make import make, make_shard
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.plan.state import read_state
from orcac.sample import run as sample_run
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.store.tries import refuse_known_error

SPECS = Path(__file__).parents[1] / "specs"


@pytest.fixture
def plan() -> Plan:
    made = Plan()
    lower(made, load(SPECS / "smoke.yaml"))
    return made


def test_a_beginning_of_an_id_names_the_node_itself(plan: Plan, tmp_path: Path) -> None:
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    assert make(plan, store, ref)
    written = (store.folder(ref) / "prompts.parquet").stat().st_ino
    assert not make(plan, store, ref[:15])
    assert (store.folder(ref) / "prompts.parquet").stat().st_ino == written
    assert [folder.name for folder in (tmp_path / "sample").iterdir()] == [ref.partition("/")[2]]


@pytest.mark.parametrize(("ref", "message"), [("sample/", "nodes begin so"), ("../../etc", "no such node")])
def test_a_name_of_several_nodes_or_of_none_is_refused(plan: Plan, tmp_path: Path, ref: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(plan, Store(tmp_path), ref)
    assert not list(tmp_path.iterdir())


def publish_version1_eval(store: Store, ref: str, items: list[rows.Prompt], text: str) -> None:
    """Publish an evaluation as VERSION 1 wrote it, in which every answer is `text`."""

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Version1Answer(rows.Prompt):
        response: str
        finish_reason: str
        parsed: str
        correct: str  # a boolean, but `rows` no longer writes those

    out = store.folder(ref) / "work" / "out"
    out.mkdir(parents=True)
    fields = {"response": text, "finish_reason": "stop", "parsed": text, "correct": ""}
    rows.write(out / "answers.parquet", Version1Answer, [rows.widen(item, Version1Answer, **fields) for item in items])
    (out / "scores.json").write_text("{}")
    recipe = {"system_id": 7, "temperature": 0.0, "max_new_tokens": 120, "parser": "first-capital", "judge": None}
    with store.lease(ref):
        store.publish(ref, out, {"ref": ref, "kind": "eval", "version": 1, "recipe": recipe, "summary": {"n": 40}})


def test_an_evaluation_of_version_1_is_taken_over_and_scored_without_a_model(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, addresses = Store(tmp_path), plan.experiments["smoke"].addresses["base"]
    items, eval_, score = (addresses[f"{kind}/held-out"] for kind in ("items", "eval", "score"))
    make(plan, store, items)
    (model,) = plan.nodes[eval_].inputs["model"]
    folder = store.folder(model) / "work" / "out"
    folder.mkdir(parents=True)
    with store.lease(model):
        store.publish(model, folder, {"ref": model, "summary": {}})  # without a model: none is loaded
    prompts = list(rows.read(store.folder(items) / "prompts.parquet", rows.Prompt))
    earlier = plan.nodes[eval_].execution.earlier[1]  # that of the parser `first-capital`
    publish_version1_eval(store, earlier, prompts, "The answer is True")
    assert make(plan, store, eval_)
    assert f"takes its 40 answers from {earlier}" in capsys.readouterr().err
    assert store.artifact(eval_)["summary"] == {
        "n": 40,
        "cut": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "earlier": earlier,
    }
    assert make(plan, store, score)
    right = sum(prompt.reference == "True" for prompt in prompts)
    summary = store.artifact(score)["summary"]
    assert (summary["outcomes"]["right"], summary["outcomes"]["wrong"]) == (right, 40 - right)


def test_a_damaged_evaluation_of_version_1_is_not_taken_over(plan: Plan, tmp_path: Path) -> None:
    store, addresses = Store(tmp_path), plan.experiments["smoke"].addresses["base"]
    eval_ = addresses["eval/held-out"]
    make(plan, store, addresses["items/held-out"])
    (model,) = plan.nodes[eval_].inputs["model"]
    folder = store.folder(model) / "work" / "out"
    folder.mkdir(parents=True)
    with store.lease(model):
        store.publish(model, folder, {"ref": model, "summary": {}})
    earlier = plan.nodes[eval_].execution.earlier[0]
    publish_version1_eval(store, earlier, [], "")
    (store.folder(earlier) / "answers.parquet").write_bytes(b"")
    with pytest.raises(StoreError, match=earlier):
        make(plan, store, eval_)


def test_a_missing_torch_is_an_error_that_names_the_package(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(job: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(sample_run, "run", run)
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    with pytest.raises(InputError, match="needs the package torch"):
        make(plan, store, ref)
    assert read_state(store, ref).exit_code == 2


def test_a_new_try_clears_the_error_of_an_earlier_one(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    store.folder(ref).mkdir(parents=True)
    store.record_error(ref, "the reason of the first try", 1)

    def run(job: object) -> None:
        assert not read_state(store, ref).error
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_run, "run", run)
    with pytest.raises(KeyboardInterrupt):
        make(plan, store, ref)
    assert read_state(store, ref).name == "partial"


def test_wrong_input_ends_the_next_try_of_a_run_until_the_plan_is_run_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a Slurm job that Snakemake submits again."""
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Is it so?", "answer": "yes"}) + "\n")
    (tmp_path / "spec.yaml").write_text(
        "orcac: 1\nname: x\nqueries: {q: {format: jsonl, path: q.jsonl, fields: {query: question}}}\n"
        "teachers: {t: {model: expert, endpoint: {kind: solver}}}\ndatasets: {d: {teacher: t, queries: [q]}}\n"
    )
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "ORCAC_STORE": "store",
        "ORCAC_PLAN": "plan.json",
        "ORCAC_UPSTREAM": "",
        "ORCAC_RUN": "one",
    }.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(cli, ["compile", "spec.yaml"]).exit_code == 0
    ref = next(ref for ref in Plan.read(Path("plan.json")).nodes if ref.startswith("sample/"))
    original = Path("q.jsonl").read_text()
    for text in ("other\n", original):  # mending it takes effect in the next run
        Path("q.jsonl").write_text(text)
        failed = CliRunner().invoke(cli, ["make", ref])
        assert isinstance(failed.exception, InputError) and "its content changed" in str(failed.exception)
    monkeypatch.setenv("ORCAC_RUN", "two")
    assert CliRunner().invoke(cli, ["make", ref]).exit_code == 0
    assert not Path("store", ref, "error.json").exists()


@pytest.mark.parametrize("cause", [OSError(116, "Stale file handle"), RuntimeError("CUDA out of memory")])
def test_an_error_of_the_machine_is_tried_again_in_the_same_run(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    def run(job: object) -> None:
        with as_input_error("the student cannot be loaded", fix="give all its files"):
            raise cause

    monkeypatch.setattr(sample_run, "run", run)
    monkeypatch.setenv("ORCAC_RUN", "one")
    store, ref = Store(tmp_path), next(ref for ref in plan.nodes if ref.startswith("sample/"))
    with pytest.raises(InputError, match="cannot be loaded"):
        make(plan, store, ref)
    refuse_known_error(store.folder(ref))


def test_shards_of_an_evaluation_change_no_file(tmp_path: Path) -> None:
    tiny.make_student(tmp_path / "made", tiny.write_examples(tmp_path / "kept", [tiny.response(n) for n in range(50)]))
    spec = """
        orcac: 1
        name: shards
        student: {base: made/out0/model}
        benchmarks:
          b: {format: puzzles, task: navigate, size: [3, 5], take: 7, max_tokens: 5, temperature: 1, samples: 2}
    """
    files = {}
    for count in (1, 3):
        (tmp_path / "spec.yaml").write_text(f"{textwrap.dedent(spec)}hardware: {{eval: {{shards: {count}}}}}\n")
        plan, store = Plan(), Store(tmp_path / f"store-{count}")
        lower(plan, load(tmp_path / "spec.yaml"))
        ref = plan.experiments["shards"].addresses["base"]["eval/b"]
        for need in plan.nodes[ref].needs:
            make(plan, store, need)
        if count > 1:
            for index in range(count):
                make_shard(plan, store, ref, index, count)
            assert [shard.name for shard in read_state(store, plan.nodes[ref]).shards] == ["done"] * 3
            assert read_state(store, plan.nodes[ref]).total == 14
        make(plan, store, ref)
        record = store.artifact(ref)
        assert "torch" in record["made"]["packages"]
        files[ref, count] = record["files"]
    assert len({ref for ref, _ in files}) == 1, "shards are no part of an id"
    assert len({str(of_one) for of_one in files.values()}) == 1


def test_kinds_without_shards_refuse_one(plan: Plan, tmp_path: Path) -> None:
    ref = next(ref for ref in plan.nodes if ref.startswith("sample/"))
    with pytest.raises(InputError, match=r"has no shard 1 of 2(?s:.*)a collect or an eval node"):
        make_shard(plan, Store(tmp_path), ref, 0, 2)
