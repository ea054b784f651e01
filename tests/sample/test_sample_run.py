"""Tests of orcac/sample/recipe.py, orcac/sample/run.py, orcac/sample/pool.py, orcac/bad_rows.py and
orcac/sample/references.py: dropped rows, bad rows, and stable draws."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import hub_server
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs import make_job

from orcac import rows
from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.recipe import MATCHING, FileRef, HubRef
from orcac.sample.recipe import Draw, Message, Puzzles, SampleExecution, SampleRecipe, Source, Subset
from orcac.sample.run import run


class Bench:
    """Runs sample nodes in a folder of their own."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def run(
        self, recipe: SampleRecipe, files: dict[str, str] | None = None, *inputs: Path, **execution: Any
    ) -> tuple[dict, Path]:
        self.count += 1
        job = make_job(
            self.root / str(self.count),
            recipe,
            SampleExecution(files=files or {}, **execution),
            inputs={"from": inputs} if inputs else {},
            label=recipe.name,
        )
        return run(job).as_json(), job.out

    def prompts(self, folder: Path) -> list[rows.Prompt]:
        return list(rows.read(folder / "prompts.parquet", rows.Prompt))

    def source(self, queries: dict[str, int], *, name: str = "s", seed: int = 0, **more) -> tuple[dict, Path]:
        """A source of so many queries of each task, one file a task."""
        files, refs = {}, []
        for task, count in queries.items():
            path = self.root / f"{task}.jsonl"
            path.write_text("".join(json.dumps({"q": f"{task} {i}"}) + "\n" for i in range(count)))
            ref = FileRef(name=path.name, sha256=file_digest(path))
            refs.append(ref)
            files[ref.sha256] = str(path)
        draw = more.pop("draw", Draw(always=(Message(id=1, text=""), Message(id=7, text="Think."))))
        source = Source(format="jsonl", files=tuple(refs), fields={"query": "q"}, **more)
        return self.run(SampleRecipe(name=name, seed=seed, source=source, draw=draw), files)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_all_rows_are_kept_in_order_with_their_provenance(bench):
    summary, out = bench.source({"a": 3, "b": 2})
    prompts = bench.prompts(out)
    assert summary == {"read": 5, "kept": 5, "tasks": 2, "characters": 45, "dropped": {}}
    assert [prompt.query for prompt in prompts] == ["a 0", "a 1", "a 2", "b 0", "b 1"]
    for prompt in prompts:
        assert (prompt.source, prompt.task) == ("s", prompt.query[0])
        assert (prompt.system_id, prompt.system) in ((1, ""), (7, "Think."))
        assert prompt.id == rows.prompt_id("s", prompt.task, prompt.query, prompt.system)


def test_every_dropped_row_has_one_reason(bench, tmp_path):
    lines = [{"q": f"{task} {i}", "t": task} for task in "abc" for i in range(10)]
    lines += [{"q": "a 0", "t": "b"}, {"q": "odd", "t": "a", "r": "z", "o": ["x", "y"]}]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    ref = FileRef(name=path.name, sha256=file_digest(path))
    fields = {"query": "q", "task": "t", "reference": "r", "options": "o"}
    source = Source(format="jsonl", files=(ref,), fields=fields, tasks=("a", "b"), per_task=6, take=9)
    summary, _ = bench.run(SampleRecipe(name="s", seed=0, source=source), {ref.sha256: str(path)})
    assert summary == {
        "read": 32,
        "kept": 9,
        "tasks": 2,
        "characters": 27,
        "dropped": {"duplicate": 1, "not drawn": 3, "per_task": 8, "reference is no option": 1, "task filter": 10},
    }


def test_items_that_no_answer_could_satisfy_are_named_and_a_benchmark_of_such_items_is_refused(bench, tmp_path, capsys):
    def run(*lines: dict[str, object], checker: str) -> dict:
        path = tmp_path / f"{len(lines)}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        ref, fields = (
            FileRef(name=path.name, sha256=file_digest(path)),
            {"query": "q", "reference": "r", "options": "o"},
        )
        recipe = SampleRecipe(name="s", seed=0, source=Source(format="jsonl", files=(ref,), fields=fields))
        return bench.run(recipe, {ref.sha256: str(path)}, checker=checker)[0]

    options = [{"q": "Q1?", "r": "x", "o": ["x", "y"]}, {"q": "Q2?", "r": "z", "o": ["x", "y"]}]
    numbers = [{"q": "Q3?", "r": "12", "o": []}, {"q": "Q4?", "r": "good", "o": []}, {"q": "Q5?"}]
    summary = run(*options, *numbers, checker="number")
    assert (summary["kept"], summary["dropped"]) == (4, {"reference is no option": 1})
    err = capsys.readouterr().err
    path = tmp_path / "5.jsonl"
    assert (
        "s  1 queries are dropped, since their reference is not one of their options\n"
        f"    {path}:2: 'Q2?', reference 'z'\n    fix: let each"
    ) in err
    assert (
        "s  1 of 4 items will be left out of the scores: there is no reference\n"
        f"    {path}:5: 'Q5?', reference ''\n    fix: correct these"
    ) in err
    assert err.endswith("\ns  kept 4 of 5; dropped: reference is no option 1\n")
    with pytest.raises(InputError, match="none of its 3 items can be scored: no answer can be read") as caught:
        run(numbers[1], numbers[1] | {"q": "Q6?"}, numbers[2], checker="number")
    assert caught.value.fix
    assert run(*numbers[1:], checker="")["kept"] == 2  # queries of a teacher need no reference


def table(path: Path, *lines: dict[str, object], **fields: str) -> tuple[Source, dict[str, str]]:
    path.write_text("\n".join(map(json.dumps, lines)))
    ref = FileRef(name=path.name, sha256=file_digest(path))
    return Source(format="jsonl", files=(ref,), fields={"query": "q", **fields}), {ref.sha256: str(path)}


def test_nothing_left_of_a_task_or_a_file_is_an_error_unless_the_spec_allows_it(bench, tmp_path):
    good, bad = {"q": "1", "r": "x", "o": ["x", "y"], "t": "a"}, {"q": "2", "r": "z", "o": ["x", "y"], "t": "b"}
    fields = {"task": "t", "reference": "r", "options": "o"}
    first, files = table(tmp_path / "first.jsonl", good, bad, **fields)
    recipe = SampleRecipe(name="s", seed=0, source=first)
    with pytest.raises(InputError, match=r"nothing is left of\n  the task `b`: reference is no option 1\n") as caught:
        bench.run(recipe, files)
    assert "allow_empty" in caught.value.fix
    assert bench.run(recipe, files, allow_empty=("b",))[0]["kept"] == 1
    second, more = table(tmp_path / "second.jsonl", bad | {"t": "a"}, **fields)
    both = first.model_copy(update={"files": (*first.files, *second.files)})
    recipe = SampleRecipe(name="s", seed=0, source=both)
    with pytest.raises(InputError, match=r"nothing is left of\n  the file .*second\.jsonl: reference is no option 1\n"):
        bench.run(recipe, files | more, allow_empty=("b",))
    assert bench.run(recipe, files | more, allow_empty=("b", "second"))[0]["kept"] == 1
    # a task that the spec leaves out and a repeated file lose nothing
    twice = first.model_copy(update={"files": (*first.files, *first.files), "tasks": ("a",)})
    summary, _ = bench.run(SampleRecipe(name="s", seed=0, source=twice), files)
    assert summary["dropped"] == {"duplicate": 1, "task filter": 2}


def test_references_become_the_options_that_they_name(bench, tmp_path, capsys):
    options = ["red", "blue", "green"]
    rows_of = [{"q": str(n), "r": r, "o": options} for n, r in enumerate(["B", "green.", "(A)", "blue", "D", "pink"])]
    source, files = table(tmp_path / "t.jsonl", *rows_of, reference="r", options="o")
    old, _ = bench.run(SampleRecipe(name="s", seed=0, source=source), files)
    assert old["dropped"] == {"reference is no option": 5}  # an artifact of an orcac without the rule
    new, out = bench.run(SampleRecipe(name="s", seed=0, source=source, matching=MATCHING), files)
    assert [prompt.reference for prompt in bench.prompts(out)] == ["blue", "green", "red", "blue"]
    assert new["dropped"] == {"reference is no option": 2}
    assert ":5: '4', reference 'D'" in capsys.readouterr().err


def test_references_that_the_filters_checker_would_misread_are_named(bench, tmp_path, capsys):
    source, files = table(tmp_path / "t.jsonl", {"q": "1", "r": "12"}, {"q": "2", "r": "<think>hm"}, reference="r")
    bench.run(SampleRecipe(name="s", seed=0, source=source), files, agreement="auto")
    err = capsys.readouterr().err
    assert "s  1 of 2 queries have a reference that no answer could agree with: no answer can be read" in err
    assert "t.jsonl:2: '2', reference '<think>hm'" in err


def test_items_with_choices_have_the_right_ones_and_items_without_are_dropped(bench, tmp_path):
    lines = [{"q": "Q1", "r": "y", "o": ["x", "y"]}, {"q": "Q2", "r": "y", "o": []}, {"q": "Q3", "o": ["x"]}]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    ref, fields = FileRef(name=path.name, sha256=file_digest(path)), {"query": "q", "reference": "r", "options": "o"}
    plain = Source(format="jsonl", files=(ref,), fields=fields)
    files = {ref.sha256: str(path)}
    summary, out = bench.run(
        SampleRecipe(name="s", seed=0, source=plain.model_copy(update={"items": "choices"})), files
    )
    assert summary["dropped"] == {"no choices": 1, "no right choice": 1}
    (item,) = rows.read(out / "prompts.parquet", rows.BenchmarkItem)
    assert (item.choices, item.right) == (["x", "y"], [1])
    free_form = plain.model_copy(update={"items": "choices", "fields": {"query": "q"}})
    with pytest.raises(InputError, match="no choices: 3") as caught:
        bench.run(SampleRecipe(name="s", seed=0, source=free_form), files)
    assert "method: generate" in caught.value.fix
    _, out = bench.run(SampleRecipe(name="s", seed=0, source=plain), files)
    items = list(rows.read(out / "prompts.parquet", rows.BenchmarkItem))
    assert item.id == items[0].id and [one.choices for one in items] == [[], [], []]


@pytest.mark.parametrize("sampling", ["by-task", "uniform"])
def test_a_larger_draw_contains_the_smaller_with_the_same_messages(bench, sampling):
    small, large = (
        bench.prompts(bench.source({"a": 40, "b": 5, "c": 80}, take=take, sampling=sampling)[1]) for take in (30, 60)
    )
    assert len(small) == 30 and len(large) == 60
    assert {prompt.id for prompt in small} < {prompt.id for prompt in large}


def test_by_task_evens_out_tasks_and_uniform_does_not(bench):
    def of_task_a(sampling: str) -> int:
        _, out = bench.source({"a": 20, "b": 980}, take=30, sampling=sampling)
        return sum(prompt.task == "a" for prompt in bench.prompts(out))

    assert of_task_a("uniform") < 5 < of_task_a("by-task")


def test_seed_and_name_change_the_draw_and_messages_do_not(bench):
    def queries(**more) -> set[str]:
        return {prompt.query for prompt in bench.prompts(bench.source({"a": 50, "b": 50}, take=20, **more)[1])}

    base = queries()
    assert base == queries() == queries(draw=Draw(always=(Message(id=3, text="Other."),)))
    assert base != queries(seed=1) and base != queries(name="t")


def test_a_subset_is_of_all_inputs_and_leaves_rows_as_they_are(bench):
    first, second = (bench.source({"a": 50, "b": 50}, name=name)[1] for name in ("x", "y"))
    recipe = SampleRecipe(name="sub", seed=0, subset=Subset(take=60))
    summary, out = bench.run(recipe, None, first, second)
    everything, chosen = bench.prompts(first) + bench.prompts(second), bench.prompts(out)
    assert summary == {"read": 200, "kept": 60, "tasks": 2, "characters": 415, "dropped": {"not drawn": 140}}
    assert chosen == [prompt for prompt in everything if prompt in chosen]
    assert 15 < sum(prompt.source == "x" for prompt in chosen) < 45


def test_a_subset_holds_the_same_queries_under_other_messages(bench):
    def queries(text: str) -> list[str]:
        _, whole = bench.source({"a": 40}, draw=Draw(always=(Message(id=2, text=text),)))
        return [
            p.query
            for p in bench.prompts(bench.run(SampleRecipe(name="sub", seed=0, subset=Subset(take=9)), None, whole)[1])
        ]

    assert queries("One.") == queries("Two.")


def test_puzzles_are_distinct_and_repeatable(bench):
    puzzles = Puzzles(task="web_of_lies", size=(3, 5), count=40, seed=5)
    recipe = SampleRecipe(name="p", seed=0, source=Source(format="puzzles", puzzles=puzzles))
    (summary, once), (_, again) = bench.run(recipe), bench.run(recipe)
    assert summary["kept"] == len({prompt.query for prompt in bench.prompts(once)}) == 40
    assert (once / "prompts.parquet").read_bytes() == (again / "prompts.parquet").read_bytes()
    assert all(prompt.reference in prompt.options for prompt in bench.prompts(once))


def test_the_error_for_too_few_distinct_puzzles_gives_their_number(bench):
    puzzles = Puzzles(task="boolean_expressions", size=(2, 2), count=100_000, seed=5)
    recipe = SampleRecipe(name="p", seed=0, source=Source(format="puzzles", puzzles=puzzles))
    with pytest.raises(InputError, match=r"has only [\d,]+ distinct puzzles, fewer than 100,000"):
        bench.run(recipe)


def test_too_large_a_take_and_unknown_tasks_are_errors(bench):
    with pytest.raises(InputError, match=r"s: 4 queries can be drawn \(read: 6; per_task: 2\), but take is 5"):
        bench.source({"a": 4, "b": 2}, per_task=2, take=5)
    with pytest.raises(InputError, match="'tusk'") as error:
        bench.source({"task": 4}, tasks=("tusk",))
    assert "(task)" in error.value.fix
    with pytest.raises(InputError, match="the file is empty"):
        bench.source({"a": 0})


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_source_on_a_hub_gives_the_same_rows_as_local_files(bench, tmp_path, monkeypatch, format):
    folder = tmp_path / "files"
    folder.mkdir()
    refs, files = [], {}
    for task in ("a", "b"):
        table = [{"m": {"q": f"{task} {i}"}, "answer": str(i)} for i in range(20)]
        path = folder / f"{task}.{format}"
        if format == "parquet":
            pq.write_table(pa.Table.from_pylist(table), path)
        else:
            path.write_text("\n".join(map(json.dumps, table)))
        refs.append(FileRef(name=path.name, sha256=file_digest(path)))
        files[refs[-1].sha256] = str(path)
    more = {"format": format, "fields": {"query": "m.q", "reference": "answer"}, "take": 30}
    here, local = bench.run(SampleRecipe(name="s", seed=0, source=Source(files=tuple(refs), **more)), files)
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as server:
        content = {f"data/{path.name}": path.read_bytes() for path in folder.iterdir()}
        commit = server.add("datasets/o/n", content | {"data/README.md": b"# Read me"})
        source = Source(hub=(HubRef(repo="o/n", path="data"),), **more)
        there, remote = bench.run(SampleRecipe(name="s", seed=0, source=source))
        split = (HubRef(repo="o/n", path=f"data/a.{format}"), HubRef(repo="o/n", path=f"data/b.{format}"))
        both, parts = bench.run(SampleRecipe(name="s", seed=0, source=Source(hub=split, **more)))
    assert there == both == here | {"hub": {"o/n@main": commit}}
    texts = [(out / "prompts.parquet").read_bytes() for out in (local, remote, parts)]
    assert texts[0] == texts[1] == texts[2]


def test_two_references_to_a_branch_are_of_one_commit_though_it_moves(bench, tmp_path, monkeypatch):
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as server:
        before = server.add("datasets/o/n", {"a.jsonl": b'{"q": "old a"}\n', "b.jsonl": b'{"q": "old b"}\n'})
        old = server.repos["datasets/o/n"]

        def move(method: str, path: str, asked: int) -> hub_server.Fault:
            if path.endswith("a.jsonl") and method == "GET":
                old.branches["main"] = "f" * 40
                old.branches["pinned"] = before
            return ""

        server.behaviour = move
        refs = (HubRef(repo="o/n", path="a.jsonl"), HubRef(repo="o/n", path="b.jsonl"))
        source = Source(format="jsonl", hub=refs, fields={"query": "q"})
        summary, out = bench.run(SampleRecipe(name="s", seed=0, source=source))
    assert old.branches["main"] != before and summary["hub"] == {"o/n@main": before}
    assert [prompt.query for prompt in bench.prompts(out)] == ["old a", "old b"]


@pytest.mark.data
def test_benchmark_items_that_no_answer_could_match_are_dropped(bench, data):
    files, refs = {}, []
    for path in sorted((data / "bbh/bbh").glob("*.json")):
        refs.append(FileRef(name=path.name, sha256=file_digest(path)))
        files[refs[-1].sha256] = str(path)
    source = Source(format="bbh", files=tuple(refs))
    summary, _ = bench.run(SampleRecipe(name="bbh", seed=0, source=source), files)
    assert summary == {
        "read": 6511,
        "kept": 6504,
        "tasks": 27,
        "characters": 2402531,
        "dropped": {"duplicate": 4, "reference is no option": 3},
    }


def make(
    bench: Bench, lines: list[str], *, name: str = "rows.jsonl", draw: Draw | None = None, **settings
) -> tuple[dict, Path]:
    """Run a sample on a file of these lines. `settings` are those of its source and its execution."""
    path = bench.root / name
    path.write_text("".join(f"{line}\n" for line in lines))
    ref = FileRef(name=name, sha256=file_digest(path))
    how = {key: settings.pop(key) for key in ("max_bad", "one_message") if key in settings}
    source = Source(**{"format": "jsonl", "files": (ref,), "fields": {"query": "q"}} | settings)
    recipe = SampleRecipe(name="s", seed=0, source=source, **({"draw": draw} if draw else {}))
    bench.count += 1
    execution = SampleExecution(files={ref.sha256: str(path)}, **how)
    job = make_job(bench.root / str(bench.count), recipe, execution, label="s")
    return run(job).as_json(), job.out


def test_bad_rows_are_kept_aside_and_counted(bench, capsys):
    lines = [json.dumps({"q": f"Q{number}"}) for number in range(50)]
    summary, out = make(bench, lines)
    assert summary["dropped"] == {} and not (out / "bad.parquet").exists()
    lines[7:7] = ['{"q": "torn', '{"q": ""}']
    summary, out = make(bench, lines)
    assert (summary["read"], summary["kept"], summary["dropped"]) == (52, 50, {"bad row": 2})
    assert pq.read_table(out / "bad.parquet").to_pylist() == [
        {"file": "rows.jsonl", "line": 8, "reason": REASON, "text": '{"q": "torn'},
        {"file": "rows.jsonl", "line": 9, "reason": "no text at 'q'", "text": '{"q": ""}'},
    ]
    assert f"s  2 bad rows are kept aside in bad.parquet\n    rows.jsonl:8: {REASON}\n" in capsys.readouterr().err
    assert [prompt.query for prompt in bench.prompts(out)] == [f"Q{number}" for number in range(50)]


REASON = "not JSON: Unterminated string starting at (column 7)"


@pytest.mark.parametrize(
    ("good", "bad", "max_bad", "is_allowed"),
    [
        (1, 10, None, True),
        (100, 11, None, False),
        (10_989, 11, None, True),
        (10, 1, 0.0, False),
        (80, 20, 0.2, True),
        (79, 21, 0.2, False),
        (0, 1, None, False),
        (0, 3, 1.0, False),
    ],
)
def test_too_many_bad_rows_end_the_sample(bench, good, bad, max_bad, is_allowed):
    lines = [*(json.dumps({"q": f"Q{number}"}) for number in range(good)), *["torn"] * bad]
    if is_allowed:
        assert make(bench, lines, max_bad=max_bad)[0]["dropped"] == {"bad row": bad}
        return
    with pytest.raises(
        InputError, match=rf"{bad} of {good + bad:,} rows are bad[\s\S]*rows.jsonl:{good + 1}: not JSON"
    ):
        make(bench, lines, max_bad=max_bad)


def test_a_source_that_begins_with_bad_rows_alone_is_not_read_to_its_end(bench):
    with pytest.raises(InputError, match="1,000 of 1,000 rows are bad"):
        make(bench, [*["torn"] * 1_500, '{"q": "late"}'], max_bad=1.0)


def test_a_row_may_bring_its_system_message(bench):
    rows = [("Why?", "Be brief."), ("Who?", None), ("Why?", "Be long."), ("Why?", "Be brief.")]
    lines = [json.dumps({"q": query, "s": system}) for query, system in rows]
    summary, out = make(bench, lines, fields={"query": "q", "system": "s"})
    assert [(prompt.system_id, prompt.system) for prompt in bench.prompts(out)] == [
        (0, "Be brief."),
        (0, ""),
        (0, "Be long."),
    ]
    assert summary["dropped"] == {"duplicate": 1}  # one question under two messages is two prompts
    assert len({prompt.id for prompt in bench.prompts(out)}) == 3


def test_conversations_that_bring_a_message_exclude_a_draw(bench, capsys):
    turns = [
        {"role": "system", "content": "Be brief."},
        *({"role": "user", "content": text} for text in ("Why?", "So?")),
    ]
    lines = [json.dumps({"m": turns}), json.dumps({"m": turns[2:]})]
    summary, out = make(bench, lines, fields={"query": "m"})
    assert [(prompt.query, prompt.system_id, prompt.system) for prompt in bench.prompts(out)] == [
        ("Why?", 0, "Be brief."),
        ("So?", 1, ""),
    ]
    assert summary["later_turns"] == 1
    assert "s  turns after the first answer are not used: 1, conversations: 1" in capsys.readouterr().err
    draw = Draw(always=(Message(id=7, text="Think."),))
    with pytest.raises(InputError, match=r"rows\.jsonl has a system message for 'Why\?', and the spec draws another"):
        make(bench, lines, fields={"query": "m"}, draw=draw)
    _, out = make(bench, lines, fields={"query": "m.user"}, draw=draw)
    assert [prompt.system for prompt in bench.prompts(out)] == ["Think.", "Think."]
    with pytest.raises(InputError, match=r"message for 'Why\?', and a benchmark asks under one message") as caught:
        make(bench, lines, fields={"query": "m"}, one_message=True)
    assert "`query: messages.user`" in caught.value.fix
    _, out = make(bench, lines, fields={"query": "m.user"}, one_message=True)
    assert [prompt.system for prompt in bench.prompts(out)] == ["", ""]


def test_a_file_that_is_not_what_its_source_says_is_named(bench, capsys):
    make(bench, ["q,a", '"1,1",x'], name="rows.csv")
    assert "s  rows.csv is CSV" in capsys.readouterr().err
    make(bench, ['[{"q": "x"}]'], name="rows.json", format="json")
    assert "rows.json is" not in capsys.readouterr().err


def test_a_folder_of_files_of_all_forms_is_one_source(bench, capsys):
    table = pa.table({"q": ["parquet"]})
    pq.write_table(table, bench.root / "e.parquet")
    contents = {
        "a.jsonl": b'{"q": "lines"}\n',
        "b.json": b'[{"q": "array"}]',
        "c.csv": b"q\ncsv\n",
        "d.jsonl": gzip.compress(b'{"q": "packed"}\n{"q": "more"}\n'),
        "f.tsv": "n\tq\n1\ttsv\n2\tcafé\n".encode("latin-1"),
    }
    for name, content in contents.items():
        (bench.root / name).write_bytes(content)
    paths = sorted(bench.root.glob("*.*"))
    refs = [FileRef(name=path.name, sha256=file_digest(path)) for path in paths]
    source = Source(format="jsonl", files=tuple(refs), fields={"query": "q"})
    files = {ref.sha256: str(path) for ref, path in zip(refs, paths, strict=True)}
    summary, out = bench.run(SampleRecipe(name="s", seed=0, source=source), files)
    assert [(prompt.task, prompt.query) for prompt in bench.prompts(out)] == [
        ("a", "lines"),
        ("b", "array"),
        ("c", "csv"),
        ("d", "packed"),
        ("d", "more"),
        ("e", "parquet"),
        ("f", "tsv"),
    ]
    assert summary["dropped"] == {"bad row": 1}
    err = capsys.readouterr().err
    for line in (
        "b.json is a JSON array",
        "c.csv is CSV",
        "d.jsonl is gzip of JSON Lines",
        "f.tsv:3: byte 5 is not UTF-8",
    ):
        assert line in err
