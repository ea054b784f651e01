from __future__ import annotations

from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.plan.lower import lower
from orcac.plan.plan import BASELINES, Plan
from orcac.spec.evaluation import KNOWN, Measured, from_file, from_known, from_spec, name_spec, read_model, write_spec
from orcac.spec.load import load

SMOKE = Path(__file__).parents[2] / "specs" / "smoke.yaml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "items.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    return tmp_path


def planned(folder: Path, text: str) -> Plan:
    path = folder / "elsewhere" / name_spec(text)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    plan = Plan()
    lower(plan, load(path))
    return plan


def kinds(plan: Plan) -> list[str]:
    return [node.kind for node in plan.nodes.values()]


def sums() -> Measured:
    return from_file("sums", "items.jsonl", format_=None, fields={})


@pytest.mark.parametrize("text", ["model", "some/model", "hf://some/model@v1", "./model/"])
def test_a_model_that_is_not_trained_is_the_student_of_the_spec(folder: Path, text: str) -> None:
    name, sections = read_model(text, gpus=1)
    spec = write_spec(name, sections, [sums().limited(take=1, max_tokens=8)])
    assert spec == write_spec(*read_model(text, gpus=1), [sums().limited(take=1, max_tokens=8)])
    plan = planned(folder, spec)
    assert kinds(plan) == ["student", "sample", "eval", "score", "report"]
    answers = next(node for node in plan.nodes.values() if node.kind == "eval")
    assert (answers.recipe.max_new_tokens, answers.execution.gpus) == (8, 1)  # type: ignore[attr-defined]


def test_a_served_model_is_a_baseline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1")
    model = read_model("http://localhost:8000/v1", model="Qwen/Qwen3-8B", api_key_env="MY_KEY")
    spec = write_spec(*model, [sums()])
    assert "sk-1" not in spec
    plan = planned(folder, spec)
    (experiment,) = plan.experiments.values()
    assert {"replies/Qwen3-8B/sums", "baseline/Qwen3-8B/sums"} < experiment.addresses[BASELINES].keys()
    assert experiment.arms["base"] == []
    asked = plan.nodes[experiment.addresses[BASELINES]["replies/Qwen3-8B/sums"]]
    assert asked.recipe.model == "Qwen/Qwen3-8B"  # type: ignore[attr-defined]
    assert asked.execution.endpoint.api_key_env == "MY_KEY"  # type: ignore[attr-defined]


def test_a_benchmark_of_a_spec_is_asked_as_there(folder: Path) -> None:
    one = from_spec("held-out", load(SMOKE))
    plan, smoke = planned(folder, write_spec(*read_model("model"), [one])), Plan()
    lower(smoke, load(SMOKE))
    (of_eval,), (of_smoke,) = (list(each.experiments.values()) for each in (plan, smoke))
    new, old = of_eval.addresses["base"], of_smoke.addresses["base"]
    assert new["items/held-out"] == old["items/held-out"]
    assert plan.nodes[new["eval/held-out"]].recipe == smoke.nodes[old["eval/held-out"]].recipe
    assert plan.nodes[new["score/held-out"]].recipe == smoke.nodes[old["score/held-out"]].recipe


def test_files_of_a_spec_are_found_from_anywhere(folder: Path) -> None:
    text = (
        "orcac: 1\nname: a\nstudent: {base: model}\nbenchmarks:\n"
        "  b: {format: jsonl, path: [items.jsonl], fields: {query: question, reference: answer}, missing: skip}\n"
        "  gone: {format: bbh, path: gone.json, missing: skip}\n"
    )
    (folder / "a.yaml").write_text(text)
    experiment = load(folder / "a.yaml")
    assert kinds(planned(folder, write_spec(*read_model("model"), [from_spec("b", experiment)])))
    for name, why in (("gone", "does not exist"), ("c", "no benchmark `c`")):
        with pytest.raises(InputError, match=why):
            from_spec(name, experiment)


JUDGED = """\
orcac: 1
name: judged
teachers:
  gpt: {model: gpt-4, endpoint: {kind: openai}, price: {input: 30, output: 60}}
  good: {model: expert, endpoint: {kind: solver}}
  poor: {model: assistant, endpoint: {kind: solver}}
judges: {mine: {teacher: gpt, prompt: own.yaml, per_category: {sums: own.yaml}}, unused: {teacher: poor}}
baselines: [poor]
budget: 3 USD
benchmarks:
  pairs: {format: open-ended, path: items.jsonl, fields: {query: question}, judge: mine, against: [good]}
  more: {format: open-ended, path: items.jsonl, fields: {query: question}, judge: gpt, against: [good, gpt]}
"""


@pytest.mark.parametrize("model", ["model", "http://localhost:8000/v1"])
def test_a_judged_benchmark_brings_its_judge_the_references_and_the_budget(folder: Path, model: str) -> None:
    (folder / "own.yaml").write_text('reads: first-line\nprompt: "{question} {answer_1} {answer_2}"\n')
    served = {"model": "good", "price": (0, 2.5)} if "http" in model else {}  # a teacher of the spec has this name
    (folder / "a.yaml").write_text(JUDGED)
    experiment = load(folder / "a.yaml")
    measured = [from_spec(name, experiment) for name in ("pairs", "more")]
    text = write_spec(*read_model(model, **served), measured)  # type: ignore[arg-type]
    assert 'budget: "3 USD"' in text and "poor" not in text and "unused" not in text
    if served:
        with pytest.raises(InputError, match="good has no price") as refused:
            write_spec(*read_model(model, model="good"), measured)
        assert "--price 0,0" in refused.value.fix
    plan, original = planned(folder, text), Plan()
    lower(original, load(folder / "a.yaml"))
    (experiments,) = plan.experiments.values()
    addresses = {address: ref for arm in experiments.addresses.values() for address, ref in arm.items()}
    of_spec = original.experiments["judged"].addresses[BASELINES]
    for name in ("pairs", "more"):
        assert addresses[f"replies/good/{name}"] == of_spec[f"replies/good/{name}"]
        at = f"baseline/measured-good/{name}" if served else f"score/{name}"
        assert plan.nodes[addresses[at]].recipe == original.nodes[of_spec[f"baseline/poor/{name}"]].recipe


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("nowhere", {}, "no such model"),
        ("/no/where/at/all", {}, "no such model"),
        (".", {}, "it has no config.json"),
        ("model", {"model": "m"}, "are for an endpoint"),
        ("model", {"price": (0, 0)}, "are for an endpoint"),
        ("http://localhost/v1", {}, "which of its models"),
        ("http://localhost/v1", {"model": "m", "gpus": 1}, "--gpus is for"),
        ("http://localhost/v1", {"model": "m", "api_key_env": "UNSET_KEY"}, "UNSET_KEY holds no API key"),
        ("https://user:secret@host/v1", {"model": "m"}, "the address has a password"),
        ("https://host/v1?key=secret", {"model": "m"}, "the address has a password, a query"),
    ],
)
def test_a_wrong_model_is_refused(text: str, options: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read_model(text, **options)  # type: ignore[arg-type]
    assert caught.value.fix and "secret" not in str(caught.value)


def test_wrong_benchmarks_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCAC_DATA", raising=False)
    with pytest.raises(InputError, match="no known benchmark") as caught:
        from_known("sums")
    assert "--on sums=PATH" in (caught.value.fix or "")
    with pytest.raises(InputError, match="ORCAC_DATA is not set"):
        from_known("bbh")
    for path, why in (
        ("none.jsonl", "does not exist"),
        ("model", "is a folder"),
        ("hf://a/b/c.jsonl", "is not looked at"),
    ):
        with pytest.raises(InputError, match=why):
            from_file("b", path, format_=None, fields={})
    with pytest.raises(InputError, match="given twice"):
        write_spec(*read_model("model"), [sums(), sums()])


def test_the_format_can_be_stated(folder: Path) -> None:
    (folder / "odd.jsonl").write_text('{"q": "1 + 1?", "gold": "2"}\n')
    fields = {"query": "q", "reference": "gold"}
    for form in (None, "jsonl"):
        one = from_file("b", "odd.jsonl", format_=form, fields=fields)
        assert (one.section["format"], one.section["fields"]) == ("jsonl", fields)
    assert (
        from_file("b", "hf://a/b/c.parquet", format_="parquet", fields=fields).section["path"] == "hf://a/b/c.parquet"
    )


@pytest.mark.data
def test_every_known_benchmark_is_in_the_recorded_data(data: Path, folder: Path) -> None:
    plan = planned(folder, write_spec(*read_model("some/model"), [from_known(name) for name in KNOWN]))
    assert kinds(plan).count("score") == len(KNOWN)
