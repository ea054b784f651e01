"""Tests of orcac/report/compare.py, orcac/report/gather.py, orcac/report/paper.py, orcac/report/recipe.py,
orcac/report/render.py, orcac/report/results.py, orcac/report/run.py, orcac/report/runs.py, orcac/report/table.py and
orcac/report/wording.py: one report of a small experiment."""

import dataclasses
import json
import math
import random
import re
from pathlib import Path

import jobs
import pytest
import studies

from orcac import rows
from orcac.errors import StoreError
from orcac.job import Job
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.report.paper import AGIEVAL, published_means
from orcac.report.paper import BBH as BBH_TASKS
from orcac.report.recipe import (
    Arm,
    Baseline,
    Claim,
    Dataset,
    Evaluation,
    ReportExecution,
    ReportRecipe,
    Run,
    TrainedStage,
)
from orcac.report.results import read_json, to_json
from orcac.report.run import run
from orcac.report.table import format_table
from orcac.report.wording import AT_CHANCE, NOTHING_MEASURED
from orcac.score.scores import Answers, write
from orcac.spec.load import load
from orcac.stats.intervals import mcnemar, wilson

YES_NO = ["Yes", "No"]


class FakeStore:
    """Small artifacts of every kind."""

    def __init__(self, root: Path) -> None:
        self.root, self.folders = root, {}

    def add(self, ref: str, summary: dict, recipe: dict | None = None) -> str:
        folder = self.folders[ref] = self.root / ref
        folder.mkdir(parents=True)
        (folder / "artifact.json").write_text(json.dumps({"files": {}, "summary": summary, "recipe": recipe or {}}))
        return ref

    def items(self, name: str, form: str) -> str:
        return self.add(
            f"sample/{name}",
            {"read": 8, "kept": 1, "tasks": 1, "dropped": {"duplicate": 4, "reference is no option": 3}},
            {"source": {"format": form}},
        )

    def score(self, ref: str, answers: list[rows.Scored]) -> str:
        checkers = ("final-answer", "first-capital") if answers[0].others_score else ("final-answer",)
        self.add(f"score/{ref}", {})
        write(self.folders[f"score/{ref}"], Answers(rows=answers, checkers=checkers, left_out=3))
        return f"score/{ref}"

    def dataset(self, name: str, teacher: str, asked: int, rejected: dict[str, int], usd: float) -> Dataset:
        if f"collect/{name}" not in self.folders:
            failed = {"Timeout": 2}
            self.add(f"sample/{name}", {"read": asked + 50, "kept": asked, "tasks": 1, "dropped": {"not drawn": 50}})
            tokens = {"input_tokens": 80 * asked, "output_tokens": 120 * asked, "usd": usd}
            self.add(f"collect/{name}", {"prompts": asked, "answered": asked - 2, "failed": failed} | tokens)
            kept = asked - sum(rejected.values())
            self.add(f"filter/{name}", {"read": asked, "kept": kept, "rejected": rejected})
            for file, write_table in studies.make_filtered(asked, rejected).items():
                write_table(self.folders[f"filter/{name}"] / file)
        return Dataset(
            name=name,
            prompts=(f"sample/{name}",),
            collect=f"collect/{name}",
            filter=f"filter/{name}",
            teacher=teacher,
        )

    def stage(self, name: str, dataset: str, train: str, examples: int, start: float, end: float) -> TrainedStage:
        if f"tokenize/{dataset}" not in self.folders:
            sizes = {"examples": examples, "packed": examples - 3, "too_long": 2, "forged": 1}
            tokens = {"rows": examples // 2, "tokens": 200 * examples, "supervised_tokens": 120 * examples}
            self.add(f"tokenize/{dataset}", sizes | tokens | {"fill": 0.974})
        if f"train/{train}" not in self.folders:
            steps, rng = examples // 4, random.Random(train)
            summary = {"steps": steps, "tokens": 600 * examples, "supervised_tokens": 360 * examples}
            self.add(f"train/{train}", summary | {"first_loss": start, "final_loss": end})
            with (self.folders[f"train/{train}"] / "metrics.jsonl").open("w") as file:
                for step in range(1, steps + 1):
                    loss = end + (start - end) * 0.98**step + rng.gauss(0, 0.02)
                    file.write(json.dumps({"step": step, "loss": loss}) + "\n")
        return TrainedStage(name=name, dataset=dataset, tokenize=f"tokenize/{dataset}", train=f"train/{train}")


def answer(
    number: int, *, task: str, correct: bool, parsed: bool = True, options=YES_NO, says: str = ""
) -> rows.Scored:
    """The right answer of an even item is Yes, of an odd one No."""
    right, wrong = options[number % len(options)], options[(number + 1) % len(options)]
    given = right if correct else wrong
    query = f"Is statement {number} of {task} true?\nOptions:\n- Yes\n- No"
    return rows.Scored(
        id=rows.prompt_id("b", task, query, ""),
        source="b",
        task=task,
        query=query,
        system_id=1,
        system="",
        reference=right,
        options=list(options),
        response=says or f"We look at statement {number} step by step. So the answer is {given}.",
        finish_reason="stop",
        parsed=given if parsed else "",
        outcome="unparsed" if not parsed else "right" if correct else "wrong",
        score=float(correct and parsed),
    )


def answers(n: int, right: set[int], *, task: str = "puzzles", says: str = "", unparsed: int = 0) -> list[rows.Scored]:
    return [
        answer(number, task=task, correct=number in right, parsed=number < n - unparsed, says=says)
        for number in range(n)
    ]


def make_job(
    tmp_path: Path, benchmarks: dict[str, tuple[str, dict[str, list]]], *, draws=(), made_by=None, **recipe
) -> Job:
    """Return a job with three arms; `benchmarks` is name -> (format, arm -> answers, or a list of them for each run).

    `draws` has the draw of the data of each run; the first run's when absent. `made_by` has further fields of the
    summary of an arm's evaluations.
    """
    made_by = made_by or {}
    store = FakeStore(tmp_path / "store")
    store.add("student/s", {"parameters": 840_000, "vocabulary": 640})
    assistant = store.dataset("assistant-300", "assistant", 302, {"Timeout": 2, "duplicate": 10}, 0.1208)
    expert = store.dataset("expert-60", "expert", 62, {"Timeout": 2}, 1.5)
    bare = store.dataset("bare-300", "assistant", 302, {"Timeout": 2, "contamination": 1}, 0.1)
    store.add("sample/heldout", {"read": 1, "kept": 1, "tasks": 1})
    first = store.stage("assistant", "assistant-300", "a", 290, 6.1, 0.62)
    chains = {
        "base": ((assistant, expert), (first, store.stage("expert", "expert-60", "ae", 60, 0.6, 0.3))),
        "no-assistant": ((expert,), (store.stage("expert", "expert-60", "e", 60, 6.1, 2.4),)),
        "answers-only": ((bare,), (store.stage("assistant", "bare-300", "b", 299, 6.0, 0.9),)),
    }
    items = {name: store.items(name, form) for name, (form, _) in benchmarks.items()}
    arms = []
    for arm, (datasets, stages) in chains.items():
        runs_of = {name: said[arm] for name, (_, said) in benchmarks.items() if arm in said}
        runs_of = {name: runs if isinstance(runs[0], list) else [runs] for name, runs in runs_of.items()}
        runs = []
        for number in range(max(map(len, runs_of.values()), default=1)):
            evaluations = tuple(
                Evaluation(
                    benchmark=name,
                    items=items[name],
                    answers=store.add(f"eval/{name}-{arm}-{number}", {"n": len(said[number])} | made_by.get(arm, {})),
                    score=store.score(f"{name}-{arm}-{number}", said[number]),
                )
                for name, said in runs_of.items()
            )
            draw = draws[number] if draws else 0
            runs.append(Run(draw=draw, student="student/s", datasets=datasets, stages=stages, evaluations=evaluations))
        arms.append(Arm(name=arm, **dict(runs[0]), replicates=tuple(runs[1:])))
    execution = ReportExecution(title="tiny", about="Orca in miniature <b>\x1b[31m\x9b32m ![x](http://evil)")
    return jobs.make_job(tmp_path, ReportRecipe(arms=tuple(arms), **recipe), execution, by_ref=store.folders)


ATTACK = "<script>alert(1)</script> so the answer is Yes"
BOOLEAN = {
    "base": answers(200, set(range(160)), unparsed=4),
    "no-assistant": answers(200, set(range(40, 150)), says=ATTACK),
    "answers-only": answers(200, set(range(5, 160))),
}
BBH = {
    arm: answers(100, set(range(52)), task="navigate") + answers(50, set(range(24)), task="web_of_lies")
    for arm in BOOLEAN
}
CHANCE = {arm: answers(100, set(range(start, start + 52))) for start, arm in enumerate(BOOLEAN)}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path, {"boolean-test": ("puzzles", BOOLEAN), "bbh": ("bbh", BBH)})


@pytest.fixture
def results(job: Job) -> dict:
    run(job)
    return json.loads((job.out / "results.json").read_text())


def test_scores_and_differences(results: dict) -> None:
    boolean, bbh = results["benchmarks"]
    assert (boolean["n"], boolean["chance"], boolean["constant"], boolean["paper"]) == (200, 0.5, 0.5, {})
    base, ablated, bare = boolean["scores"]
    assert (base["n"], base["mean"], base["outcomes"]["right"], base["unparsed_share"]) == (200, 0.8, 160, 0.02)
    assert base["interval"] == list(wilson(160, 200)) and base["difference"] is None

    difference = ablated["difference"]  # right on 40..149: loses 40 + 10, wins none
    assert (difference["only_arm"], difference["only_base"], difference["points"]) == (0, 50, -0.25)
    assert difference["interval"][0] < -0.25 < difference["interval"][1] < 0
    assert difference["p"] == pytest.approx(2 / 2**50)
    assert difference["p_holm"] == pytest.approx(4 * 2 / 2**50)  # four comparisons
    assert (difference["verdict"], difference["runs"], difference["df"]) == ("scores lower", [1, 1], 0)
    assert "no verdict on the arm" in difference["sentence"]
    assert bare["difference"]["p"] == mcnemar(0, 5) == 0.0625
    assert bare["difference"]["p_holm"] == pytest.approx(3 * 0.0625)
    assert bare["difference"]["verdict"] == "no difference shown"

    assert [score["verdict"] for score in boolean["scores"]] == ["above chance", "at chance", "above chance"]
    assert [score["verdict"] for score in bbh["scores"]] == ["at chance"] * 3
    assert bbh["paper"] == {"Orca-13B": 0.544, "ChatGPT": 0.558, "GPT-4": 0.592, "Vicuna-13B": 0.438}
    assert bbh["scores"][0]["macro"] == pytest.approx((0.52 + 0.48) / 2) and boolean["scores"][0]["macro"] is None
    assert [(task["task"], task["outcomes"]["right"], task["n"]) for task in bbh["scores"][0]["tasks"]] == [
        ("navigate", 52, 100),
        ("web_of_lies", 24, 50),
    ]


def test_every_row_is_accounted_for(job: Job, results: dict) -> None:
    flows = {flow["dataset"]: flow for flow in results["flows"]}
    assert list(flows) == ["assistant-300", "expert-60", "bare-300"]
    assert flows["expert-60"]["arms"] == ["base", "no-assistant"]
    assert (flows["assistant-300"]["read"], flows["assistant-300"]["kept"]) == (302, 290)
    assert (flows["expert-60"]["queries"], flows["expert-60"]["drawn"]) == (112, 62)
    assert flows["expert-60"]["dropped"] == {"not drawn": 50}
    assert all(flow["balanced"] for flow in results["flows"] + results["packings"])
    for flow in results["flows"]:
        for by in {funnel["by"] for funnel in flow["funnels"]}:
            of = [funnel for funnel in flow["funnels"] if funnel["by"] == by]
            assert sum(funnel["asked"] for funnel in of) == flow["read"]
            assert sum(funnel["kept"] for funnel in of) == flow["kept"]
    assert {funnel["by"] for flow in results["flows"] for funnel in flow["funnels"]} == {"task", "system message"}
    for name in ("report.html", "report.md"):
        assert "290 = 287 + 2 + 1 with a mark of the chat template" in (job.out / name).read_text()
    teachers = {teacher["name"]: teacher for teacher in results["teachers"]}
    assert teachers["expert"]["requests"] == 62  # shared by two arms, counted once
    assert (teachers["assistant"]["requests"], teachers["assistant"]["usd"]) == (604, pytest.approx(0.2208))
    base = results["arms"][0]
    assert (base["examples"], base["steps"], base["tokens"]) == (287 + 57, 72 + 15, 600 * 350)
    assert [curve["steps"][-1] for curve in results["curves"] if curve["arm"] == "base"] == [72, 87]


def test_rows_that_vanish_are_shown(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"b": ("puzzles", BOOLEAN)})
    record = job.by_ref["filter/expert-60"] / "artifact.json"
    summary = {"read": 62, "kept": 59, "rejected": {"Timeout": 2}}
    record.write_text(json.dumps({"files": {}, "summary": summary, "recipe": {}}))
    run(job)
    for name in ("report.html", "report.md"):
        assert (job.out / name).read_text().count("does not add up") == 1


def test_responses_are_escaped_and_the_page_is_self_contained(job: Job) -> None:
    run(job)
    page = (job.out / "report.html").read_text()
    assert "<script>alert" not in page and "\\u003cscript\\u003ealert(1)" in page
    assert "Orca in miniature &lt;b&gt;" in page
    for text in (page, (job.out / "report.md").read_text()):
        assert "\x1b" not in text and "\x9b" not in text
    assert r"Orca in miniature \<b>␛[31m⟨9B⟩32m \![x](http://evil)" in (job.out / "report.md").read_text()
    assert page.count('class="strip"') == 4 and page.count('class="losses"') == 1  # two arms on two benchmarks
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)


def test_a_chat_template_that_is_not_the_models_own_is_named_with_the_reason(job: Job) -> None:
    (record,) = job.out.parent.rglob("student/s/artifact.json")
    record.write_text(record.read_text().replace('"vocabulary": 640', '"replaced": "it <b>lost</b> the question"'))
    run(job)
    for name in ("report.html", "report.md"):
        text = (job.out / name).read_text()
        assert "base, no-assistant, answers-only" in text and "is one of orcac, and not the model" in text
    assert "it &lt;b&gt;lost&lt;/b&gt; the question" in (job.out / "report.html").read_text()


def test_an_arm_without_isolation_is_named(job: Job) -> None:
    (stage, *_) = job.recipe.arms[1].stages
    record = job.by_ref[stage.train] / "artifact.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"recipe": {"isolation": False}}))
    run(job)
    for name in ("report.html", "report.md"):
        assert (job.out / name).read_text().count("learnt across the borders of examples") == 1


def test_same_inputs_same_bytes(job: Job) -> None:
    names = ("report.html", "report.md", "results.json")
    run(job)
    first = [(job.out / name).read_bytes() for name in names]
    run(job)
    assert [(job.out / name).read_bytes() for name in names] == first


def test_the_page_begins_with_a_warning_if_all_students_are_at_chance(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"b": ("puzzles", CHANCE)})
    assert run(job).all_at_chance
    page, text = ((job.out / name).read_text() for name in ("report.html", "report.md"))
    assert "All students are at chance" in page[: page.index('id="matter"')]
    assert AT_CHANCE in text[: text.index("## Results")]


def test_one_arm_above_chance_removes_the_warning(job: Job) -> None:
    assert not run(job).all_at_chance
    for name in ("report.html", "report.md"):
        assert "All students are at chance" not in (job.out / name).read_text()


def test_a_constant_answer_is_not_skill(tmp_path: Path) -> None:
    skewed = [answer(2 * k, task="t", correct=True) for k in range(60)]
    skewed += [answer(2 * k + 1, task="t", correct=False) for k in range(40)]
    job = make_job(tmp_path, {"b": ("puzzles", {"base": skewed, "no-assistant": skewed})})
    run(job)
    (bench,) = json.loads((job.out / "results.json").read_text())["benchmarks"]
    assert bench["constant"] == 0.6
    assert bench["scores"][0]["verdict"] == "no better than a constant answer"


def test_arms_with_other_items_are_compared_on_those_they_share(tmp_path: Path) -> None:
    fewer = {"base": BOOLEAN["base"][:50], "no-assistant": BOOLEAN["no-assistant"][40:100]}
    apart = {"base": BOOLEAN["base"][:50], "no-assistant": BOOLEAN["no-assistant"][50:]}
    job = make_job(tmp_path, {"fewer": ("puzzles", fewer), "apart": ("puzzles", apart)})
    run(job)
    shared, nothing = json.loads((job.out / "results.json").read_text())["benchmarks"]
    assert shared["scores"][1]["difference"]["items"] == 10
    assert nothing["scores"][1]["difference"] is None


def test_the_terminal_table(job: Job, results: dict) -> None:
    name = "an-ablation-with-a-name-that-is-far-too-long"
    results["benchmarks"][0]["scores"][1]["arm"] = name
    (job.out / "results.json").write_text(json.dumps(results))
    table = format_table(read_json(job.out / "results.json"))
    assert max(map(len, table.splitlines())) <= 100
    lines = table.splitlines()
    figures = "55.0 %* 48.1 to 61.7 0.0 % 0.0 % −25.0 −31.2 to −18.8 < 0.001 lower"
    assert " ".join(lines[lines.index(name) + 1].split()) == figures
    wide = format_table(read_json(job.out / "results.json"), 140).splitlines()
    assert f"{name} {figures}" in [" ".join(line.split()) for line in wide] and max(map(len, wide)) <= 140
    assert "* at chance: not significantly better than guessing" in table and AT_CHANCE[:20] not in table


def test_answers_of_every_kind_are_shown_and_failed_ones_are_in_no_comparison(tmp_path: Path) -> None:
    """8 failed answers of 20, all others right: a score of 100 % over 12 items, not of 60 %."""
    failed = {"outcome": "failed", "score": None, "parsed": ""}
    right = answers(20, set(range(20)))
    base = [dataclasses.replace(row, others_score=[0.5], others_parsed=["Yes"]) for row in right[:18]]
    base += [dataclasses.replace(row, outcome="cut", score=0.0, others_score=[0.0]) for row in right[18:]]
    odd = [dataclasses.replace(row, **failed) for row in right[:8]] + right[8:]
    refused = [dataclasses.replace(right[0], outcome="refused", score=0.0), *right[1:]]
    job = make_job(tmp_path, {"b": ("puzzles", {"base": base, "no-assistant": odd, "answers-only": refused})})
    run(job)
    (bench,) = json.loads((job.out / "results.json").read_text())["benchmarks"]
    of_base, of_odd, of_refused = bench["scores"]
    assert (of_base["mean"], of_base["cut_share"], of_base["others"]) == (0.9, 0.1, {"first-capital": 0.45})
    assert (of_odd["n"], of_odd["mean"]) == (12, 1.0)
    assert (of_odd["difference"]["items"], of_odd["difference"]["only_arm"]) == (12, 2)
    assert of_odd["difference"]["points"] == pytest.approx(2 / 12)
    assert (of_refused["n"], of_refused["mean"]) == (20, 0.95)
    shown = [
        "Items of the files that are left out: 3 whose reference is not one of their options and 4 repeated.",
        "Left out: 3 items, since no answer could agree with their reference.",
        "Failed requests, which are in no figure: 8 of no-assistant.",
        "Refusals, which score 0: 1 of answers-only.",
        "By the checker first-capital: base 45.0 %.",
    ]
    for text in ((job.out / "report.html").read_text(), (job.out / "report.md").read_text()):
        assert all(line in text for line in shown)
    table = " ".join(format_table(read_json(job.out / "results.json")).split())
    assert all(line in table for line in shown)


def test_scores_between_0_and_1_are_compared_as_they_are(tmp_path: Path) -> None:
    right = answers(20, set(range(20)))
    base = [dataclasses.replace(row, outcome="wrong", score=0.25) for row in right]
    arm = [dataclasses.replace(row, outcome="wrong", score=0.75) for row in right]
    job = make_job(tmp_path, {"b": ("puzzles", {"base": base, "no-assistant": arm})})
    run(job)
    (bench,) = json.loads((job.out / "results.json").read_text())["benchmarks"]
    difference = bench["scores"][1]["difference"]
    assert (bench["scores"][0]["mean"], difference["points"], difference["verdict"]) == (0.25, 0.5, "scores higher")


def test_the_loss_of_texts_is_compared_in_bits_and_shown_beside_the_verdict(tmp_path: Path) -> None:
    def read(less: float, seed: int) -> list[list[rows.Scored]]:
        """Return three runs on 12 texts, whose loss is lower by about `less` bits per byte."""
        chance = random.Random(seed)
        bits = [[0.6 + 0.05 * number - less + chance.gauss(0, 0.004) for number in range(12)] for _ in range(3)]
        return [
            [
                dataclasses.replace(
                    answer(number, task="texts", correct=True), outcome="measured", parsed="", score=2**-value,
                    loss=4 * value, chance=0.0, response="A text.",
                )
                for number, value in enumerate(run)
            ]
            for run in bits
        ]  # fmt: skip

    arms = {"base": read(0.0, 1), "no-assistant": read(-0.05, 2), "answers-only": read(0.0, 3)}
    job = make_job(tmp_path, {"b": ("jsonl", arms)})
    (bench,) = read_results(job)["benchmarks"]
    base, worse, alike = bench["scores"]
    bits = {name: [[-math.log2(row.score) for row in run] for run in runs] for name, runs in arms.items()}
    mean = {name: sum(map(sum, runs)) / 36 for name, runs in bits.items()}
    assert base["loss"]["bits_per_byte"] == pytest.approx(mean["base"]) and base["loss"]["change"] is None
    assert base["loss"]["nats_per_token"] == pytest.approx(4 * mean["base"])
    assert worse["loss"]["change"] == pytest.approx(mean["no-assistant"] - mean["base"])
    low, high = worse["loss"]["interval"]
    assert 0.03 < low < worse["loss"]["change"] < high < 0.07  # as one item won and lost, it would be 0.2 wide
    assert [worse["difference"]["verdict"], alike["difference"]["verdict"]] == ["worse", "no difference shown"]
    assert {score["verdict"] for score in bench["scores"]} == {"measured"} and bench["constant"] == 0.0
    results = read_json(job.out / "results.json")
    assert not results.all_at_chance
    table = " ".join(format_table(results).split())
    assert "b: 12 items, mean probability of a byte of the text, geometric" in table
    assert "Loss, in bits per byte (change against the base) and in nats per token: base 0.8" in table
    assert "guessing" not in table
    page = (job.out / "report.html").read_text()
    assert "in nats per token" in page and ">score, %" in page


def test_the_terminal_table_at_the_extremes_still_fits(tmp_path: Path) -> None:
    none, every = answers(40, set()), answers(40, set(range(40)))
    job = make_job(tmp_path, {"b": ("puzzles", {"base": none, "no-assistant": every, "answers-only": none})})
    run(job)
    results = dataclasses.replace(read_json(job.out / "results.json"), all_at_chance=True)
    assert max(map(len, format_table(results).splitlines())) <= 100


def test_results_are_read_as_they_were_written_and_damaged_ones_are_refused(job: Job, results: dict) -> None:
    path = job.out / "results.json"
    assert to_json(read_json(path)) == path.read_text()
    for damaged in ("", "{}", json.dumps(results | {"benchmarks": [{}]})):
        path.write_text(damaged)
        with pytest.raises(StoreError, match="the results are damaged"):
            read_json(path)


def test_a_missing_arm_is_not_an_error(tmp_path: Path) -> None:
    """The base lacks a benchmark that an ablation adds."""
    job = make_job(tmp_path, {"b": ("puzzles", BOOLEAN), "extra": ("puzzles", {"no-assistant": BOOLEAN["base"]})})
    run(dataclasses.replace(job))
    _, extra = json.loads((job.out / "results.json").read_text())["benchmarks"]
    assert [(score["arm"], score["difference"]) for score in extra["scores"]] == [("no-assistant", None)]


def test_the_report_of_a_spec_without_benchmarks_states_that_nothing_was_measured(tmp_path: Path) -> None:
    job = make_job(tmp_path, {})
    run(job)
    for name in ("report.html", "report.md"):
        assert NOTHING_MEASURED in (job.out / name).read_text()
    assert format_table(read_json(job.out / "results.json")) == NOTHING_MEASURED


def trained(seed: int, skill: float, *, runs: int = 3, luck: float = 0.0, items: int = 400) -> list[list[rows.Scored]]:
    """Return the answers of several runs of one arm: an item is right if the run's skill exceeds its difficulty."""
    rng = random.Random(seed)
    difficulty = [random.Random(number).random() for number in range(items)]
    found = []
    for _ in range(runs):
        level = skill + rng.gauss(0, luck)
        right = {number for number in range(items) if difficulty[number] + rng.gauss(0, 0.05) < level}
        found.append(answers(items, right))
    return found


def read_results(job: Job) -> dict:
    run(job)
    return json.loads((job.out / "results.json").read_text())


def test_replicates_are_one_row_and_their_luck_is_in_the_verdict(tmp_path: Path) -> None:
    arms = {"base": trained(1, 0.6, runs=4), "no-assistant": trained(2, 0.4), "answers-only": trained(5, 0.6)}
    job = make_job(tmp_path, {"b": ("puzzles", arms)})
    (bench,) = read_results(job)["benchmarks"]
    base, ablated, bare = bench["scores"]
    assert (len(base["runs"]), base["n"], sum(base["outcomes"].values())) == (4, 400, 1600)
    assert base["mean"] == pytest.approx(sum(base["runs"]) / 4)
    assert base["spread"] >= base["luck"] >= 0
    difference = ablated["difference"]
    assert (difference["verdict"], difference["runs"], difference["df"]) == ("worse", [3, 4], 7)
    assert (
        difference["test"] == "two parts" and "over items and training luck (3 + 4 runs, 7 df" in difference["sentence"]
    )
    assert bare["difference"]["verdict"] == "no difference shown"
    table = format_table(read_json(job.out / "results.json"))
    assert "Runs, in %: base " in table and "worse: −" in table and "another draw of questions" in table
    page = (job.out / "report.html").read_text()
    assert "the choice of items and the luck of training" in page and "trained once" not in page


def test_draws_of_the_data_are_the_replicates_and_runs_on_one_draw_are_averaged(tmp_path: Path) -> None:
    arms = {"base": trained(1, 0.6, runs=6), "no-assistant": trained(2, 0.4, runs=6)}
    results = read_results(make_job(tmp_path, {"b": ("puzzles", arms)}, draws=(0, 0, 1, 1, 2, 2)))
    difference = results["benchmarks"][0]["scores"][1]["difference"]
    assert (difference["runs"], difference["df"], difference["verdict"]) == ([3, 3], 4, "worse")
    assert "the draw of the data" in difference["sentence"] and "not covered" not in difference["scope"]
    assert [(arm["runs"], arm["draws"]) for arm in results["arms"][:2]] == [(6, 3), (6, 3)]


def test_runs_with_equal_answers_count_once(tmp_path: Path) -> None:
    base, arm = trained(1, 0.6, runs=1), trained(2, 0.3, runs=1)
    (bench,) = read_results(make_job(tmp_path, {"b": ("puzzles", {"base": base * 3, "no-assistant": arm})}))[
        "benchmarks"
    ]
    difference = bench["scores"][1]["difference"]
    assert (difference["df"], difference["verdict"]) == (0, "scores lower")
    assert "2 runs of the base had the same result" in difference["cautions"][0]


def over_tasks(runs: list[list[rows.Scored]], tasks: int) -> list[list[rows.Scored]]:
    """Return the answers with their items in tasks of unequal size: the last task has half of them."""
    return [
        [dataclasses.replace(row, task=f"t{min(number, tasks - 1)}") for number, row in _numbered(run, tasks)]
        for run in runs
    ]


def _numbered(run: list[rows.Scored], tasks: int) -> list[tuple[int, rows.Scored]]:
    return [(number % (2 * (tasks - 1)), row) for number, row in enumerate(run)]


@pytest.mark.parametrize(("average", "scope"), [("macro", "on these tasks"), ("clustered", "on tasks like these")])
def test_verdicts_are_of_the_average_that_the_spec_names(tmp_path: Path, average: str, scope: str) -> None:
    arms = {"base": over_tasks(trained(1, 0.6), 6), "no-assistant": over_tasks(trained(2, 0.4), 6)}
    job = make_job(tmp_path, {"b": ("puzzles", arms)}, claims={"b": Claim(average=average)})
    (bench,) = read_results(job)["benchmarks"]
    base, ablated, _ = [*bench["scores"], None]
    assert ablated["difference"]["points"] == pytest.approx(ablated["macro"] - base["macro"])
    assert ablated["difference"]["points"] != pytest.approx(ablated["mean"] - base["mean"])
    assert sum(base["runs"]) / 3 == pytest.approx(base["macro"])
    assert ablated["difference"]["verdict"] == "worse" and ablated["difference"]["scope"].startswith(scope)
    for text in ((job.out / "report.md").read_text(), (job.out / "report.html").read_text()):
        assert "differences of means over tasks" in text and "runs are of these means" in text


def test_a_claim_about_tasks_like_these_is_refused_if_there_are_few(tmp_path: Path) -> None:
    arms = {"base": over_tasks(trained(1, 0.6), 4), "no-assistant": over_tasks(trained(2, 0.4), 4)}
    job = make_job(tmp_path, {"b": ("puzzles", arms)}, claims={"b": Claim(average="clustered", margin=2.0)})
    (bench,) = read_results(job)["benchmarks"]
    difference = bench["scores"][1]["difference"]
    assert (difference["verdict"], difference["p_holm"]) == ("exploratory", None)
    assert difference["sentence"].startswith(
        "no verdict on tasks like these: it needs 5 tasks or more, and here are 4. On these tasks: exploratory"
    )


def test_an_arm_that_answered_few_of_the_tasks_is_not_compared_by_them(tmp_path: Path) -> None:
    failed = {"outcome": "failed", "score": None, "parsed": ""}
    base, few = over_tasks(trained(1, 0.6), 6), over_tasks(trained(2, 0.4), 6)
    few = [[dataclasses.replace(row, **failed) if row.task in ("t0", "t1") else row for row in run] for run in few]
    arms = {"base": base, "no-assistant": few, "answers-only": over_tasks(trained(3, 0.4), 6)}
    job = make_job(tmp_path, {"b": ("puzzles", arms)}, claims={"b": Claim(average="clustered")})
    (bench,) = read_results(job)["benchmarks"]
    assert [score["difference"] is None for score in bench["scores"]] == [True, True, False]
    for text in ((job.out / "report.md").read_text(), format_table(read_json(job.out / "results.json"))):
        assert "too few answered items in common with base: no-assistant." in " ".join(text.split())


def test_arms_are_equal_only_within_a_margin_that_the_spec_names(tmp_path: Path) -> None:
    arms = {"base": trained(1, 0.6), "no-assistant": trained(3, 0.6)}
    wide, none = Claim(margin=12.5), Claim()
    results = {}
    for number, claim in enumerate((wide, none)):
        job = make_job(tmp_path / str(number), {"b": ("puzzles", arms)}, claims={"b": claim})
        (bench,) = read_results(job)["benchmarks"]
        results[claim.margin] = bench["scores"][1]["difference"]
        if claim.margin:
            for text in ((job.out / "report.md").read_text(), (job.out / "report.html").read_text()):
                assert "equal within 12.5 points" in text.lower() and "margin 12.5 points" in text
    assert (results[12.5]["verdict"], results[None]["verdict"]) == ("equal", "no difference shown")
    assert "(90 % " in results[12.5]["sentence"]


def test_runs_count_once_by_their_answers_and_not_by_their_scores(tmp_path: Path) -> None:
    """Three runs that get every item wrong in different words are three runs."""
    base = [answers(100, set(range(60)), says=f"wording {run}") for run in (1, 2, 2)]
    arm = [answers(100, set(), says=f"wording {run}") for run in (1, 2, 3)]
    job = make_job(tmp_path, {"b": ("puzzles", {"base": base, "no-assistant": arm})})
    (bench,) = read_results(job)["benchmarks"]
    of_base, of_arm = bench["scores"]
    assert (len(of_base["runs"]), len(of_arm["runs"])) == (2, 3)
    assert of_arm["difference"]["runs"] == [3, 2]
    assert [caution.partition(" had")[0] for caution in of_arm["difference"]["cautions"]] == ["1 run of the base"]
    assert sum(of_base["outcomes"].values()) == 200


def test_every_run_is_printed_if_the_spreads_differ_but_too_few_runs_show_it(tmp_path: Path) -> None:
    """Standard deviations of 13.5 and 1.9 points with 2 degrees of freedom each: F is 50, and p 0.02 (one-sided)."""
    levels = {"base": (0.50, 0.519, 0.538), "no-assistant": (0.40, 0.535, 0.67)}
    arms = {name: [answers(1000, set(range(round(1000 * level)))) for level in runs] for name, runs in levels.items()}
    job = make_job(tmp_path, {"b": ("puzzles", arms)})
    (bench,) = read_results(job)["benchmarks"]
    assert bench["scores"][1]["difference"]["cautions"] == []
    for text in ((job.out / "report.md").read_text(), format_table(read_json(job.out / "results.json"))):
        assert "(standard deviation 13.5)" in " ".join(text.split())
        assert "(standard deviation 1.9)" in " ".join(text.split())


def test_a_benchmark_that_is_not_primary_and_a_baseline_have_no_verdict(tmp_path: Path) -> None:
    arms = {"base": trained(1, 0.6), "no-assistant": trained(2, 0.4)}
    job = make_job(tmp_path, {"b": ("puzzles", arms), "side": ("puzzles", arms)}, exploratory=("side",))
    store = FakeStore(tmp_path / "store")
    store.folders = dict(job.by_ref)
    asked = {"prompts": 400, "answered": 400, "omitted": {"temperature": 400}, "input_tokens": 1, "usd": 9.5}
    asked |= {"reasoned": 30}
    how = {"sampling": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 256, "extra": {}, "reasoning": "off"}}
    store.add("collect/gpt", asked, how)
    store.add("collect/gpt-1", asked | {"usd": 0.5}, how)  # a second sample
    evaluation = Evaluation(
        benchmark="b",
        items="sample/b",
        answers="collect/gpt",
        samples=("collect/gpt-1",),
        score=store.score("gpt", trained(9, 0.9, runs=1)[0]),
    )
    recipe = job.recipe.model_copy(update={"baselines": (Baseline(name="gpt", evaluations=(evaluation,)),)})
    results = read_results(dataclasses.replace(job, recipe=recipe, by_ref=store.folders))
    primary, side = results["benchmarks"]
    of_arm, of_baseline = (score["difference"] for score in primary["scores"][1:])
    assert of_arm["p_holm"] == of_arm["p"]  # the only comparison of the family
    for difference in (of_baseline, side["scores"][1]["difference"]):
        assert (difference["verdict"], difference["p_holm"]) == ("exploratory", None)
    assert primary["scores"][2]["arm"] == "gpt (baseline)"
    assert {teacher["name"]: teacher["usd"] for teacher in results["teachers"]}["gpt"] == 10
    for sentence in (
        "gpt (baseline) was asked without temperature, which it refuses.",
        "gpt (baseline) was asked not to reason, and reasons in 60 answers all the same.",
        "Asked: zero-shot, no system message, greedy decoding, at most 256 tokens.",
        "No row for gpt (baseline).",
    ):
        assert sentence in (job.out / "report.html").read_text()
        assert sentence in (job.out / "report.md").read_text()
        assert sentence in format_table(read_json(job.out / "results.json"))


SPEC_OF_ARMS = """\
orcac: 1
name: claims
queries: {q: {format: puzzles, task: navigate, size: [3, 5], take: 9}}
teachers: {t: {model: assistant, endpoint: {kind: solver}}}
datasets: {d: {teacher: t, queries: [q]}}
student: {size: tiny, tokenizer: {vocabulary: 400, train_on: [d]}}
stages: {s: {dataset: d}}
benchmarks:
  b: {format: puzzles, task: navigate, size: [3, 5], take: 400}
  side: {format: puzzles, task: navigate, size: [3, 5], take: 400, primary: false}
ablations:
  no-assistant: {seed: 1}
  answers-only: {seed: 2}
"""


def test_only_the_arms_that_a_spec_names_primary_get_verdicts(tmp_path: Path) -> None:
    answered = {"base": trained(1, 0.6), "no-assistant": trained(2, 0.4), "answers-only": trained(5, 0.6)}

    def report(primary: str) -> tuple[dict, Job]:
        folder = tmp_path / (primary or "every")
        folder.mkdir()
        (folder / "spec.yaml").write_text(SPEC_OF_ARMS + (f"primary: [{primary}]\n" if primary else ""))
        plan = Plan()
        lower(plan, load(folder / "spec.yaml"))
        (node,) = (node for node in plan.nodes.values() if node.kind == "report")
        benchmarks = dict.fromkeys(("b", "side"), ("puzzles", answered))
        named = {"primary": node.recipe.primary, "exploratory": node.recipe.exploratory}
        job = make_job(folder, benchmarks, **named)
        job = dataclasses.replace(job, execution=job.execution.model_copy(update={"order": node.execution.order}))
        return read_results(job), job

    def tell(results: dict) -> list[list[tuple]]:
        """Return (arm, verdict, p_holm / p) of each comparison, by benchmark."""
        return [
            [
                (score["arm"], found["verdict"], found["p_holm"] and found["p_holm"] / found["p"])
                for score in bench["scores"]
                if (found := score["difference"])
            ]
            for bench in results["benchmarks"]
        ]

    (every, _), (some, job) = report(""), report("answers-only")
    assert tell(every)[0] == [("no-assistant", "worse", 2.0), ("answers-only", "no difference shown", 1.0)]
    primary, side = tell(some)
    assert primary == [("answers-only", "no difference shown", 1.0), ("no-assistant", "exploratory", None)]
    assert side == [("answers-only", "exploratory", None), ("no-assistant", "exploratory", None)]
    both = [[score["difference"] for score in results["benchmarks"][0]["scores"][1:]] for results in (every, some)]
    assert both[0][0]["p"] == both[1][1]["p"] and both[0][0]["interval"] == both[1][1]["interval"]
    assert both[1][1]["sentence"].startswith("exploratory, no verdict: −")
    assert every["primary"] == [] and some["primary"] == ["answers-only"]

    page, markdown = (job.out / "report.html").read_text(), (job.out / "report.md").read_text()
    table = format_table(read_json(job.out / "results.json"))
    said = "Primary: answers-only. Verdicts are about this arm alone"
    assert all(" ".join(text.split()).count(said) == 1 for text in (page, markdown, table)), "on `b`, and not on `side`"
    assert "Of 1 primary arm against base: 1 without a difference" in page
    assert page.count('<tr class="is-plain exploratory">') == 1 and "not adjusted</small>" in page
    assert re.search(r"^no-assistant .* exploratory$", table, re.MULTILINE)
    cells = [line.split(" | ") for line in markdown.splitlines() if line.startswith("| no-assistant")]
    assert [(row[-3], row[-2], row[-1]) for row in cells[:2]] == [("< 0.001", "", "exploratory |")] * 2


def test_rows_of_different_engines_get_no_verdict(tmp_path: Path) -> None:
    arms = {"base": trained(1, 0.6), "no-assistant": trained(2, 0.2), "answers-only": trained(3, 0.2)}
    job = make_job(tmp_path, {"b": ("puzzles", arms)}, made_by={"no-assistant": {"engine": "vllm"}})
    (bench,) = read_results(job)["benchmarks"]
    other, same = (score["difference"] for score in bench["scores"][1:])
    assert (other["verdict"], other["p_holm"]) == ("exploratory", None)
    assert other["sentence"].startswith("no verdict, since vllm generated its answers and transformers those of base")
    assert same["verdict"] == "worse" and same["p_holm"] == same["p"], "it is alone in the family"
    assert "no verdict, since vllm generated" in (job.out / "report.html").read_text()


def test_a_verdict_that_unread_answers_decide_is_withheld(tmp_path: Path) -> None:
    """Equal arms, but half of the right answers of one are in a form that the parser does not read."""
    right = set(range(0, 400, 2)) | set(range(0, 100))
    base = answers(400, right)
    unread = [
        dataclasses.replace(row, outcome="unparsed", score=0.0, parsed="") if number % 4 == 0 else row
        for number, row in enumerate(base)
    ]
    job = make_job(tmp_path, {"b": ("puzzles", {"base": base, "no-assistant": unread, "answers-only": base})})
    (bench,) = read_results(job)["benchmarks"]
    difference = bench["scores"][1]["difference"]
    assert difference["points"] == -0.25 and difference["verdict"] == "withheld"
    assert (difference["readable"]["items"], difference["readable"]["points"]) == (300, 0.0)
    assert difference["unparsed"]["points"] == 0.25 and difference["unparsed"]["p"] < 1e-9
    assert difference["cut"]["p"] == 1.0
    assert bench["scores"][2]["difference"]["verdict"] == "no difference shown"
    for text in ((job.out / "report.md").read_text(), format_table(read_json(job.out / "results.json"))):
        text = " ".join(text.split())
        assert (
            "withheld, since answers that could not be read decide it. Over all items: this model scores lower" in text
        )
        assert "Unparsed: no-assistant has +25.0 points against the base" in text


def test_a_verdict_without_readable_answers_is_withheld(tmp_path: Path) -> None:
    unread = [dataclasses.replace(row, outcome="unparsed", score=0.0, parsed="") for row in answers(100, set())]
    job = make_job(tmp_path, {"b": ("puzzles", {"base": answers(100, set(range(80))), "no-assistant": unread})})
    (bench,) = read_results(job)["benchmarks"]
    difference = bench["scores"][1]["difference"]
    assert (difference["verdict"], difference["readable"]) == ("withheld", None)


def test_an_answer_that_one_run_cut_off_is_read_from_the_others(tmp_path: Path) -> None:
    runs = trained(1, 0.6)
    cut = [dataclasses.replace(row, outcome="cut", score=0.0, parsed="") for row in runs[0]]
    arms = {"base": trained(4, 0.6), "no-assistant": [cut, *runs[1:]]}
    (bench,) = read_results(make_job(tmp_path, {"b": ("puzzles", arms)}))["benchmarks"]
    assert bench["scores"][1]["difference"]["readable"]["items"] == 400


def test_the_means_of_the_paper_are_those_that_it_prints() -> None:
    assert published_means("agieval", list(AGIEVAL)) == {
        "Orca-13B": 0.417, "ChatGPT": 0.472, "GPT-4": 0.62, "Vicuna-13B": 0.293,
    }  # fmt: skip
    assert published_means("bbh", list(BBH_TASKS)) == {
        "Orca-13B": 0.497, "ChatGPT": 0.489, "GPT-4": 0.674, "Vicuna-13B": 0.233,
    }  # fmt: skip
    assert published_means("bbh", [*BBH_TASKS, "dyck_languages"]) == published_means("jsonl", list(BBH_TASKS)) == {}


def test_a_score_below_guessing_is_named(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"b": ("puzzles", {"base": answers(200, set(range(60)))})})
    (bench,) = read_results(job)["benchmarks"]
    assert bench["scores"][0]["verdict"] == "below chance"
    assert "‡ below chance" in format_table(read_json(job.out / "results.json"))
    assert run(job).all_at_chance


def test_a_study_of_baselines_has_their_rows_and_no_section_without_rows(tmp_path: Path) -> None:
    job = make_job(tmp_path, {})
    store = FakeStore(tmp_path / "alone")
    store.items("b", "puzzles")
    baselines = []
    for name, right in (("gpt", 90), ("llama", 60)):
        store.add(f"collect/{name}", {"prompts": 100, "answered": 100, "input_tokens": 1, "output_tokens": 1})
        score = store.score(name, answers(100, set(range(right))))
        evaluation = Evaluation(benchmark="b", items="sample/b", answers=f"collect/{name}", score=score)
        baselines.append(Baseline(name=name, evaluations=(evaluation,)))
    alone = Arm(name="base", student=None, datasets=(), stages=(), evaluations=())
    recipe = job.recipe.model_copy(update={"arms": (alone,), "baselines": tuple(baselines)})
    results = read_results(job := dataclasses.replace(job, recipe=recipe, by_ref=store.folders))
    (bench,) = results["benchmarks"]
    assert [(score["arm"], score["mean"], score["difference"]) for score in bench["scores"]] == [
        ("gpt (baseline)", 0.9, None),
        ("llama (baseline)", 0.6, None),
    ]
    assert (results["arms"], results["all_at_chance"]) == ([], False)
    page, text = ((job.out / name).read_text() for name in ("report.html", "report.md"))
    assert re.findall('<h[23] id="([a-z]+)"', page) == ["matter", "tasks", "cost", "trust", "items", "made"]
    assert "vs <bdi>base" not in page and "too few items" not in page
    assert re.findall("^## (.*)", text, re.MULTILINE) == ["Results", "Teachers"]
    assert "Nothing was trained." in page and "base did not answer" not in page
    assert "vs base" not in format_table(read_json(job.out / "results.json"))


def test_an_arm_that_is_not_trained_is_compared_as_one_run(tmp_path: Path) -> None:
    arms = {"base": [trained(1, 0.6)[0]], "no-assistant": trained(2, 0.9), "answers-only": [trained(3, 0.9)[0]]}
    job = make_job(tmp_path, {"b": ("puzzles", arms)})
    bare = {"stages": (), "datasets": ()}
    untrained = [arm if arm.name == "no-assistant" else arm.model_copy(update=bare) for arm in job.recipe.arms]
    recipe = job.recipe.model_copy(update={"arms": tuple(untrained)})
    (bench,) = read_results(dataclasses.replace(job, recipe=recipe))["benchmarks"]
    of_trained, of_other = (score["difference"] for score in bench["scores"][1:])
    assert (of_trained["verdict"], of_trained["df"]) == ("better", 2)
    assert "the base is not trained and counts as one run" in of_trained["sentence"]
    assert (of_other["verdict"], of_other["df"], of_other["test"]) == ("scores higher", 0, "mcnemar")
    assert of_other["sentence"].endswith("neither is trained here, so this is about these two models as they are")
