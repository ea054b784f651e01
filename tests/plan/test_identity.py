"""Tests of orcac/plan/node.py and of the ids in orcac/plan/lower.py: each field of the spec language changes the ids of
exactly the nodes that it affects.

The tests walk the schema, so that a new field fails until it has a line in one of the two tables.
"""

from __future__ import annotations

import json
import random
import shutil
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from ruamel.yaml import YAML

from orcac.plan.lower import lower
from orcac.plan.node import canonical
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.spec.schema import Spec, Stage
from orcac.spec.units import BatchSize

# stages one to four learn from pool, few, taped and own; the tokenizer is trained on own
BIG = """\
orcac: 1
name: big
seed: 3
queries:
  maze: {format: puzzles, task: navigate, size: [3, 5], take: 100}
  table: {format: jsonl, path: data/table.jsonl, fields: {query: q}}
  cot: {format: flan-cot, path: data/cot.tsv}
system_messages:
  library: library.yaml
  messages: {20: "Explain."}
  draw: {maze: [7, 20], table: {always: [1, 7], multiple_choice: [8]}}
teachers:
  s: {model: expert, endpoint: {kind: solver}}
  g: {model: gpt-4, endpoint: {kind: openai}, price: {input: 30, output: 60}}
  t:
    model: recorded
    endpoint:
      {kind: replay, path: data/tape.jsonl, fields: {id: i, answer: a}, questions: data/table.jsonl,
       question_fields: {id: i, question: q}}
  l: {model: labels, endpoint: {kind: reference}}
datasets:
  pool: {teacher: s, queries: [maze, table]}
  few: {teacher: g, sample: {from: pool, take: 10}, draw: {table: {always: [7], multiple_choice: [8]}}}
  taped: {teacher: t, queries: [table]}
  own: {teacher: l, queries: [cot]}
filters: {contamination: {ngram: 13}}
student: {size: tiny, tokenizer: {vocabulary: 400, train_on: [own]}}
stages: {one: {dataset: pool}, two: {dataset: few}, three: {dataset: taped}, four: {dataset: own}}
curriculum: [one, two, three, four]
benchmarks:
  held: {format: puzzles, task: navigate, size: [3, 5], take: 10, system: 7}
  rows: {format: jsonl, path: data/table.jsonl, fields: {query: q, reference: i}}
  bbh: {format: bbh, path: data/bbh.json}
  truth: {format: truthfulqa, path: data/bbh.json}
  open: {format: open-ended, path: data/table.jsonl, fields: {query: q}, judge: g, against: [s]}
baselines: [g]
hardware: {train: {gpus: 1}}
"""
FILES = {
    "library.yaml": "messages: {7: {text: Think.}, 8: {text: Why not the others?}}\n",
    "other.yaml": "messages: {7: {text: Think twice.}, 8: {text: Why not the others?}}\n",
    "data/table.jsonl": '{"i": 1, "q": "1 + 1?", "a": "2", "r": "2", "p": "1 + 1", "o": ["1", "2"], "t": "sums"}\n',
    "data/other.jsonl": '{"i": 1, "q": "2 + 2?", "a": "4", "r": "4", "p": "2 + 2", "o": ["3", "4"], "t": "sums"}\n',
    "data/cot.tsv": "1 + 1?\t2\t2\n",
    "data/other.tsv": "2 + 2?\t4\t4\n",
    "data/tape.jsonl": '{"i": 1, "a": "2", "b": "two"}\n',
    "data/other-tape.jsonl": '{"i": 1, "a": "two", "b": "2"}\n',
    "data/bbh.json": "{}",
    "data/judge.yaml": 'reads: first-line\nprompt: "{question} {answer_1} {answer_2} 8 9?"\n',
    "data/other.json": "{} ",
    "data/steps.txt": "Q: 1 + 1?\nA: One and one. 2",
    "model/config.json": "{}",
    "other-model/config.json": "{} ",
}
WHOLE = YAML(typ="safe", pure=True).load(BIG)

# --- which nodes a change affects ------------------------------------------------------------------------------------

STAGES = {"one": "pool", "two": "few", "three": "taped", "four": "own"}
BENCHMARKS = ("held", "rows", "bbh", "truth", "open")
EVALS = {f"{kind}/{name}" for kind in ("eval", "score") for name in BENCHMARKS}
ANSWERED = {f"{what}/g/{name}" for what in ("replies", "baseline") for name in BENCHMARKS}
JUDGED = {"judges": {"p": {"teacher": "g"}}, "benchmarks": {"open": {"judge": "p"}}}
JUDGEMENTS = {"score/open", "baseline/g/open"}


def trained(first: str = "one") -> set[str]:
    """Return a stage, those that are trained upon it, and the evaluations of the last."""
    names = list(STAGES)
    return {f"train/{name}" for name in names[names.index(first) :]} | EVALS


def learnt(*datasets: str) -> set[str]:
    """Return the nodes that are made from the examples of datasets."""
    found = {f"tokenize/{name}" for name in datasets}
    for stage, dataset in STAGES.items():
        found |= trained(stage) if dataset in datasets else set()
    return found | STUDENT if "own" in datasets else found


HALVES = {"stages": {"two": {"dataset": None, "data": {"pool": {"share": 0.5}, "own": {"share": 0.5}}}}}


def mixed(parts: str, way: str = "examples") -> set[str]:
    """Return the nodes that another mixture in place of HALVES changes."""
    return {"tokenize/pool-0.5+own-0.5/examples", f"tokenize/{parts}/{way}"} | trained("two")


REPLICATE = {f"{name}#1" for name in trained() | {"student"}}
REDRAWN = {
    f"{name}~1"
    for name in trained() | {"student", "subset/few", "queries/own/cot"}
    | {f"queries/{name}/{source}" for name in ("pool", "few") for source in ("maze", "table")} | {"queries/taped/table"}
    | {f"{kind}/{name}" for kind in ("collect", "filter", "tokenize") for name in STAGES.values()}
}  # fmt: skip


def answered(*datasets: str) -> set[str]:
    return {f"{kind}/{name}" for kind in ("collect", "filter") for name in datasets} | learnt(*datasets)


STUDENT = {"student"} | {f"tokenize/{name}" for name in STAGES.values()} | trained()
KEPT = {f"filter/{name}" for name in STAGES.values()} | STUDENT
POOLED = {"subset/few"} | answered("pool", "few")
FEW = {"subset/few"} | answered("few")
GRADERS = {"judges": {"j": {"teacher": "g", "form": "scale"}, "k": {"teacher": "g", "form": "scale", "temperature": 1}}}
SELECTED = {"select": {"by": "judged", "judge": "j"}}
BY_VALUE = {"datasets": {"few": {"sample": {"by": "pass_rate", "prefer": "low"}}}}
MAZE = {"queries/pool/maze", "queries/few/maze"} | POOLED
TABLE = {f"queries/{name}/table" for name in ("pool", "few", "taped")} | POOLED | answered("taped")
DRAWN = {"queries/pool/table", "queries/taped/table"} | answered("pool", "taped")  # few has a draw of its own
COT = {"queries/own/cot"} | answered("own")
ADAPTED = {"student": {"adapter": {"kind": "lora"}}}
SHAPED = {"student": {"size": None, "shape": {"hidden": 64, "heads": 4, "layers": 2, "intermediate": 96}}}
LOADED = {"teachers": {"l": {"model": "loaded", "endpoint": {"kind": "local", "path": "model"}}}}
SERVED = {"teachers": {"l": {"model": "served", "endpoint": {"kind": "vllm"}}}}
CLOUDY = {"teachers": {"g": {"endpoint": {"azure": {"api_version": "2024-10-21"}}}}}
BASED = {"student": {"size": None, "tokenizer": None, "base": "model"}}


def items(name: str) -> set[str]:
    """Return the nodes that are made from a benchmark's items: answers, and filters that keep items out of training."""
    return {f"items/{name}"} | (asked(name) if "system" in WHOLE["benchmarks"][name] else replied(name)) | KEPT


def asked(name: str) -> set[str]:
    """Return the nodes that are made from a benchmark's items in a form of their own."""
    return {f"asked/{name}"} | replied(name)


def replied(name: str) -> set[str]:
    if name == "open":
        return {"replies/s/open", "replies/g/open", "eval/open"} | JUDGEMENTS
    return {f"replies/g/{name}", f"baseline/g/{name}", f"eval/{name}", f"score/{name}"}


def files(section: str, name: str, affected: set[str], suffix: str) -> dict[str, tuple[Any, ...]]:
    at = f"{section}.{name}"
    return {
        "path": (f"{at}.path", f"data/other.{suffix}", affected),
        "tasks": (f"{at}.tasks", ["x"], affected),
        "take": (f"{at}.take", 1, affected),
        "per_task": (f"{at}.per_task", 1, affected),
        "sampling": (f"{at}.sampling", "uniform", affected),
    }


def protocol(name: str) -> dict[str, tuple[Any, ...]]:
    at, own = f"benchmarks.{name}", {f"eval/{name}", f"score/{name}"}
    scores = {f"score/{name}", f"baseline/g/{name}"}  # no model is asked again
    drawn = {"benchmarks": {name: {"temperature": 0.7}}}
    worded = {"benchmarks": {name: {"checker": ["auto", "form"], "parser": None, "form_of": "g"}}}
    unread = {"parser": None} if name == "rows" else {}
    ways: dict[str, tuple[Any, ...]] = {
        "form_of": (f"{at}.form_of", "s", {f"replies/s/{name}", *scores}, worded),
        "loss_of": (
            f"{at}.loss_of",
            "s",
            {f"texts/g/{name}", f"texts/s/{name}", f"eval/{name}", f"score/{name}"},
            {"benchmarks": {name: {"method": "loss", "loss_of": "g"} | unread}},
        ),
        "shots": (f"{at}.shots", 3, asked(name)),
        "examples": (f"{at}.examples", "data/steps.txt", asked(name)),
        "instruction": (f"{at}.instruction", "Be brief.", asked(name)),
        "cue": (f"{at}.cue", "So", asked(name)),
        "stop": (f"{at}.stop", ["Q:"], replied(name)),
        "samples": (f"{at}.samples", 2, {f"replies/g/{name}/1", *own, *scores}, drawn),
        "method": (
            f"{at}.method",
            "likelihood",
            {f"choices/{name}"} | replied(name) | ({"asked/held"} & asked(name)),  # no row of a baseline
            {"benchmarks": {name: {"fields": {"options": "o"}}}} if name == "rows" else {},
        ),
        "reasoning": (f"{at}.reasoning", "off", replied(name)),
    }
    return (ways if name != "open" else {}) | {
        "system": (f"{at}.system", 20, asked(name)),
        "temperature": (f"{at}.temperature", 0.5, replied(name)),
        "top_p": (f"{at}.top_p", 0.5, replied(name)),
        "max_tokens": (f"{at}.max_tokens", 99, replied(name)),
        **{key: (f"{at}.{key}", "first-capital", scores) for key in ("checker", "parser") if name != "open"},
    }


def of(part: str, changes: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {f"{part}.{field}": change for field, change in changes.items()}


# field -> (path of the change, new value, addresses of the affected nodes or None for all, and a patch of the spec)
def edited(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with `value` at the dotted path."""
    tree = json.loads(json.dumps(tree))
    *steps, last = path.split(".")
    place = tree
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    return tree


FILTERS: dict[str, tuple[Any, ...]] = {
    "finish_reason": ("finish_reason", ["stop", "length"]),
    "min_characters": ("min_characters", 2),
    "max_characters": ("max_characters", 999),
    "tokens.*.min": ("tokens.reasoning.min", 2),
    "tokens.*.max": ("tokens.both.max", 999),
    "refusals": ("refusals", "drop"),
    "agreement": ("agreement", True),
    "unread": ("unread", "drop", {"agreement": True}),
    "checker": ("checker", "auto", {"agreement": True}),
    "duplicates.of": ("duplicates.of", ["question"]),
    "duplicates.near": ("duplicates.near", 0.8),
    "contamination.ngram": ("contamination.ngram", 12),
    "contamination.answers": ("contamination.answers", True),
    "select.by": ("select.by", "majority", {"select": {"by": "shortest"}}),
    "select.keep": ("select.keep", 2, {"select": {"by": "shortest"}}),
}


def nest(path: str, given: list[Any]) -> list[Any]:
    """Return the further parts of a spec at the dotted path."""
    return [edited({}, path, part) for part in given]


SEMANTIC: dict[str, tuple[Any, ...]] = {
    "seed": ("seed", 4, None),
    "queries.*[puzzles].task": ("queries.maze.task", "web_of_lies", MAZE),
    "queries.*[puzzles].size": ("queries.maze.size", [3, 6], MAZE),
    "queries.*[puzzles].take": ("queries.maze.take", 99, MAZE),
    "queries.*[jsonl].format": ("queries.table.format", "parquet", TABLE),
    "queries.*[jsonl].fields": ("queries.table.fields.reference", "a", TABLE),
    **of("queries.*[jsonl]", files("queries", "table", TABLE, "jsonl")),
    "queries.*[jsonl].show_options": ("queries.table.show_options", "letters", TABLE, {
        "queries": {"table": {"fields": {"options": "o"}}}
    }),
    "queries.*[flan-cot].format": ("queries.cot.format", "natural-instructions", COT),
    **of("queries.*[flan-cot]", files("queries", "cot", COT, "tsv")),
    "system_messages.library": ("system_messages.library", "other.yaml", MAZE | TABLE | asked("held")),
    "system_messages.messages": ("system_messages.messages.20", "Explain all.", MAZE),
    "system_messages.draw.*.always": ("system_messages.draw.table.always", [1, 20], DRAWN),
    "system_messages.draw.*.multiple_choice": ("system_messages.draw.table.multiple_choice", [20], DRAWN),
    "system_messages.draw.*.mix": ("system_messages.draw.table.mix", "alone", DRAWN),
    "teachers.*.model": ("teachers.g.model", "gpt-5", answered("few") | ANSWERED),
    # benchmarks have a sampling of their own
    "teachers.*.sampling.temperature": ("teachers.g.sampling.temperature", 0.7, answered("few")),
    "teachers.*.sampling.top_p": ("teachers.g.sampling.top_p", 0.9, answered("few")),
    "teachers.*.sampling.max_tokens": ("teachers.g.sampling.max_tokens", 99, answered("few")),
    "teachers.*.sampling.stop": ("teachers.g.sampling.stop", ["Q:"], answered("few")),
    "teachers.*.sampling.reasoning": ("teachers.g.sampling.reasoning", "off", answered("few") | {"baseline/g/open"}),
    "teachers.*.sampling.seed": ("teachers.g.sampling.seed", 5, answered("few") | ANSWERED),
    "teachers.*.sampling.extra": ("teachers.g.sampling.extra", {"k": 1}, answered("few") | ANSWERED),
    "teachers.*.system_role": ("teachers.g.system_role", "none", answered("few") | ANSWERED),
    "teachers.*.endpoint[openai].kind": (
        "teachers.g.endpoint", {"kind": "solver"}, answered("few") | ANSWERED, {"teachers": {"g": {"model": "expert"}}},
    ),
    "teachers.*.endpoint[solver].kind": (
        "teachers.s.endpoint", {"kind": "reference"}, answered("pool") | {"replies/s/open", "baseline/g/open"},
    ),
    "teachers.*.endpoint[vllm].kind": ("teachers.l", SERVED["teachers"]["l"], answered("own")),
    "teachers.*.endpoint[local].kind": ("teachers.l", LOADED["teachers"]["l"], answered("own")),
    "teachers.*.endpoint[local].path": ("teachers.l.endpoint.path", "other-model", answered("own"), LOADED),
    "teachers.*.endpoint[reference].kind": (
        "teachers.l", {"model": "expert", "endpoint": {"kind": "solver"}}, answered("own"),
    ),
    "teachers.*.endpoint[replay].kind": (
        "teachers.t", {"model": "recorded", "endpoint": {"kind": "reference"}}, answered("taped"),
    ),
    "teachers.*.endpoint[replay].path": ("teachers.t.endpoint.path", "data/other-tape.jsonl", answered("taped")),
    "teachers.*.endpoint[replay].fields": ("teachers.t.endpoint.fields.answer", "b", answered("taped")),
    "teachers.*.endpoint[replay].questions": ("teachers.t.endpoint.questions", "data/other.jsonl", answered("taped")),
    "teachers.*.endpoint[replay].question_fields": (
        "teachers.t.endpoint.question_fields.question", "p", answered("taped"),
    ),
    "teachers.*.endpoint[replay].samples": ("teachers.t.endpoint.samples", 2, answered("taped")),
    "datasets.*.teacher": ("datasets.taped.teacher", "s", answered("taped")),
    "datasets.*.queries": ("datasets.pool.queries", ["maze"], {"queries/pool/table", "queries/few/table"} | POOLED),
    "datasets.*.sample.from": ("datasets.few.sample.from", "taped", {"queries/few/maze"} | FEW),
    "datasets.*.sample.take": ("datasets.few.sample.take", 9, FEW),
    "datasets.*.sample.by": (
        "datasets.few.sample.by", "length", {"rate/pool/pass_rate", "rate/pool/length"} | FEW, BY_VALUE
    ),
    "datasets.*.sample.by.judge": (
        "datasets.few.sample.by.judge", "k", {"rate/pool/j", "rate/pool/k"} | FEW,
        GRADERS | {"datasets": {"few": {"sample": {"by": {"judge": "j"}, "prefer": "low"}}}},
    ),
    "datasets.*.sample.between": ("datasets.few.sample.between", [0.2, 0.8], FEW, BY_VALUE),
    "datasets.*.sample.prefer": ("datasets.few.sample.prefer", "high", FEW, BY_VALUE),
    "datasets.*.draw.*.always": ("datasets.few.draw.table.always", [1], {"queries/few/table"} | FEW),
    "datasets.*.draw.*.multiple_choice": ("datasets.few.draw.table.multiple_choice", [7], {"queries/few/table"} | FEW),
    "datasets.*.draw.*.mix": ("datasets.few.draw.table.mix", "alone", {"queries/few/table"} | FEW),
    "filters.contamination.before_asking": (
        "filters.contamination.before_asking", True, answered(*STAGES.values()),
    ),
    "datasets.*.filters.contamination.before_asking": (
        "datasets.few.filters.contamination.before_asking", True, answered("few"),
    ),
    "datasets.*.samples": ("datasets.few.samples", 4, answered("few")),
    **{f"filters.{field}": (f"filters.{path}", value, KEPT, *nest("filters", given))
       for field, (path, value, *given) in FILTERS.items()},
    **{f"datasets.*.filters.{field}": (f"datasets.few.filters.{path}", value, {"filter/few"} | learnt("few"),
                                       *nest("datasets.few.filters", given))
       for field, (path, value, *given) in FILTERS.items()},
    "filters.select.judge": (
        "filters.select.judge", "k", {f"rate/{name}/{judge}" for name in STAGES.values() for judge in "jk"} | KEPT,
        GRADERS | {"filters": SELECTED},
    ),
    "datasets.*.filters.select.judge": (
        "datasets.few.filters.select.judge", "k", {"rate/few/j", "rate/few/k", "filter/few"} | learnt("few"),
        GRADERS | {"datasets": {"few": {"filters": SELECTED}}},
    ),
    **{f"filters.student_tokens.*.{field}": (
        f"filters.student_tokens.both.{field}", value, {f"tokenize/{name}" for name in STAGES.values()} | trained(),
    ) for field, value in (("min", 9), ("max", 999))},
    **{f"datasets.*.filters.student_tokens.*.{field}": (
        f"datasets.few.filters.student_tokens.both.{field}", value, learnt("few"),
    ) for field, value in (("min", 9), ("max", 999))},
    **of("datasets.*.transform", {
        field: (f"datasets.few.transform.{field}", value, {"tokenize/few"} | trained("two"))
        for field, value in (("shuffle_steps", 0.5), ("delete_steps", 0.5), ("keep_tokens", 512))
    }),
    "student.base": ("student.base", "other-model", STUDENT, BASED),
    "student.size": ("student.size", "160M", STUDENT),
    "student.shape.hidden": ("student.shape.hidden", 128, STUDENT, SHAPED),
    "student.shape.layers": ("student.shape.layers", 3, STUDENT, SHAPED),
    "student.shape.heads": ("student.shape.heads", 2, STUDENT, SHAPED),
    "student.shape.kv_heads": ("student.shape.kv_heads", 2, STUDENT, SHAPED),
    "student.shape.intermediate": ("student.shape.intermediate", 97, STUDENT, SHAPED),
    "student.shape.init_std": ("student.shape.init_std", 0.03, STUDENT, SHAPED),
    "student.shape.tie_embeddings": ("student.shape.tie_embeddings", True, STUDENT, SHAPED),
    "student.tokenizer.vocabulary": ("student.tokenizer.vocabulary", 401, STUDENT),
    "student.tokenizer.train_on": ("student.tokenizer.train_on", ["own", "taped"], STUDENT),
    "student.template": ("student.template", "own", STUDENT, BASED),
    "student.system_role": ("student.system_role", "none", STUDENT, BASED),
    "student.date": ("student.date", "2024-07-26", STUDENT, BASED),
    "student.adapter.kind": ("student.adapter", {"kind": "lora"}, trained("one")),
    "student.adapter.rank": ("student.adapter.rank", 8, trained("one"), ADAPTED),
    "student.adapter.alpha": ("student.adapter.alpha", 8, trained("one"), ADAPTED),
    "student.adapter.targets": ("student.adapter.targets", ["q_proj"], trained("one"), ADAPTED),
    "student.adapter.dropout": ("student.adapter.dropout", 0.1, trained("one"), ADAPTED),
    "student.adapter.quantize": ("student.adapter.quantize", "nf4", trained("one"), ADAPTED),
    "student.seed": ("student.seed", 4, STUDENT),
    "student.max_length": ("student.max_length", 1024, STUDENT),
    "student.packing": ("student.packing", "shuffle", STUDENT - {"student"}),
    "student.isolation": ("student.isolation", False, trained()),
    "stages.*.dataset": ("stages.four.dataset", "taped", {"tokenize/own"} | trained("four")),
    "stages.*.data.*.share": ("stages.two.data", {"pool": "80 %", "own": 0.2}, mixed("pool-0.8+own-0.2"), HALVES),
    "stages.*.data.*.learn": (
        "stages.two.data.own.learn", ["answer"], mixed("pool-0.5+own-0.5-answers"), HALVES,
    ),
    "stages.*.shares": ("stages.two.shares", "tokens", mixed("pool-0.5+own-0.5", "tokens"), HALVES),
    "stages.*.take": ("stages.two.take", 60, mixed("pool-0.5+own-0.5", "examples-60"), HALVES),
    "stages.*.repeat": ("stages.two.repeat", True, mixed("pool-0.5+own-0.5", "examples-repeat"), HALVES),
    "stages.*.order.by": (
        "stages.two.order", {"by": "length"}, {"tokenize/few", "tokenize/few/by-length"} | trained("two"),
    ),
    "stages.*.order.by.judge": (
        "stages.two.order.by.judge", "k",
        {f"{kind}{judge}" for kind in ("tokenize/few/by-judge-", "rate/few/") for judge in "jk"} | trained("two"),
        GRADERS | {"stages": {"two": {"order": {"by": {"judge": "j"}}}}},
    ),
    "stages.*.order.of": (
        "stages.two.order.of", "pool",
        {"tokenize/few/by-pass_rate", "tokenize/few/by-pass_rate-of-pool", "rate/few/pass_rate", "rate/pool/pass_rate"}
        | trained("two"),
        {"stages": {"two": {"order": {"by": "pass_rate"}}}},
    ),
    "stages.*.order.descending": (
        "stages.two.order.descending", True,
        {"tokenize/few/by-length", "tokenize/few/by-length-descending"} | trained("two"),
        {"stages": {"two": {"order": {"by": "length"}}}},
    ),
    "stages.*.learn": (
        "stages.two.learn", ["answer"], {"tokenize/few", "tokenize/few/answers"} | trained("two"),
    ),
    "stages.*.holdout": (
        "stages.two.holdout", "2 %", {"tokenize/few", "tokenize/few/holdout-0.02"} | trained("two"),
    ),
    "stages.*.epochs": ("stages.two.epochs", 3, trained("two")),
    "stages.*.learning_rate": ("stages.one.learning_rate", 1e-3, trained("one")),
    "stages.*.schedule": ("stages.three.schedule", "cosine", trained("three")),
    "stages.*.warmup": ("stages.four.warmup", "4 %", trained("four")),
    "stages.*.batch": ("stages.two.batch", "32 rows", trained("two")),
    "stages.*.weight_decay": ("stages.two.weight_decay", 0.1, trained("two")),
    "stages.*.max_grad_norm": ("stages.two.max_grad_norm", 0.5, trained("two")),
    "stages.*.keep": ("stages.two.keep", "best", trained("two"), {"stages": {"two": {"holdout": "2 %"}}}),
    "stages.*.optimizer": ("stages.two.optimizer", "carry", trained("two")),
    "curriculum": ("curriculum", ["one", "two", "three"], {"tokenize/own", "train/four"} | EVALS),
    "replicates.training": ("replicates", 2, REPLICATE),
    "replicates.base": ("replicates.base", 2, REPLICATE),
    "replicates.data": ("replicates.data", 2, REDRAWN),
    **{
        f"benchmarks.*[{form}].{field}": (f"benchmarks.{name}.{field}", value, set())  # of the report alone
        for form, name in (
            ("puzzles", "held"), ("jsonl", "rows"), ("flan-cot", "bbh"), ("truthfulqa", "truth"), ("open-ended", "open")
        )
        for field, value in (("primary", False), ("average", "macro"), ("margin", "2pt"))
    },
    "benchmarks.*[puzzles].task": ("benchmarks.held.task", "web_of_lies", items("held")),
    "benchmarks.*[puzzles].size": ("benchmarks.held.size", [3, 6], items("held")),
    "benchmarks.*[puzzles].take": ("benchmarks.held.take", 11, items("held")),
    **of("benchmarks.*[puzzles]", protocol("held")),
    "benchmarks.*[jsonl].format": ("benchmarks.rows.format", "parquet", items("rows")),
    "benchmarks.*[jsonl].fields": ("benchmarks.rows.fields.reference", "r", items("rows")),
    "benchmarks.*[jsonl].show_options": ("benchmarks.rows.show_options", "words", items("rows"), {
        "benchmarks": {"rows": {"fields": {"options": "o"}}}
    }),
    **of("benchmarks.*[jsonl]", files("benchmarks", "rows", items("rows"), "jsonl") | protocol("rows")),
    "benchmarks.*[flan-cot].format": ("benchmarks.bbh.format", "agieval", items("bbh")),
    **of("benchmarks.*[flan-cot]", files("benchmarks", "bbh", items("bbh"), "json") | protocol("bbh")),
    "benchmarks.*[truthfulqa].task": (
        "benchmarks.truth.task", "mc2", {f"{kind}/truth" for kind in ("items", "choices", "eval", "score")} | KEPT,
        {"benchmarks": {"truth": {"method": "likelihood"}}},
    ),
    **of("benchmarks.*[truthfulqa]", files("benchmarks", "truth", items("truth"), "json") | protocol("truth")),
    "benchmarks.*[open-ended].fields": ("benchmarks.open.fields.task", "t", items("open")),
    "benchmarks.*[open-ended].judge": ("benchmarks.open.judge", "s", JUDGEMENTS),
    "benchmarks.*[open-ended].against": (
        "benchmarks.open.against", ["g"], {"replies/s/open"} | JUDGEMENTS,
    ),
    "judges.*.teacher": ("judges.p.teacher", "s", JUDGEMENTS, JUDGED),
    "judges.*.form": ("judges.p.form", "verdict", JUDGEMENTS, JUDGED),
    "judges.*.prompt": ("judges.p.prompt", "data/judge.yaml", JUDGEMENTS, JUDGED),
    "judges.*.per_category": ("judges.p.per_category", {"sums": "data/judge.yaml"}, JUDGEMENTS, JUDGED),
    "judges.*.temperature": ("judges.p.temperature", 0, JUDGEMENTS, JUDGED),
    "judges.*.max_tokens": ("judges.p.max_tokens", 99, JUDGEMENTS, JUDGED),
    **of("benchmarks.*[open-ended]", files("benchmarks", "open", items("open"), "jsonl") | protocol("open")),
    "primary": ("primary", ["late"], set(), {"ablations": {"late": {"seed": 4}}}),  # of the report alone
    "baselines": (
        "baselines", ["g", "s"], {f"{what}/s/{name}" for what in ("replies", "baseline") for name in BENCHMARKS[:4]},
    ),
    "hardware.train.precision": ("hardware.train.precision", "bf16", trained()),
}  # fmt: skip

# field -> (path of the change, new value, and a patch of the spec)
NOT_HASHED: dict[str, tuple[Any, ...]] = {
    "name": ("name", "another"),
    "about": ("about", "another line"),
    "filters.allow_empty": ("filters.allow_empty", ["t"]),
    "datasets.*.filters.allow_empty": ("datasets.few.filters.allow_empty", ["t"]),
    **{f"queries.*[{form}].allow_empty": (f"queries.{name}.allow_empty", ["t"])
       for form, name in (("jsonl", "table"), ("flan-cot", "cot"))},
    **{f"benchmarks.*[{form}].allow_empty": (f"benchmarks.{name}.allow_empty", ["t"])
       for form, name in (("jsonl", "rows"), ("flan-cot", "bbh"), ("truthfulqa", "truth"), ("open-ended", "open"))},
    **{f"queries.*[{form}].max_bad": (f"queries.{name}.max_bad", "9 %")
       for form, name in (("jsonl", "table"), ("flan-cot", "cot"))},
    **{f"benchmarks.*[{form}].max_bad": (f"benchmarks.{name}.max_bad", 0)
       for form, name in (("jsonl", "rows"), ("flan-cot", "bbh"), ("truthfulqa", "truth"), ("open-ended", "open"))},
    **{f"queries.*[{form}].expect.{what}": (f"queries.{name}.expect.{what}", 9)
       for form, name in (("jsonl", "table"), ("flan-cot", "cot")) for what in ("queries", "tokens")},
    **{f"benchmarks.*[{form}].expect.{what}": (f"benchmarks.{name}.expect.{what}", 9)
       for form, name in (("jsonl", "rows"), ("flan-cot", "bbh"), ("truthfulqa", "truth"), ("open-ended", "open"))
       for what in ("queries", "tokens")},
    **{f"queries.*[{form}].license": (f"queries.{name}.license", "MIT")
       for form, name in (("jsonl", "table"), ("flan-cot", "cot"))},
    "teachers.*.license": ("teachers.g.license", "MIT"),
    "queries.*[jsonl].missing": ("queries.table.missing", "later"),
    "queries.*[flan-cot].missing": ("queries.cot.missing", "later"),
    "benchmarks.*[jsonl].missing": ("benchmarks.rows.missing", "later"),
    "benchmarks.*[flan-cot].missing": ("benchmarks.bbh.missing", "skip"),
    "benchmarks.*[truthfulqa].missing": ("benchmarks.truth.missing", "skip"),
    "benchmarks.*[open-ended].missing": ("benchmarks.open.missing", "later"),
    "teachers.*.endpoint[openai].base_url": ("teachers.g.endpoint.base_url", "http://localhost:1/v1"),
    "teachers.*.endpoint[openai].azure.api_version": ("teachers.g.endpoint.azure.api_version", "2025-01-01", CLOUDY),
    "teachers.*.endpoint[openai].azure.deployment": ("teachers.g.endpoint.azure.deployment", "mine", CLOUDY),
    **{f"teachers.*.endpoint[vllm].{name}": (f"teachers.l.endpoint.{name}", value, SERVED)
       for name, value in (("path", "/model"), ("arguments", ["--max-model-len", "9"]), ("gpus", 2), ("attempts", 9),
                           ("ready_within", 9), ("concurrency", 9), ("timeout", 9))},
    "teachers.*.endpoint[local].batch": ("teachers.l.endpoint.batch", 9, LOADED),
    "teachers.*.endpoint[local].gpus": ("teachers.l.endpoint.gpus", 1, LOADED),
    "teachers.*.endpoint[openai].api_key_env": ("teachers.g.endpoint.api_key_env", "KEY"),
    "teachers.*.endpoint[openai].headers": ("teachers.g.endpoint.headers", {"X-A": "TOKEN"}),
    "teachers.*.endpoint[openai].mode": ("teachers.g.endpoint.mode", "batch"),
    "teachers.*.endpoint[openai].requests_per_minute": ("teachers.g.endpoint.requests_per_minute", 9),
    "teachers.*.endpoint[openai].tokens_per_minute": ("teachers.g.endpoint.tokens_per_minute", 9),
    "teachers.*.endpoint[openai].ready_within": ("teachers.g.endpoint.ready_within", 9),
    "teachers.*.endpoint[openai].concurrency": ("teachers.g.endpoint.concurrency", 9),
    "teachers.*.endpoint[openai].timeout": ("teachers.g.endpoint.timeout", 9),
    "teachers.*.endpoint[openai].attempts": ("teachers.g.endpoint.attempts", 9),
    "teachers.*.endpoint[solver].concurrency": ("teachers.s.endpoint.concurrency", 9),
    "teachers.*.endpoint[solver].timeout": ("teachers.s.endpoint.timeout", 9),
    "teachers.*.endpoint[solver].attempts": ("teachers.s.endpoint.attempts", 9),
    "teachers.*.endpoint[replay].max_bad": ("teachers.t.endpoint.max_bad", "9 %"),
    "teachers.*.price.input": ("teachers.g.price.input", 9),
    "teachers.*.price.output": ("teachers.g.price.output", 9),
    "teachers.*.price.batch": ("teachers.g.price.batch", "9 %"),
    "teachers.*.expect": ("teachers.g.expect", 9),
    "datasets.*.shards": ("datasets.few.shards", 9),
    "student.like": ("student.like", "7B", BASED),
    "hardware.train.threads": ("hardware.train.threads", 9),
    "hardware.train.memory": ("hardware.train.memory", "9 GiB"),
    "hardware.train.time": ("hardware.train.time", "9 days"),
    "hardware.train.constraint": ("hardware.train.constraint", "a100&ib"),
    "hardware.train.nodes": ("hardware.train.nodes", 2),
    "hardware.train.gpus": ("hardware.train.gpus", 4),
    "hardware.train.gpu": ("hardware.train.gpu", "h100-80gb"),
    "hardware.train.processes": ("hardware.train.processes", 4, {"hardware": {"train": {"gpus": 0}}}),
    "hardware.train.zero": ("hardware.train.zero", 3, {"hardware": {"train": {"gpus": 2}}}),
    "hardware.train.offload": ("hardware.train.offload", True, {"hardware": {"train": {"gpus": 2, "zero": 2}}}),
    "hardware.train.recompute": ("hardware.train.recompute", True),
    "hardware.train.compile": ("hardware.train.compile", True),
    "hardware.train.micro_batch": ("hardware.train.micro_batch", "2 rows"),
    "hardware.train.mfu": ("hardware.train.mfu", "40 %"),
    "hardware.train.price": ("hardware.train.price", 2),
    "hardware.eval.threads": ("hardware.eval.threads", 9),
    "hardware.eval.memory": ("hardware.eval.memory", "9 GiB"),
    "hardware.eval.time": ("hardware.eval.time", "9 days"),
    "hardware.eval.constraint": ("hardware.eval.constraint", "a100&ib"),
    "hardware.eval.gpus": ("hardware.eval.gpus", 1),
    "hardware.eval.gpu": ("hardware.eval.gpu", "h100-80gb"),
    "hardware.eval.shards": ("hardware.eval.shards", 9),
    "hardware.eval.batch": ("hardware.eval.batch", "9 rows"),
    "hardware.eval.engine": ("hardware.eval.engine", "vllm"),
    "hardware.other.threads": ("hardware.other.threads", 9),
    "hardware.other.memory": ("hardware.other.memory", "9 GiB"),
    "hardware.other.time": ("hardware.other.time", "9 days"),
    "hardware.other.constraint": ("hardware.other.constraint", "a100&ib"),
    "budget": ("budget", "9 USD"),
}  # fmt: skip

ELSEWHERE = {
    "orcac": "has one value",
    "extends": "test_a_spec_in_two_files_has_the_ids_of_one",
    "ablations": "make arms: test_equal_nodes_of_arms_and_specs_are_one",
    "sweep": "makes arms, as ablations do",
    "judges.*.recorded": "test_lower.py: test_recorded_reviews_enter_by_their_content_their_parsers_and_their_order",
    "stages.*.tokens.same_as": "test_ablations.py: test_a_stage_is_as_long_as_that_of_another_arm",
    "stages.*.tokens.stages": "test_same_as.py, as above",
    **dict.fromkeys(
        (f"stages.*.{figure}.{key}" for figure in ("steps", "examples", "dollars") for key in ("same_as", "stages")),
        "test_equal.py",
    ),
    "replicates.arms": "test_lower.py: test_the_base_and_the_arms_may_have_other_numbers_of_replicates",
    "queries.*[puzzles].format": "has one value",
    "benchmarks.*[puzzles].format": "has one value",
    "benchmarks.*[open-ended].format": "has one value",
    "benchmarks.*[truthfulqa].format": "has one value",
}

# --- specs and their ids --------------------------------------------------------------------------------------------


def parts(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [part for argument in typing.get_args(kind) for part in parts(argument)]


def unfold(kind: Any) -> list[Any]:
    """Return the types of a union, without annotations."""
    if typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        return [one for argument in typing.get_args(kind) for one in unfold(argument)]
    return [kind]


def leaves(part: type[BaseModel], path: str = "", above: str = "semantic") -> Iterator[tuple[str, str]]:
    """Yield (field, class) for each field of the language; `*` is any name, `[...]` the format or kind of a part."""
    for name, info in part.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        kind = str(extra["class"]) if above == "semantic" else above
        inner = parts(info.annotation)
        where = path + (info.alias or name) + (".*" if typing.get_origin(info.annotation) is dict and inner else "")
        if not inner or any(typing.get_origin(one) is typing.Literal for one in unfold(info.annotation)):
            yield where, kind
        for one in inner:
            tag = one.model_fields.get("format") or one.model_fields.get("kind")
            form = f"[{typing.get_args(tag.annotation)[0]}]" if tag and len(inner) > 1 else ""
            yield from leaves(one, f"{where}{form}.", kind)


def patched(tree: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    found = dict(tree) if isinstance(tree, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = patched(found.get(key), value)
    return found


class Ids(typing.NamedTuple):
    nodes: dict[str, str]  # address -> KIND/ID, of the base and the baselines
    report: str


def compiled(path: Path) -> Ids:
    plan = Plan()
    lower(plan, load(path))
    (experiment,) = plan.experiments.values()
    nodes = {name: ref for addresses in experiment.addresses.values() for name, ref in addresses.items()}
    return Ids(nodes, experiment.report)


def ids(folder: Path, tree: dict[str, Any]) -> Ids:
    path = folder / "spec.yaml"
    path.write_text(json.dumps(tree))  # JSON is YAML
    return compiled(path)


def lay_out(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "spec.yaml").write_text(BIG)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def before(folder: Path) -> typing.Callable[[dict[str, Any]], Ids]:
    """A function from a patch of the spec to ids, which computes each result once."""
    computed: dict[str, Ids] = {}

    def find(given: dict[str, Any]) -> Ids:
        key = json.dumps(given)
        if key not in computed:
            computed[key] = ids(folder, patched(WHOLE, given))
        return computed[key]

    return find


Before = typing.Callable[[dict[str, Any]], Ids]

# --- the tests ------------------------------------------------------------------------------------------------------


def test_every_field_has_a_line_in_the_table_of_its_class() -> None:
    classes = dict(leaves(Spec))
    assert classes.keys() == SEMANTIC.keys() | NOT_HASHED.keys() | ELSEWHERE.keys()
    assert {name for name, kind in classes.items() if kind == "semantic"} - ELSEWHERE.keys() == SEMANTIC.keys()


@pytest.mark.parametrize("field", NOT_HASHED)
def test_an_execution_or_label_field_changes_no_id(folder: Path, before: Before, field: str) -> None:
    path, value, *given = NOT_HASHED[field]
    spec = patched(WHOLE, given[0] if given else {})
    assert edited(spec, path, value) != spec
    assert ids(folder, edited(spec, path, value)) == before(given[0] if given else {})


@pytest.mark.parametrize("field", SEMANTIC)
def test_a_semantic_field_changes_only_the_ids_that_it_affects(folder: Path, before: Before, field: str) -> None:
    path, value, affected, *given = SEMANTIC[field]
    old = before(given[0] if given else {})
    new = ids(folder, edited(patched(WHOLE, given[0] if given else {}), path, value))
    differing = {name for name in old.nodes | new.nodes if old.nodes.get(name) != new.nodes.get(name)}
    assert differing == (old.nodes.keys() if affected is None else affected)
    assert old.report != new.report


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.sampled_from(sorted(NOT_HASHED)), min_size=2, max_size=12, unique=True), rng=st.randoms())
def test_many_such_fields_and_another_order_of_keys_change_no_id(
    folder: Path, before: Before, chosen: list[str], rng: random.Random
) -> None:
    spec = WHOLE
    for field in chosen:
        path, value, *given = NOT_HASHED[field]
        spec = spec if given else edited(spec, path, value)
    assert ids(folder, shuffled(spec, rng)) == before({})


def shuffled(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    rng.shuffle(keys)
    return {key: shuffled(value[key], rng) for key in keys}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False))
def test_comments_and_white_space_change_no_id(folder: Path, before: Before, rng: random.Random) -> None:
    lines = []
    for line in BIG.splitlines():
        lines += rng.choice([[], [""], ["# a remark"], ["      # another"]])
        lines.append(line.replace(", ", rng.choice([", ", " ,  "])) + rng.choice(["", "  ", "   # so"]))
    (folder / "spec.yaml").write_text(rng.choice(["\n", "\r\n"]).join(lines) + "\n")
    assert compiled(folder / "spec.yaml") == before({})


def explicit(value: Any) -> Any:
    """Return a part with every default written out."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        written = {info.alias or name: explicit(getattr(value, name)) for name, info in fields}
        return {key: item for key, item in written.items() if item is not None}
    if isinstance(value, dict):
        return {str(key): explicit(item) for key, item in value.items()}
    return str(value) if isinstance(value, BatchSize) else list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("given", [{}, BASED, SHAPED], ids=["size", "base", "shape"])
def test_defaults_written_out_change_no_id(folder: Path, before: Before, given: dict[str, Any]) -> None:
    old = before(given)
    (folder / "spec.yaml").write_text(json.dumps(patched(WHOLE, given)))
    spec = explicit(load(folder / "spec.yaml").base.spec)
    assert spec["stages"]["one"]["epochs"] == 4 and spec["hardware"]["eval"]["threads"] == 1
    assert ids(folder, spec) == old


def test_a_batch_size_in_tokens_equals_one_in_rows(folder: Path, before: Before) -> None:
    same = edited(WHOLE, "stages.two.batch", f"{160 * 2048} tokens")
    assert ids(folder, same) == before({"stages": {"two": {"batch": "160 rows"}}})
    longer = edited(same, "student.max_length", 4096)
    assert ids(folder, longer) == before({"stages": {"two": {"batch": "80 rows"}}, "student": {"max_length": 4096}})


def test_the_paths_of_files_change_no_id(
    folder: Path, before: Before, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = lay_out(tmp_path / "another" / "checkout")
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    assert compiled(there / "spec.yaml") == before({})
    monkeypatch.chdir(there)
    assert compiled(Path("spec.yaml")) == before({})
    text = BIG.replace("path: data/", f"path: {there}/data/").replace(
        "questions: data/table.jsonl", 'questions: "${HERE}/data/table.jsonl"'
    )
    (there / "elsewhere.yaml").write_text(text)
    monkeypatch.setenv("HERE", str(there))
    assert compiled(there / "elsewhere.yaml") == before({})
    shutil.move(there / "data", there / "moved")
    (there / "spec.yaml").write_text(BIG.replace(": data/", ": moved/"))
    assert compiled(there / "spec.yaml") == before({})


def test_a_spec_in_two_files_has_the_ids_of_one(folder: Path, before: Before) -> None:
    under = {key: value for key, value in WHOLE.items() if key not in ("stages", "seed")} | {"seed": 99}
    (folder / "under.yaml").write_text(json.dumps(under))
    over = {"extends": "under.yaml", "stages": WHOLE["stages"], "seed": WHOLE["seed"]}
    assert ids(folder, over) == before({})


@pytest.mark.parametrize("percent", [1, 3, 7, 14, 29, 57, 99])
def test_a_percentage_is_exactly_the_number_that_is_written(percent: int) -> None:
    """7 % and 0.07 must have the same id, so they must be the same number to the last digit."""
    assert Stage.model_validate({"dataset": "d", "warmup": f"{percent} %"}).warmup == float(f"0.{percent:02}")


def test_the_order_of_files_does_not_depend_on_their_folders(tmp_path: Path) -> None:
    found = set()
    for folders in (("a", "b"), ("d", "c")):
        for folder, name in zip(folders, ("x", "y"), strict=True):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / f"{name}.jsonl").write_text(json.dumps({"q": name}))
        lay_out(tmp_path)
        paths = [f"{folder}/*.jsonl" for folder in folders]
        found.add(ids(tmp_path, edited(WHOLE, "queries.table.path", paths)).nodes["queries/pool/table"])
    assert len(found) == 1


def test_another_seed_or_section_makes_other_puzzles(folder: Path) -> None:
    def seeds(seed: int) -> set[int]:
        (folder / "spec.yaml").write_text(json.dumps(WHOLE | {"seed": seed}))
        plan = Plan()
        lower(plan, load(folder / "spec.yaml"))
        recipes = [node.recipe.model_dump() for node in plan.nodes.values() if node.kind == "sample"]
        return {one["source"]["puzzles"]["seed"] for one in recipes if one["source"] and one["source"]["puzzles"]}

    assert len(seeds(1) | seeds(2)) == 4  # the queries' and the benchmark's, twice


def test_a_value_without_a_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical({"path": Path("x")})
    with pytest.raises(ValueError):
        canonical(float("nan"))


def test_the_names_of_datasets_stages_and_teachers_are_labels(folder: Path, before: Before) -> None:
    """The names of query sources and benchmarks are not labels: each of their rows contains the name."""
    text = json.dumps(WHOLE)
    for old in ("pool", "few", "taped", "own", "one", "two", "three", "four", "s", "g", "t", "l"):
        text = text.replace(f'"{old}"', f'"new-{old}"')
    new = ids(folder, json.loads(text))
    assert sorted(new.nodes.values()) == sorted(before({}).nodes.values())
    assert new.report != before({}).report  # the report shows the names
