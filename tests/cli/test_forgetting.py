"""Tests of orcac/cli/forgetting.py, orcac/cli/selection.py and orcac/collect/holders.py: taking answers back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from orcac.chat.ledger.files import read_records
from orcac.cli.answers import command
from orcac.cli.selection import read_selection
from orcac.errors import InputError
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = {
    "orcac": 1,
    "name": "study",
    "queries": {"q": {"format": "puzzles", "task": "navigate", "size": [2, 4], "take": 8}},
    "teachers": {
        "wise": {"model": "expert", "endpoint": {"kind": "solver"}},
        "quick": {"model": "assistant", "endpoint": {"kind": "solver"}},
    },
    "datasets": {
        "long": {"teacher": "wise", "queries": ["q"]},
        "short": {"teacher": "quick", "queries": ["q"]},
    },
}


def run(*line: str) -> str:
    done = CliRunner().invoke(command, line)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


class Study:
    """A finished study of two datasets."""

    def __init__(self, root: Path) -> None:
        self.spec, self.store = root / "spec.yaml", Store(root / "store")
        self.spec.write_text(yaml.safe_dump(SPEC))
        self.plan = Plan()
        lower(self.plan, load(self.spec))
        self.plan.write(root / "plan.json")
        self.make()

    def make(self) -> list[str]:
        """Make all nodes but the report, and return those that were not made before."""
        return [
            ref for ref, node in self.plan.nodes.items() if node.kind != "report" and make(self.plan, self.store, ref)
        ]

    def records(self) -> list[dict]:
        return list(read_records(self.store.answers))

    def ref(self, kind: str, label: str) -> str:
        return next(ref for ref, node in self.plan.nodes.items() if (node.kind, node.label) == (kind, label))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    return Study(tmp_path)


def test_an_answer_in_an_artifact_is_forgotten_with_the_artifact_alone_and_asked_again(study: Study) -> None:
    records = study.records()
    chosen = next(record for record in records if record["request"]["model"] == "expert")
    line = ("forget", "--key", chosen["key"])
    collect, kept = study.ref("collect", "long"), study.ref("filter", "long")
    with pytest.raises(InputError, match="finished artifacts hold these answers") as caught:
        run(*line)
    assert kept in str(caught.value) and collect in str(caught.value) and "--remake" in caught.value.fix
    dry = json.loads(run(*line, "--dry-run", "--json"))
    assert [answer["key"] for answer in dry["answers"]] == [chosen["key"]] and not dry["forgotten"]
    assert [artifact["ref"] for artifact in dry["artifacts"]] == [kept, collect]
    assert study.make() == []  # nothing was removed yet
    assert "1 answers forgotten (expert 1)" in run(*line, "--remake")
    assert sorted(study.make()) == sorted([collect, kept])
    now = study.records()
    assert [record["key"] for record in now if record not in records] == [chosen["key"]]
    assert "no answer matches" in run("forget", "--key", chosen["key"], "--model", "none")
    counts = json.loads(run("count", "--json"))["models"]["expert"]
    assert (counts["answers"], counts["forgotten"]) == (8, 1)
    assert counts["output_tokens"] > sum(
        json.loads(line)["response"]["output_tokens"]
        for line in run("list", "--json", "--model", "expert").splitlines()
    )


def test_a_review_goes_with_the_scores_that_hold_it_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    (tmp_path / "q.jsonl").write_text('{"q": "Why?"}\n{"q": "How?"}\n')
    solver = {"kind": "solver"}
    teachers = {name: {"model": name, "endpoint": solver} for name in ("expert", "assistant", "judge")}
    judged = {"format": "open-ended", "path": "q.jsonl", "fields": {"query": "q"}, "judge": "judge"}
    spec = {"orcac": 1, "name": "s", "teachers": teachers, "baselines": ["assistant"]}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec | {"benchmarks": {"b": judged | {"against": ["expert"]}}}))
    plan, store = Plan(), Store(tmp_path / "store")
    lower(plan, load(tmp_path / "spec.yaml"))
    plan.write(tmp_path / "plan.json")

    def make_all() -> list[str]:
        return [ref for ref, node in plan.nodes.items() if node.kind != "report" and make(plan, store, ref)]

    make_all()
    (score,) = (ref for ref in plan.nodes if ref.startswith("score/"))
    with pytest.raises(InputError, match=score):
        run("forget", "--model", "judge")
    # both answer alike, so that the two orders of a pair are one request
    assert "2 answers forgotten" in run("forget", "--model", "judge", "--remake")
    assert make_all() == [score]


def test_unfinished_work_that_was_made_from_an_artifact_goes_with_it(study: Study) -> None:
    kept = study.store.folder(study.ref("filter", "long"))
    for name in ("artifact.json", "complete.json"):
        (kept / name).unlink(missing_ok=True)
    (kept / "work").mkdir()
    run("forget", "--teacher", "wise", "--spec", str(study.spec), "--remake")
    assert not kept.exists() and study.store.is_done(study.ref("filter", "short"))


def test_forgotten_answers_are_neither_exported_nor_forgotten_again(study: Study) -> None:
    before = {record["at"] for record in study.records()}
    run("forget", "--model", "assistant", "--remake")
    assert "no answer matches" in run("forget", "--model", "assistant")
    assert "8 answers" in run("forget", "--teacher", "wise", "--spec", str(study.spec), "--dry-run")
    study.make()
    exported = {json.loads(line)["at"] for line in run("export", "-", "--model", "assistant").splitlines()}
    assert len(exported) == 8 and exported.isdisjoint(before)
    assert len(run("list", "--model", "assistant", "--limit", "5", "--json").splitlines()) == 5


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (("forget",), "needs a selection"),
        (("forget", "--model", "m", "--limit", "3"), "takes no --limit"),
        (("list", "--remake"), "removes nothing"),
        (("forget", "--matches", "("), "not a regular expression"),
        (("forget", "--key", "xyz"), "not the beginning of a key"),
        (("forget", "--model", "m", "--spec", "s.yaml"), "s.yaml: no such file"),
        (("import", "f.jsonl", "--key", "0"), "takes whole files"),
    ],
)
def test_commands_that_cannot_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line, problem: str) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path))
    with pytest.raises(InputError, match=problem) as caught:
        run(*line)
    assert caught.value.fix


def record(text: str, **more: object) -> dict:
    response = {"text": text, "finish_reason": "stop", "error": ""}
    request = {"model": "m", "messages": [["user", "Why?"]], "origin": "api"}
    return {"key": "ab" * 16, "at": 1.0, "request": request, "response": response} | more


NONE = dict.fromkeys(
    ("model", "contains", "matches", "error", "finish_reason", "teacher", "key", "spec")  # nothing is selected by
)


@pytest.mark.parametrize(
    ("selection", "is_selected"),
    [
        ({"matches": r"\bas an AI\b"}, True),
        ({"matches": "^Hm"}, True),  # in the reasoning
        ({"matches": "Why"}, False),  # in the question alone
        ({"contains": "Why"}, True),
        ({"finish_reason": "stop"}, True),
        ({"finish_reason": "length"}, False),
        ({"teacher": "m"}, True),
        ({"teacher": "n"}, False),
        ({"key": "abab"}, True),
        ({"key": "ba"}, False),
        ({"error": "any"}, False),
        ({"matches": "AI", "model": "other"}, False),
    ],
)
def test_every_option_narrows_the_selection(selection: dict[str, str], is_selected: bool) -> None:
    keep = read_selection(**(NONE | selection))  # type: ignore[arg-type]
    assert keep(record("I, as an AI, cannot.", reasoning="Hm.")) is is_selected  # type: ignore[arg-type]


def test_an_expression_that_takes_exponential_time_is_stopped() -> None:
    slow = NONE | {"matches": "(a+)+$"}
    assert read_selection(**slow)(record("aaa"))  # type: ignore[arg-type]
    keep = read_selection(**slow, patience_s=0.2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"more than 0\.2 s on the answer abab") as caught:
        keep(record("a" * 60 + "b"))  # type: ignore[arg-type]
    assert "--contains" in caught.value.fix
