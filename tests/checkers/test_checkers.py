"""Tests of orcac/checkers/__init__.py, orcac/checkers/auto.py, orcac/checkers/checker.py,
orcac/checkers/references.py and orcac/checkers/statements.py: all checkers together."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.checkers import CHECKERS, Item, contradicts, final_answer, find_option, judge, reference_fault, same_answer
from orcac.checkers.characters import fold
from orcac.sample.formats import FORMATS
from orcac.sample.recipe import Source
from orcac.spec.units import Measure

auto = CHECKERS["auto"]
LETTERS = ("(A)", "(B)", "(C)", "(D)")


def test_the_language_knows_every_checker() -> None:
    assert set(get_args(Measure)) == set(CHECKERS)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (Item(LETTERS, "(A)"), "option"),
        (Item(reference="18"), "number"),
        (Item(reference="9 * 2 = 18\n#### 18"), "number"),
        (Item(reference="12 apples"), "number"),
        (Item(reference="3 Idiots"), "text"),
        (Item(reference="10 June"), "number"),
        (Item(reference=r"\frac{x}{2}"), "math"),
        (Item(reference="apple berry"), "text"),
        (Item(("", " "), "apple"), "text"),
    ],
)
def test_auto_chooses_by_the_item(item: Item, name: str) -> None:
    if name == "math":
        pytest.importorskip("math_verify")
    assert auto.read("The answer is 18.", item).checker == name


WORDS = (
    "answer is : (A) B) Yes not or ** . = 1,0 1/0 0 1e99 ½ ² １ \\boxed{ } <think> </think> <answer> #### Q: five $ %"
)
PIECES = st.sampled_from([*WORDS.split(" "), " ", "\n", "\\frac{1}{0}", "99:99", "31/31/2020"])
TEXTS = st.text(max_size=40) | st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join)
OPTION = st.sampled_from([*LETTERS, "Yes", "no", "1", "(", " ", "A) x", "valid", "invalid", "not valid", "٢"])
OPTIONS = st.lists(OPTION, max_size=5)


@given(TEXTS, OPTIONS, TEXTS, st.sampled_from([name for name in CHECKERS if name != "math"]))
def test_any_text_has_an_outcome(response: str, options: list[str], reference: str, name: str) -> None:
    """Model output is untrusted: no text may raise, and no value may be equal to nothing, not even to itself."""
    checker, item = CHECKERS[name], Item(tuple(options), reference)
    extraction = checker.read(response, item)
    assert (extraction.outcome == "read") is bool(extraction.value)
    assert 0 <= checker.score(extraction.value, item) <= 1
    assert checker.score("", item) == 0 and not checker.same("", "", item)
    assert not extraction.value or checker.same(extraction.value, extraction.value, item)
    if name == "option":
        assert extraction.value in (*options, "")


@given(TEXTS, OPTIONS, st.sampled_from(["first-capital", "final-answer"]), TEXTS)
def test_version_1_stays_as_it_was(response: str, options: list[str], name: str, reference: str) -> None:
    item = Item(tuple(options), reference)
    value = CHECKERS[name].read(response, item).value
    assert value == final_answer(response, options, name)  # type: ignore[arg-type]
    assert CHECKERS[name].score(value, item) == same_answer(value, reference)
    contradicted = bool(reference and final_answer(response, options)) and not same_answer(
        final_answer(response, options), reference
    )
    is_copy = fold(response).split() == fold(reference).split()
    assert contradicts(response, item, CHECKERS["final-answer"]) is (contradicted and not is_copy)


@given(TEXTS, st.sampled_from([name for name in CHECKERS if name != "math"]))
def test_a_copy_of_the_reference_agrees_under_every_checker(reference: str, name: str) -> None:
    item = Item(reference=reference)
    assert not contradicts(f" {reference}\n", item, CHECKERS[name])
    assert judge(f" {reference}\n", item, CHECKERS[name])[1] == float(bool(reference.split()))


NAMED = ('Sentence A: "Hens can sing."', 'Sentence B: "Hens can swim."')


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("Rome", ("Paris", "Rome"), 1),
        ("rome.", ("Paris", "Rome"), 1),
        ("B", ("Paris", "Rome"), 1),
        ("(b)", ("Paris", "Rome"), 1),
        ("option 2", ("Paris", "Rome"), 1),
        ("2", ("Paris", "Rome"), None),  # `sample` reads the numbers of a whole file
        ("C", ("Paris", "Rome"), None),
        ("2", ("1", "2"), 1),
        ("Sentence B", NAMED, 1),
        ("sentence b.", NAMED, 1),
        ("B", NAMED, 1),
        ('"Hens can swim."', NAMED, 1),
        (NAMED[1], NAMED, 1),
        ("Sentence C", NAMED, None),
        ("Choice 2", ("Choice 2: x", "Choice 1: y"), 0),
        ("A", ("Sentence A: x", "Line B: y"), 0),  # names of two kinds are texts, which are counted
        ("Line B", ("Sentence A: x", "Line B: y"), None),
        ("", ("", "x"), None),
        (" ", ("x", "y"), None),
    ],
)
def test_a_reference_names_an_option_by_text_name_or_label(text: str, options: tuple[str, ...], found: int) -> None:
    assert find_option(text, Item(options)) == found


def test_a_listed_option_is_found_by_its_text() -> None:
    item = Item(("(A)", "(B)"), query="Which?\nOptions:\n(A) the red hat\n(B) the blue hat")
    assert find_option("the blue hat", item) == 1


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (Item(LETTERS, "(B)"), ""),
        (Item(("(A)", "(C)", "(B)"), "(B)"), ""),
        (Item(LETTERS, "Monsters, Inc"), "the reference is not one of the options"),
        (Item(LETTERS, "(E)"), "the reference is not one of the options"),
        (Item(reference=" "), "there is no reference"),
        (Item(reference="So the answer is"), "no answer can be read from the reference"),
        (Item(reference="> ) }"), ""),
        (Item(reference="Q1. What?\nQ2. Which?"), ""),
        (Item(reference="<think>hm"), "no answer can be read from the reference"),
    ],
)
def test_an_item_that_no_answer_could_get_right_is_found(item: Item, fault: str) -> None:
    assert reference_fault(item, auto) == fault


def test_contradictions() -> None:
    assert contradicts("The answer is 5 km.", Item(reference="6"), auto)
    assert not contradicts("The answer is 5 km.", Item(reference="5"), auto)
    assert not contradicts("I do not know.", Item(LETTERS, "(A)"), auto)
    assert not contradicts("It rains.", Item(reference="Two lines\nof prose"), auto)


LONG = """
from orcac.checkers import CHECKERS, Item
items = [Item(("(A)", "(B)", "(C)", "(D)")), Item(reference="18"), Item(reference="Paris")]
items += [Item(reference="two lines\\nof prose")]
units = ["the answer is ", "(A) is wrong, ", "A ", "\\\\boxed{", "<answer>", "\\n", "not ", "1,", "{'answer': '"]
units += ["$", "\uff21\uff09"]
for unit in units:
    text = (unit * (100_000 // len(unit) + 1))[:100_000]
    for item in items:
        CHECKERS["auto"].score(CHECKERS["auto"].read(text, item).value, item)
"""


def test_answers_of_100_000_characters_end() -> None:
    """One pattern that takes quadratic time would take an hour; all together they took 5 s."""
    subprocess.run([sys.executable, "-c", LONG], check=True, timeout=300)


REFERENCES: dict[str, tuple[str, dict[str, str]]] = {  # files -> their format and fields
    "flan/flan/v2/cot_data/*.tsv": ("flan-cot", {}),
    "niv2/**/*.json": ("natural-instructions", {}),
    "bbh/bbh/*.json": ("bbh", {}),
    "agieval/data/v1/*.jsonl": ("agieval", {}),
    "t0_p3/*.jsonl": ("jsonl", {"query": "prompt", "reference": "completion"}),
    "teacher_flask/evaluation_set/flask_evaluation.jsonl": ("jsonl", {"query": "instruction", "reference": "answer"}),
}


@pytest.mark.data
@pytest.mark.parametrize("name", ["auto", "final-answer"])
def test_every_reference_is_right_against_itself(data: Path, name: str) -> None:
    """Every 10th item, and all of BBH, three of whose targets are none of their options."""
    faults, wrong, checker = [], [], CHECKERS[name]
    for files, (format, fields) in REFERENCES.items():
        for path in sorted(data.glob(files)):
            items = list(FORMATS[format](path, path.name, Source(format=format, fields=fields)))
            for found in items if format == "bbh" else items[::10]:
                item = Item(found.options, found.reference, found.query)
                if fault := reference_fault(item, checker):
                    faults.append((found.task, fault))
                elif judge(found.reference, item, checker)[1] < 1 or contradicts(found.reference, item, checker):
                    wrong.append((found.task, found.reference))
    assert wrong == []
    assert faults == [
        ("movie_recommendation", "the reference is not one of the options"),
        ("ruin_names", "the reference is not one of the options"),
        ("ruin_names", "the reference is not one of the options"),
    ]
