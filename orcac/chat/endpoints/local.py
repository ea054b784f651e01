"""Asking a model that this process loads: all open questions in batches of similar length.

A model in this process has no rate to find out and no network that fails, so the engine with its window, retries and
pauses is not used. Questions are sorted by length over the whole job, or over pools of thousands, so that a batch holds
little padding. When a batch ends, its answers go to the ledger, and they count once they are durable: a kill costs the
batch at hand. An answer does not depend on its batch (`model.generation`), so the order changes only the speed.

A stop (for an error, the budget, SIGINT or SIGTERM) waits for the batch at hand. The next run asks what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from orcac.chat.engine import AnswerLog, budget_error
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings, Price
from orcac.chat.tally import Tally
from orcac.errors import EndpointError
from orcac.model.generation import LocalAnswer, LocalModel, Model
from orcac.reasoning import OPEN

_POOL = 10_000  # questions that are sorted by length together: their texts are in memory
_BUDGET_POLL_S = 1.0  # between two checks of a spent budget to which other jobs may give some back


async def ask(
    requests: Iterable[ChatRequest],
    *,
    weights: Path,
    label: str,
    ledger: AnswerLog,
    tally: Tally,
    settings: EndpointSettings,
    budget: Budget | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    threads: int = 1,
    gpus: int = 0,
    load: Callable[..., Model] = LocalModel.load,
    pool: int = _POOL,
) -> Tally:
    """Load the model in the folder `weights`, and ask until every request has its answer in the ledger.

    The requests are those of one teacher, so they differ in their texts alone. `label`, `tally` and the errors are
    those of `engine.ask`. Also raises InputError if the model cannot be loaded, its chat template does not accept a
    prompt, or a single prompt does not fit in memory.
    """
    model = await asyncio.to_thread(load, weights, threads=threads, gpus=gpus)
    run = _Run(model, label=label, ledger=ledger, tally=tally, price=settings.price, budget=budget)
    left = iter(requests)
    on_progress(tally)
    with halt_on_signals(run.halts.append), budget or contextlib.nullcontext():
        while some := list(islice(left, pool)):
            batches = await asyncio.to_thread(
                model.plan_batches,
                [_prompt_of(request) for request in some],
                max_new_tokens=some[0].sampling.max_tokens,
                batch_size=settings.batch,
            )
            for batch in batches:
                await run.answer_batch([some[index] for index in batch])
                on_progress(tally)
    return tally


class _Run:
    """The state of one `ask`."""

    def __init__(
        self,
        model: Model,
        *,
        label: str,
        ledger: AnswerLog,
        tally: Tally,
        price: Price,
        budget: Budget | None,
    ) -> None:
        self._model, self._label, self._ledger, self._tally = model, label, ledger, tally
        self._price, self._budget = price, budget
        self.halts: list[BaseException] = []  # the reasons to begin no further batch

    async def answer_batch(self, batch: list[ChatRequest]) -> None:
        """Answer requests together, and count the answers when they are durable."""
        sampling, price, tally = batch[0].sampling, self._price, self._tally
        if sampling.extra:
            raise EndpointError(
                f"{self._label}: a local model has no parameter {', '.join(sampling.extra)}",
                fix="remove it from `extra` in the teacher's sampling",
            )
        bound = sum(request.usd_bound(price) for request in batch)
        await self._reserve(bound)
        tally.in_flight, start = len(batch), time.perf_counter()
        answers = await asyncio.to_thread(
            self._model.answer_batch,
            [_prompt_of(request) for request in batch],
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_new_tokens=sampling.max_tokens,
            seed=(sampling.seed or 0) + batch[0].sample_index,
            stop=sampling.stop,
            reasoning=sampling.reasoning,
        )
        latency_s, tally.in_flight = time.perf_counter() - start, 0
        settled = [(one, _response_of(answer, latency_s)) for one, answer in zip(batch, answers, strict=True)]
        durable = [self._ledger.append(request, response) for request, response in settled]
        self._ledger.flush()
        if self._budget:
            self._budget.settle(bound, sum(request.usd_of(response, price) for request, response in settled))
        await asyncio.gather(*durable)
        for (request, response), answer in zip(settled, answers, strict=True):
            tally.count(request, response, price)
            tally.tokens += response.input_tokens + response.output_tokens
            if response.error:
                message = f"{answer.input_tokens} tokens leave no room for an answer"
                tally.messages.setdefault(response.error, message)

    async def _reserve(self, bound: float) -> None:
        """Reserve `bound` USD, once they fit. Raises EndpointError if they never will, or the reason to halt."""
        while not self.halts:
            if self._budget is None or self._budget.reserve(bound):
                return
            if not self._budget.may_recover():
                raise budget_error(self._budget, bound, model="the local model", label=self._label, tally=self._tally)
            await asyncio.sleep(_BUDGET_POLL_S)
        raise self.halts[0]


def _response_of(answer: LocalAnswer, latency_s: float) -> ChatResponse:
    """Return the response with an answer, or the failure of a prompt that fills the model's positions."""
    if not answer.output_tokens:
        return ChatResponse(error="context_overflow")
    return ChatResponse(
        text=OPEN + answer.text if answer.opened else answer.text,  # the ledger keeps all marks in the text
        finish_reason=answer.finish_reason,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        latency_s=latency_s,
    )


def _prompt_of(request: ChatRequest) -> tuple[str, str]:
    """Return the (system, user) messages of a request; "" for no system message."""
    texts = {message.role: message.content for message in request.messages}
    return texts.get("system", ""), texts["user"]
