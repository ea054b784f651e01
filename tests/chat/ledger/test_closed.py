"""Tests of orcac/chat/ledger/closed.py: a store that asks no model, whatever its job asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import FaultServer

from orcac.chat.ask import Asker, ChatExecution
from orcac.chat.ledger.closed import close, read_closed
from orcac.chat.messages import ChatRequest
from orcac.chat.questions import Questions
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import InputError, StoreError
from orcac.progress import Progress


def ask(folder: Path, server: FaultServer, texts: list[tuple[str, str]]) -> list[str]:
    """Return the answers to (system, user) texts, asked as a job does."""
    questions = Questions(ChatRequest(model="m", messages=(), sampling=Sampling(), origin="api"), lambda: texts)
    execution = ChatExecution(
        endpoint=EndpointSettings(kind="openai", base_url=server.base_url),
        model="m",
        label="job",
        answers=folder / "answers",
        work=folder / "work",
        progress=lambda total, unit: Progress(label="job", total=total, unit=unit),
    )
    with Asker(questions, execution) as asker:
        asker.ask()
        return [response.text for response in asker.responses()]


def test_a_closed_ledger_answers_what_it_has_and_sends_nothing(tmp_path: Path) -> None:
    texts = [("", "q0"), ("", "q1")]
    with FaultServer() as server:
        answers = ask(tmp_path, server, texts)
        assert read_closed(tmp_path / "answers") is None
        close(tmp_path / "answers", "the archive a1")
        billed = server.billed.total()
        assert ask(tmp_path, server, texts) == answers
        with pytest.raises(InputError, match="job: 1 of 3 questions have no answer in the archive a1"):
            ask(tmp_path, server, [*texts, ("", "q2")])
        assert server.billed.total() == billed == 2


def test_a_damaged_mark_does_not_open_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "closed.json").write_text("{")
    with pytest.raises(StoreError, match=r"closed\.json: is damaged"):
        read_closed(tmp_path)


def test_a_link_in_place_of_the_mark_does_not_open_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "closed.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="not a plain file"):
        read_closed(tmp_path)
