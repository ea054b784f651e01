"""Tests of orcac/chat/endpoints/local.py: batches over all questions, and runs that are stopped or out of budget."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from orcac import rows
from orcac.chat.endpoints.local import ask
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import EndpointSettings, Price, Sampling
from orcac.chat.tally import Tally
from orcac.errors import EndpointError, InputError
from orcac.model.generation import LocalAnswer


class Model:
    """A model that answers in capitals and records its batches; `on_batch` is called with the number of each."""

    def __init__(self, on_batch: Callable[[int], None] = lambda number: None) -> None:
        self.asked: list[list[str]] = []
        self.seeds: list[object] = []
        self.on_batch = on_batch

    def sort(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[int]:
        return sorted(range(len(prompts)), key=lambda index: -len(prompts[index][1]))

    def answer(
        self, prompts: Iterable[tuple[str, str]], *, batch_size: int | None = None, **settings: object
    ) -> Iterator[list[tuple[int, LocalAnswer]]]:
        self.seeds.append(settings["seed"])
        for batch in rows.batched(enumerate(prompts), batch_size or 3):
            self.on_batch(len(self.asked))
            self.asked.append([user for _, (_, user) in batch])
            yield [
                (number, LocalAnswer(text=user.upper(), finish_reason="stop", input_tokens=3, output_tokens=length))
                for number, (_, user) in batch
                for length in [0 if user == "too long" else 2]
            ]


def requests(*users: str, sampling: Sampling = Sampling()) -> list[ChatRequest]:  # noqa: B008  # frozen
    return [
        ChatRequest(model="m", messages=conversation(system="", user=user), sampling=sampling, origin="local/1")
        for user in users
    ]


def run(
    folder: Path,
    asked: list[ChatRequest],
    model: Model,
    *,
    batch: int | None = 2,
    usd: float | None = None,
    **more: int,
) -> Tally:
    price = Price(input=0, output=0 if usd is None else 1e6 / 1024)  # a dollar for the longest answer

    async def go() -> Tally:
        async with Ledger(folder) as ledger:
            return await ask(
                [request for request in asked if not ledger.get(request)],
                weights=folder,
                label="job",
                ledger=ledger,
                tally=Tally(total=len(asked)),
                settings=EndpointSettings(kind="local", batch=batch, price=price),
                budget=None if usd is None else Budget(folder / "budget", usd),
                load=lambda weights, **_: model,
                **more,
            )

    return asyncio.run(go())


def texts(folder: Path, asked: list[ChatRequest]) -> list[str | None]:
    ledger = Ledger(folder)
    try:
        return [found.text if (found := ledger.get(request)) else None for request in asked]
    finally:
        ledger.close()


def test_all_questions_are_sorted_before_they_are_batched(tmp_path: Path) -> None:
    model, asked = Model(), requests("a", "ccc", "bb", "dddd", "eeeee")
    tally = run(tmp_path, asked, model)
    assert (tally.answered, tally.tokens) == (5, 25)
    assert model.asked == [["eeeee", "dddd"], ["ccc", "bb"], ["a"]]
    assert texts(tmp_path, asked) == ["A", "CCC", "BB", "DDDD", "EEEEE"]


def test_more_questions_than_a_pool_are_sorted_pool_by_pool(tmp_path: Path) -> None:
    model = Model()
    run(tmp_path, requests("a", "ccc", "bb", "dddd", "eeeee"), model, batch=None, pool=3)
    assert model.asked == [["ccc", "bb", "a"], ["eeeee", "dddd"]]


def test_each_sample_is_generated_with_a_seed_of_its_own(tmp_path: Path) -> None:
    model, asked = Model(), requests("a", "ccc", sampling=Sampling(seed=7))
    every = [dataclasses.replace(request, sample_index=sample) for request in asked for sample in range(2)]
    assert run(tmp_path, every, model).answered == 4
    assert (model.asked, model.seeds) == ([["ccc", "a"], ["ccc", "a"]], [7, 8])


def test_a_prompt_that_leaves_no_room_is_a_recorded_failure(tmp_path: Path) -> None:
    tally = run(tmp_path, requests("a", "too long"), Model())
    assert (tally.answered, dict(tally.failed)) == (1, {"context_overflow": 1})
    assert tally.messages == {"context_overflow": "3 tokens leave no room for an answer"}
    again = Model()
    run(tmp_path, requests("a", "too long"), again)
    assert again.asked == []


def test_a_signal_ends_the_run_after_the_answers_that_have_begun(tmp_path: Path) -> None:
    asked = requests("a", "ccc", "bb", "dddd", "eeeee")
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        run(tmp_path, asked, Model(lambda number: os.kill(os.getpid(), signal.SIGTERM) if number == 1 else None))
    model = Model()
    assert texts(tmp_path, asked) == [None, "CCC", "BB", "DDDD", "EEEEE"]
    run(tmp_path, asked, model)
    assert model.asked == [["a"]]


def test_an_error_of_the_model_keeps_the_finished_answers(tmp_path: Path) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise InputError("the memory does not hold a single prompt", fix="lower max_tokens")

    asked = requests("a", "ccc", "bb", "dddd")
    with pytest.raises(InputError, match="lower max_tokens"):
        run(tmp_path, asked, Model(fail))
    assert texts(tmp_path, asked) == [None, "CCC", None, "DDDD"]


def test_an_answer_beyond_the_budget_is_not_begun(tmp_path: Path) -> None:
    model, asked = Model(), requests("a", "bb", "ccc", "dddd")
    with pytest.raises(EndpointError, match=r"the budget of 0\.9 USD holds no further request.*`job` 0 of 4"):
        run(tmp_path, asked, model, usd=0.9)
    assert model.asked == []
    tally = run(tmp_path, asked, model, usd=2.1)  # each answer may cost a dollar, and costs a fraction of a cent
    assert tally.answered == 4 and tally.usd == pytest.approx(4 * 2 / 1024)
    assert model.asked == [["dddd", "ccc"], ["bb", "a"]]


def test_a_parameter_of_other_servers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"(?s)no parameter top_k.*remove it"):
        run(tmp_path, requests("a", sampling=Sampling(extra={"top_k": 5})), Model())
