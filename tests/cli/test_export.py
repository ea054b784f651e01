"""Tests of orcac/cli/export.py, orcac/publish/export.py, orcac/publish/card.py and orcac/publish/markdown.py.

No input can break the text of a card.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import hub_server
import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.errors import InputError, OrcacError, StoreError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.study import find_study

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"
HOSTILE = "</h1><script>x</script> [a](javascript:x) | `b` **c** https://d.e \x1b[2J {{ f }}"
SUMMARIES: dict[str, dict[str, Any]] = {
    "student": {"parameters": 806016},
    "collect": {"prompts": 200, "answered": 200},
    "filter": {"read": 200, "kept": 198},
    "tokenize": {
        "examples": 198,
        "packed": 197,
        "too_long": 1,
        "rows": 54,
        "tokens": 13337,
        "supervised_tokens": 9000,
        "fill": 0.96,
    },
    "train": {"steps": 27, "tokens": 13337, "supervised_tokens": 9000, "first_loss": 6.25, "final_loss": 1.5},
}
SCORES = {
    "n": 40,
    "mean": 0.525,
    "interval": [0.375, 0.671],
    "outcomes": {"right": 21, "wrong": 14, "unparsed": 3, "cut": 2, "refused": 0, "failed": 0},
    "chance": 0.5,
}


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    path = tmp_path / "a.yaml"
    path.write_text(SMOKE.read_text().replace("about: every rule but rate once", f"about: {json.dumps(HOSTILE)}"))
    return path


def publish(spec: Path, *, without: str = "", apart: bool = False) -> Plan:
    """Publish all nodes of the spec, with records like those of a run."""
    plan, store = Plan(), find_study().store
    lower(plan, load(spec))
    for ref, node in plan.nodes.items():
        if node.kind in SUMMARIES or (node.kind == "score" and without != "score"):
            out = spec.parent / "out"
            (out / "model").mkdir(parents=True)
            if node.kind == "train":
                (out / "model" / "model.safetensors").write_bytes(ref.encode())
                (out / "model" / "config.json").write_text("{}")
                (out / "metrics.jsonl").write_text("")
                if apart:
                    (out / "holdout.jsonl").write_text('{"step": 0, "loss": 6.5}\n{"step": 27, "loss": 2.5}\n')
            elif node.kind == "score":
                (out / "scores.json").write_text(json.dumps(SCORES))
            made = {"orcac": "0.1", "started": "now", "seconds": 3720, "host": "secret", "packages": {"torch": "2"}}
            record = {"summary": SUMMARIES.get(node.kind, {}), "made": made}
            with store.lease(ref):
                store.publish(ref, out, record | {"hardware": {"nodes": 2, "gpus": 4, "gpu": "A|100", "threads": 8}})
            (out / "model").rmdir()
            out.rmdir()
    return plan


def orcac(*line: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in line], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def last(plan: Plan, arm: str) -> str:
    return plan.experiments["smoke"].addresses[arm]["train/second"]


def test_the_last_stage_with_a_card(spec: Path) -> None:
    from huggingface_hub import ModelCard

    plan = publish(spec)
    for arm, what in (("base", spec), ("no-first", f"{spec}:no-first")):
        assert last(plan, arm) in orcac("export", what, arm)
        assert {path.name for path in Path(arm).iterdir()} == {"README.md", "config.json", "model.safetensors"}
        assert Path(arm, "model.safetensors").read_text() == last(plan, arm)
    card = ModelCard.load(Path("base", "README.md"))
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["orcac", "explanation-tuning"],
    }
    assert "| first | pool | 197 | 27 | 13,337 | 0.002 | 6.250 to 1.500 | 1:02:00 on 8 × A\\|100 |" in card.text
    assert "806,016 parameters (from scratch), tuned in 2 stages on answers of assistant and expert." in card.text
    assert "| held-out | 52.5 | 37.5 to 67.1 | 40 | 50.0 | 7.5 | 5.0 | score/" in card.text
    for ref in plan.experiments["smoke"].arms["base"]:
        if ref.startswith(("student", "collect", "filter", "tokenize", "train")):
            assert f"- {ref}: " in card.text
    assert "tuned in 1 stage on answers of expert." in Path("no-first", "README.md").read_text()


def test_a_card_says_why_the_chat_template_is_not_the_models_own(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUMMARIES, "student", SUMMARIES["student"] | {"replaced": "it <b>lost</b> the question"})
    publish(spec)
    orcac("export", spec, "base")
    text = Path("base", "README.md").read_text()
    assert "Its chat template is one of orcac, and not the model's own: it " in text and "<b>" not in text


def test_a_card_shows_the_loss_on_examples_kept_apart(spec: Path) -> None:
    publish(spec, apart=True)
    assert CliRunner().invoke(cli, ["export", "a.yaml", "base"], standalone_mode=False).exit_code == 0
    text = Path("base", "README.md").read_text()
    assert "kept apart from training, per learnt token:\n\n- first: 6.500 before, 2.500 after\n- second: 6.500" in text


def test_a_card_says_that_the_examples_of_a_row_were_not_isolated(spec: Path) -> None:
    spec.write_text(spec.read_text().replace("size: tiny", "size: tiny\n  isolation: false"))
    publish(spec)
    orcac("export", spec, "joined")
    assert (
        "learnt across the borders of examples: those of one row were not isolated"
        in Path("joined", "README.md").read_text()
    )


def test_a_card_names_the_adapter_that_is_merged_into_the_weights(spec: Path) -> None:
    spec.write_text(spec.read_text().replace("size: tiny", "size: tiny\n  adapter: {kind: lora, rank: 8}"))
    publish(spec)
    orcac("export", spec, "adapted")
    text = Path("adapted", "README.md").read_text()
    assert "trained a LoRA adapter (rank 8, alpha 32, all-linear), which is merged into these weights." in text


def test_a_card_says_that_a_student_reasons(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(spec)
    orcac("export", spec, "plain")
    assert "The loss covers the answers only." in Path("plain", "README.md").read_text()
    monkeypatch.setenv("ORCAC_STORE", str(spec.parent / "other"))
    monkeypatch.setitem(SUMMARIES, "tokenize", SUMMARIES["tokenize"] | {"reasoned": 197})
    publish(spec)
    orcac("export", spec, "reasoning")
    assert (
        "The loss covers the teachers' reasoning and answers: it reasons before"
        in Path("reasoning", "README.md").read_text()
    )


def test_a_card_names_its_run_and_shows_all_of_them(spec: Path) -> None:
    spec.write_text(spec.read_text() + "replicates: 3\n")
    plan, store = publish(spec), find_study().store
    arm = next(arm for arm in plan.nodes[plan.experiments["smoke"].report].recipe.arms if arm.name == "base")
    for run, mean in zip(arm.runs, (0.525, 0.5, 0.475), strict=True):
        (evaluation,) = run.evaluations
        path = store.folder(evaluation.score) / "scores.json"
        path.chmod(0o644)
        path.write_text(json.dumps(SCORES | {"mean": mean}))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        marker = store.marker(evaluation.score)
        marker.chmod(0o644)
        record = store.artifact(evaluation.score)  # without its own digest, as in older records
        record["files"]["scores.json"] = {"bytes": path.stat().st_size, "sha256": digest}
        marker.write_text(json.dumps(record))
    assert arm.runs[1].stages[-1].train in orcac("export", spec, "second", "--run", 2)
    for folder, number, mean in (("second", 2, "50.0"), ("first", 1, "52.5")):
        if folder == "first":
            orcac("export", spec, "first")
        text = Path(folder, "README.md").read_text()
        assert f"This is run {number} of 3, which differ by chance alone." in text
        assert f"| held-out | {mean} |" in text
        assert "All runs on held-out, in %: 52.5, 50.0, 47.5 (standard deviation 2.5)." in text
    with pytest.raises(InputError, match="has no run 4"):
        orcac("export", spec, "fourth", "--run", 4)


def test_text_of_unknown_origin_is_shown_and_has_no_effect(spec: Path) -> None:
    publish(spec)
    orcac("export", spec, "out")
    text = Path("out", "README.md").read_text()
    shown = r"\</h1\>\<script\>x\</script\> \[a\](javascript:x) \| \`b\` \*\*c\*\* https\://d.e \[2J \{\{ f \}\}"
    assert f"\n{shown}\n" in text
    assert "\x1b" not in text and "secret" not in text


def test_a_student_of_a_hub_is_named(spec: Path) -> None:
    from huggingface_hub import ModelCard

    student = "student:\n  base: hf://o/m@v1\n  max_length: 256\n"
    head, _, tail = spec.read_text().partition("student:\n")
    spec.write_text(head + student + tail[tail.index("\nstages:") :])
    publish(spec, without="score")
    orcac("export", spec, "out")
    card = ModelCard.load(Path("out", "README.md"))
    assert card.data.base_model == "o/m"
    assert "(from o/m)" in card.text
    assert "There are no scores yet." in card.text


def test_a_failed_export_names_its_cause_and_leaves_no_folder(spec: Path) -> None:
    with pytest.raises(OrcacError, match="is not made yet"):
        orcac("export", spec, "out")
    plan = publish(spec)
    with pytest.raises(InputError, match="no arm `other`") as error:
        orcac("export", f"{spec}:other", "out")
    assert error.value.fix == "give one of its arms: base, no-first"
    (spec.parent / "b.yaml").write_text(
        "orcac: 1\nname: control\nextends: a.yaml\nablations: {none: {curriculum: []}}\n"
    )
    with pytest.raises(InputError, match="the arm `none` trains nothing") as error:
        orcac("export", "b.yaml:none", "out")
    assert "the student as it is is tiny, in student/" in (error.value.fix or "")
    with pytest.raises(InputError, match="exists already"):
        orcac("export", spec, "store")
    (spec.parent / "store" / last(plan, "base") / "model" / "config.json").write_text("[]")
    before = sorted(spec.parent.iterdir())
    with pytest.raises(StoreError, match="damaged"):
        orcac("export", spec, "out")
    assert sorted(spec.parent.iterdir()) == before


def test_a_student_is_pushed_with_its_export_and_again_with_the_words_of_its_owner(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(spec)
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as hub:
        monkeypatch.setenv("HF_TOKEN", hub.token)
        told = json.loads(orcac("export", spec, "student", "--push", "me/student", "--json").splitlines()[-1])
        assert told["page"] == f"{hub.url}/me/student" and told["folder"] == "student"
        files = hub.repos["models/me/student"].files
        assert files["model.safetensors"] == told["artifact"].encode() and hub.repos["models/me/student"].private
        card = Path("student", "README.md")
        card.write_text(card.read_text() + "my words\n")
        assert "from an earlier export" in orcac("export", spec, "student", "--push", "me/student")
        assert hub.repos["models/me/student"].files["README.md"].endswith(b"my words\n")
        with pytest.raises(InputError, match="is no export of train/"):
            orcac("export", f"{spec}:no-first", "student", "--push", "me/student")
    with pytest.raises(InputError, match="--public is about a push"):
        orcac("export", spec, "student", "--public")
