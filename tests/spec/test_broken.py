"""Broken specs as data: an edit of a sound spec, what must be said, and what the caret must point at."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.spec.load import load
from orcac.spec.problems import SpecErrors

SOUND = """\
orcac: 1
name: sound
seed: 3
queries:
  q: {format: puzzles, task: navigate, size: [3, 5], take: 2_000}
  f: {format: jsonl, path: data.jsonl, fields: {query: q}}
system_messages:
  messages: {7: "Explain."}
  draw: {q: [7]}
teachers:
  t: {model: expert, endpoint: {kind: solver}}
datasets:
  d: {teacher: t, queries: [q]}
  e: {teacher: t, sample: {from: d, take: 10}}
student:
  size: tiny
  tokenizer: {vocabulary: 400, train_on: [d]}
stages:
  s: {dataset: d, warmup: 3 %, batch: 8 rows}
curriculum: [s]
benchmarks:
  b: {format: puzzles, task: navigate, size: [3, 5], take: 10}
hardware:
  train: {memory: 2 GiB, time: 2 hours, micro_batch: 2}
budget: 10 USD
ablations:
  small: {stages: {s: {epochs: 1}}}
"""

# what is edited, into what, what is said, what the caret stands under
BROKEN = [
    ("seed: 3", "seed: [3", "not YAML", ":"),
    ("seed: 3", "seed: 3\nseed: 4", "the key `seed` stands twice; the first is on line 3", "seed: 4"),
    ("seed: 3", "sead: 3", "unknown key `sead`; did you mean `seed`?", "sead"),
    ("teacher: t, queries", "teachr: t, queries", "unknown key `teachr`; did you mean `teacher`?", "teachr"),
    ("teacher: t, queries", "queries", "`teacher` is missing here", "{queries"),
    ("task: navigate, size: [3, 5], take: 2_000", "task: navigate, sise: [3, 5], take: 1", "`size`?", "sise"),
    ("seed: 3", "seed: three", "a number is wanted here, not `three`", "three"),
    ("seed: 3", "seed: true", "a number is wanted here, not `true`", "true"),
    ("seed: 3", "seed: -1", "greater than or equal to 0", "-1"),
    ("take: 2_000", "take: 0", "greater than or equal to 1", "0"),
    ("task: navigate, size: [3, 5], take: 2_000", "task: chess, size: [1, 2], take: 1", "navigate", "chess"),
    ("format: puzzles, task: navigate, size: [3, 5], take: 2", "format: pusles, take: 2", "puzzles", "pusles"),
    ("format: jsonl, ", "", "`format` is missing here", "{path"),
    ("kind: solver", "kind: oracle", "openai", "oracle"),
    ("size: [3, 5], take: 2_000", "size: [5, 3], take: 2_000", "give the smaller one first", "[5, 3]"),
    ("teacher: t, queries", "teacher: gpt5, queries", "teacher `gpt5` is not defined; defined: t", "gpt5"),
    ("queries: [q]", "queries: [q, qq]", "query source `qq` is not defined; did you mean `q`?", "qq"),
    ("queries: [q]", "queries: []", "needs either `queries` or `sample`", "{teacher"),
    ("from: d", "from: e", "drawn from itself: e -> e", "e, take"),
    ("from: d, take: 10", "from: d, take: 3_000", "`d` has 2,000 prompts at most", "3_000"),
    ("curriculum: [s]", "curriculum: s", "this should be a list", "s"),
    ("from: d", "from: x", "dataset `x` is not defined", "x, take"),
    ("draw: {q: [7]}", "draw: {q: [8]}", "system message 8 is not defined; defined: 1, 7", "[8]"),
    ("draw: {q: [7]}", "draw: {z: [7]}", "query source `z` is not defined", "[7]"),
    ("curriculum: [s]", "curriculum: []", "at least 1 item", "[]"),
    ("curriculum: [s]", "curriculum: [s, last]", "stage `last` is not defined", "last"),
    ("dataset: d,", "dataset: dd,", "dataset `dd` is not defined; did you mean `d`?", "dd"),
    ("3 %", "3 percent", "`3 percent` is not a share, such as `3 %` or 0.03", "3 percent"),
    ("3 %", "300 %", "less than or equal to 1", "300 %"),
    ("8 rows", "9 rows", "9 rows are not divisible by hardware.train.micro_batch (2 rows)", "9 rows"),
    ("8 rows", "8 tokens", "a number of rows, such as `160 rows`", "8 tokens"),
    ("2 GiB", "2 GB", "a size, such as `8 GiB`", "2 GB"),
    ("2 hours", "soon", "a duration, such as `2 hours`", "soon"),
    ("10 USD", "10 EUR", "an amount, such as `60_000 USD`", "10 EUR"),
    ("size: tiny", "size: tiny\n  base: somewhere", "exactly one of base, size and shape", "size"),
    ("  size: tiny\n", "", "exactly one of base, size and shape (none given)", "tokenizer"),
    ("model: expert", "model: gpt-4", "it has assistant and expert", "gpt-4"),
    ("path: data.jsonl", "path: nothing.jsonl", "`nothing.jsonl` matches no file", "nothing"),
    ("path: data.jsonl", 'path: "${ORCAC_UNSET}/x"', "ORCAC_UNSET is not set", '"$'),
    ("fields: {query: q}", "fields: {kwery: q}", "'query'", "kwery"),
    ("name: sound", "name: ../sound", "a name is made of letters", "../sound"),
    ("  small:", "  a/b:", "a name is made of letters", "a/b"),
    ("  small:", "  base:", "`base` is the spec itself", "base"),
    ("small: {stages", "small: 3\n  other: {stages", "must be a map that patches the spec", "3"),
    ("{s: {epochs: 1}}", "{s: {epoks: 1}}", "unknown key `epoks`; did you mean `epochs`?", "epoks"),
    ("seed: 3", "seed: !!python/object:os.system 3", "plain data", "!!python"),
    ("seed: 3", "seed: 4294967296", "less than or equal to 4294967295", "4294967296"),
    ("take: 10}", 'take: "10"}', "a number is wanted here, not `10`", '"10"'),
    ("size: [3, 5], take: 2_000", "size: [1, 50], take: 2_000", "navigate has sizes from", "[1, 50]"),
    ("benchmarks:\n  b:", "filters: {contamination: {}}\nx:\n  b:", "unknown key `x`", "x"),
    ("kind: solver}", "kind: openai}", "a budget caps nothing without prices; teacher `t`", "10 USD"),
    ("path: data.jsonl", "path: ''", "is a folder; name the files in it", "''"),
    ("path: data.jsonl", "path: '**foo'", "is not a path or glob", "'**foo'"),
    ("name: sound", 'name: sound\nabout: "\\ud800"', "half a character", '"'),
    ("  q: {format", "  <<: {}\n  q: {format", "merge keys (`<<`) are not supported", "<<"),
    ("size: tiny", "shape: {hidden: 6, heads: 2, layers: 1, intermediate: 8}", "rotated in pairs", "2"),
    ("orcac: 1", "orcac: true", "a number is wanted here", "true"),
    ("orcac: 1", "orcac: 2", "this should be 1", "2"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data.jsonl").write_text('{"q": "1 + 1?"}\n')
    monkeypatch.delenv("ORCAC_UNSET", raising=False)
    return tmp_path


def test_the_sound_spec_is_sound(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SOUND)
    experiment = load(folder / "spec.yaml")
    assert list(experiment.arms) == ["base", "small"]
    assert experiment.base.spec.stages["s"].warmup == 0.03
    assert experiment.base.spec.hardware.train.memory == 2048
    assert experiment.arms["small"].spec.stages["s"].epochs == 1


@pytest.mark.parametrize(("old", "new", "said", "under"), BROKEN, ids=[edit[1][:30] for edit in BROKEN])
def test_broken(folder: Path, old: str, new: str, said: str, under: str) -> None:
    assert old in SOUND
    path = folder / "spec.yaml"
    path.write_text(SOUND.replace(old, new, 1))
    with pytest.raises(SpecErrors) as caught:
        load(path)
    assert caught.value.exit_code == 2
    matching = [problem for problem in caught.value.problems if said in problem.message]
    assert matching, str(caught.value)
    mark = matching[0].mark
    assert mark.path == str(path)
    assert mark.source[mark.column - 1 :].startswith(under), str(caught.value)


def test_a_folded_text_is_read_as_yaml_says(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SOUND.replace('{7: "Explain."}', "\n    7: >-\n      Think\n      step by step."))
    assert load(folder / "spec.yaml").base.messages[7] == "Think step by step."


def test_every_problem_at_once_and_each_once(folder: Path) -> None:
    broken = SOUND.replace("seed: 3", "sead: 3").replace("3 %", "x").replace("kind: solver", "kind: y")
    (folder / "spec.yaml").write_text(broken)
    with pytest.raises(SpecErrors) as caught:
        load(folder / "spec.yaml")
    assert [problem.mark.line for problem in caught.value.problems] == [3, 11, 19]  # the arm shares them all


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "a spec is a map"),
        ("", "a spec is a map"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
        ), "unfolds into too much"),
        ("x: " + "y" * (5 * 2**20), "larger than 4 MiB"),
        ("\x00", "not YAML"),
        ("[" * 10_000, "not YAML"),
    ],
    ids=["list", "empty", "bomb", "huge", "binary", "deep"],
)  # fmt: skip
def test_hostile_files(folder: Path, text: str, said: str) -> None:
    (folder / "spec.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load(folder / "spec.yaml")


def test_contamination_needs_something_to_check_against(folder: Path) -> None:
    lines = [line for line in SOUND.splitlines() if not line.startswith(("benchmarks:", "  b:"))]
    (folder / "spec.yaml").write_text("\n".join([*lines, "filters:", "  contamination: {ngram: 13}"]) + "\n")
    with pytest.raises(SpecErrors, match="no benchmark to check against"):
        load(folder / "spec.yaml")
