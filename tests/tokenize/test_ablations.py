"""Tests from YAML to rows of what a spec says about the examples of a stage: orcac/tokenize/transform.py,
orcac/tokenize/mixture.py, orcac/tokenize/order.py, orcac/tokenize/bounds.py, orcac/plan/data.py and
orcac/plan/recipes.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import SPEC, Made

from orcac import rows
from orcac.cli.common import describe_choices
from orcac.errors import InputError
from orcac.model.chat_format import load_tokenizer
from orcac.rate.rating import rate
from orcac.rate.recipe import RateRecipe
from orcac.spec.load import load
from orcac.tokenize.order import sort_examples
from orcac.tokenize.recipe import Order


def stage(**fields: object) -> dict[str, Any]:
    return {"stages": {"s": fields}}


def dataset(name: str, **fields: object) -> dict[str, Any]:
    """Return a patch that trains on a dataset like `d` with further fields."""
    return {"datasets": {name: SPEC["datasets"]["d"] | fields}} | stage(dataset=name)


MIXED = {
    "datasets": {
        "bare": {"teacher": "bare", "queries": ["q"], "draw": {"q": [7]}},
        "same": SPEC["datasets"]["d"],
    }
}
RATED = {
    "queries": {"q": {"size": [2, 9]}},  # the assistant may fail at the larger ones
    "teachers": {
        "tries": {
            "model": "assistant",
            "sampling": {"temperature": 0.7, "seed": 0, "extra": {"error_rate": 0.5}},
            "endpoint": {"kind": "solver"},
        }
    },
    "datasets": {"tried": {"teacher": "tries", "queries": ["q"], "samples": 4}},
}
GRADED = {
    "queries": RATED["queries"],
    "teachers": RATED["teachers"] | {"critic": {"model": "judge", "endpoint": {"kind": "solver"}}},
    "datasets": RATED["datasets"],
    "judges": {"points": {"teacher": "critic", "form": "scale"}},
}
ARMS: dict[str, dict[str, Any]] = {
    "shuffled": dataset("shuffled", transform={"shuffle_steps": 0.5}),
    "fewer": dataset("fewer", transform={"delete_steps": 0.5}),
    "cut": dataset("cut", transform={"keep_tokens": 12}),
    "mixed": MIXED | stage(dataset=None, data={"d": 0.75, "bare": "25 %"}),
    "in-tokens": MIXED | stage(dataset=None, data={"d": 0.5, "bare": 0.5}, shares="tokens", repeat=True),
    "too-short": MIXED | stage(dataset=None, data={"d": 0.5, "bare": 0.5}, shares="tokens", take=2_000),
    "thinking-or-not": MIXED | stage(dataset=None, data={"d": 0.5, "same": {"share": 0.5, "learn": ["answer"]}}),
    "easy-first": stage(order={"by": "length"}),
    "hard-first": stage(order={"by": "length", "descending": True}),
    "by-rate": RATED | stage(order={"by": "pass_rate", "of": "tried"}),
    "by-rate-back": RATED | stage(order={"by": "pass_rate", "of": "tried", "descending": True}),
    "by-points": GRADED | stage(order={"by": {"judge": "points"}, "of": "tried"}),
    "by-own-rate": stage(dataset=None, data={"d": 1}, order={"by": "pass_rate"}),
    "long": dataset("long", filters={"student_tokens": {"reasoning": {"min": 42}}}),
    "short-answers": dataset("short", filters={"student_tokens": {"both": {"max": 49}, "answer": {"max": 1000}}}),
    "mixed-short": MIXED
    | stage(dataset=None, data={"d": 0.75, "bare": "25 %"})
    | {"filters": {"student_tokens": {"answer": {"max": 1000}}}},
    "as-long": stage(data={"d": 1}, dataset=None, take=6, epochs=None, tokens={"same_as": "mixed"}),
    "bare": dataset("bare", teacher="bare", draw={"q": [7]}, transform={"shuffle_steps": 1.0}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"), ablations=ARMS)


def pair(made: Made, name: str, matches: Callable[[str, str], bool]) -> list[tuple[list[str], list[str]]]:
    """Return the steps of each example of `d`, and those that the arm `name` learns. The answers must be the same.

    matches: whether the first of two traces may have become the second
    """
    pairs = []
    learnt = made.learnt(f"tokenize/{name}", name)
    for row in made.kept("d"):
        texts = [text.removeprefix("<think>\n").partition("\n</think>\n\n") for text in learnt]
        (trace,) = {trace for trace, _, answer in texts if answer == row.response and matches(row.reasoning, trace)}
        pairs.append((row.reasoning.split("\n"), trace.split("\n")))
    assert len(pairs) == len(learnt)
    return pairs


@pytest.mark.parametrize("name", ["shuffled", "fewer", "cut"])
def test_a_transform_asks_no_teacher_again(made: Made, name: str) -> None:
    for kind in ("collect", "filter"):
        assert made.ref(f"{kind}/{name}", name) == made.ref(f"{kind}/d")
    assert made.ref(f"tokenize/{name}", name) != made.ref("tokenize/d")


def test_half_of_the_steps_of_each_trace_change_places(made: Made) -> None:
    for steps, changed in pair(made, "shuffled", lambda one, other: sorted(one) == sorted(other)):
        assert sorted(steps) == sorted(changed)
        assert sum(one != other for one, other in zip(steps, changed, strict=True)) == max(round(len(steps) / 2), 2)


def test_half_of_the_steps_of_each_trace_are_left_out(made: Made) -> None:
    for steps, left in pair(made, "fewer", lambda one, other: set(other.split("\n")) <= set(one.split("\n"))):
        assert left == [step for step in steps if step in left]
        assert len(left) == len(steps) - round(len(steps) / 2)


def test_traces_are_cut_to_a_number_of_the_students_tokens(made: Made) -> None:
    tokenizer = load_tokenizer(made.make("student") / "model")
    for steps, left in pair(made, "cut", str.startswith):
        before, after = ("\n".join(part) for part in (steps, left))
        ids = tokenizer.encode(before, add_special_tokens=False)[:12]
        assert len(ids) == 12 and tokenizer.decode(ids).rstrip() == after


def test_an_answer_without_reasoning_keeps_its_last_step(made: Made) -> None:
    before, after = [row.response for row in made.kept("bare", "bare")], made.learnt("tokenize/bare", "bare")
    assert not {*before} & {*after} and all("\n" in text for text in before)
    for split in (lambda text: sorted(text.split("\n")), lambda text: text.rpartition("\n")[2]):
        assert sorted(map(split, before)) == sorted(map(split, after))


def make_mixture(made: Made, arm: str) -> tuple[list[str], dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the learnt texts of the stage of an arm, its counts, and those of its parts by their names."""
    (address,) = [one for one in made.plan.experiments["made"].addresses[arm] if one.startswith("tokenize/")]
    learnt = made.learnt(address, arm)
    counts = json.loads((made.make(address, arm) / "counts.json").read_text())
    return learnt, counts, {part["dataset"]: part for part in counts["parts"]}


def test_a_mixture_in_examples_is_the_largest_without_a_repetition(made: Made) -> None:
    learnt, counts, parts = make_mixture(made, "mixed")
    assert {name: part["examples"] for name, part in parts.items()} == {"d": 12, "bare": 4}
    reasoned = [text for text in learnt if text.startswith("<think>")]
    assert (len(reasoned), len({*reasoned}), len(learnt)) == (12, len({row.reasoning for row in made.kept("d")}), 16)
    assert (counts["packed"], counts["undrawn"], counts["repeated"]) == (16, 8, 0)


def test_a_mixture_in_tokens_repeats_the_shorter_part(made: Made) -> None:
    learnt, counts, parts = make_mixture(made, "in-tokens")
    sizes = {name: part["tokens"] for name, part in parts.items()}
    assert sizes["d"] == pytest.approx(sizes["bare"], rel=0.05) and sum(sizes.values()) == counts["tokens"]
    assert min(part["examples"] for part in parts.values()) == 12 < max(part["examples"] for part in parts.values())
    assert len(learnt) == counts["packed"] == 24 + counts["repeated"]


def test_a_mixture_stops_where_a_part_is_too_short(made: Made) -> None:
    with pytest.raises(InputError, match=r"has [0-9,]+ tokens and its share of the mixture is 1,000") as caught:
        make_mixture(made, "too-short")
    assert "write `take: " in caught.value.fix and "`repeat: true`" in caught.value.fix


def test_half_of_the_examples_think_and_half_do_not(made: Made) -> None:
    learnt, counts, _ = make_mixture(made, "thinking-or-not")
    assert made.ref("filter/same", "thinking-or-not") == made.ref("filter/d")
    answers = sorted(row.response for row in made.kept("d"))
    thought = [text.partition("</think>\n\n")[2] for text in learnt if "<think>" in text]
    assert sorted(thought) == sorted(text for text in learnt if "<think>" not in text) == answers
    assert counts["reasoned"] == 12


@pytest.mark.parametrize(("arm", "address"), [("easy-first", ""), ("hard-first", "-descending")])
def test_rows_go_from_short_to_long_examples_or_back(made: Made, arm: str, address: str) -> None:
    learnt = made.learnt(f"tokenize/d/by-length{address}", arm)
    tokenizer = load_tokenizer(made.make("student") / "model")
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in learnt]
    assert lengths == sorted(lengths, reverse=arm == "hard-first") and len({*lengths}) > 3
    assert sorted(learnt) == sorted(made.learnt("tokenize/d"))
    assert made.plan.nodes[made.ref("train/s", arm)].recipe.order == "rows"


@pytest.mark.parametrize(("arm", "way"), [("by-rate", ""), ("by-rate-back", "-descending")])
def test_rows_go_from_easy_to_hard_questions_or_back(made: Made, arm: str, way: str) -> None:
    learnt = made.learnt(f"tokenize/d/by-pass_rate{way}-of-tried", arm)
    right: dict[str, list[float]] = {}
    for row in rows.read(made.make("collect/tried", arm) / "responses.parquet", rows.Response):
        rating = rate(row, RateRecipe(by="pass_rate", checker="final-answer"))
        assert isinstance(rating, float)
        right.setdefault(row.query, []).append(rating)
    texts = {f"<think>\n{row.reasoning}\n</think>\n\n{row.response}": row.query for row in made.kept("d", arm)}
    rates = [sum(right[texts[text]]) for text in learnt]
    assert rates == sorted(rates, reverse=arm == "by-rate") and len({*rates}) > 2 and len(learnt) == 12
    assert made.plan.nodes[made.ref("train/s", arm)].recipe.order == "rows"


def test_rows_go_from_questions_with_the_best_judged_answers_to_those_with_the_worst(made: Made) -> None:
    learnt = made.learnt("tokenize/d/by-judge-points-of-tried", "by-points")
    points: dict[str, list[float]] = {}
    for review in rows.read(made.make("rate/tried/points", "by-points") / "reviews.parquet", rows.Review):
        assert review.candidate_points is not None
        points.setdefault(review.query, []).append(review.candidate_points)
    texts = {f"<think>\n{row.reasoning}\n</think>\n\n{row.response}": row.query for row in made.kept("d", "by-points")}
    means = [sum(points[texts[text]]) for text in learnt]
    assert means == sorted(means, reverse=True) and len({*means}) > 2 and len(learnt) == 12
    (line,) = (line for line in describe_choices(made.plan) if "critic" in line or "points that judge" in line)
    assert "points that judge gives 4 answers of assistant to each; none of these answers is trained on" in line


def test_a_mixture_is_put_in_order_by_the_answers_of_its_own_parts(made: Made) -> None:
    learnt = made.learnt("tokenize/d-1/examples/by-pass_rate", "by-own-rate")
    assert sorted(learnt) == sorted(made.learnt("tokenize/d")), "all are right, so the order is a random one"
    assert made.plan.nodes[made.ref("tokenize/d-1/examples/by-pass_rate", "by-own-rate")].inputs["rated"] == (
        made.ref("rate/d/pass_rate", "by-own-rate"),
    )
    sentences = [line for line in describe_choices(made.plan) if "examples are in order" in line]
    assert any("of 1 answer of expert to each; this answer is trained on as well" in line for line in sentences)
    assert any("of 4 answers of assistant to each; none of these answers is trained on" in line for line in sentences)


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ({"by": "length", "of": "d"}, "`of` has no effect with `by: length`"),
        ({"by": "pass_rate", "of": "e"}, "rates the answers of dataset"),
        ({"by": "pass_rate", "of": "other"}, "`other` has none of the questions of `d`"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_at_its_place(tmp_path: Path, order: dict, problem: str) -> None:
    puzzles = dict.fromkeys(("q", "p"), SPEC["queries"]["q"])
    sets = SPEC["datasets"] | {"other": {"teacher": "t", "queries": ["p"]}}
    with pytest.raises(InputError, match=rf"spec\.yaml:\d+:\d+: .*{problem}"):
        Made(tmp_path, queries=puzzles, datasets=sets, stages={"s": SPEC["stages"]["s"] | {"order": order}})


def test_examples_without_a_pass_rate_come_last_in_both_directions() -> None:
    rates = np.array([0.5, np.nan, 1.0, 0.0])
    for descending, expected in ((False, [2, 0, 3, 1]), (True, [3, 0, 2, 1])):
        order = Order(by="pass_rate", descending=descending)
        assert sort_examples(order, np.arange(4), learnt=np.zeros(4), values=rates).tolist() == expected


@pytest.mark.parametrize(
    ("arm", "name", "is_within", "reason"),
    [
        ("long", "long", lambda thought, both: thought >= 42, "reasoning too short"),
        ("short-answers", "short", lambda thought, both: both <= 49, "answer and reasoning too long"),
    ],
)
def test_lengths_are_bounded_in_tokens_of_the_student(
    made: Made, arm: str, name: str, is_within: Callable[[int, int], bool], reason: str
) -> None:
    assert made.ref(f"filter/{name}", arm) == made.ref("filter/d"), "the filter does not depend on the student"
    tokenizer = load_tokenizer(made.make("student") / "model")
    expected = []
    for row in made.kept("d"):
        thought, answer = (
            len(tokenizer.encode(text, add_special_tokens=False)) for text in (row.reasoning, row.response)
        )
        if is_within(thought, thought + answer):
            expected.append(f"<think>\n{row.reasoning}\n</think>\n\n{row.response}")
    assert 0 < len(expected) < 12
    assert sorted(made.learnt(f"tokenize/{name}", arm)) == sorted(expected)
    counts = json.loads((made.make(f"tokenize/{name}", arm) / "counts.json").read_text())
    assert counts["outside"] == {reason: 12 - len(expected)}
    assert counts["examples"] == 12 == counts["packed"] + sum(counts["outside"].values())


def test_bounds_change_no_draw_of_a_mixture(made: Made) -> None:
    (address,) = [one for one in made.plan.experiments["made"].addresses["mixed-short"] if one.startswith("tokenize/")]
    assert made.ref(address, "mixed") != made.ref(address, "mixed-short")
    assert sorted(made.learnt(address, "mixed")) == sorted(made.learnt(address, "mixed-short"))


def test_tokens_of_a_student_need_one(tmp_path: Path) -> None:
    spec = {name: part for name, part in SPEC.items() if name not in ("student", "stages")}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec | {"filters": {"student_tokens": {"both": {"max": 9}}}}))
    with pytest.raises(InputError, match=r"spec\.yaml:\d+:\d+: this spec trains no student"):
        load(tmp_path / "spec.yaml")


def test_a_stage_is_as_long_as_that_of_another_arm(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = "tokenize/d-0.75+bare-0.25/examples"
    assert made.plan.nodes[made.ref("train/s", "as-long")].inputs["same_as"] == (made.ref(mixed, "mixed"),)
    tokens = json.loads((made.make(mixed, "mixed") / "counts.json").read_text())["tokens"]
    trained = json.loads((made.make("train/s", "as-long") / "artifact.json").read_text())["summary"]
    assert tokens <= trained["tokens"] < tokens + 512  # it ends with the step of one row that reaches them
    assert f"{tokens:,} tokens" in capsys.readouterr().err
