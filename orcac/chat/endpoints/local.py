"""Asking a model that this process loads: all open questions, many together.

A model in this process has no rate to find out and no network that fails, so the engine with its window, retries and
pauses is not used. Questions are sorted by length over the whole job, or over pools of thousands, so that those which
are answered together hold little padding. An answer that ends goes to the ledger, and it counts once it is durable: a
kill costs the answers that have begun. An answer does not depend on the others (`model.generation`), so the order
changes only the speed.

A stop (for an error, the budget, SIGINT or SIGTERM) begins no further answer and waits for those that have begun. The
next run asks what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from orcac.chat.engine import AnswerLog, budget_error
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings
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

    The requests are those of one teacher, so they differ in their texts and samples alone. `label`, `tally` and the
    errors are those of `engine.ask`. Also raises InputError if the model cannot be loaded, its chat template does not
    accept a prompt, or a single prompt does not fit in memory.
    """
    model = await asyncio.to_thread(load, weights, threads=threads, gpus=gpus)
    run = _Run(model, label=label, ledger=ledger, tally=tally, settings=settings, budget=budget, report=on_progress)
    left = iter(requests)
    on_progress(tally)
    with halt_on_signals(run.halts.append), budget or contextlib.nullcontext():
        while pooled := list(islice(left, pool)):
            for some in _group_samples(pooled):
                order = await asyncio.to_thread(
                    model.sort,
                    [_prompt_of(request) for request in some],
                    max_new_tokens=some[0].sampling.max_tokens,
                    batch_size=settings.batch,
                )
                await run.answer([some[index] for index in order])
    return tally


def _group_samples(requests: Sequence[ChatRequest]) -> list[list[ChatRequest]]:
    """Return requests by their sample, since a generation has one seed for all its prompts."""
    groups: dict[int, list[ChatRequest]] = {}
    for request in requests:
        groups.setdefault(request.sample_index, []).append(request)
    return list(groups.values())


class _Begun(NamedTuple):
    """A request whose answer has begun."""

    request: ChatRequest
    at: float  # by the clock that measures its latency


class _Run:
    """The state of one `ask`."""

    def __init__(
        self,
        model: Model,
        *,
        label: str,
        ledger: AnswerLog,
        tally: Tally,
        settings: EndpointSettings,
        budget: Budget | None,
        report: Callable[[Tally], None],
    ) -> None:
        self._model, self._label, self._ledger, self._tally = model, label, ledger, tally
        self._price, self._batch, self._budget, self._report = settings.price, settings.batch, budget, report
        self.halts: list[BaseException] = []  # the reasons to begin no further answer

    async def answer(self, requests: Sequence[ChatRequest]) -> None:
        """Answer requests of one sample, which are begun in their order.

        Raises the reason to halt when the begun ones have ended.
        """
        sampling, left = requests[0].sampling, deque(requests)
        if sampling.extra:
            raise EndpointError(
                f"{self._label}: a local model has no parameter {', '.join(sampling.extra)}",
                fix="remove it from `extra` in the teacher's sampling",
            )
        while left:
            await self._reserve(left[0].usd_bound(self._price))
            begun: list[_Begun] = []
            answers = self._model.answer(
                self._begin(left, begun),
                batch_size=self._batch,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_new_tokens=sampling.max_tokens,
                seed=(sampling.seed or 0) + requests[0].sample_index,
                stop=sampling.stop,
                reasoning=sampling.reasoning,
            )
            while ended := await asyncio.to_thread(next, answers, None):
                await self._count([(begun[number], answer) for number, answer in ended])

    def _begin(self, left: deque[ChatRequest], begun: list[_Begun]) -> Iterator[tuple[str, str]]:
        """Yield the prompts of `left`, the first of which has its USD reserved, until there is a reason to wait."""
        while left and not self.halts:
            if begun and self._budget and not self._budget.reserve(left[0].usd_bound(self._price)):
                return
            request = left.popleft()
            begun.append(_Begun(request, time.perf_counter()))
            self._tally.in_flight += 1
            yield _prompt_of(request)

    async def _count(self, ended: Sequence[tuple[_Begun, LocalAnswer]]) -> None:
        """Count answers when they are durable."""
        price, tally, now = self._price, self._tally, time.perf_counter()
        settled = [(one.request, _response_of(answer, now - one.at)) for one, answer in ended]
        durable = [self._ledger.append(request, response) for request, response in settled]
        self._ledger.flush()
        if self._budget:
            for request, response in settled:
                self._budget.settle(request.usd_bound(price), request.usd_of(response, price))
        await asyncio.gather(*durable)
        for (request, response), (_, answer) in zip(settled, ended, strict=True):
            tally.count(request, response, price)
            tally.tokens += response.input_tokens + response.output_tokens
            if response.error:
                message = f"{answer.input_tokens} tokens leave no room for an answer"
                tally.messages.setdefault(response.error, message)
        tally.in_flight -= len(ended)
        self._report(tally)

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
