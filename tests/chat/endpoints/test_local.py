"""Tests of orcac/chat/endpoints/local.py: batches of similar length, and a batch that fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orcac.chat.endpoints import local as module
from orcac.chat.endpoints.local import LocalEndpoint
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import EndpointError, InputError
from orcac.model.generation import LocalAnswer


class Model:
    """A model that answers in capitals and records its batches."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], dict[str, object]]] = []

    def plan_batches(self, prompts: list[tuple[str, str]], *, batch_size: int) -> list[list[int]]:
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index][1]))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def answer_batch(self, prompts: list[tuple[str, str]], **settings: object) -> list[LocalAnswer]:
        self.asked.append(([user for _, user in prompts], settings))
        if any(user == "huge" for _, user in prompts):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return [
            LocalAnswer(
                text=user.upper(), finish_reason="stop", input_tokens=3, output_tokens=0 if user == "too long" else 2
            )
            for _, user in prompts
        ]


def request(user: str, **sampling: object) -> ChatRequest:
    settings = Sampling().model_copy(update=sampling)
    return ChatRequest(model="m", messages=conversation(system="", user=user), sampling=settings, origin="local/1")


def ask(model: Model, *requests: ChatRequest, batch: int = 2) -> list[ChatResponse | BaseException]:
    async def go() -> list[ChatResponse | BaseException]:
        endpoint = LocalEndpoint(model, label="model", batch=batch)
        return await asyncio.gather(*map(endpoint.complete, requests), return_exceptions=True)

    return asyncio.run(go())


def test_waiting_requests_are_answered_in_batches_of_similar_length() -> None:
    model = Model()
    answers = ask(model, *map(request, ("a", "ccc", "bb", "dddd")))
    assert [answer.text for answer in answers] == ["A", "CCC", "BB", "DDDD"]  # type: ignore[union-attr]
    assert [asked for asked, _ in model.asked] == [["dddd", "ccc"], ["bb", "a"]]


def test_requests_with_different_sampling_share_no_batch() -> None:
    model = Model()
    ask(model, request("a", seed=1), request("b", seed=2), request("c", seed=1), batch=8)
    assert [(asked, settings["seed"]) for asked, settings in model.asked] == [(["a", "c"], 1), (["b"], 2)]


def test_a_prompt_that_leaves_no_room_and_a_batch_that_does_not_fit() -> None:
    short, long, huge = ask(Model(), request("a"), request("too long"), request("huge"), batch=1)
    assert isinstance(short, ChatResponse)
    assert isinstance(long, ChatError) and long.error == "context_overflow"
    assert isinstance(huge, EndpointError) and "lower the endpoint's `batch`" in str(huge)


class Refusing(Model):
    """A model whose template refuses every prompt but `a`."""

    def plan_batches(self, prompts: list[tuple[str, str]], *, batch_size: int) -> list[list[int]]:
        if any(user != "a" for _, user in prompts):
            raise InputError("the chat template takes no such message", fix="drop it")
        return super().plan_batches(prompts, batch_size=batch_size)


def test_a_template_that_refuses_a_prompt_fails_all_waiting_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.LocalModel, "load", lambda *_, **__: Refusing())

    async def go() -> None:
        async with module.load(Path("m"), EndpointSettings(kind="local"), threads=1, gpus=0) as endpoint:
            failed = await asyncio.gather(*(endpoint.complete(request(q)) for q in "bc"), return_exceptions=True)
            assert all(isinstance(error, InputError) for error in failed)
            assert (await endpoint.complete(request("a"))).text == "A"
            await endpoint.complete(request("b"))

    with pytest.raises(InputError, match="drop it"):  # and no ExceptionGroup
        asyncio.run(asyncio.wait_for(go(), 10))
