"""The engine: asks an endpoint what the ledger lacks, as fast as the server allows, and loses nothing it
paid for.

Requests are drawn from a stream when there is room for them, and answers go to the ledger and nowhere else: what an
`ask` holds is what is in flight, whatever the number of requests. Every request in flight is a task of its own; when
some have ended, their answers are written to the ledger's log together, and then what may go next is sent. The log
outlives this process, so that a kill costs at most one window of answers. An answer counts when it is durable, and
outlives the host; nothing waits for that but the end, unless the disk lags far behind. What can happen to a request is
the table `messages.ERRORS`:

- RETRY: again after a random wait (full jitter), beside the fresh work and in the order of time, up to
  `attempts` of its class. The wait grows, but is hardly one while others are answered. Out of attempts, it is a typed
  failure of this `ask` only. While failures come and no answer between them, nothing fresh is sent. A server that has
  answered and fails for everybody is waited for, some minutes, and no request's attempts are counted meanwhile; where
  many requests were lost without an answer between them, the endpoint is down, and the run ends.
- SLOW DOWN: the limiter cuts its rate; the request waits and costs no attempt.
- GIVE UP: a typed failure. It is recorded like an answer if its class is `kept` and the endpoint answers others,
  before or after; one that has only ever refused says nothing of the requests. One that calls many requests in a
  row bad, and has answered none, ends the run.
- STOP: nothing more is sent.

Stopping (for an error, the budget, SIGINT or SIGTERM) always waits for what is in flight, since it is paid
for; then the reason is raised. A second signal does not wait. Running again goes on from the ledger.

The budget holds under concurrency since a request reserves the most it can cost before it is sent, also among
jobs (budget.py). A request that failed after it may have been answered counts as spent in full. What the ledger
answers costs nothing. Rates and pauses are the account's, among all jobs that ask it (account.py).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import functools
import heapq
import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from orcac.chat.failures import ERRORS, Action, ChatError
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.limits.account import Account
from orcac.chat.limits.budget import Budget
from orcac.chat.limits.limiter import Limiter
from orcac.chat.messages import Billable, ChatRequest, ChatResponse
from orcac.chat.settings import EndpointSettings, Price
from orcac.errors import EndpointError, StoreError
from orcac.text import dollars

_BACKOFF_S, _DOUBLINGS = 0.5, 7  # the longest wait for the first failure, and how often it doubles
_FLAKY_S = 0.03  # the same while others are answered; it doubles with each attempt that failed since the last answer
_PUSHED_BACK_S = 1.0  # the longest wait after a push-back, since the rate is the limiter's to find
_PATIENCE_S = 600.0  # without an answer, while the server says that it is asked too fast
_BUDGET_S = 1.0  # between two looks at a budget that others may give something back to
_OUTAGE_S = 300.0  # without an answer, while a server that has answered fails for everybody
_LOST_IN_A_ROW = 10  # requests out of attempts, or called bad, with no answer between them: it is the endpoint
_FAILED_IN_A_ROW = 16  # attempts, with no answer between them: nothing fresh is sent
_UNDURABLE = 1000  # answers by which the disk may lag behind
_SAY_EVERY_S = 0.5  # how often progress is told, whether there is any or not


class Endpoint(Protocol):
    """A model that can be asked. `where` names it for people, e.g. its base URL; it holds no secret."""

    where: str

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """One attempt. Raises ChatError when there was no answer."""
        ...


class Answers(Protocol):
    """What the engine needs of a ledger."""

    def append(self, request: ChatRequest, response: ChatResponse) -> asyncio.Future[None]: ...
    def flush(self) -> None: ...


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """How far an `ask` is."""

    total: int  # distinct requests
    answered: int = 0
    failed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # for good
    retried: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    messages: dict[str, str] = dataclasses.field(default_factory=dict)  # of each class that did not stop us, the first;
    # and of `budget`, while it is waited for
    failures: dict[str, str] = dataclasses.field(default_factory=dict)  # key -> class of failures that are not recorded
    usd: float = 0.0  # at most, for all answers so far, whenever they were paid
    tokens: int = 0  # of the answers of this `ask`, in and out
    in_flight: int = 0
    paused_s: float = 0.0  # until the server wants to be asked again

    def count(self, request: ChatRequest, settled: Billable, price: Price) -> None:
        """Enter what settles a request, at the cost that `ChatRequest.usd_of` finds."""
        self.usd += request.usd_of(settled, price)
        if settled.error:
            self.failed[settled.error] += 1
        else:
            self.answered += 1


async def ask(
    requests: Iterable[ChatRequest],
    *,
    label: str,
    endpoint: AbstractAsyncContextManager[Endpoint],
    ledger: Answers,
    tally: Tally,
    settings: EndpointSettings,
    account: Account | None = None,
    budget: Budget | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """See to it that the ledger holds the answer, or the typed failure, of every request.

    `label` names this `ask` for people. `requests` are what the ledger lacks, each once; where there are none,
    `endpoint`, `account` and `budget` are not entered. `tally` has the number of all requests and what the ledger held
    of them before; it is brought up to date and returned. Failures that are not recorded are in its `failures`.

    Raises EndpointError when nobody can be answered until something is mended or when the budget is reached,
    StoreError when an answer cannot be written, KeyboardInterrupt on SIGINT and SIGTERM.
    """
    asking = _Asking(
        requests,
        label=label,
        ledger=ledger,
        settings=settings,
        account=account,
        budget=budget,
        on_progress=on_progress,
        tally=tally,
    )
    on_progress(tally)
    if asking.draw():
        async with endpoint as model, account or contextlib.nullcontext():
            with budget or contextlib.nullcontext():
                await asking.run(model)
        on_progress(tally)
    return tally


@dataclasses.dataclass(slots=True)
class _Ticket:
    """A request on its way to an answer."""

    key: str
    request: ChatRequest
    attempts: dict[str, int] = dataclasses.field(default_factory=dict)  # that count, by class
    failures: int = 0  # all, with push-backs; the wait grows with them


class _Asking:
    """The state of one `ask`."""

    _model: Endpoint
    _group: asyncio.TaskGroup

    def __init__(
        self,
        requests: Iterable[ChatRequest],
        *,
        label: str,
        ledger: Answers,
        settings: EndpointSettings,
        account: Account | None,
        budget: Budget | None,
        on_progress: Callable[[Tally], None],
        tally: Tally,
    ) -> None:
        self._account, self._budget = account, budget
        self._ledger, self._settings, self._on_progress = ledger, settings, on_progress
        self._azure = settings.azure is not None
        self.tally, self._label = tally, label
        self._loop = asyncio.get_running_loop()
        self._limiter = Limiter(settings)
        self._requests = iter(requests)
        self._fresh: _Ticket | None = None  # the next that was never sent
        self._again: list[tuple[float, str, _Ticket]] = []  # a heap by the time of the next attempt
        self._undurable = 0  # answers that the ledger was given
        self._halted: BaseException | None = None
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._goes_on = False  # `_go_on` is called soon
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0  # when it rings
        self._last_answer = self._loop.time()
        self._failed_in_a_row = self._lost_in_a_row = 0
        self._called_bad = 0  # requests that the endpoint called bad
        self._refused: list[tuple[ChatRequest, ChatResponse]] = []  # before it answered any, with what they met
        self._failing: set[str] = set()  # keys of what failed since the last answer

    def draw(self) -> bool:
        """See to it that `_fresh` is the next request to ask; False where none is left."""
        if self._fresh is None and (request := next(self._requests, None)):
            self._fresh = _Ticket(request.key, request)
        return self._fresh is not None

    async def run(self, model: Endpoint) -> None:
        self._model = model
        with halt_on_signals(self._halt):
            telling = self._loop.create_task(self._tell())
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._go_on_soon()
                    await self._finished
            finally:
                telling.cancel()
        if self._halted:
            raise self._halted

    async def _tell(self) -> None:
        try:
            while True:
                await asyncio.sleep(_SAY_EVERY_S)
                self.tally.paused_s = max(0.0, self._limiter.paused_until - self._loop.time())
                self._on_progress(self.tally)
        except Exception as error:  # as of a terminal that is gone
            self._halt(error)

    def _go_on_soon(self) -> None:
        """Have `_go_on` called when everything was heard that has come by now: then it is written together."""
        if not self._goes_on:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Send all that may go now, and see to it that this is called again when more may go."""
        self._goes_on = False
        if self._finished.done():
            return
        next_at: float | None = None
        try:
            self._ledger.flush()
            next_at = self._send()
        except Exception as error:  # of a full disk, or of the stream of requests
            self._halted = self._halted or error
        if not (self.tally.in_flight or self._undurable) and (self._halted or not (self._again or self.draw())):
            self._finished.set_result(None)
        elif next_at is not None and (self._timer is None or next_at < self._wakes_at):
            if self._timer:
                self._timer.cancel()
            self._timer, self._wakes_at = self._loop.call_at(next_at, self._wake), next_at

    def _wake(self) -> None:
        self._timer = None
        self._go_on_soon()

    def _send(self) -> float | None:
        """Send all that may go now. Returns when more may go if nothing happens before, None if never."""
        limiter, now = self._limiter, self._loop.time()
        self._share(now)
        window = limiter.window
        while not self._halted and self.tally.in_flight < window and self._undurable < _UNDURABLE:
            due = bool(self._again) and self._again[0][0] <= now
            if not due and not (self._may_start() and self.draw()):
                return self._again[0][0] if self._again else None
            if limiter.opens_at > now:
                return limiter.opens_at
            ticket = self._again[0][2] if due else self._fresh
            assert ticket is not None
            bound = ticket.request.usd_bound(self._settings.price)
            if not self._affordable(bound):
                return now + _BUDGET_S
            if due:
                heapq.heappop(self._again)
            else:
                self._fresh = None
            charged = limiter.charge(ticket.request)
            limiter.sent(now, charged)
            self.tally.in_flight += 1
            self._group.create_task(self._attempt(ticket, sent_at=now, charged=charged, bound=bound))
        if self.tally.in_flight >= window:
            limiter.fills(now)
        return None

    @property
    def _has_answered(self) -> bool:
        """Whether the endpoint has answered anything, durable or not."""
        return self.tally.answered > 0 or self._undurable > 0

    def _may_start(self) -> bool:
        """Whether fresh requests make sense: not while all fails, nor while a crowd waits for its next attempt."""
        only_refused = self._called_bad and not self._has_answered
        if only_refused or self._failed_in_a_row >= _FAILED_IN_A_ROW:
            return not self._again and not self.tally.in_flight
        return len(self._again) < 4 * self._limiter.window + 64

    def _share(self, now: float) -> None:
        """Heed what the other jobs on this account do, and were told."""
        if self._account:
            self._limiter.share = self._account.live_jobs()
            self._limiter.pause(now + self._account.paused_until() - time.time())

    def _affordable(self, bound: float) -> bool:
        """Whether a request of at most `bound` USD fits; it is then set aside. When none ever will, the run halts."""
        try:
            if self._budget is None or self._budget.reserve(bound):
                return True
            if not self.tally.in_flight and not self._undurable:
                if not self._budget.may_recover():
                    self._halt(self._spent(self._budget, bound))
                elif "budget" not in self.tally.messages:
                    self.tally.messages["budget"] = "another job has set aside what is left of it; waiting for that"
                    self._on_progress(self.tally)
        except StoreError as error:
            self._halt(error)
        return False

    def _spent(self, budget: Budget, bound: float) -> EndpointError:
        tally = self.tally
        left = tally.total - tally.answered - tally.failed.total()
        rest, spent = left * (tally.usd / tally.answered if tally.answered else bound), budget.spent()
        about = "about" if tally.answered else "at most"
        free = budget.left()
        more = rest + bound - free  # the last one must fit, too
        return EndpointError(
            f"{self._model.where}: the budget of {dollars(budget.usd)} holds no further request: "
            f"{dollars(spent)} spent; one more may cost up to {bound:.4g} USD, {free:.4g} are left; of `{self._label}` "
            f"{tally.answered:,} of {tally.total:,} requests are answered, the other {left:,} would cost {about} "
            f"{dollars(rest)}",
            fix=f"raise `budget` by {about} {dollars(more)} for `{self._label}` alone (`orcac cost` tells what all "
            "that is left would cost) and run again; what is answered is kept",
        )

    async def _attempt(self, ticket: _Ticket, *, sent_at: float, charged: int, bound: float) -> None:
        settled: ChatResponse | None = None
        spent = bound  # until it is known
        try:
            try:
                settled = await self._model.complete(ticket.request)
                spent = ticket.request.usd_of(settled, self._settings.price)
                now = self._loop.time()
                if settled.rates:
                    self._limiter.heard(settled.rates, now)
                self._limiter.answered(now, settled, sent_at=sent_at, charged=charged)
                self.tally.tokens += settled.input_tokens + settled.output_tokens
            except ChatError as error:
                settled = self._failed(ticket, error, sent_at=sent_at, bound=bound)
                spent = bound if ERRORS[error.error].may_be_billed(azure=self._azure) else 0.0
            if settled:
                self._last_answer, self._lost_in_a_row, self._failed_in_a_row = self._loop.time(), 0, 0
                self._failing.clear()
                if not settled.error or (ERRORS[settled.error].recorded and self._has_answered):
                    durable = self._ledger.append(ticket.request, settled)
                    self._undurable += 1
                    durable.add_done_callback(functools.partial(self._count, ticket.request, settled))
                else:
                    self._lose(ticket, settled.error)
                    if ERRORS[settled.error].recorded:
                        self._refused.append((ticket.request, settled))
                if self._refused and self._has_answered:  # then they were about the requests, after all
                    refused, self._refused = self._refused, []
                    self._group.create_task(self._keep(refused))
        except Exception as error:  # a full disk or a bug: keep what is in flight, then raise it
            self._halt(error)
        finally:
            self.tally.in_flight -= 1
            self._settle(bound, spent)
            self._go_on_soon()

    def _count(self, request: ChatRequest, settled: ChatResponse, durable: asyncio.Future[None]) -> None:
        """Count an answer when it is durable."""
        self._undurable -= 1
        try:
            durable.result()
            self.tally.count(request, settled, self._settings.price)
        except Exception as error:  # a disk that failed or a bug: keep what is in flight, then raise it
            self._halt(error)
        if self._undurable in (0, _UNDURABLE - 1):  # else nothing waits for this
            self._go_on_soon()

    async def _keep(self, refused: list[tuple[ChatRequest, ChatResponse]]) -> None:
        """Record failures that are counted already."""
        try:
            for request, settled in refused:
                await self._ledger.append(request, settled)
                del self.tally.failures[request.key]
        except Exception as error:
            self._halt(error)

    def _settle(self, bound: float, spent: float) -> None:
        if self._budget:
            try:
                self._budget.settle(bound, spent)
            except StoreError as error:
                self._halt(error)

    def _failed(self, ticket: _Ticket, error: ChatError, *, sent_at: float, bound: float) -> ChatResponse | None:
        """Do what the class of `error` asks for. Returns the failure where the request gives up."""
        now, kind = self._loop.time(), ERRORS[error.error]
        slow_down = kind.action is Action.SLOW_DOWN
        if kind.action is not Action.STOP:
            self.tally.messages.setdefault(error.error, str(error))
        if kind.may_be_billed(azure=self._azure):
            self.tally.usd += bound
        if slow_down:
            self._limiter.pushed_back(sent_at, now)
        if error.error == "timeout":
            self._limiter.timed_out(sent_at, now)
        if error.rates:
            self._limiter.heard(error.rates, now, pushed_back=slow_down)
        if error.retry_after:
            self._limiter.pause(now + error.retry_after)
            if self._account and error.retry_after <= _PATIENCE_S:  # for longer ones each job stops by itself
                self._account.pause(error.retry_after)
        if kind.action is Action.GIVE_UP:
            self._called_bad += error.error == "bad_request"
            if not self._has_answered and self._called_bad >= _LOST_IN_A_ROW:
                self._halt(self._stopped(ticket, error))
            return ChatResponse(error=error.error)
        ticket.failures += 1
        lost = False
        if kind.action is Action.RETRY:
            self._failed_in_a_row += 1
            self._failing.add(ticket.key)
            counts, most = not (kind.transient and self._is_out(now)), self._settings.attempts
            ticket.attempts[error.error] = ticket.attempts.get(error.error, 0) + counts
            lost = ticket.attempts[error.error] >= min(most, kind.attempts or most)
        self._lost_in_a_row += lost
        if self._hopeless(error, lost=lost):
            self._halt(self._stopped(ticket, error))
        elif lost:
            self._lose(ticket, error.error)
        else:
            self.tally.retried[error.error] += 1
            longest = _BACKOFF_S * 2 ** min(ticket.failures - 1, _DOUBLINGS)
            if slow_down:
                longest = min(longest, _PUSHED_BACK_S)
            elif error.error != "unreachable":
                longest = min(longest, _FLAKY_S * 2 ** min(self._failed_in_a_row, _FAILED_IN_A_ROW))
            heapq.heappush(self._again, (now + random.uniform(0, longest), ticket.key, ticket))
        return None

    def _lose(self, ticket: _Ticket, error: str) -> None:
        """A failure of this `ask` alone."""
        self.tally.failed[error] += 1
        self.tally.failures[ticket.key] = error

    def _is_out(self, now: float) -> bool:
        """Whether an endpoint that has answered fails for everybody, and not for long: then no request is to blame."""
        return self._has_answered and len(self._failing) >= _LOST_IN_A_ROW and now - self._last_answer < _OUTAGE_S

    def _hopeless(self, error: ChatError, *, lost: bool) -> bool:
        """Whether nobody will be answered before a person mends something."""
        action, silent_s = ERRORS[error.error].action, self._loop.time() - self._last_answer
        return (
            action is Action.STOP
            or (error.retry_after or 0) > _PATIENCE_S
            or (action is Action.SLOW_DOWN and silent_s > _PATIENCE_S)
            or (lost and error.error == "unreachable")  # which no request can be the cause of
            or self._lost_in_a_row >= min(_LOST_IN_A_ROW, self.tally.total)
        )

    def _halt(self, reason: BaseException) -> None:
        """Send nothing more; `run` raises the first reason when nothing is in flight any longer."""
        self._halted = self._halted or reason
        self._go_on_soon()

    def _stopped(self, ticket: _Ticket, error: ChatError) -> EndpointError:
        fix = ERRORS[error.error].fix.format(key=self._settings.api_key_env)
        return EndpointError(
            f"{self._model.where}, model {ticket.request.model}: {error.error}: {error}",
            fix=f"{fix}, then run again; {self.tally.answered:,} of {self.tally.total:,} answers are kept",
        )
