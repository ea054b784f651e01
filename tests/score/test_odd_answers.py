"""Tests of odd answers to every format of benchmarks, from the files to the report, through a server over HTTP.

They cover orcac/sample/run.py, orcac/collect/run.py, orcac/score/run.py and orcac/report/run.py together: each answer
is counted under its outcome, nothing breaks, and nothing but a right answer is scored as right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import FaultServer, Reply

from orcac import rows
from orcac.make import make
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.report.results import read_json
from orcac.spec.load import load
from orcac.store.store import Store

LONG = 100_000  # characters
TOWNS = ["Lagos", "Quito", "Hanoi", "Turin"]
READ = {"right", "wrong", "unparsed"}


class Odd(NamedTuple):
    """A kind of answer, made of the right one and a wrong one."""

    write: Callable[[str, str], str | None]
    outcomes: str  # those that are allowed
    finish_reason: str = "stop"
    status: int = 200
    more: Mapping[str, object] = {}  # further fields of the message


def widen(text: str) -> str:
    """Return the full-width forms of ASCII characters."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


ODD = {
    "plain": Odd(lambda right, wrong: f"The answer is {right}.", "right"),
    "other": Odd(lambda right, wrong: f"The answer is {wrong}.", "wrong"),
    "cut": Odd(lambda right, wrong: f"The answer is {right}. And so", "cut", finish_reason="length"),
    "cut to nothing": Odd(lambda right, wrong: "", "cut", finish_reason="length"),
    "empty": Odd(lambda right, wrong: "", "unparsed failed"),
    "blank": Odd(lambda right, wrong: " \n\u200b\u00a0\n", "unparsed failed"),
    "full width": Odd(lambda right, wrong: widen(f"Answer: {right}"), "right unparsed"),
    "full width, other": Odd(lambda right, wrong: widen(f"Answer: {wrong}"), "wrong unparsed"),
    "right to left": Odd(lambda right, wrong: f"\u202bהתשובה היא \u200f{wrong}\u202c", "wrong unparsed"),
    "overridden": Odd(lambda right, wrong: f"The answer is \u202e{wrong[::-1]}\u202c", "wrong unparsed"),
    "long": Odd(lambda right, wrong: "on and on " * (LONG // 10), "wrong unparsed"),
    "long, then other": Odd(lambda right, wrong: "a b " * (LONG // 4) + f"\nThe answer is {wrong}.", "wrong"),
    "one word": Odd(lambda right, wrong: "((((" * (LONG // 4), "wrong unparsed"),
    "not offered": Odd(lambda right, wrong: "The answer is (Z).", "wrong unparsed"),
    "refused in words": Odd(lambda right, wrong: "I'm sorry, but I can't help with that.", "refused"),
    "refused": Odd(lambda right, wrong: None, "refused", more={"refusal": "I can't help with that."}),
    "filtered": Odd(lambda right, wrong: "", "refused", finish_reason="content_filter"),
    "failed": Odd(lambda right, wrong: None, "failed", status=422),
    "thinking": Odd(lambda right, wrong: f"<think>It is {wrong}. No.</think>\nThe answer is {right}.", "right"),
    "thinking of it": Odd(lambda right, wrong: f"<think>The answer is {right}.</think>\nIt is {wrong}.", "wrong"),
    "never closed": Odd(lambda right, wrong: f"<think>The answer is {right}.", "unparsed cut"),
    "cut in thought": Odd(lambda right, wrong: f"<think>The answer is {right}.", "cut", finish_reason="length"),
    "undecided": Odd(lambda right, wrong: f"The answer is {right}. No, the answer is {wrong}.", "wrong unparsed"),
    "broken": Odd(lambda right, wrong: f"\x00\ud83d\ufffe The answer is {wrong}.", "wrong unparsed"),
}


# --- files: an item for each kind of answer; every fourth has its options out of order -------------------------------


def ask(number: int) -> str:
    return f"Which town is number {number} on the list?"


def order(number: int, options: list[str]) -> list[str]:
    return options[::-1] if number % 4 == 3 else options


def bbh(number: int) -> dict[str, object]:
    letters = ["A", "B", "D", "E"] if number % 5 == 4 else ["A", "B", "C", "D"]  # one is missing
    options = [f"({letter}) {town}" for letter, town in zip(letters, TOWNS, strict=True)]
    lines = "\n".join(order(number, options))
    return {"input": f"{ask(number)}\nOptions:\n{lines}", "target": f"({letters[number % 4]})"}


def agieval(number: int) -> dict[str, object]:
    options = [f"({letter}){town}" for letter, town in zip("ABCD", TOWNS, strict=True)]
    return {"passage": "", "question": ask(number), "options": order(number, options), "label": "ABCD"[number % 4]}


def truthfulqa(number: int) -> dict[str, object]:
    towns = TOWNS[number % 4 :] + TOWNS[: number % 4]
    targets = {f"It is {town}.": int(town == towns[0]) for town in towns}
    return {"question": ask(number), "mc1_targets": targets, "mc2_targets": targets}


def table(number: int) -> dict[str, object]:
    return {"q": ask(number), "options": order(number, TOWNS), "a": TOWNS[number % 4]}


def write_files(folder: Path) -> None:
    count = range(len(ODD))
    (folder / "towns.json").write_text(json.dumps({"canary": "", "examples": [bbh(number) for number in count]}))
    (folder / "agi.jsonl").write_text("".join(json.dumps(agieval(number)) + "\n" for number in count))
    (folder / "mc_task.json").write_text(json.dumps([truthfulqa(number) for number in count]))
    instances = [{"id": str(number), "input": ask(number), "output": [TOWNS[number % 4]]} for number in count]
    (folder / "task1.json").write_text(json.dumps({"Definition": ["Name the town."], "Instances": instances}))
    (folder / "rows.jsonl").write_text("".join(json.dumps(table(number)) + "\n" for number in count))
    pq.write_table(pa.Table.from_pylist([table(number) for number in count]), folder / "rows.parquet")


SPEC = """
orcac: 1
name: odd
teachers:
  model:
    model: m
    endpoint: {kind: openai, base_url: "%s", api_key_env: ODD_KEY, attempts: 1}
benchmarks:
  bbh: {format: bbh, path: towns.json}
  agieval: {format: agieval, path: agi.jsonl}
  truthfulqa: {format: truthfulqa, path: mc_task.json}
  natural-instructions: {format: natural-instructions, path: task1.json}
  rouge: {format: natural-instructions, path: task1.json, checker: rouge-l}
  jsonl: {format: jsonl, path: rows.jsonl, fields: {query: q, options: options, reference: a}}
  parquet: {format: parquet, path: rows.parquet, fields: {query: q, options: options, reference: a}}
  free: {format: jsonl, path: rows.jsonl, fields: {query: q, reference: a}}
  paper: {format: bbh, path: towns.json, checker: first-capital}
baselines: [model]
"""
OTHER_RULES = ("paper", "rouge")  # their checkers read less, or more, than `auto`


def respond(kind: Odd, right: str, wrong: str) -> Reply:
    message = {"role": "assistant", "content": kind.write(right, wrong), **kind.more}
    choice = {"index": 0, "message": message, "finish_reason": kind.finish_reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 11}
    error = {"error": {"message": "no"}}
    return Reply(error if kind.status != 200 else {"choices": [choice], "usage": usage}, status=kind.status)


def choose_wrong(item: rows.Prompt) -> str:
    options = item.options or TOWNS
    return next(option for option in options if option != item.reference)


def test_each_odd_answer_is_counted_and_none_is_wrongly_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_KEY", "k")
    write_files(tmp_path)
    replies: dict[str, Reply] = {}
    with FaultServer(lambda question, before: replies[question]) as server:
        (tmp_path / "spec.yaml").write_text(SPEC % server.base_url)
        plan, store = Plan(), Store(tmp_path / "store")
        lower(plan, load(tmp_path / "spec.yaml"))
        experiment = plan.experiments["odd"]
        kinds: dict[str, str] = {}  # question -> kind
        for ref, node in plan.nodes.items():
            if node.kind == "sample":
                make(plan, store, ref)
                items = list(rows.read(store.folder(ref) / "prompts.parquet", rows.Prompt))
                assert len(items) == len(ODD), node.label
                for kind, item in zip(ODD, items, strict=True):
                    assert kinds.setdefault(item.query, kind) == kind
                    replies[item.query] = respond(ODD[kind], item.reference, choose_wrong(item))
        for ref in plan.closure([experiment.report]):
            make(plan, store, ref)
    scores = {node.label.partition(": ")[2]: ref for ref, node in plan.nodes.items() if node.kind == "score"}
    results = read_json(store.folder(experiment.report) / "results.json")
    for benchmark in results.benchmarks:
        (row,) = benchmark.scores
        scored = rows.read(store.folder(scores[benchmark.name]) / "scores.parquet", rows.Scored)
        found = {kinds[one.query]: one for one in scored}
        assert found.keys() == ODD.keys()
        assert row.n == len(ODD) - 1, "a failed answer is neither right nor wrong"
        assert row.outcomes == {**dict.fromkeys(row.outcomes, 0), **Counter(one.outcome for one in found.values())}
        for kind, one in found.items():
            allowed = set(ODD[kind].outcomes.split())
            if benchmark.name in OTHER_RULES and allowed & READ:
                allowed |= READ - ({"right"} - allowed)
            assert one.outcome in allowed, (benchmark.name, kind, one.parsed[:99])
            if "right" not in allowed and (benchmark.name, kind) != ("rouge", "undecided"):
                assert not one.score, (benchmark.name, kind)
