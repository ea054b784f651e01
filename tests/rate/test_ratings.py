"""Tests of orcac/ratings.py, orcac/spec/ratings.py, orcac/rate/recipe.py, orcac/rate/rating.py, orcac/rate/run.py and
orcac/rate/wording.py, from a spec to rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collected import SOLVER, Made, collect, count_records, plan_spec, taped

from orcac import rows
from orcac.cli.common import describe_choices
from orcac.cli.viewed import gather_view
from orcac.cost.bill import price, total_cost
from orcac.errors import InputError
from orcac.rate.rating import rate
from orcac.rate.recipe import RateRecipe
from orcac.report.render import render_html, render_markdown
from orcac.store.store import Store

QUESTIONS = {"Double 4.": "8", "Halve 10.": "5", "Add 1 and 2.": "3", "Name a colour.": ""}
ANSWERS = {
    "Double 4.": ["The answer is 9.", "So, counting on, the answer is 8.", "The answer is 8.", "Hard to say."],  # 2/3
    "Halve 10.": ["The answer is 4.", "The answer is 5.", "The answer is 6.", "The answer is 4.0."],  # 1/4
    "Add 1 and 2.": ["The answer is 3.", "The answer is 4.", "No idea.", "Perhaps."],  # 1/2
    "Name a colour.": ["Who knows?", "Is it red or blue?", "I wonder.", "Well."],  # no reference
}
CHECKED = {"filters": {"checker": "number", "duplicates": "keep", "allow_empty": ["*"]}}


def choose(folder: Path, **sample: Any) -> tuple[list[str], Made]:
    """Return the questions of a dataset that is drawn from the recorded ones by their values, sorted."""
    spec = taped(folder, QUESTIONS, ANSWERS) | CHECKED
    spec["datasets"] = spec["datasets"] | {"e": {"teacher": "t", "sample": {"from": "d"} | sample}}
    made = collect(folder, spec)
    return sorted(row.query for row in made.responses("e")), made


@pytest.mark.parametrize(
    ("sample", "questions", "dropped"),
    [
        ({"by": "pass_rate", "between": [0.3, 0.9], "take": 2}, ["Add 1 and 2.", "Double 4."], 1),
        ({"by": "pass_rate", "between": [0.25, 0.5], "take": 2}, ["Add 1 and 2.", "Halve 10."], 1),
        ({"by": "pass_rate", "prefer": "low", "take": 1}, ["Halve 10."], 0),
        ({"by": "pass_rate", "prefer": "high", "take": 1}, ["Double 4."], 0),
    ],
)
def test_questions_are_chosen_by_their_pass_rates(
    tmp_path: Path, sample: dict[str, Any], questions: list[str], dropped: int
) -> None:
    found, made = choose(tmp_path, **sample)
    assert found == questions
    counts = made.summary("subset/e")["dropped"]
    assert (counts.get("outside `between`", 0), counts["no value"]) == (dropped, 1), "a colour has no reference"
    summary = made.summary("rate/d/pass_rate")
    assert (summary["answers"], summary["rated"], summary["unrated"]) == (16, 9, {"no reference": 4, "unread": 3})
    assert (summary["questions"], summary["valued"], summary["quartiles"][0]) == (4, 3, 0.25)


def test_questions_are_chosen_by_the_length_of_their_answers(tmp_path: Path) -> None:
    assert choose(tmp_path, by="length", prefer="low", take=1)[0] == ["Add 1 and 2."]
    assert choose(tmp_path, by="length", prefer="high", take=1)[0] == ["Double 4."]
    assert choose(tmp_path, by="length", between=[3.1, 3.5], take=1)[0] == ["Name a colour."]


def test_too_few_questions_within_the_bounds_stop_the_run_with_their_counts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="e of d: 2 queries can be drawn") as caught:
        choose(tmp_path, by="pass_rate", between=[0.3, 0.9], take=3)
    assert "no value: 1; outside `between`: 1" in caught.value.message and "widen `between`" in caught.value.fix


def solved(**e: Any) -> dict[str, Any]:
    sampling = {"temperature": 0.7, "seed": 0, "extra": {"error_rate": 0.5}}
    return {
        "teachers": {"t": SOLVER | {"sampling": sampling, "price": {"input": 1, "output": 1}}},
        "datasets": {
            "d": {"teacher": "t", "queries": ["q"], "samples": 8},
            "e": {"teacher": "t", "samples": 2, "sample": {"from": "d", "take": 3, "by": "pass_rate"} | e},
        },
    }


def test_answers_that_were_rated_are_not_paid_for_again(tmp_path: Path) -> None:
    plan = plan_spec(tmp_path, solved(between=[0.2, 0.8]))
    assert total_cost(plan, price(plan, Store(tmp_path / "before")), plan.nodes).requests.mid == pytest.approx(96)
    made = collect(tmp_path, solved(between=[0.2, 0.8]))
    assert count_records(made) == 12 * 8
    assert len(made.responses("e")) == 6
    right = {row.id: [] for row in made.responses()}
    for row in made.responses():
        right[row.id].append(rate(row, RateRecipe(by="pass_rate", checker="final-answer")))
    rates = {id: sum(of) / len(of) for id, of in right.items() if all(isinstance(one, float) for one in of)}
    assert all(0.2 <= rates[row.id] <= 0.8 for row in made.responses("e"))


def test_a_smaller_draw_is_part_of_a_larger_one_and_other_messages_keep_the_questions(tmp_path: Path) -> None:
    drawn = {"draw": {"q": [7]}, "teacher": "t", "sample": {"from": "d", "take": 2, "by": "pass_rate", "prefer": "low"}}
    spec = solved(prefer="low")
    spec |= {"datasets": spec["datasets"] | {"f": drawn}, "system_messages": {"messages": {7: "Think."}}}
    made = collect(tmp_path, spec)
    assert {row.query for row in made.responses("f")} < {row.query for row in made.responses("e")}
    assert {row.system for row in made.responses("f")} == {"Think."}


def test_each_draw_of_the_data_has_ratings_of_its_own(tmp_path: Path) -> None:
    made = collect(tmp_path, solved(prefer="low") | {"replicates": {"data": 2}})
    assert {"rate/d/pass_rate", "rate/d/pass_rate~1"} <= made.addresses.keys()
    assert made.addresses["rate/d/pass_rate"] != made.addresses["rate/d/pass_rate~1"]


def test_a_cut_answer_is_wrong_and_a_failed_one_has_no_rating() -> None:
    row = {"id": "i", "source": "s", "task": "t", "query": "q", "system_id": 1, "system": "", "teacher": "m"}
    answer = rows.Response(**row, reference="8", response="The answer is 8.", finish_reason="stop", output_tokens=5)
    cut = rows.Response(**row, reference="8", response="The answer is 8.", finish_reason="length", output_tokens=5)
    failed = rows.Response(**row, reference="8", response="", finish_reason="", error="server")
    by_rate, by_length = RateRecipe(by="pass_rate", checker="number"), RateRecipe(by="length")
    assert [rate(one, by_rate) for one in (answer, cut, failed)] == [1.0, 0.0, "server"]
    assert [rate(one, by_length) for one in (answer, cut, failed)] == [5.0, "cut", "server"]


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ({"between": [0.1, 0.9]}, "`between` compares values of questions"),
        ({"by": "length"}, "`by` needs `between`"),
        ({"by": "pass_rate", "between": [0.9, 0.1]}, "no value is between 0.9 and 0.1"),
        ({"by": "pass_rate", "between": [10, 90]}, "values by `pass_rate` are from 0 to 1"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_at_its_place(
    tmp_path: Path, sample: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=rf"spec\.yaml:\d+:\d+: .*{problem}"):
        choose(tmp_path, take=1, **sample)


def test_questions_without_references_have_no_pass_rate(tmp_path: Path) -> None:
    spec = taped(tmp_path, QUESTIONS, ANSWERS)
    sample = {"from": "d", "take": 1, "by": "pass_rate", "prefer": "low"}
    spec["datasets"]["e"] = {"teacher": "t", "sample": sample}
    spec["queries"]["q"]["fields"] = {"query": "q"}
    with pytest.raises(InputError, match="no question of `d` has a reference"):
        plan_spec(tmp_path, spec)
    reference = {"r": {"model": "reference", "endpoint": {"kind": "reference"}}}
    asked = {"d": {"teacher": "r", "queries": ["q"]}, "e": {"teacher": "r", "sample": sample}}
    with pytest.raises(InputError, match="are the references themselves"):
        plan_spec(tmp_path, {"teachers": reference, "datasets": asked})


@pytest.mark.parametrize(
    ("e", "sentence"),
    [
        (
            {},
            "e: its questions are chosen by the pass rate of 8 answers of assistant to each, lowest first; 2 of these "
            "answers are trained on as well, so the values are not independent of what is learnt",
        ),
        ({"teacher": "expert"}, "lowest first; none of these answers is trained on"),
    ],
)
def test_plan_and_report_say_whether_rated_answers_are_trained_on(
    tmp_path: Path, e: dict[str, Any], sentence: str
) -> None:
    spec = solved(prefer="low")
    spec["teachers"] |= {"expert": SOLVER | {"model": "expert", "sampling": {"temperature": 0.7, "seed": 0}}}
    spec["datasets"]["e"] |= e
    made = collect(tmp_path, spec)
    assert [line for line in describe_choices(made.plan) if line.endswith(sentence)]
    results = gather_view(made.plan, made.store, made.plan.experiments["d"], 1).results
    flow = next(flow for flow in results.flows if flow.dataset == "e")
    assert flow.choices[0].endswith(sentence)
    assert flow.choices[0] in " ".join(render_markdown(results).split())
    assert flow.choices[0] in render_html(results)
