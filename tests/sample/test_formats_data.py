"""The readers on the recorded data: every row is read, and the oddities of the files are met."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from orcac.sample.formats import BadRow, Item, read_items
from orcac.sample.recipe import Source, TruthfulQA

pytestmark = pytest.mark.data


def read(format: str, *paths: Path, **fields: str) -> list[Item]:
    assert paths
    source = Source(format=format, fields=fields)
    return [item for path in paths for item in take(path, source)]


def take(path: Path, source: Source) -> list[Item]:
    items = [*read_items(path, path.name, source)]
    assert not any(isinstance(item, BadRow) for item in items)
    return [item for item in items if isinstance(item, Item)]


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def test_flan_cot(data):
    items = read("flan-cot", *files(data / "flan/flan/v2/cot_data", "*.tsv"))
    counts = {"aqua": 2728, "creak": 6915, "gsm8k": 7473, "qasc": 1084, "strategyqa": 2061}
    assert Counter(item.task for item in items) == counts
    by_task = {task: [item for item in items if item.task == task] for task in counts}
    assert sum("\u2028" in item.query or "\x85" in item.query for item in by_task["gsm8k"]) == 1
    assert sum(item.query.startswith('"') for item in by_task["creak"]) == 975
    assert sum(item.options == ("yes", "no") for item in by_task["creak"]) == 4931
    assert all(re.fullmatch(r"-?\d+", item.reference) for item in by_task["gsm8k"])
    assert all(item.reference in item.options for item in by_task["aqua"] + by_task["qasc"])
    assert not any("\\n" in item.query for item in items)
    assert not any(item.options for item in by_task["strategyqa"] + by_task["gsm8k"])


def test_natural_instructions(data):
    paths = files(data / "niv2", "*/*.json")
    items = read("natural-instructions", *paths)
    per_task = Counter(item.task for item in items)
    assert len(per_task) == len({path.stem for path in paths}) and set(per_task) == {path.stem for path in paths}
    assert len(items) == 7357 and all(item.reference for item in items)
    assert all(re.match(r"Definition: \S[\s\S]*\n\nInput: \S[\s\S]*\n\nOutput:$", item.query) for item in items)


def test_bbh(data):
    items = read("bbh", *files(data / "bbh/bbh", "*.json"))
    counts = Counter(item.task for item in items)
    assert counts.total() == 6511 and len(counts) == 27
    assert {task: n for task, n in counts.items() if n != 250} == {
        "causal_judgement": 187,
        "penguins_in_a_table": 146,
        "snarks": 178,
    }
    free_form = {item.task for item in items if not item.options}
    assert free_form == {"object_counting", "multistep_arithmetic_two", "dyck_languages", "word_sorting"}
    odd = [item.reference for item in items if item.options and item.reference not in item.options]
    assert odd == ["Monsters, Inc", "dearth, wind, & fire", "rita, sue and bob poo"]
    of = {task: {item.options for item in items if item.task == task} for task in counts}
    assert of["formal_fallacies"] == {("valid", "invalid")}
    assert of["boolean_expressions"] == {("True", "False")}
    assert of["web_of_lies"] == of["navigate"] == of["causal_judgement"] == {("Yes", "No")}
    assert of["sports_understanding"] == {("yes", "no")}
    assert {len(options) for options in of["reasoning_about_colored_objects"]} == {2, 7, 17, 18}
    assert {len(options) for options in of["snarks"]} == {1, 2}
    assert all(options == tuple(f"({c})" for c in "ABCDEFGHIJKLMNOPQR"[: len(options)]) for options in of["ruin_names"])


def test_agieval(data):
    folder = data / "agieval/data/v1"
    items = read("agieval", *files(folder, "*.jsonl"))
    assert Counter(item.task for item in items) == {
        "aqua-rat": 254,
        "logiqa-en": 651,
        "lsat-ar": 230,
        "lsat-lr": 510,
        "lsat-rc": 269,
        "sat-en": 206,
        "sat-en-without-passage": 206,
        "sat-math": 220,
    }
    assert all(item.reference in item.options for item in items)
    logiqa = read("agieval", folder / "logiqa-en.jsonl")
    out_of_order = [row for row, item in enumerate(logiqa) if item.query.index("(C)") < item.query.index("(B)")]
    assert out_of_order == [108, 114, 140, 144, 145, 147, 148, 150, 172, 185, *range(192, 196), *range(197, 202)]
    assert "(B)No.2 valve and No.3 valve." in logiqa[108].query and logiqa[108].reference == "(B)"
    by_place = {2: "(A)No dangshen (B)No Shouwu", 10: "(A)Many Chinese", 15: "(C)Geng is", 544: "(B)Storehouse B.3 (C)"}
    for row, text in by_place.items():
        assert text in logiqa[row].query


def test_t0(data):
    items = read("jsonl", *files(data / "t0_p3", "*.jsonl"), query="prompt", reference="completion")
    assert Counter(Counter(item.task for item in items).values()) == {60: 40}
    assert not any("<|endoftext|>" in item.reference for item in items)


@pytest.mark.parametrize(
    ("path", "fields", "count"),
    [
        ("fastchat/fastchat/llm_judge/data/vicuna_bench/question.jsonl", {"query": "turns.0", "task": "category"}, 80),
        ("wizardlm/WizardLM/data/WizardLM_testset.jsonl", {"query": "Instruction", "task": "Skill"}, 218),
        (
            "teacher_flask/evaluation_set/flask_evaluation.jsonl",
            {"query": "instruction", "reference": "answer", "task": "task"},
            1740,
        ),
        ("teacher_orca_dpo/validation.jsonl", {"query": "input.messages.1.content"}, 284),
        ("teacher_alpaca_gpt4/alpaca-gpt4-first500.jsonl", {"query": "messages.0.content"}, 500),
    ],
)
def test_other_recordings_as_jsonl(data, path, fields, count):
    assert len(read("jsonl", data / path, **fields)) == count


@pytest.mark.parametrize(("task", "sizes"), [("mc1", (2, 13)), ("mc2", (2, 24))])
def test_truthfulqa_in_both_files_and_revisions(data, task, sizes):
    folder = data / "truthfulqa"
    of = {}
    for path in ("data/mc_task.json", "TruthfulQA.csv", "data/v1/mc_task.json", "data/v1/TruthfulQA.csv"):
        form = TruthfulQA(task=task, seed=0)
        source = Source(format="truthfulqa", truthfulqa=form, items="choices" if task == "mc2" else None)
        items = of[path] = take(folder / path, source)
        assert len({item.query for item in items}) == len(items) == (817 if "v1" in path else 790)
        assert (min(len(item.choices) for item in items), max(len(item.choices) for item in items)) == sizes
        assert all(text and text == text.strip() for item in items for text in (item.query, *item.choices))
        first = Counter(item.right[0] for item in items)
        assert 0.2 < first[0] / len(items) < 0.5  # the files always list the right choice first
    assert of["data/mc_task.json"] == of["TruthfulQA.csv"]
