"""A model in this process, as an endpoint: waiting requests are answered in batches of similar length.

While one batch is generated, the engine sends more requests, so the next batches are chosen from a pool of several:
sorted by length, they hold little padding. A batch is generated in a thread, since it takes seconds and the event loop
must go on handling signals. An answer does not depend on its batch (`model.generation`), so neither batch nor pool is
part of a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError
from orcac.model.generation import LocalAnswer, LocalModel


class _Waiting(NamedTuple):
    """A request and the future that its response goes to."""

    request: ChatRequest
    response: asyncio.Future[ChatResponse]


@asynccontextmanager
async def load(weights: Path, settings: EndpointSettings, *, threads: int, gpus: int) -> AsyncIterator[LocalEndpoint]:
    """Load the model of a folder and yield its endpoint.

    Raises InputError if the model cannot be loaded or its chat template cannot be used.
    """
    model = await asyncio.to_thread(LocalModel.load, weights, threads=threads, gpus=gpus)
    endpoint = LocalEndpoint(model, label=weights.name, batch=settings.batch)
    try:
        yield endpoint
    finally:
        endpoint.stop()


class Model(Protocol):
    """The methods of `LocalModel` that an endpoint needs."""

    def plan_batches(self, prompts: list[tuple[str, str]], *, batch_size: int) -> list[list[int]]: ...

    def answer_batch(
        self, prompts: list[tuple[str, str]], *, temperature: float, top_p: float, max_new_tokens: int, seed: int
    ) -> list[LocalAnswer]: ...


class LocalEndpoint:
    """A loaded model that answers up to `batch` requests at once. `label` names it in messages."""

    def __init__(self, model: Model, *, label: str, batch: int) -> None:
        self.label = label
        self._model, self._batch = model, batch
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None  # while requests wait

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Return the response, once the batch that holds the request is done.

        Raises ChatError if the prompt leaves no room for an answer or the sampling has `extra`, EndpointError if a
        batch does not fit in memory, and any other error of the model.
        """
        if request.sampling.extra:
            raise ChatError("unsupported", f"a local model has no parameter {', '.join(request.sampling.extra)}")
        response = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, response))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await response

    def stop(self) -> None:
        """Begin no further batch."""
        if self._working:
            self._working.cancel()

    async def _work(self) -> None:
        """Answer the waiting requests, one pool after the other."""
        while self._waiting:
            await asyncio.sleep(0)  # requests that are sent in this turn of the loop join the pool
            pool, self._waiting = self._waiting, []
            try:
                await self._answer_pool(pool)
            except Exception as error:
                _fail(pool, error)
        self._working = None

    async def _answer_pool(self, pool: list[_Waiting]) -> None:
        """Answer requests in batches, each of one sampling and of similar lengths."""
        groups: dict[tuple[str, int], list[_Waiting]] = {}
        for one in pool:
            groups.setdefault((one.request.sampling.model_dump_json(), one.request.sample_index), []).append(one)
        for group in groups.values():
            prompts = [_prompt_of(one.request) for one in group]
            for indices in self._model.plan_batches(prompts, batch_size=self._batch):
                await self._answer_batch([group[index] for index in indices])

    async def _answer_batch(self, batch: list[_Waiting]) -> None:
        start, first = time.perf_counter(), batch[0].request
        try:
            answers = await asyncio.to_thread(
                self._model.answer_batch,
                [_prompt_of(one.request) for one in batch],
                temperature=first.sampling.temperature,
                top_p=first.sampling.top_p,
                max_new_tokens=first.sampling.max_tokens,
                seed=(first.sampling.seed or 0) + first.sample_index,
            )
        except Exception as error:
            _fail(batch, _explain(error, len(batch)))
            return
        latency_s = time.perf_counter() - start
        for one, answer in zip(batch, answers, strict=True):
            if one.response.done():  # its request was cancelled
                continue
            if answer.output_tokens:
                one.response.set_result(
                    ChatResponse(
                        text=answer.text,
                        finish_reason=answer.finish_reason,
                        input_tokens=answer.input_tokens,
                        output_tokens=answer.output_tokens,
                        latency_s=latency_s,
                    )
                )
            else:
                message = f"{answer.input_tokens} tokens leave no room for an answer"
                one.response.set_exception(ChatError("context_overflow", message))


def _prompt_of(request: ChatRequest) -> tuple[str, str]:
    """Return the (system, user) messages of a request; "" for no system message."""
    texts = {message.role: message.content for message in request.messages}
    return texts.get("system", ""), texts["user"]


def _fail(waiting: list[_Waiting], error: Exception) -> None:
    """Raise `error` in the caller of each request that has no outcome yet."""
    for one in waiting:
        if not one.response.done():
            one.response.set_exception(error)


def _explain(error: Exception, size: int) -> Exception:
    """Return an EndpointError with a fix if a batch of `size` prompts ran out of memory, else `error` itself."""
    if "out of memory" in str(error).lower():  # torch raises RuntimeErrors of many names for it
        return EndpointError(
            f"a batch of {size} prompts does not fit in memory", fix="lower the endpoint's `batch`, and run again"
        )
    return error
