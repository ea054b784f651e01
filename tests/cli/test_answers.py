from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orcac.chat.ledger import Ledger
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.cli.answers import command
from orcac.errors import InputError


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))

    async def fill() -> None:
        async with Ledger(tmp_path / "store" / "answers") as ledger:
            for model, question, response in (
                ("gpt", "first \x1b[31m", ChatResponse(text="one", finish_reason="stop", output_tokens=3)),
                ("gpt", "second", ChatResponse(text="two", finish_reason="length", output_tokens=4)),
                ("llama", "third", ChatResponse(error="context_overflow")),
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


def test_counts_by_model() -> None:
    models = json.loads(run("count", "--json"))["models"]
    assert models["gpt"] == {"answers": 2, "cut_off": 1, "failures": 0, "input_tokens": 0, "output_tokens": 7}
    assert models["llama"]["failures"] == 1
    assert "gpt" in run() and "no answers" in run("count", "--model", "none")


def test_lists_what_is_asked_for_in_80_columns() -> None:
    assert all(len(line) < 80 and line.isprintable() for line in run("list").splitlines())
    assert [
        json.loads(line)["response"]["text"] for line in run("list", "--json", "--contains", "second").splitlines()
    ] == ["two"]
    assert len(run("list", "--error", "any").splitlines()) == 1
    assert len(run("list", "--limit", "2").splitlines()) == 2


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
            lambda: log.write_bytes(b"".join(lines)),
        )
    )

    def step(_: float) -> None:
        try:
            next(steps)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("orcac.cli.answers.time.sleep", step)
    texts = [json.loads(line)["request"]["messages"][-1][1] for line in run("list", "--follow", "--json").splitlines()]
    assert texts == ["second", "first \x1b[31m", "third"]


def test_what_is_exported_can_be_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "some.jsonl"
    assert run("export", str(file), "--model", "gpt").startswith("2 records")
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "other"))
    assert run("import", str(file)) == "2 records taken, 0 were known\n"
    assert run("import", str(file)) == "0 records taken, 2 were known\n"
    assert run("export", "-") == file.read_text()


@pytest.mark.parametrize("line", [("export",), ("list", "x"), ("count", "--follow"), ("import", "none.jsonl")])
def test_what_makes_no_sense_is_an_error_with_a_fix(line: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        run(*line)
    assert caught.value.fix
