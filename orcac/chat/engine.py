"""The engine: it asks an endpoint the questions that the ledger cannot answer, as fast as the server allows, and loses
no answer that it paid for.

Requests are drawn from an iterator when there is room for them, and answers go to the ledger and nowhere else, so the
memory of an `ask` grows with the requests in flight and not with their total. Each request in flight is a task of its
own. When some of them have ended, their answers are written to the ledger's log together, and then the next requests
are sent. The log survives a kill of this process, so a kill costs at most one window of answers. An answer counts when
it is durable, that is, when it would survive a crash of the host. Only the end of the run waits for that, unless the
disk lags far behind. `failures.ERRORS` maps each class of failure to one of four consequences:

- RETRY: the request is sent again after a random wait (full jitter), up to the `attempts` of its error class. Retries
  and fresh requests are sent side by side, in the order of time. The wait grows with each failure, but stays short
  while other requests are answered. A request that is out of attempts is a typed failure of this `ask` only. While
  attempts fail and no answer arrives between them, no fresh request is sent. `health.py` decides if the endpoint is to
  blame, and when to end the run.
- SLOW DOWN: the limiter cuts its rate; the request waits, and the attempt is not counted.
- GIVE UP: a typed failure. It is recorded like an answer if its class is `recorded` and the endpoint answers other
  requests, before or after it: refusals from an endpoint that has only ever refused show nothing about the requests. An
  endpoint that calls many requests bad, and has answered none, ends the run.
- STOP: nothing more is sent.

A stop (for an error, the budget, SIGINT or SIGTERM) always waits for the requests in flight, since they are paid for;
then the reason is raised. A second signal does not wait. The next run continues from the ledger.

The budget holds under concurrency and among jobs, because a request reserves its highest possible cost before it is
sent (budget.py, bounds.py). A server may count more tokens than a request allows; so with a budget, one request is in
flight until the first usage shows how the server counts, or until five answers had none. A request that failed after it
may have been answered counts as spent in full. Answers from the ledger cost nothing. Rates and pauses are shared by all
jobs that ask the account (account.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import heapq
import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from orcac.chat.failures import ERRORS, Action, ChatError, fix_of
from orcac.chat.health import Health, Timing
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.limits.account import Account
from orcac.chat.limits.bounds import CostBounds
from orcac.chat.limits.budget import Budget
from orcac.chat.limits.limiter import Limiter
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings
from orcac.chat.tally import Tally
from orcac.errors import EndpointError, StoreError
from orcac.text import dollars

_MAX_UNSYNCED = 1000  # answers in the ledger that need not be durable yet; beyond that, sending waits for the disk


class Endpoint(Protocol):
    """A model that can be asked. `label` names it in messages, e.g. its base URL; it contains no secret."""

    label: str

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Make one attempt. Raises ChatError if there was no answer."""
        ...


class AnswerLog(Protocol):
    """The methods of a ledger that the engine calls."""

    def append(self, request: ChatRequest, response: ChatResponse) -> asyncio.Future[None]: ...
    def flush(self) -> None: ...


async def ask(
    requests: Iterable[ChatRequest],
    *,
    label: str,
    endpoint: AbstractAsyncContextManager[Endpoint],
    ledger: AnswerLog,
    tally: Tally,
    settings: EndpointSettings,
    account: Account | None = None,
    budget: Budget | None = None,
    bounds: CostBounds | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    timing: Timing = Timing(),  # noqa: B008  # frozen
) -> Tally:
    """Ask until every request has its answer, or its typed failure, in the ledger or in `tally.failures`.

    `label` names this `ask` in messages. `requests` are those that the ledger cannot answer, each once; if there are
    none, `endpoint`, `account` and `budget` are not entered. `tally` starts with the total of all requests and the
    counts of those that the ledger answers; it is updated in place and returned. `bounds` are those that
    earlier answers of the model show, if there are any.

    Raises EndpointError if no request can be answered until a cause is fixed by hand, or if the budget is reached;
    StoreError if an answer cannot be written; KeyboardInterrupt on SIGINT and SIGTERM.
    """
    run = _Run(
        requests,
        label=label,
        ledger=ledger,
        settings=settings,
        account=account,
        budget=budget,
        bounds=bounds or CostBounds(settings.price),
        on_progress=on_progress,
        tally=tally,
        timing=timing,
    )
    on_progress(tally)
    if run.prefetch():
        async with endpoint as model, account or contextlib.nullcontext():
            with budget or contextlib.nullcontext():
                await run.ask_all(model)
        on_progress(tally)
    return tally


@dataclasses.dataclass(slots=True)
class _Pending:
    """A request that has no final response yet."""

    key: str
    request: ChatRequest
    attempts: dict[str, int] = dataclasses.field(default_factory=dict)  # error class -> failed attempts that count
    failures: int = 0  # all failed attempts, including push-backs; the wait grows with them


class _Run:
    """The state of one `ask`."""

    _model: Endpoint
    _group: asyncio.TaskGroup

    def __init__(
        self,
        requests: Iterable[ChatRequest],
        *,
        label: str,
        ledger: AnswerLog,
        settings: EndpointSettings,
        account: Account | None,
        budget: Budget | None,
        bounds: CostBounds,
        on_progress: Callable[[Tally], None],
        tally: Tally,
        timing: Timing,
    ) -> None:
        self._account, self._budget, self._bounds, self._ledger = account, budget, bounds, ledger
        self._settings, self._timing, self._on_progress = settings, timing, on_progress
        self._on_azure = settings.azure is not None
        self._tally, self._label = tally, label
        self._loop = asyncio.get_running_loop()
        self._limiter = Limiter(settings)
        self._health = Health(
            now=self._loop.time(),
            total=tally.total,
            has_answered=tally.answered > 0,
            timing=timing,
            ready_within_s=settings.ready_within_seconds,
        )
        self._requests = iter(requests)
        self._fresh: _Pending | None = None  # the next request that was never sent
        self._retries: list[tuple[float, str, _Pending]] = []  # a heap by the time of the next attempt
        self._early_refusals: list[tuple[ChatRequest, ChatResponse]] = []  # those before the endpoint's first answer
        self._unsynced = 0  # answers in the ledger that are not durable yet
        self._durable: asyncio.Future[None] | None = None  # of the last answers in the ledger
        self._last_settled: list[tuple[ChatRequest, ChatResponse]] = []  # those that `_durable` is the future of
        # or a function that returns it once all answers in flight are counted
        self._halt_reason: BaseException | Callable[[], BaseException] | None = None
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._is_advance_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def prefetch(self) -> bool:
        """Draw the next request into `_fresh` if it is empty. Returns False if no request is left."""
        if self._fresh is None and (request := next(self._requests, None)):
            self._fresh = _Pending(request.key, request)
        return self._fresh is not None

    async def ask_all(self, model: Endpoint) -> None:
        """Ask `model` until no request is left or the run is halted; then raise the reason."""
        self._model = model
        with halt_on_signals(self._halt):
            reporting = self._loop.create_task(self._report_progress())
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._schedule_advance()
                    await self._finished
            finally:
                reporting.cancel()
        if self._halt_reason:
            reason = self._halt_reason() if callable(self._halt_reason) else self._halt_reason
            messages = self._tally.messages  # one since the last report may explain the reason
            self._tally.messages = {name: text for name, text in messages.items() if text not in str(reason)}
            self._on_progress(self._tally)
            raise reason

    async def _report_progress(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._timing.progress)
                self._tally.paused_s = max(0.0, self._limiter.paused_until - self._loop.time())
                self._on_progress(self._tally)
        except Exception as error:  # e.g. of a terminal that is gone
            self._halt(error)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _schedule_advance(self) -> None:
        """Schedule `_advance` on the next loop turn, so that answers which arrive together are flushed together."""
        if not self._is_advance_scheduled:
            self._is_advance_scheduled = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        """Flush the ledger, send all requests that may be sent now, and set a timer for the next one."""
        self._is_advance_scheduled = False
        if self._finished.done():
            return
        next_at: float | None = None
        try:
            self._ledger.flush()
            next_at = self._send()
        except Exception as error:  # of a full disk, or of the iterator of requests
            self._halt_reason = self._halt_reason or error
        is_idle = not (self._tally.in_flight or self._unsynced)
        if is_idle and (self._halt_reason or not (self._retries or self.prefetch())):
            self._finished.set_result(None)
        elif next_at is not None and (self._timer is None or next_at < self._timer_at):
            if self._timer:
                self._timer.cancel()
            self._timer, self._timer_at = self._loop.call_at(next_at, self._on_timer), next_at

    def _on_timer(self) -> None:
        self._timer = None
        self._schedule_advance()

    def _send(self) -> float | None:
        """Send all requests that may be sent now.

        Returns the time at which more may be sent if nothing happens before, or None if only an event can change that.
        """
        limiter, now = self._limiter, self._loop.time()
        self._read_account(now)
        window = limiter.window if self._budget is None or self._bounds.is_known else 1
        while not self._halt_reason and self._tally.in_flight < window and self._unsynced < _MAX_UNSYNCED:
            is_due = bool(self._retries) and self._retries[0][0] <= now
            if not is_due and not (self._may_send_fresh() and self.prefetch()):
                return self._retries[0][0] if self._retries else None
            if limiter.next_send_at > now:
                return limiter.next_send_at
            pending = self._retries[0][2] if is_due else self._fresh
            assert pending is not None
            bound = 0.0
            if self._budget:
                bound = self._bounds.usd(pending.request)
                if not self._reserve(self._budget, bound):
                    return now + self._timing.budget_poll
            if is_due:
                heapq.heappop(self._retries)
            else:
                self._fresh = None
            charged = limiter.estimate_tokens(pending.request)
            limiter.on_send(now, charged)
            self._tally.in_flight += 1
            self._group.create_task(self._attempt(pending, sent_at=now, charged=charged, bound=bound))
        if self._tally.in_flight >= window:
            limiter.on_full_window(now)
        return None

    def _may_send_fresh(self) -> bool:
        """Return False while the endpoint rejects all requests, or while very many wait for their next attempt.

        An endpoint that rejects all requests still gets a fresh one when nothing else is left to send.
        """
        if self._health.rejects_all:
            return not self._retries and not self._tally.in_flight
        return not self._retries or len(self._retries) < 4 * self._limiter.window + 64

    def _read_account(self, now: float) -> None:
        """Apply the number and the pauses of the other jobs on the account."""
        if self._account:
            self._limiter.live_jobs = self._account.live_jobs()
            self._limiter.pause(now + self._account.paused_until() - time.time())

    # --- the budget --------------------------------------------------------------------------------------------------

    def _reserve(self, budget: Budget, bound: float) -> bool:
        """Reserve `bound` USD for a request. Returns False if they do not fit; halts if they never will."""
        try:
            if budget.reserve(bound):
                return True
            if not self._tally.in_flight and not self._unsynced:
                if not budget.may_recover():
                    self._halt(
                        budget_error(budget, bound, model=self._model.label, label=self._label, tally=self._tally)
                    )
                elif "budget" not in self._tally.messages:
                    self._tally.messages["budget"] = "another job has reserved the rest of it; waiting for that job"
                    self._on_progress(self._tally)
        except StoreError as error:
            self._halt(error)
        return False

    def _settle(self, bound: float, spent: float) -> None:
        if self._budget:
            try:
                self._budget.settle(bound, spent)
            except StoreError as error:
                self._halt(error)

    # --- one attempt and its outcome ---------------------------------------------------------------------------------

    async def _attempt(self, pending: _Pending, *, sent_at: float, charged: int, bound: float) -> None:
        """Make one attempt. `bound` is the part of the budget that is reserved for it, in USD, 0 without a budget."""
        response: ChatResponse | None = None
        spent = bound  # until the cost is known
        try:
            try:
                response = await self._model.complete(pending.request)
                if self._budget:
                    spent = pending.request.usd_of(response, self._settings.price)
                    if message := self._bounds.learn(pending.request, response):
                        self._tally.messages.setdefault("usage", message)
                now = self._loop.time()
                if response.rates:
                    self._limiter.on_headers(now, response.rates)
                self._limiter.on_answer(now, response, sent_at=sent_at, charged=charged)
                self._tally.tokens += response.input_tokens + response.output_tokens
            except ChatError as error:
                response = self._on_error(pending, error, sent_at=sent_at)
                spent = bound if ERRORS[error.error].may_be_billed(azure=self._on_azure) else 0.0
            if response:
                self._on_final_response(pending, response)
        except Exception as error:  # a full disk or a bug: keep the answers in flight, then raise it
            self._halt(error)
        finally:
            self._tally.in_flight -= 1
            self._settle(bound, spent)
            self._schedule_advance()

    def _on_final_response(self, pending: _Pending, response: ChatResponse) -> None:
        """Record an answer or a refusal."""
        health = self._health
        health.on_final_response(self._loop.time(), is_answer=not response.error)
        if not response.error or (ERRORS[response.error].recorded and health.has_answered):
            durable = self._ledger.append(pending.request, response)
            self._unsynced += 1
            if durable is not self._durable:
                self._durable, self._last_settled = durable, []
                durable.add_done_callback(functools.partial(self._on_durable, self._last_settled))
            self._last_settled.append((pending.request, response))
        else:
            self._fail(pending, response.error)
            if ERRORS[response.error].recorded:
                self._early_refusals.append((pending.request, response))
        if self._early_refusals and health.has_answered:  # the requests were the cause of these, not the endpoint
            refusals, self._early_refusals = self._early_refusals, []
            self._group.create_task(self._record_refusals(refusals))

    def _on_durable(self, settled: list[tuple[ChatRequest, ChatResponse]], durable: asyncio.Future[None]) -> None:
        """Count responses when they are durable."""
        waits_for_disk = self._unsynced >= _MAX_UNSYNCED
        self._unsynced -= len(settled)
        try:
            durable.result()
            for request, response in settled:
                self._tally.count(request, response, self._settings.price)
        except Exception as error:  # a disk that failed or a bug: keep the answers in flight, then raise it
            self._halt(error)
        if waits_for_disk or not self._unsynced:
            self._schedule_advance()

    async def _record_refusals(self, refusals: list[tuple[ChatRequest, ChatResponse]]) -> None:
        """Record refusals that the tally has already counted."""
        try:
            for request, response in refusals:
                await asyncio.shield(self._ledger.append(request, response))  # the future has other waiters
                del self._tally.failures[request.key]
        except Exception as error:
            self._halt(error)

    def _on_error(self, pending: _Pending, error: ChatError, *, sent_at: float) -> ChatResponse | None:
        """Apply the consequences of a failed attempt. Returns the final response if the request gives up."""
        now, kind, health = self._loop.time(), ERRORS[error.error], self._health
        if kind.action is not Action.STOP:
            self._tally.messages.setdefault(error.error, str(error))
        if kind.may_be_billed(azure=self._on_azure):
            self._tally.usd += self._bounds.usd(pending.request)
        self._adapt_rates(error, now, sent_at=sent_at)
        if kind.action is Action.GIVE_UP:
            if not kind.recorded and health.on_bad_request():
                self._halt(functools.partial(self._endpoint_error, pending, error))
            return ChatResponse(error=error.error)
        pending.failures += 1
        exhausted = False
        if kind.action is Action.RETRY:
            counts, most = health.on_failed_attempt(now, key=pending.key, error=error.error), self._settings.attempts
            pending.attempts[error.error] = pending.attempts.get(error.error, 0) + counts
            exhausted = pending.attempts[error.error] >= min(most, kind.attempts or most)
            if exhausted:
                health.on_exhausted()
        if health.is_hopeless(now, error, exhausted=exhausted):
            self._halt(functools.partial(self._endpoint_error, pending, error))
        elif exhausted:
            self._fail(pending, error.error)
        else:
            self._tally.retried[error.error] += 1
            wait = random.uniform(0, health.longest_wait(now, error.error, failures=pending.failures))
            heapq.heappush(self._retries, (now + wait, pending.key, pending))
        return None

    def _adapt_rates(self, error: ChatError, now: float, *, sent_at: float) -> None:
        """Apply the push-back, the timeout, the limits and the pause that a failure states."""
        pushed_back = ERRORS[error.error].action is Action.SLOW_DOWN
        if pushed_back:
            self._limiter.on_push_back(now, sent_at=sent_at)
        if error.error == "timeout":
            self._limiter.on_timeout(now, sent_at=sent_at)
        if error.rates:
            self._limiter.on_headers(now, error.rates, pushed_back=pushed_back)
        if error.retry_after:
            self._limiter.pause(now + error.retry_after)
            if self._account and error.retry_after <= self._timing.push_back_patience:
                self._account.pause(error.retry_after)  # a longer pause ends the run, in each job by itself

    def _fail(self, pending: _Pending, error: str) -> None:
        """Count a final failure of this `ask` that is not recorded."""
        self._tally.failed[error] += 1
        self._tally.failures[pending.key] = error

    def _halt(self, reason: BaseException | Callable[[], BaseException]) -> None:
        """Send nothing more; `ask_all` raises the first reason when no request is in flight any more."""
        self._halt_reason = self._halt_reason or reason
        self._schedule_advance()

    def _endpoint_error(self, pending: _Pending, error: ChatError) -> EndpointError:
        fix = fix_of(error.error, key=self._settings.api_key_env, setting=error.setting, address=self._model.label)
        role = f" `{pending.request.messages[0].role}`" if error.error == "unsupported_role" else ""
        return EndpointError(
            f"{self._model.label}, model {pending.request.model}: {error.error}{role}: {error}",
            fix=f"{fix}, then run again; {self._tally.answered:,} of {self._tally.total:,} answers are kept",
        )


def budget_error(budget: Budget, bound: float, *, model: str, label: str, tally: Tally) -> EndpointError:
    """Return the error of a budget that does not hold `bound` USD more for the job `label`, which asks `model`."""
    left = tally.total - tally.answered - tally.failed.total()
    rest, spent = left * (tally.usd / tally.answered if tally.answered else bound), budget.spent()
    about = "about" if tally.answered else "at most"
    free = budget.left()
    more = rest + bound - free  # the bound of the last request must fit as well
    return EndpointError(
        f"{model}: the budget of {dollars(budget.usd)} holds no further request: "
        f"{dollars(spent)} spent; one more may cost up to {bound:.4g} USD, {free:.4g} are left; of `{label}` "
        f"{tally.answered:,} of {tally.total:,} requests are answered, the other {left:,} would cost {about} "
        f"{dollars(rest)}",
        fix=f"raise `budget` by {about} {dollars(more)} for `{label}` alone (`orcac cost` shows the cost of "
        "everything that is left) and run again; all answers so far are kept",
    )
