"""The share of answers that the checkers read as they are meant, and the verdicts that follow from it.

    ORCAC_DATA=data python benchmarks/parser.py [--cases FILE] [--recorded FOLDER]

Prints one table a part; a part whose data is absent is left out.

cases       the answers of FILE (JSON Lines of response, options, answer), as the checker `auto` reads them
references  the items of the sources in ORCAC_DATA whose own reference does not score 1
pairs       5,000 pairs that are equal or unequal by construction, in 50 forms (tests/checkers/pairs.py)
recorded    GPT-4 and ChatGPT on the same 335 multiple-choice items, answered barely and with explanations: the two
            files thoughtsource_67_openai_chat_*.json of the repository OpenBioLink/ThoughtSource (MIT; commit 760b2c7,
            notebooks/internal_documentation/paper_2). Each answer there was followed by a second request for its letter
            alone; the letter that the model then gave is the column "asked again", the best reading there is
speed       10,000 answers of the recordings in ORCAC_DATA, read and scored again
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/checkers")]

import pairs  # noqa: E402

from orcac.checkers import CHECKERS, Checker, Item, reference_fault  # noqa: E402
from orcac.sample.formats import FORMATS  # noqa: E402
from orcac.stats.intervals import mcnemar  # noqa: E402

AUTO, OLD = CHECKERS["auto"], CHECKERS["final-answer"]
FILES = {  # source of references -> its reader, and its files in ORCAC_DATA
    "FLAN": ("flan-cot", "flan/flan/v2/cot_data/*.tsv"),
    "Natural Instructions": ("natural-instructions", "niv2/**/*.json"),
    "BBH": ("bbh", "bbh/bbh/*.json"),
    "AGIEval": ("agieval", "agieval/data/v1/*.jsonl"),
}
OPTIONS = {  # of the recorded answers to BBH, by the first word of the file's name
    "boolean": ("True", "False"),
    "navigate": ("Yes", "No"),
    "sports": ("yes", "no"),
    "date": tuple(f"({letter})" for letter in "ABCDEF"),
    "penguins": tuple(f"({letter})" for letter in "ABCDE"),
}
PROMPTS = {None: "bare", "kojima-01": "explained (Kojima)", "zhou-01": "explained (Zhou)"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--recorded", type=Path)
    arguments = parser.parse_args()
    data = Path(os.environ["ORCAC_DATA"]) if os.environ.get("ORCAC_DATA") else None
    if arguments.cases:
        show("cases", ("checker", "answers", "as meant", "wrong"), cases(arguments.cases))
    if data:
        show("references", ("source", "items", "not scorable", "why"), references(data))
    show("pairs", ("pairs", "forms", "false equal, %", "false unequal, %"), count_pairs(5000))
    if arguments.recorded:
        show("recorded", Row._fields, recorded(arguments.recorded))
    if data:
        show("speed", ("checker", "answers", "CPU s"), speed(data, 10_000))


def show(title: str, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table."""
    heads = [head.replace("_", " ") for head in heads]
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.2g}' if isinstance(cell, float) else str(cell) for cell in row)} |", flush=True)


def cases(path: Path) -> Iterator[tuple[str, int, int, int]]:
    read = [json.loads(line) for line in path.read_text().splitlines()]
    for checker in (OLD, AUTO):
        meant = wrong = 0
        for case in read:
            item = Item(tuple(case["options"]), reference=case["answer"])
            value = checker.read(case["response"], item).value
            right = value == case["answer"] or checker.score(value, item) == 1
            meant += right
            wrong += bool(value) and not right
        yield checker.name, len(read), meant, wrong


def references(data: Path) -> Iterator[tuple[str, int, int, str]]:
    for source, items in _items(data):
        found = [item for item in items if item.reference.strip()]
        faults = Counter(fault for item in found if (fault := reference_fault(item, AUTO)))
        yield source, len(found), faults.total(), ", ".join(faults)


def _items(data: Path) -> Iterator[tuple[str, Iterator[Item]]]:
    for source, (form, files) in FILES.items():
        paths = sorted(data.glob(files))
        read = itertools.chain.from_iterable(FORMATS[form](path, path.name, None) for path in paths)  # type: ignore[arg-type]
        yield source, (Item(item.options, item.reference, item.query) for item in read)
    t0 = (json.loads(line) for path in sorted(data.glob("t0_p3/*.jsonl")) for line in path.open())
    yield "T0", (Item((), row["completion"].removesuffix("<|endoftext|>").strip(), row["prompt"]) for row in t0)
    flask = map(json.loads, (data / "teacher_flask/evaluation_set/flask_evaluation.jsonl").open())
    yield "FLASK", (Item((), row["answer"] or "", row["instruction"]) for row in flask)


def count_pairs(count: int) -> Iterator[tuple[int, int, str, str]]:
    drawn = list(pairs.generate(seed=0, count=count))
    found = [(pair.equal, AUTO.same(pair.first, pair.second, pair.item)) for pair in drawn]
    shares = (100 * sum(pair == wrong for pair in found) / count for wrong in ((False, True), (True, False)))
    false_equal, false_unequal = (f"{share:.2f}" for share in shares)
    yield count, len({pair.form for pair in drawn}), false_equal, false_unequal


class Row(NamedTuple):
    """One prompt of one model; p is that of the exact McNemar test against its bare answers."""

    model: str
    answers: str
    unread_before: str
    unread_now: str
    right_before: str
    right_now: str
    asked_again: str
    read_otherwise: int  # than asked again, where both name an option
    p_before: float | str
    p_now: float | str
    p_now_where_both_are_read: float | str
    p_asked_again: float | str


class Answered(NamedTuple):
    """One answer: whether it was read and whether it is right, by each way to read it."""

    read_before: bool
    right_before: bool
    read_now: bool
    right_now: bool
    right_asked_again: bool
    read_otherwise: bool


def recorded(folder: Path) -> Iterator[Row]:
    answers: dict[tuple[str, str | None], dict[str, Answered]] = defaultdict(dict)
    for path in sorted(folder.glob("thoughtsource_67_openai_chat_*.json"), reverse=True):
        model = path.name.split("chat_")[1].split("_")[0]
        for source, splits in json.loads(path.read_text()).items():
            for record in itertools.chain.from_iterable(splits.values()) if source != "strategy_qa" else ():
                for answer in record["generated_cot"]:
                    answers[model, answer["cot_trigger"]][record["id"]] = _answered(record, answer)
    for (model, prompt), given in answers.items():
        bare = answers[model, None]
        both = {key: one for key, one in given.items() if one.read_now and bare[key].read_now}

        def p(field: str, of: dict[str, Answered] = given, bare: dict[str, Answered] = bare) -> float:
            pairs = [(getattr(one, field), getattr(bare[key], field)) for key, one in of.items()]
            return mcnemar(pairs.count((True, False)), pairs.count((False, True)))

        tests = (p("right_before"), p("right_now"), p("right_now", both), p("right_asked_again"))
        yield Row(
            model,
            PROMPTS[prompt],
            _share(not one.read_before for one in given.values()),
            _share(not one.read_now for one in given.values()),
            _share(one.right_before for one in given.values()),
            _share(one.right_now for one in given.values()),
            _share(one.right_asked_again for one in given.values()),
            sum(one.read_otherwise for one in given.values()),
            *(tests if prompt else ("",) * 4),
        )


def _answered(record: dict[str, object], answer: dict[str, object]) -> Answered:
    choices = list(map(str, record["choices"]))  # type: ignore[call-overload]
    options = tuple(f"({letter})" for letter in "ABCDEFGHIJ"[: len(choices)])
    listed = "\n".join(f"{option} {choice}" for option, choice in zip(options, choices, strict=True))
    reference = options[choices.index(record["answer"][0])]  # type: ignore[index]
    item = Item(options, reference, f"{record['question']}\n{listed}")
    response, again = str(answer["cot"]), answer["answers"][0]  # type: ignore[index]
    before, now = (checker.read(response, item).value for checker in (OLD, AUTO))
    meant = AUTO.read(str(again["answer"]), item).value
    return Answered(
        bool(before),
        OLD.score(before, item) == 1,
        bool(now),
        AUTO.score(now, item) == 1,
        bool(again["correct_answer"]),
        bool(now and meant) and now != meant,
    )


def _share(flags: Iterable[bool]) -> str:
    listed = list(flags)
    return f"{100 * sum(listed) / len(listed):.1f} %"


def speed(data: Path, count: int) -> Iterator[tuple[str, int, float]]:
    answers = [
        (
            row["prediction"],
            Item(OPTIONS.get(path.name.split("_")[0], ()), row["target"], row["input"].split("\nQ: ")[-1]),
        )
        for path in sorted(data.glob("teacher_codex_bbh/*.json"))
        for row in json.loads(path.read_text())["outputs"]
    ]
    for checker in (OLD, AUTO):
        start = time.process_time()
        for response, item in itertools.islice(itertools.cycle(answers), count):
            _rescore(checker, response, item)
        yield checker.name, count, time.process_time() - start


def _rescore(checker: Checker, response: str, item: Item) -> float:
    return checker.score(checker.read(response, item).value, item)


if __name__ == "__main__":
    main()
