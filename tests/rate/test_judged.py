"""Tests of orcac/rate/judged.py, orcac/rate/shown.py, orcac/score/judging/review.py and orcac/plan/asked.py: a judge's
points choose questions and select answers, from a spec to rows, against a server that counts what it bills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collected import PUZZLES, SOLVER, Made, collect, count_records, plan_spec, taped
from faults import FaultServer, Reply
from patience import PATIENCE_S

from orcac import rows
from orcac.chat.ledger.files import read_records
from orcac.chat.ledger.forgotten import RecordId
from orcac.cli.common import describe_choices
from orcac.collect.holders import find_holders
from orcac.cost.bill import price, total_cost
from orcac.errors import EndpointError, InputError
from orcac.make import make
from orcac.plan.needs import list_extras
from orcac.slots import read_slots
from orcac.store.store import Store

QUESTIONS = {"Name a colour.": "", "Name a fruit.": "", "Name a city.": ""}
ANSWERS = {
    "Name a colour.": ["Red.", "Blue, as the sky.", "Green.", "Red."],  # 4, 9, 9, 4
    "Name a fruit.": ["Apple.", "No idea.", "A pear.", "Plum."],  # 8, none, refused, 5
    "Name a city.": ["Rome.", "Oslo.", "Lima.", "Cairo."],  # 2, 2, 2, 2
}
REVIEWS = {
    "Red.": "Short.\nRating: [[4]]",
    "Blue, as the sky.": "Rating: 9",
    "Green.": "Good.\nRating: [[9]]",
    "Apple.": "Rating: [[8]]",
    "No idea.": "Both have their merits.",
    "A pear.": "I'm sorry, but I can't help with that.",
    "Plum.": "Rating: [[5]]",
}
ALL = {"duplicates": "keep", "allow_empty": ["*"]}
BEST = {"filters": ALL | {"select": {"by": "judged", "judge": "points"}}}


def review(question: str, before: int) -> Reply:
    """Answer a review with the text for its answer; a question that is not a review gets its own text."""
    text = REVIEWS.get(read_slots(question).get("answer", ""), "Rating: [[2]]")
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return Reply({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}, bills=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with FaultServer(review) as server:
        yield server


def judged(folder: Path, server: FaultServer, answers: dict[str, list[str]] = ANSWERS, **more: Any) -> dict[str, Any]:
    """Return a spec of recorded answers and a judge that the server answers for."""
    spec = taped(folder, QUESTIONS, answers)
    endpoint = {"kind": "openai", "base_url": server.base_url, "concurrency": 4}
    asked = {"model": "critic", "endpoint": endpoint, "price": {"input": 1.0, "output": 10.0}}
    spec["teachers"]["critic"] = asked
    return spec | {"judges": {"points": {"teacher": "critic", "form": "scale"}}, "filters": ALL} | more


def choose(folder: Path, server: FaultServer, **sample: Any) -> tuple[list[str], Made]:
    spec = judged(folder, server)
    by = {"from": "d", "by": {"judge": "points"}} | sample
    spec["datasets"] = spec["datasets"] | {"e": {"teacher": "t", "sample": by}}
    made = collect(folder, spec)
    return sorted(row.query for row in made.responses("e")), made


def test_the_best_judged_answer_is_kept_and_every_other_has_a_reason(tmp_path: Path, server: FaultServer) -> None:
    made = collect(tmp_path, judged(tmp_path, server, **BEST))
    assert sorted(row.response for row in made.kept()) == ["Apple.", "Blue, as the sky.", "Rome."]
    assert {(row.response, row.reason) for row in made.rejected()} == {
        ("Red.", "not selected"), ("Green.", "tied points"), ("No idea.", "unrated"), ("A pear.", "unrated"),
        ("Plum.", "not selected"), ("Oslo.", "tied points"), ("Lima.", "tied points"), ("Cairo.", "tied points"),
    }  # fmt: skip
    assert server.billed.total() == 11 == count_records(made), "the same answer twice is one request"
    summary = made.summary("rate/d/points")
    assert (summary["answers"], summary["rated"]) == (12, 10)
    assert summary["unrated"] == {"judge refused": 1, "judge unread": 1}
    assert (summary["reviews"], summary["cut"], summary["input_tokens"]) == (12, 0, 1_100)
    assert summary["usd"] == pytest.approx(11 * (100 * 1 + 10 * 10) / 1e6)
    assert summary["quartiles"] == [2.0, 4.25, 6.5, 6.5, 6.5]
    assert made.summary("filter/d")["rejected"] == {"not selected": 3, "tied points": 4, "unrated": 2}


def test_a_judge_that_repeats_its_prompt_gives_no_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def repeat(question: str, before: int) -> Reply:
        text = question if "Red." in question else f"{question}\nRating: [[7]]"
        return Reply({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})

    with FaultServer(repeat) as server:
        made = collect(tmp_path, judged(tmp_path, server, **BEST))
    reviews = list(rows.read(made.path("rate/d/points", "reviews.parquet"), rows.Review))
    points = [7.0] * 12
    points[0] = points[3] = None  # the example of the prompt has 5 points
    assert [review.candidate_points for review in reviews] == points
    assert made.summary("rate/d/points")["unrated"] == {"judge unread": 2}


def test_reviews_are_kept_beside_the_ratings(tmp_path: Path, server: FaultServer) -> None:
    made = collect(tmp_path, judged(tmp_path, server, **BEST))
    reviews = list(rows.read(made.path("rate/d/points", "reviews.parquet"), rows.Review))
    assert [review.sample for review in reviews] == [0, 1, 2, 3] * 3
    points = {(review.query, review.sample): review.candidate_points for review in reviews}
    assert points["Name a colour.", 2] == 9 and points["Name a fruit.", 1] is None
    keys = {review.key for review in reviews}
    assert keys == {record["key"] for record in read_records(made.store.answers)}


@pytest.mark.parametrize(
    ("sample", "questions"),
    [
        ({"between": [5, 10], "take": 2}, ["Name a colour.", "Name a fruit."]),
        ({"between": [1, 2], "take": 1}, ["Name a city."]),
        ({"prefer": "low", "take": 1}, ["Name a city."]),
    ],
)
def test_questions_are_chosen_by_the_mean_points_of_their_answers(
    tmp_path: Path, server: FaultServer, sample: dict[str, Any], questions: list[str]
) -> None:
    found, made = choose(tmp_path, server, **sample)
    assert found == questions
    (line,) = describe_choices(made.plan)
    assert "points that critic gives 4 answers of taped" in line


def test_a_cut_or_empty_answer_has_one_point_and_is_not_shown_to_the_judge(
    tmp_path: Path, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = judged(tmp_path, server, **BEST)
    tape = [
        {"q": "Name a colour.", "out": "Blue, as the sk", "end": "length"},
        {"q": "Name a fruit.", "out": "Plum.", "end": "stop"},
        {"q": "Name a city.", "out": "Rating: [[10]]", "end": "stop"},
    ]
    (tmp_path / "tape.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tape))
    spec["teachers"]["t"]["endpoint"] |= {
        "samples": 1,
        "fields": {"question": "q", "answer": "out", "finish_reason": "end"},
    }
    spec["datasets"]["d"]["samples"] = 1
    made = collect(tmp_path, spec)
    summary = made.summary("rate/d/points")
    assert (summary["reviews"], summary["cut"], summary["rated"], summary["unrated"]) == (2, 1, 3, {})
    assert (summary["quartiles"][0], server.billed.total()) == (1.0, 2)
    assert "1 answers are cut or empty: they have 1 point" in capsys.readouterr().err


def test_arms_share_what_a_judge_is_paid_for(tmp_path: Path, server: FaultServer) -> None:
    spec = judged(tmp_path, server, **BEST)
    spec["ablations"] = {"fewer": {"datasets": {"d": {"samples": 2}}}, "two": {"filters": {"select": {"keep": 2}}}}
    plan = plan_spec(tmp_path, spec)
    (experiment,) = plan.experiments.values()
    rated = {arm: addresses["rate/d/points"] for arm, addresses in experiment.addresses.items()}
    assert rated["base"] == rated["two"] != rated["fewer"]
    cost = total_cost(plan, price(plan, Store(tmp_path / "store")), plan.nodes)
    assert cost.requests.mid == 12, "the reviews of two samples are part of those of four"
    assert cost.usd.mid > 0
    store = Store(tmp_path / "store")
    for ref in plan.nodes:
        make(plan, store, ref)
    assert server.billed.total() == 11
    assert total_cost(plan, price(plan, store), plan.nodes).requests.mid == 0


def test_a_killed_judge_is_paid_once_for_each_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    answers = {question: [f"{question} {number}" for number in range(40)] for question in QUESTIONS}
    with FaultServer(review, latency_s=0.02) as server:
        plan = plan_spec(tmp_path, judged(tmp_path, server, answers, **BEST))
        plan.write(tmp_path / "plan.json")
        (rated,) = (ref for ref in plan.nodes if ref.startswith("rate/"))
        store = Store(tmp_path / "store")
        for ref in plan.closure(plan.nodes[rated].needs):
            make(plan, store, ref)
        for kill in (1, 2):
            job = start(tmp_path, rated)
            end = time.monotonic() + PATIENCE_S
            while server.billed.total() < kill * 40:
                assert job.poll() is None and time.monotonic() < end
                time.sleep(0.005)
            job.send_signal(signal.SIGKILL)
            job.wait()
        recorded = {record["request"]["messages"][-1][1] for record in read_records(store.answers)}
        billed = {question: server.billed[question] for question in recorded}
        assert len(recorded) >= 2 * 40 - 2 * 4 and not store.is_done(rated)
        left = total_cost(plan, price(plan, store), plan.nodes).requests.mid
        assert left == 120 - len(recorded), "the ledger tells what is left to pay"
        make(plan, store, rated)
        assert {question: server.billed[question] for question in recorded} == billed, "recorded answers stay paid"
        assert 120 <= server.billed.total() <= 120 + 2 * 4, "a kill costs what was in flight"
    assert store.artifact(rated)["summary"]["reviews"] == 120


def start(folder: Path, ref: str) -> subprocess.Popen[bytes]:
    places = {"ORCAC_STORE": str(folder / "store"), "ORCAC_PLAN": str(folder / "plan.json")}
    line = [sys.executable, "-m", "orcac", "make", ref]
    return subprocess.Popen(line, cwd=folder, env=os.environ | places, stderr=subprocess.DEVNULL)


def test_the_budget_holds_for_a_judge_and_what_it_paid_for_is_kept(tmp_path: Path, server: FaultServer) -> None:
    spec = judged(tmp_path, server, **BEST, budget="0.0125 USD")
    with pytest.raises(EndpointError, match="budget"):
        collect(tmp_path, spec)
    kept = server.billed.total()
    assert 0 < kept < 11 and len([*read_records(tmp_path / "store" / "answers")]) == kept
    collect(tmp_path, spec | {"budget": "5 USD"})
    assert server.billed.total() == 11


def test_a_judge_that_states_no_points_ends_the_run_with_its_reviews(tmp_path: Path, server: FaultServer) -> None:
    answers = {question: ["No idea."] for question in QUESTIONS}
    with pytest.raises(InputError, match="none of 3 answers has a rating: judge unread") as caught:
        collect(tmp_path, judged(tmp_path, server, answers, **BEST))
    path = Path(caught.value.fix.split()[4].rstrip(","))
    assert [review.review for review in rows.read(path, rows.Review)] == ["Both have their merits."] * 3


def test_a_judge_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with FaultServer(lambda question, before: "401") as server, pytest.raises(EndpointError):
        collect(tmp_path, judged(tmp_path, server, **BEST))


def test_forgetting_a_review_names_the_ratings_that_hold_it(tmp_path: Path, server: FaultServer) -> None:
    made = collect(tmp_path, judged(tmp_path, server, **BEST))
    record = next(iter(read_records(made.store.answers)))
    assert find_holders(made.store, [RecordId(record["key"], record["at"])]) == [made.addresses["rate/d/points"]]


def test_the_embedded_judge_rates_and_a_local_one_needs_its_packages(tmp_path: Path) -> None:
    sampling = {"temperature": 0.7, "seed": 0, "extra": {"error_rate": 0.5}}
    spec: dict[str, Any] = {
        "teachers": {"t": SOLVER | {"sampling": sampling}, "j": SOLVER | {"model": "judge", "sampling": {}}},
        "judges": {"points": {"teacher": "j", "form": "scale"}},
        "datasets": {"d": {"teacher": "t", "queries": ["q"], "samples": 4}},
    } | BEST
    made = collect(tmp_path, spec)
    points: dict[str, list[float]] = {}
    for review in rows.read(made.path("rate/d/points", "reviews.parquet"), rows.Review):
        points.setdefault(review.id, []).append(review.candidate_points or 0)
    best = {id: of.index(max(of)) for id, of in points.items()}
    assert {row.id: row.sample for row in made.kept()} == best and len({*best.values()}) > 1
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    spec["teachers"]["j"] = {"model": "m", "endpoint": {"kind": "local", "path": "model", "gpus": 1}}
    plan = plan_spec(tmp_path, spec)
    (node,) = (node for node in plan.nodes.values() if node.kind == "rate")
    assert (list_extras(node), node.execution.gpus) == ({"train"}, 1)


SCALE = {"teacher": "j", "form": "scale"}
LOW = {"from": "d", "take": 1, "prefer": "low"}


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"filters": {"select": {"by": "judged"}}}, "`by: judged` needs a judge"),
        ({"filters": {"select": {"by": "longest", "judge": "points"}}}, "`judge` has no effect with `by: longest`"),
        ({"filters": {"select": {"by": "judged", "judge": "point"}}}, "did you mean `points`"),
        ({"filters": {"select": {"by": "judged", "judge": "j"}}}, "`j` is a teacher; define a judge that asks it"),
        ({"judges": {"points": {"teacher": "j"}}} | BEST, "compares two answers .form pairwise."),
        ({"judges": {"points": SCALE | {"form": "verdict"}}} | BEST, "compares two answers .form verdict."),
        ({"judges": {"points": SCALE | {"teacher": "r"}}} | BEST, "its teacher `r` has references alone"),
        ({"datasets": {"e": {"sample": LOW | {"by": {"judge": "no"}}}}}, "chosen by judge `no`, which is not defined"),
        ({"datasets": {"e": {"sample": LOW | {"by": {"judge": "j"}}}}}, "`j` is a teacher"),
        ({"datasets": {"e": {"sample": LOW | {"by": {"juge": "j"}}}}}, "unknown key `juge`; did you mean `judge`"),
        ({"datasets": {"e": {"sample": LOW | {"by": "points"}}}}, "`by` cannot be `points`"),
        (
            {"datasets": {"e": {"sample": LOW | {"by": {"judge": "points"}, "between": [0, 5]}}}},
            "values by `judge` are from 1 to 10",
        ),
    ],
)
def test_a_judge_that_cannot_rate_is_refused_at_its_place(tmp_path: Path, parts: dict[str, Any], problem: str) -> None:
    judge, labels = SOLVER | {"model": "judge"}, {"model": "labels", "endpoint": {"kind": "reference"}}
    spec: dict[str, Any] = {"teachers": {"t": SOLVER, "j": judge, "r": labels}, "judges": {"points": SCALE}} | parts
    others = {name: {"teacher": "t"} | of for name, of in parts.get("datasets", {}).items()}
    spec["datasets"] = {"d": {"teacher": "t", "queries": ["q"]}} | others
    with pytest.raises(InputError, match=rf"spec\.yaml:\d+:\d+: .*{problem}"):
        plan_spec(tmp_path, spec)


def test_a_teacher_that_judges_itself_is_noted(tmp_path: Path) -> None:
    spec = {"teachers": {"t": SOLVER | {"model": "judge"}}, "judges": {"points": SCALE | {"teacher": "t"}}} | BEST
    assert describe_choices(plan_spec(tmp_path, spec)) == [
        "d by points: judge judges its own answers, which models tend to prefer; another judge would not"
    ]


def test_the_report_has_the_requests_and_dollars_of_a_judge_of_answers(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "teachers": {"t": SOLVER, "j": SOLVER | {"model": "judge", "price": {"input": 1, "output": 1}}},
        "judges": {"points": SCALE},
        "benchmarks": {"b": PUZZLES | {"take": 3}},
        "baselines": ["t"],
    }
    made = collect(tmp_path, spec | BEST)
    for ref in made.plan.nodes:
        make(made.plan, made.store, ref)
    results = json.loads((made.store.folder(made.plan.experiments["d"].report) / "results.json").read_text())
    (judge,) = (one for one in results["teachers"] if one["name"] == "judge (judge)")
    assert judge["requests"] == 12
    assert judge["usd"] == pytest.approx((judge["input_tokens"] + judge["output_tokens"]) / 1e6) and judge["usd"] > 0
