"""A model in this process, as an endpoint: what waits is answered in batches of like length.

While one batch is generated the engine sends more, so the next ones are chosen from a pool of several batches: sorted
by length, little of them is padding. Generation is a thread's, since it takes seconds, and the loop goes on taking
signals. An answer does not depend on its batch (`chat.local`), so neither batch nor pool is part of what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError
from orcac.model.generation import LocalAnswer, LocalModel

POOL = 4  # batches that wait at once
Asked = tuple[ChatRequest, asyncio.Future[ChatResponse]]


@asynccontextmanager
async def load(weights: Path, settings: EndpointSettings, *, threads: int, gpus: int) -> AsyncIterator[LocalEndpoint]:
    """The model of a folder. Raises InputError where it cannot be loaded or its chat template is of no use."""
    model = await asyncio.to_thread(LocalModel.load, weights, threads=threads, gpus=gpus)
    endpoint = LocalEndpoint(model, where=weights.name, batch=settings.batch)
    try:
        yield endpoint
    finally:
        endpoint.stop()


class Model(Protocol):
    """What is asked of `LocalModel`."""

    def plan_batches(self, prompts: list[tuple[str, str]], *, batch_size: int) -> list[list[int]]: ...

    def answer_batch(
        self, prompts: list[tuple[str, str]], *, temperature: float, top_p: float, max_new_tokens: int, seed: int
    ) -> list[LocalAnswer]: ...


class LocalEndpoint:
    def __init__(self, model: Model, *, where: str, batch: int) -> None:
        self.where = where
        self._model, self._batch = model, batch
        self._waiting: list[Asked] = []
        self._working: asyncio.Task[None] | None = None  # while there is something to do

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """The answer, when the batch that the request fell into is done.

        Raises ChatError where the prompt leaves no room for one or the sampling has `extra`, EndpointError where a
        batch does not fit in memory, and whatever else the model raises.
        """
        if request.sampling.extra:
            raise ChatError("unsupported", f"a local model knows no {', '.join(request.sampling.extra)}")
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await answer

    def stop(self) -> None:
        """Begin no further batch."""
        if self._working:
            self._working.cancel()

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # let all that is being sent arrive
            pool, self._waiting = self._waiting, []
            try:
                await self._answer_all(pool)
            except Exception as error:
                _fail(pool, error)
        self._working = None

    async def _answer_all(self, pool: list[Asked]) -> None:
        by_kind: dict[tuple[str, int], list[Asked]] = {}
        for one in pool:
            by_kind.setdefault((one[0].sampling.model_dump_json(), one[0].sample_index), []).append(one)
        for alike in by_kind.values():
            prompts = [_prompt(request) for request, _ in alike]
            for indices in self._model.plan_batches(prompts, batch_size=self._batch):
                await self._answer([alike[index] for index in indices])

    async def _answer(self, batch: list[Asked]) -> None:
        start, (first, _) = time.perf_counter(), batch[0]
        try:
            answers = await asyncio.to_thread(
                self._model.answer_batch,
                [_prompt(request) for request, _ in batch],
                temperature=first.sampling.temperature,
                top_p=first.sampling.top_p,
                max_new_tokens=first.sampling.max_tokens,
                seed=(first.sampling.seed or 0) + first.sample_index,
            )
        except Exception as error:
            _fail(batch, _mend(error, len(batch)))
            return
        latency_s = time.perf_counter() - start
        for (_, future), made in zip(batch, answers, strict=True):
            if future.done():  # whoever asked has gone
                continue
            if made.output_tokens:
                future.set_result(
                    ChatResponse(
                        text=made.text,
                        finish_reason=made.finish_reason,
                        input_tokens=made.input_tokens,
                        output_tokens=made.output_tokens,
                        latency_s=latency_s,
                    )
                )
            else:
                message = f"{made.input_tokens} tokens leave no room for an answer"
                future.set_exception(ChatError("context_overflow", message))


def _prompt(request: ChatRequest) -> tuple[str, str]:
    """(system, user)"""
    texts = {message.role: message.content for message in request.messages}
    return texts.get("system", ""), texts["user"]


def _fail(asked: list[Asked], error: Exception) -> None:
    for _, answer in asked:
        if not answer.done():  # whoever asked may have gone
            answer.set_exception(error)


def _mend(error: Exception, size: int) -> Exception:
    if "out of memory" in str(error).lower():  # torch's is a RuntimeError of many names
        return EndpointError(
            f"a batch of {size} prompts does not fit in memory", fix="lower the endpoint's `batch`, and run again"
        )
    return error
