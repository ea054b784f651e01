"""The engine: asks an endpoint what the ledger lacks, as fast as the server allows, and loses nothing it
paid for.

One loop decides what is sent next; every request in flight is a task of its own. A request counts as in
flight until its answer is durable, so a kill costs at most one window of answers. What can happen to a
request is the table `messages.ERRORS`:

- RETRY: again after a random wait (full jitter), beside the fresh work and in the order of time, up to
  `attempts`; then it is a typed failure in this result only. Many such losses in a row, with no answer
  between them, are an endpoint that is down, and end the run instead.
- SLOW DOWN: the limiter cuts its window; the request waits and costs no attempt.
- GIVE UP: a typed failure. It is recorded like an answer if its class is `kept` and the endpoint has answered
  others; one that has only ever refused says nothing of the requests. One that calls many requests in a row
  bad, and has answered none, ends the run.
- STOP: nothing more is sent.

Stopping (for an error, the budget, SIGINT or SIGTERM) always waits for what is in flight, since it is paid
for; then the reason is raised. A second signal does not wait. Running again goes on from the ledger.

The budget holds under concurrency since a request reserves the most it can cost before it is sent. A request
that failed after it may have been answered counts as spent in full. A later run knows what the ledger holds:
what such failures and kills may have cost before is not in it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import heapq
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from orcac.chat.interrupt import halt_on_signals
from orcac.chat.ledger import Ledger
from orcac.chat.limiter import Limiter
from orcac.chat.messages import ERRORS, Action, ChatError, ChatRequest, ChatResponse, dollars
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError

_BACKOFF_S, _DOUBLINGS = 0.5, 7  # the longest wait for the first failure, and how often it doubles
_PATIENCE_S = 600.0  # without an answer, while the server says that it is asked too fast
_LOST_IN_A_ROW = 10  # requests out of attempts, or called bad, with no answer between them: it is the endpoint


class Endpoint(Protocol):
    """A model that can be asked. `where` names it for people, e.g. its base URL; it holds no secret."""

    where: str

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """One attempt. Raises ChatError when there was no answer."""
        ...


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """How far an `ask` is, for progress lines."""

    total: int  # distinct requests
    answered: int = 0
    failed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # for good
    retried: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    messages: dict[str, str] = dataclasses.field(default_factory=dict)  # the first of each class that did not stop us
    usd: float = 0.0  # at most, for all answers so far, whenever they were paid
    in_flight: int = 0


async def ask(
    requests: Iterable[ChatRequest],
    *,
    endpoint: AbstractAsyncContextManager[Endpoint],
    ledger: Ledger | None,
    settings: EndpointSettings,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> dict[str, ChatResponse]:
    """The answer, or the typed failure, of every request, by key, in the order of `requests`.

    Equal requests are asked once, and what the ledger holds is not asked; `endpoint` is entered only if
    something is left. With no ledger (an endpoint that costs nothing to ask again) nothing is recorded.

    Raises EndpointError when nobody can be answered until something is mended or when the budget is reached,
    StoreError when an answer cannot be written, KeyboardInterrupt on SIGINT and SIGTERM.
    """
    distinct = {request.key: request for request in requests}
    known = {key: answer for key, request in distinct.items() if ledger is not None and (answer := ledger.get(request))}
    asking = _Asking(ledger=ledger, settings=settings, on_progress=on_progress, total=len(distinct))
    for key, response in known.items():
        asking.count(distinct[key], key, response)
    tickets = [_Ticket(key, request) for key, request in distinct.items() if key not in known]
    on_progress(asking.tally)
    if tickets:
        async with endpoint as model:
            await asking.run(model, tickets)
    return {key: asking.answers[key] for key in distinct}


@dataclasses.dataclass(slots=True)
class _Ticket:
    """A request on its way to an answer."""

    key: str
    request: ChatRequest
    attempts: int = 0  # that count
    failures: int = 0  # all, with push-backs; the wait grows with them


class _Asking:
    """The state of one `ask`."""

    _model: Endpoint

    def __init__(
        self,
        *,
        ledger: Ledger | None,
        settings: EndpointSettings,
        on_progress: Callable[[Tally], None],
        total: int,
    ) -> None:
        self._ledger, self._settings, self._on_progress = ledger, settings, on_progress
        self.tally = Tally(total=total)
        self.answers: dict[str, ChatResponse] = {}
        self._loop = asyncio.get_running_loop()
        self._limiter = Limiter(settings)
        self._fresh: collections.deque[_Ticket] = collections.deque()
        self._again: list[tuple[float, str, _Ticket]] = []  # a heap by the time of the next attempt
        self._reserved = 0.0  # USD, of what is in flight
        self._halted: BaseException | None = None
        self._wake = asyncio.Event()
        self._last_answer = self._loop.time()
        self._lost_in_a_row = 0
        self._called_bad = 0  # requests that the endpoint called bad

    def count(self, request: ChatRequest, key: str, response: ChatResponse) -> None:
        """Enter what settles a request, at the cost that `ChatRequest.usd_of` finds."""
        self.answers[key] = response
        self.tally.usd += request.usd_of(response, self._settings.price)
        if response.error:
            self.tally.failed[response.error] += 1
        else:
            self.tally.answered += 1

    async def run(self, model: Endpoint, tickets: list[_Ticket]) -> None:
        self._model = model
        self._fresh.extend(tickets)
        with halt_on_signals(self._halt):
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    next_at = self._send(group)
                    self._limiter.full = self.tally.in_flight >= self._limiter.window
                    if not self.tally.in_flight and (self._halted or not (self._fresh or self._again)):
                        break
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(next_at):
                            await self._wake.wait()
        if self._halted:
            raise self._halted

    def _send(self, group: asyncio.TaskGroup) -> float | None:
        """Send all that may go now. Returns when more may go if nothing happens before, None if never."""
        while not self._halted and self.tally.in_flight < self._limiter.window:
            now = self._loop.time()
            due = bool(self._again) and self._again[0][0] <= now
            if not due and not self._fresh:
                return self._again[0][0] if self._again else None
            if self._limiter.opens_at > now:
                return self._limiter.opens_at
            ticket = self._again[0][2] if due else self._fresh[0]
            bound = ticket.request.usd_bound(self._settings.price)
            if not self._affordable(bound):
                return None
            if due:
                heapq.heappop(self._again)
            else:
                self._fresh.popleft()
            self._limiter.sent(now, ticket.request.tokens_guess)
            self.tally.in_flight += 1
            self._reserved += bound
            group.create_task(self._attempt(ticket, sent_at=now, bound=bound))
        return None

    def _affordable(self, bound: float) -> bool:
        """Whether a request of at most `bound` USD fits. When none will ever fit, the run halts."""
        budget, tally = self._settings.budget_usd, self.tally
        if budget is None or tally.usd + self._reserved + bound <= budget:
            return True
        if not tally.in_flight:
            left = len(self._fresh) + len(self._again)
            rest = left * (tally.usd / tally.answered if tally.answered else bound)
            about = "about" if tally.answered else "at most"
            self._halt(
                EndpointError(
                    f"{self._model.where}: the budget of {dollars(budget)} holds no further request "
                    f"({dollars(tally.usd)} spent, {left:,} of {tally.total:,} requests left)",
                    fix=f"raise `budget` by {about} {dollars(rest)} and run again; what is answered is kept",
                )
            )
        return False

    async def _attempt(self, ticket: _Ticket, *, sent_at: float, bound: float) -> None:
        settled: ChatResponse | None
        try:
            try:
                settled = await self._model.complete(ticket.request)
                self._limiter.answered()
            except ChatError as error:
                settled = self._failed(ticket, error, sent_at=sent_at, bound=bound)
            if settled:
                self._last_answer, self._lost_in_a_row = self._loop.time(), 0
                kept = not settled.error or (ERRORS[settled.error].kept and self.tally.answered)
                if self._ledger is not None and kept:
                    await self._ledger.append(ticket.request, settled)
                self.count(ticket.request, ticket.key, settled)
            self._on_progress(self.tally)
        except Exception as error:  # a full disk or a bug: keep what is in flight, then raise it
            self._halt(error)
        finally:
            self.tally.in_flight -= 1
            self._reserved -= bound
            self._wake.set()

    def _failed(self, ticket: _Ticket, error: ChatError, *, sent_at: float, bound: float) -> ChatResponse | None:
        """Do what the class of `error` asks for. Returns the failure where the request gives up."""
        now, kind = self._loop.time(), ERRORS[error.error]
        if kind.action is not Action.STOP:
            self.tally.messages.setdefault(error.error, str(error))
        if kind.may_be_billed:
            self.tally.usd += bound
        if error.retry_after:
            self._limiter.pause(now + error.retry_after)
        if kind.action is Action.SLOW_DOWN:
            self._limiter.pushed_back(sent_at, now)
        if kind.action is Action.GIVE_UP:
            self._called_bad += error.error == "bad_request"
            if not self.tally.answered and self._called_bad >= _LOST_IN_A_ROW:
                self._halt(self._stopped(ticket, error))
            return ChatResponse(error=error.error)
        ticket.failures += 1
        ticket.attempts += kind.action is Action.RETRY
        lost = ticket.attempts >= self._settings.attempts
        self._lost_in_a_row += lost
        if self._hopeless(error, lost=lost):
            self._halt(self._stopped(ticket, error))
        elif lost:
            self.count(ticket.request, ticket.key, ChatResponse(error=error.error))
        else:
            self.tally.retried[error.error] += 1
            wait = random.uniform(0, _BACKOFF_S * 2 ** min(ticket.failures - 1, _DOUBLINGS))
            heapq.heappush(self._again, (now + wait, ticket.key, ticket))
        return None

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
        self._wake.set()

    def _stopped(self, ticket: _Ticket, error: ChatError) -> EndpointError:
        fix = ERRORS[error.error].fix.format(key=self._settings.api_key_env)
        return EndpointError(
            f"{self._model.where}, model {ticket.request.model}: {error.error}: {error}",
            fix=f"{fix}, then run again; {self.tally.answered:,} of {self.tally.total:,} answers are kept",
        )
