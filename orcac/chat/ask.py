"""The façade of `chat`: it gets answers to the questions of a job, whatever the role of the model.

    with Asker(questions, execution) as asker:
        tally = asker.ask()
        for response in asker.responses(): ...

Collect nodes and judges ask this way; evaluations of served models can. The steps are always the same: copy the answers
that only the upstream has, seal old logs, look the questions up in the ledger, settle or wait for batches that hold
some of them, claim the rest and ask it online within the account's limits and the budget, and read the answers back in
the order of the questions. Only the keys of the questions are held in memory; texts and answers are streams. In a store
whose ledger is closed the questions are only looked up, and one without an answer is an error.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import uvloop

from orcac.chat.batch.control import check_unclaimed
from orcac.chat.batch.files import live_ids
from orcac.chat.batch.planner import ask_in_batches
from orcac.chat.batch.tuning import DEFAULT_TUNING, Tuning
from orcac.chat.claims import Claims
from orcac.chat.display import TallyLine
from orcac.chat.endpoints.connect import connect
from orcac.chat.engine import ask as ask_online
from orcac.chat.ledger.closed import read_closed
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.order import in_order
from orcac.chat.ledger.sealing import seal
from orcac.chat.ledger.upstream import adopt
from orcac.chat.limits.account import Account, account_name
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatResponse
from orcac.chat.questions import Questions
from orcac.chat.settings import EndpointSettings
from orcac.chat.survey import Survey, survey
from orcac.chat.tally import Tally
from orcac.errors import InputError
from orcac.progress import Progress, print_line
from orcac.store.durable import refresh_listing

_YOUNG_OBJECTS = 20_000  # allocations between two runs of Python's cycle collector


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatExecution:
    """The endpoint, folders and resources with which one job asks. None of them determines an answer."""

    endpoint: EndpointSettings
    model: str
    label: str  # names the job in messages
    answers: Path  # the ledger's folder, with batches, accounts and budgets below it
    upstream: Path | None = None  # the folder of a ledger whose answers are copied, and which is only read
    work: Path  # for logs and temporary files; kept when the job is killed
    progress: Callable[[int, str], Progress]  # makes the progress line of so many items of a unit
    weights: Callable[[], Path | None] = lambda: None  # provides the folder of a model that this process loads
    threads: int = 1
    gpus: int = 0
    tuning: Tuning = DEFAULT_TUNING  # of batches


class Asker:
    """The asking of `questions` and the reading of their answers. Use as a context manager, from the main thread."""

    _runner: asyncio.Runner
    _ledger: Ledger
    _tally: Tally

    def __init__(self, questions: Questions, execution: ChatExecution) -> None:
        self._questions, self._execution = questions, execution
        self._open = AsyncExitStack()

    def __enter__(self) -> Asker:
        """Start an event loop, and keep Python's cycle collector from the objects that live as long as the process.

        A request in flight is many objects without a cycle. By default they would make the collector go through all
        loaded modules again and again, which takes a tenth to a quarter of the CPU time.
        """
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._runner:
            self._runner.run(self._open.aclose())

    def ask(self) -> Tally:
        """Ask until every question has an answer or a failure, and return the tally of both.

        A failure of this run that is not recorded is in `Tally.failures`, by the question's key. Raises EndpointError,
        StoreError and KeyboardInterrupt as `engine.ask` does; the answers received until then are in the ledger.
        """
        self._tally = self._runner.run(self._ask())
        return self._tally

    def responses(self) -> Iterator[ChatResponse]:
        """Yield the response to each question, in order, once `ask` has returned. A failed one has an `error`."""
        questions, keys = self._questions, self._questions.keys
        numbers = self._ledger.find(keys.keys, questions.max_tokens)[keys.inverse]
        failed = {n: self._tally.failures[questions.key(n)] for n in np.flatnonzero(numbers < 0).tolist()}
        del keys
        questions.forget_keys()
        for n, response in enumerate(in_order(self._ledger, numbers, self._execution.work / "join")):
            yield response or ChatResponse(error=failed[n])

    async def _ask(self) -> Tally:
        if (archive := read_closed(self._execution.answers)) is not None:
            return await self._look_up(archive)
        if self._execution.upstream:
            await self._adopt(self._execution.upstream)
        tally = await self._ask_in_batches()
        if tally:
            self._ledger = await self._open.enter_async_context(self._open_ledger())
            return tally
        with Claims(self._execution.answers / "asking", self._print_event) as claims:
            surveyed = await self._open_unclaimed(claims)
            return await self._ask_online(surveyed)

    async def _look_up(self, archive: str) -> Tally:
        """Return the tally of the recorded answers. Raises InputError if a question has none: nothing is sent."""
        self._ledger = await self._open.enter_async_context(self._open_ledger())
        known, missing, _ = survey(self._questions, self._ledger, self._execution.endpoint.price)
        if missing.any():
            raise InputError(
                f"{self._execution.label}: {missing.sum():,} of {known.total:,} questions have no answer in {archive}, "
                "and this store asks no model",
                fix="replay the spec that the archive was made of, or take a store that may ask",
            )
        self._line(known.total)(known)
        return known

    async def _open_unclaimed(self, claims: Claims) -> Survey:
        """Open the ledger and compare the questions with it, once no other job asks one that is missing.

        The ledger is read under the claim: what another job recorded before it gave its own claim up is in it.
        """
        questions, price = self._questions, self._execution.endpoint.price
        wanted, is_narrowed = questions.keys.keys, False
        while True:
            is_claimed = claims.take(wanted)
            async with AsyncExitStack() as opened:
                self._ledger = await opened.enter_async_context(self._open_ledger())
                surveyed = survey(questions, self._ledger, price)
                if is_claimed or not surveyed.missing.any():
                    self._open.push_async_exit(opened.pop_all())
                    return surveyed
            if is_narrowed:
                await claims.wait()
            wanted, is_narrowed = np.unique(questions.keys.keys[questions.keys.inverse[surveyed.missing]]), True

    async def _adopt(self, upstream: Path) -> None:
        """Copy the answers that only the upstream has into the ledger."""
        questions = self._questions
        copied, refused = await adopt(self._execution.answers, upstream, questions.keys.keys, questions.max_tokens)
        if copied:
            self._print_event(f"{copied:,} answers are taken from {upstream}")
        if refused:
            self._print_event(f"{refused:,} records of {upstream} are not those of their requests, and are not used")

    async def _ask_in_batches(self) -> Tally | None:
        """Take in the answers of batches, and send new ones if the endpoint's mode asks for it.

        Return None if the rest is to be asked online.
        """
        questions, execution, settings = self._questions, self._execution, self._execution.endpoint
        is_any_live = bool(live_ids(execution.answers))
        may_be_claimed = is_any_live and settings.kind in ("openai", "vllm")  # same keys as in batches
        if settings.mode == "online" and not may_be_claimed:
            return None
        async with self._open_ledger() as ledger:  # opened again when batches have ended
            known, missing, _ = survey(questions, ledger, settings.price)
        if settings.mode == "online":
            wanted = np.unique(questions.keys.keys[questions.keys.inverse[missing]])
            await check_unclaimed(execution.answers, wanted, on_event=self._print_event)
            return None
        # A run that was killed while it took in the last answers left a batch that still holds a part of the budget.
        if not (missing.any() or is_any_live):
            return None
        show = self._line(known.total)
        tally = await ask_in_batches(
            lambda: questions.requests(questions.first),
            settings=settings,
            answers=execution.answers,
            budget=self._budget(),
            on_progress=show,
            on_event=self._print_event,
            tuning=execution.tuning,
        )
        left = Counter(tally.failures.values())
        if settings.mode == "auto":  # they are asked online next
            tally.failed -= left
        show(tally)
        if settings.mode == "batch":
            return tally
        if left:
            self._print_event(f"{left.total():,} of {tally.total:,} requests are left by batches, and are asked online")
        return None

    async def _ask_online(self, surveyed: Survey) -> Tally:
        questions, execution, settings = self._questions, self._execution, self._execution.endpoint
        ledger, (known, missing, bounds) = self._ledger, surveyed
        show = self._line(known.total)
        if not missing.any():
            show(known)
            return known
        if settings.kind == "local":
            from orcac.chat.endpoints.local import ask as ask_local

            weights = execution.weights()
            assert weights
            return await ask_local(
                questions.requests(missing),
                weights=weights,
                label=execution.label,
                ledger=ledger,
                tally=known,
                settings=settings,
                budget=self._budget(),
                on_progress=show,
                threads=execution.threads,
                gpus=execution.gpus,
            )
        return await ask_online(
            questions.requests(missing),
            label=execution.label,
            endpoint=connect(settings, model=execution.model, work=execution.work),
            ledger=ledger,
            tally=known,
            settings=settings,
            account=self._account(),
            budget=self._budget(),
            bounds=bounds,
            on_progress=show,
        )

    def _open_ledger(self) -> Ledger:
        refresh_listing(self._execution.answers)  # the job that was waited for may have written on another host
        seal(self._execution.answers)
        return Ledger(self._execution.answers, wanted=self._questions.keys.keys)

    def _account(self) -> Account | None:
        """Return the account whose limits are shared with other jobs; a model that this job starts is its own."""
        execution = self._execution
        if execution.endpoint.kind != "openai":
            return None
        return Account(execution.answers / "accounts", account_name(execution.endpoint, execution.model))

    def _budget(self) -> Budget | None:
        settings = self._execution.endpoint
        if settings.budget_usd is None:
            return None
        return Budget(self._execution.answers / "budgets" / settings.budget_name, settings.budget_usd)

    def _line(self, total: int) -> TallyLine:
        return TallyLine(self._execution.progress(total, "answers"), self._execution.label)

    def _print_event(self, text: str) -> None:
        print_line(f"{self._execution.label}  {text}")
