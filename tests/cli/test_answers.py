"""Tests of orcac/cli/answers.py and orcac/cli/students.py."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shlex
from pathlib import Path

import click
import pytest
import studies
from click.testing import CliRunner

from orcac import rows
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.cli.answers import command
from orcac.errors import InputError, StoreError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))

    async def fill() -> None:
        async with Ledger(tmp_path / "store" / "answers") as ledger:
            for model, question, response in (
                ("gpt", "first \x1b[31m", ChatResponse(text="one", finish_reason="stop", output_tokens=3)),
                ("gpt", "second", ChatResponse(text="two", finish_reason="length", output_tokens=4)),
                ("llama", "third", ChatResponse(error="context_overflow")),
                ("claude", "fourth", ChatResponse(finish_reason="content_filter", input_tokens=5)),
            ):
                request = ChatRequest(
                    model=model, messages=conversation(system="s", user=question), sampling=Sampling(), origin="api"
                )
                await ledger.append(request, response)

    asyncio.run(fill())
    return tmp_path / "store"


def run(*line: str) -> str:
    done = CliRunner().invoke(command, line)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


@pytest.fixture
def students_of_smoke(store: Path) -> str:
    """The answers of two arms' students to thirty items, one of them cut off; return the spec."""
    spec = str(Path(__file__).parents[2] / "specs" / "smoke.yaml")
    plan = Plan()
    lower(plan, load(Path(spec)))
    for ref, node in plan.nodes.items():
        if node.kind == "eval":
            said = [
                rows.Answer(
                    id=f"{number:02x}{0:018x}", source="b", task="t", query=f"item {number}", system_id=1, system="",
                    response=f"{node.label} says {number}", finish_reason="length" if number == 7 else "stop",
                    output_tokens=2,
                )
                for number in range(30)
            ]  # fmt: skip
            files = {"answers.parquet": lambda path, said=said: rows.write(path, rows.Answer, said)}
            summary = {"n": 30, "cut": 1, "output_tokens": 60}
            publisher = studies.Publisher(Store(store))
            publisher.publish("eval", node.label, summary, files, node.recipe.model_dump(mode="json"), ref=ref)
    return spec


def test_answers_of_students_are_counted_listed_and_exported(
    students_of_smoke: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = json.loads(run("count", "--json"))["models"]
    assert models["base (student)"] == {
        "answers": 30, "cut_off": 1, "failures": 0, "input_tokens": 0, "output_tokens": 60
    }  # fmt: skip
    assert set(models) == {"gpt", "llama", "claude", "base (student)", "no-first (student)"}
    counted = json.loads(run("count", "--json", "--student", "no-*", "--contains", "says"))["models"]
    assert list(counted) == ["no-first (student)"] and counted["no-first (student)"]["output_tokens"] == 60
    cut = [json.loads(line) for line in run("list", "--json", "--finish-reason", "length").splitlines()]
    assert {one["request"]["model"] for one in cut[1:]} == {
        "base (student)",
        "no-first (student)",
    }  # in the order of ids
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "plan.json"))
    *_, hint = run("list", "--student", "base", "--spec", students_of_smoke, "--contains", "says 12").splitlines()
    exported = json.loads(run(*shlex.split(hint.partition("orcac answers ")[2])))
    assert exported["response"]["text"].endswith("says 12") and exported["request"]["messages"] == [["user", "item 12"]]
    for path in Path(os.environ["ORCAC_STORE"]).glob("eval/*/answers.parquet"):
        path.write_bytes(b"")
    assert len(run("list", "--json", "--model", "gpt").splitlines()) == 2, "no answers of students are read"
    with pytest.raises(StoreError, match="cannot be read"):
        run("list", "--model", "base (student)")
    assert len(run("export", "-").splitlines()) == 4, "without --student the ledger alone, which can be imported"
    with pytest.raises(InputError, match="no arm of that name") as caught:
        run("list", "--student", "missing")
    assert "base" in caught.value.fix and "no-first" in caught.value.fix


def test_counts_by_model() -> None:
    models = json.loads(run("count", "--json"))["models"]
    assert models["gpt"] == {"answers": 2, "cut_off": 1, "failures": 0, "input_tokens": 0, "output_tokens": 7}
    assert models["llama"]["failures"] == models["claude"]["cut_off"] == 1
    assert "gpt" in run() and "no answers" in run("count", "--model", "none")


def test_an_empty_list_names_the_store_that_was_searched(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(tmp_path / "store" / "answers") in run("list", "--model", "none")
    monkeypatch.delenv("ORCAC_STORE")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    spec = tmp_path / "mine.yaml"
    spec.write_text("orcac: 1\n")
    assert "no answers in" in run("count")
    assert "first" in run("list", "--spec", str(spec), "--contains", "first")


def test_lines_are_as_wide_as_the_terminal_and_lead_to_the_whole_record(monkeypatch: pytest.MonkeyPatch) -> None:
    question = "a question that is longer than eighty columns have room for"
    asked = ChatRequest(model="gpt", messages=conversation(system="", user=question), sampling=Sampling(), origin="api")

    async def add() -> None:
        async with Ledger(Path(os.environ["ORCAC_STORE"]) / "answers") as ledger:
            await ledger.append(asked, ChatResponse(text="yes", finish_reason="stop"))

    asyncio.run(add())
    assert question not in run("list")
    monkeypatch.setenv("COLUMNS", "200")
    *_, hint = (listed := run("list", "--contains", question)).splitlines()
    assert question in listed
    _, _, command_line = hint.partition("orcac answers ")
    assert json.loads(run(*command_line.split()))["request"]["messages"][-1][1] == question


def test_lists_what_is_asked_for_in_80_columns() -> None:
    assert all(len(line) < 80 and line.isprintable() for line in run("list").splitlines())
    assert [
        json.loads(line)["response"]["text"] for line in run("list", "--json", "--contains", "second").splitlines()
    ] == ["two"]
    assert len(run("list", "--error", "any", "--json").splitlines()) == 2
    assert "fourth" in run("list", "--error", "content_filter")
    assert len(run("list", "--limit", "2", "--json").splitlines()) == 2


def test_the_name_of_a_model_has_more_of_a_wider_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    asked = ChatRequest(model=name, messages=conversation(system="", user="q"), sampling=Sampling(), origin="api")

    async def add() -> None:
        async with Ledger(store / "answers") as ledger:
            await ledger.append(asked, ChatResponse(text="yes", finish_reason="stop"))

    asyncio.run(add())
    assert "  Llama-3.1-8B-In…  " in run("list", "--model", name)
    monkeypatch.setenv("COLUMNS", "160")
    assert "  Llama-3.1-8B-Instruct  " in run("list", "--model", name)


def test_follows_what_is_written_from_now_on(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what was there nor half a line, and new logs from their start, until Ctrl-C."""
    (log,) = (store / "answers").glob("*.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1][:-9])  # the second is being written
    steps = iter(
        (
            lambda: None,
            lambda: log.write_bytes(lines[0] + lines[1] + lines[2][:40]),
            lambda: (store / "answers" / "another.jsonl").write_bytes(lines[0]),
            lambda: log.write_bytes(b"".join(lines[:3])),
        )
    )

    def step(_: float) -> None:
        try:
            next(steps)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("orcac.cli.answers.time.sleep", step)
    texts = [json.loads(line)["request"]["messages"][-1][1] for line in run("--follow", "--json").splitlines()]
    assert texts == ["second", "first \x1b[31m", "third"]


def test_exported_records_can_be_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "some.jsonl"
    assert run("export", str(file), "--model", "gpt").startswith("2 records")
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "other"))
    assert run("import", str(file)) == "2 records added, 0 were there already\n"
    assert run("import", str(file)) == "0 records added, 2 were there already\n"
    assert run("export", "-") == file.read_text()
    with pytest.raises(InputError, match="takes whole files"):
        run("import", str(file), "--model", "gpt")


def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[bytes]]:
    """A file of three records and its lines, with another store to import them into."""
    file = tmp_path / "some.jsonl"
    run("export", str(file))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "other"))
    return file, file.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("part", "field", "value", "wrong"),
    [
        ("response", "input_tokens", "seven", '`response.input_tokens` cannot be "seven"'),
        ("response", "output_tokens", -5, "`response.output_tokens`"),
        ("response", "text", "\ud800", "half a character"),
        ("request", "model", 5, "`request.model`"),
        ("request", "model", "another", "its key is not that of its request"),
        ("request", "sampling", {"temperature": "1.0", "max_tokens": 9}, "its sampling is not valid"),
    ],
)
def test_a_file_with_a_damaged_or_forged_record_is_refused_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, field: str, value: object, wrong: str
) -> None:
    file, lines = exported(tmp_path, monkeypatch)
    record = json.loads(lines[1])
    record[part][field] = value
    file.write_bytes(lines[0] + json.dumps(record).encode() + b"\n" + lines[2])
    with pytest.raises(InputError, match=f"{file}:2: .*{wrong}"):
        run("import", str(file))
    assert "no answers" in run("count")


def test_import_counts_the_lines_that_are_not_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, lines = exported(tmp_path, monkeypatch)
    file.write_bytes(lines[0].rstrip(b"\n"))
    assert run("import", str(file)) == "1 records added, 0 were there already\n", "a last line without its end"
    file.write_bytes(b'{"question": "q"}\n' + lines[1] + lines[2][:-9])
    assert run("import", str(file)) == "1 records added, 0 were there already; 2 lines are not a record\n"
    for foreign in (b'{"question": "q"}\n', lines[0][:-9], gzip.compress(lines[0] * 99)):
        file.write_bytes(foreign)
        with pytest.raises(InputError) as caught:
            run("import", str(file))
        assert "orcac answers export" in caught.value.fix


def test_an_export_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("orcac.chat.ledger.record.line_of", interrupted)
    with pytest.raises(click.Abort):  # which is the exit code 130
        command.main(["export", str(tmp_path / "some.jsonl")], standalone_mode=False)
    assert not list(tmp_path.glob("some.jsonl*"))


def test_an_export_replaces_files_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a file"):
        run("export", str(tmp_path / "pipe"))
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(InputError, match="x: cannot be written"):
        run("export", str(tmp_path / ("x" * 255)))  # too long for the name of the part


def test_no_text_of_a_record_reaches_the_terminal_raw(store: Path) -> None:
    (log,) = (store / "answers").glob("*.jsonl")
    record = json.loads(log.read_bytes().splitlines()[0])
    record["request"]["model"] = record["response"]["finish_reason"] = "\x1b[31m\nx"
    del record["crc"]
    log.write_text(json.dumps(record) + "\n")
    assert len(run("list").splitlines()) == 2 and "\x1b" not in run("list") + run("count")


@pytest.mark.parametrize(
    "line",
    [
        ("export",),
        ("export", "nodir/x.jsonl"),
        ("export", "."),
        ("list", "x"),
        ("list", "--error", "nonsense"),
        ("count", "--follow"),
        ("import", "none.jsonl"),
        ("forget", "--student", "base", "--key", "0"),
        ("--follow", "--student", "base"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_a_fix(line: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        run(*line)
    assert caught.value.fix
