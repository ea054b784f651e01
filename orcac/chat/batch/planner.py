"""Ask the requests of a run in batches: plan the batches, follow them to their end, and decide what comes next."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path

import numpy as np

from orcac.chat.batch import files
from orcac.chat.batch.attempts import Attempts, Mask
from orcac.chat.batch.draft import BatchDraft, estimate_tokens
from orcac.chat.batch.files import Batch, read_batches
from orcac.chat.batch.provider import Providers
from orcac.chat.batch.steps import Outcome, Steps, hold_lease
from orcac.chat.batch.tuning import DEFAULT_TUNING, Tuning
from orcac.chat.failures import ERRORS, Action, fix_of
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.ledger.keys import Keys, isin, pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.limits.bounds import CostBounds
from orcac.chat.limits.budget import Budget, to_micro_usd
from orcac.chat.messages import ChatRequest
from orcac.chat.settings import EndpointSettings
from orcac.chat.tally import Tally
from orcac.errors import EndpointError, OrcacError
from orcac.text import dollars

_BLOCK = 1000  # requests that are looked up together


async def ask_in_batches(
    requests: Callable[[], Iterator[ChatRequest]],
    *,
    settings: EndpointSettings,
    answers: Path,
    budget: Budget | None = None,
    on_progress: Callable[[Tally, str], None] = lambda tally, note: None,
    on_event: Callable[[str], None] = lambda text: None,
    tuning: Tuning = DEFAULT_TUNING,
) -> Tally:
    """Ask `requests` in batches and put the answers into the ledger at `answers`.

    Each call of `requests` must yield the same requests; it is called several times. With `mode: auto` each request
    goes into one batch at most, in all calls together. Batches that claim one of the requests are followed to their
    end, even if all requests are answered already. `budget` is that of `settings`; it is not entered.
    `on_progress` gets the tally and a note on the batches that run; `on_event` gets a line about each event of a batch.

    Returns the tally, with the class of failure of each request that is left.
    Raises EndpointError if a person must act first, if the budget is reached, and on SIGINT and SIGTERM. These two wait
    for nothing: the batches keep running, and the same call finds them. Raises StoreError as the ledger does.
    """
    async with AsyncExitStack() as stack:
        steps = Steps(answers, settings, Providers(stack), on_event, tuning)
        batch_run = _BatchRun(requests, settings, answers, budget, on_progress, on_event, steps, tuning)
        task, stopped = asyncio.current_task(), list[BaseException]()
        assert task is not None

        def stop(reason: BaseException) -> None:
            stopped.append(reason)
            task.cancel()

        with halt_on_signals(stop):
            try:
                return await batch_run.run()
            except asyncio.CancelledError:
                if not stopped:
                    raise
                task.uncancel()
        signal = str(stopped[0]).partition(";")[0]
        raise EndpointError(
            f"{signal}: {batch_run.describe_running() or 'no batch is at the provider'}",
            fix="run the same command again: it finds the running batches and takes in their answers",
        )


class _BatchRun:
    """The state of one call of `ask_in_batches`."""

    def __init__(
        self,
        requests: Callable[[], Iterator[ChatRequest]],
        settings: EndpointSettings,
        answers: Path,
        budget: Budget | None,
        on_progress: Callable[[Tally, str], None],
        on_event: Callable[[str], None],
        steps: Steps,
        tuning: Tuning,
    ) -> None:
        self._requests, self._settings, self._answers = requests, settings, answers
        self._bounds = CostBounds(settings.price)
        self._budget, self._on_progress, self._on_event = budget, on_progress, on_event
        self._steps, self._tuning = steps, tuning
        self._attempts = Attempts((request.key for request in requests()), settings)
        self._claims: dict[str, Keys] = {}  # by the id of a batch
        self.tally = Tally(total=len(self._attempts))
        self._billed = 0.0  # USD, the most that was billed for results that are not answers
        self._queue_tokens = float("inf")  # the limit of the account's queue, as far as it is known
        self._queue_full_since = 0.0  # monotonic seconds; 0: the queue is not full
        self._held_back = (
            0  # requests for which the budget or the queue has no room yet, or that wait for a first batch
        )
        self._over_budget = False  # it is the budget that has no room
        self._next_bound = 0.0  # USD, the most that the first request held back can cost
        if settings.mode == "auto":  # an earlier run that was stopped has asked some requests already
            for batch in (batch for batch in read_batches(answers) if batch.settled):
                self._add_unanswered(batch.id)
        self._cancelled = {batch.id for batch in read_batches(answers) if batch.status in ("cancelled", "cancelling")}

    async def run(self) -> Tally:
        """Plan batches and follow them, until no request is left that a batch may answer. Returns the tally."""
        tasks: dict[str, asyncio.Task[Outcome | None]] = {}
        problems: list[OrcacError] = []
        try:
            while True:
                for id in await self._plan(under_way=bool(tasks)):
                    if id not in tasks:
                        tasks[id] = asyncio.create_task(self._steps.run_to_end(id))
                if not tasks:
                    break
                gained = 0
                while tasks:
                    self._show_progress()
                    ended, _ = await asyncio.wait(
                        tasks.values(), timeout=self._tuning.progress_s, return_when=asyncio.FIRST_COMPLETED
                    )
                    room = False
                    for id in [id for id, task in tasks.items() if task in ended]:
                        try:
                            outcome = tasks.pop(id).result()
                            gained += self._add_outcome(id, outcome)
                            room |= not (outcome and outcome.ended.found_queue_full)
                        except OrcacError as problem:  # the answers of the other batches are still worth waiting for
                            problems.append(problem)
                            self._on_event(problem.message)
                    if room and self._held_back and not problems:
                        break
                if problems and not tasks:
                    raise problems[0]
                if gained:
                    self._queue_full_since = 0.0
                elif not tasks:
                    await self._wait_for_room()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        self._tally_failures()
        return self.tally

    def _add_unanswered(self, id: str) -> None:
        """Record the requests that a settled batch left unanswered."""
        self._attempts.add_failures(files.read_unanswered(self._answers / "batches" / id), "not_answered")
        self.tally.messages.setdefault("not_answered", "a batch ended without an answer to it")

    def _tally_failures(self) -> None:
        """Add the requests that no batch answered to the tally, as failures."""
        tally = self.tally
        for key, error in self._attempts.failures():
            name = error if ERRORS[error].action is Action.GIVE_UP else "not_answered"
            if name != error:
                tally.messages.setdefault(name, f"{error}: {tally.messages[error]}")
            tally.failed[name] += 1
            tally.failures[key] = name

    def describe_running(self) -> str:
        """Return the progress of all batches at the provider, e.g. `2 batches running, 1,234 of 2,000 requests done`.

        Returns "" if no batch is there.
        """
        sent = [batch for batch in self._steps.unsettled.values() if batch.provider_id]
        if not sent:
            return ""
        done, total = sum(batch.done for batch in sent), sum(batch.requests for batch in sent)
        return f"{len(sent)} batch{'' if len(sent) == 1 else 'es'} running, {done:,} of {total:,} requests done"

    def _show_progress(self) -> None:
        self.tally.in_flight = sum(batch.requests for batch in self._steps.unsettled.values())
        self._on_progress(self.tally, self.describe_running())

    # --- planning ----------------------------------------------------------------------------------------------------

    async def _plan(self, *, under_way: bool) -> list[str]:
        """Plan batches of the requests that are neither answered nor claimed, as far as budget and queue have room.

        Returns the ids of these batches, of those that claim a request of this run and, if the budget has no more
        room, of those that may give some of it back. Raises EndpointError if the budget has no room for any request
        and no batch is under way.
        """
        root = self._answers / "batches"
        root.mkdir(parents=True, exist_ok=True)
        async with hold_lease(root):
            for folder in root.iterdir():  # a planner that was killed left it, and nothing of it was sent
                if folder.is_dir() and not (folder / "batch.json").exists():
                    shutil.rmtree(folder)
            recorded = read_batches(self._answers)
            live = {batch.id: batch for batch in recorded if not batch.settled}
            claimed, needed = np.zeros(len(self._attempts), bool), list[Batch]()
            for id, batch in live.items():
                if id not in self._claims:
                    self._claims[id] = files.read_keys(root / id)
                    await asyncio.sleep(0)  # let a waiting signal be handled
                mine = isin(self._attempts.keys, self._claims[id])
                claimed |= mine
                needed += [batch] if mine.any() else []
            async with Ledger(self._answers, self._attempts.keys) as ledger:
                settled = await self._update_tally(ledger)
            wanted = self._attempts.may_be_batched() & ~settled & ~claimed
            planned = await self._write_batches(root, wanted, needed, recorded)
            if self._over_budget:  # batches of other runs may give back a part of the same budget
                same = (batch for batch in live.values() if batch.budget_usd is not None)
                needed += [batch for batch in same if batch.budget == self._settings.budget_name]
        if self._held_back and not (needed or planned or under_way):
            raise self._budget_error()
        return list(dict.fromkeys(batch.id for batch in (*needed, *planned)))

    async def _distinct_requests(self) -> AsyncIterator[tuple[int, ChatRequest]]:
        """Yield the first request of each key, with the place of the key in `Attempts.keys`."""
        seen, requests = np.zeros(len(self._attempts), bool), self._requests()
        while block := list(islice(requests, _BLOCK)):
            await asyncio.sleep(0)  # let a waiting signal be handled
            keys = np.array([bytes.fromhex(request.key) for request in block], "S16")
            for place, request in zip(np.searchsorted(self._attempts.keys, keys).tolist(), block, strict=True):
                if not seen[place]:
                    seen[place] = True
                    yield place, request

    async def _update_tally(self, ledger: Ledger) -> Mask:
        """Count the answers in the ledger anew. Returns a mask of the requests that have one."""
        tally = Tally(total=len(self._attempts), messages=self.tally.messages)
        settled = np.zeros(len(self._attempts), bool)
        async for place, request in self._distinct_requests():
            if answer := ledger.get_outcome(request):
                settled[place] = True
                tally.count(request, answer, self._settings.price)
                if self._budget and (message := self._bounds.learn(request, answer)):
                    tally.messages.setdefault("usage", message)
        self._attempts.clear_failures(settled)
        tally.usd += self._billed
        self.tally = tally
        return settled

    async def _write_batches(self, root: Path, wanted: Mask, needed: list[Batch], recorded: list[Batch]) -> list[Batch]:
        """Write batches of the `wanted` requests under `root`, in order, and claim their cost from the budget.

        `needed` are the live batches that claim a request of this run, `recorded` are all batches on record. Requests
        for which the budget or the queue has no room are counted in `_held_back`, and so are all but a few until the
        first answers show how the server counts tokens. Returns the new batches.
        """
        settings, draft, planned = self._settings, None, list[Batch]()
        left = to_micro_usd(self._budget.left()) if self._budget else 0
        tokens = sum(batch.tokens for batch in needed)
        self._held_back, self._over_budget, taken = 0, False, 0
        most = self._limit_first_batch(needed, recorded) if self._budget else len(self._attempts)

        def finish(draft: BatchDraft | None) -> None:
            if draft is None:
                return
            batch = draft.finish()
            if self._steps.claim_budget(batch):
                planned.append(batch)
                self._claims[batch.id] = files.read_keys(root / batch.id)
            else:  # another job that asks online has reserved the rest of the budget since
                files.delete_unsent(root / batch.id)
                self._over_budget, self._held_back = True, self._held_back + batch.requests

        async for place, request in self._distinct_requests():
            if not wanted[place]:
                continue
            bound, more = to_micro_usd(self._bounds.usd(request) * settings.price.batch), estimate_tokens(request)
            over_budget = self._budget is not None and bound > left
            if taken >= most or over_budget or (tokens > 0 and tokens + more > self._queue_tokens):
                self._over_budget, self._held_back = over_budget, int(wanted.sum()) - taken
                self._next_bound = bound / 1e6
                break
            left, tokens, taken = left - bound, tokens + more, taken + 1
            if draft is None or not draft.add(request, bound=bound):
                finish(draft)
                draft = BatchDraft(root, settings, request.model, recorded, self._tuning)
                draft.add(request, bound=bound)
        if draft and self._over_budget and taken < self._tuning.min_share * self.tally.total:
            draft.discard()
            self._held_back += taken
            return planned
        finish(draft)
        if planned and self._over_budget:
            self._on_event(
                f"the budget has room for {taken:,} requests at the most that they can cost; the other "
                f"{self._held_back:,} wait for the part that these do not use"
            )
        elif planned and taken == most and self._held_back:
            self._on_event(
                f"the first batch has {taken:,} requests; the other {self._held_back:,} wait for it, since its answers "
                "show how many tokens the server bills"
            )
        return planned

    def _limit_first_batch(self, needed: list[Batch], recorded: list[Batch]) -> int:
        """Return the most requests that may be sent now under a budget, and set the bounds by the `recorded` batches.

        While no answer has shown how the server counts tokens, that is a small batch, and none besides the `needed`
        ones that are live.
        """
        if (first := next(self._requests(), None)) is None:
            return 0
        for batch in files.find_same(recorded, self._settings, first.model):
            if batch.settled and batch.answered:
                self._bounds.learn_excess(input_tokens=batch.input_excess, output_tokens=batch.output_excess)
        if self._bounds.is_known:
            return len(self._attempts)
        share = int(self._tuning.min_share * len(self._attempts))
        return 0 if needed else max(share, self._tuning.first_requests)

    def _budget_error(self) -> EndpointError:
        """Return the error for a budget that has no room for any further batch."""
        assert self._budget
        tally = self.tally
        each = tally.usd / tally.answered if tally.answered else 0.0
        need = f" by about {dollars(each * self._held_back)}" if each else ""
        return EndpointError(
            f"the budget of {dollars(self._budget.usd)} holds no further batch ({dollars(self._budget.spent())} spent, "
            f"{self._held_back:,} of {tally.total:,} requests left, each at most {dollars(self._next_bound)})",
            fix=f"raise `budget`{need} for these (`orcac cost` shows the cost of all that is left) and run again; "
            "the answers so far are kept",
        )

    # --- outcomes ----------------------------------------------------------------------------------------------------

    def _add_outcome(self, id: str, outcome: Outcome | None) -> int:
        """Record the outcome of a batch. Returns the number of requests that it settled.

        Raises EndpointError if a person must act first.
        """
        if outcome is None:  # another process settled it; the next look at the ledger finds its answers
            self._add_unanswered(id)
            return 1
        batch, ended, misses, billed = outcome
        if ended.found_queue_full:
            self._limit_queue(batch, ended.message)
            return 0
        self._billed += billed
        left = {key: miss for key, miss in misses.items() if not miss.refused}  # the others go into the next batch
        for key, miss in left.items():
            if self._attempts.add_failures(pack_keys([key]), miss.error):
                self.tally.messages.setdefault(miss.error, miss.message)
        if ended.status == "failed" and left:
            raise EndpointError(
                f"{batch.title} failed: {ended.code}: {ended.message}",
                fix="remove the cause that the message names, then run again",
            )
        for miss in left.values():
            if ERRORS[miss.error].action is Action.STOP and self._settings.mode == "batch":
                fix = fix_of(miss.error, key=batch.api_key_env, setting=miss.setting)
                if miss.setting and self._settings.may_omit:
                    fix = f"set `mode: auto`, so that the model is asked online without `{miss.setting}`"
                raise EndpointError(f"{batch.title}: {miss.error}: {miss.message}", fix=f"{fix}, then run again")
        if ended.status == "cancelled" and left and batch.id not in self._cancelled:
            raise EndpointError(
                f"{batch.title} was cancelled: {len(left):,} of its {batch.requests:,} requests have no answer",
                fix="run again to ask them; the answers so far are kept",
            )
        return batch.requests - len(left)

    def _limit_queue(self, batch: Batch, message: str) -> None:
        """Lower the limit of the account's queue after the provider had no room in it for `batch`.

        The message may name the limit; otherwise the batches that run now are taken to fill the queue. If none runs and
        `batch` may be too large by itself, the limit becomes half of its size.
        """
        running = sum(other.tokens for other in self._steps.unsettled.values() if other.provider_id)
        in_message = re.search(r"[Ll]imit: ([\d,]*\d)", message)
        limit = int(in_message[1].replace(",", "")) if in_message else running
        if not running and limit <= batch.tokens * 4:  # the provider may count tokens in another way than we do
            self._queue_tokens = min(limit or batch.tokens, batch.tokens, self._queue_tokens) // 2
        else:
            self._queue_tokens = limit
        self._queue_full_since = self._queue_full_since or time.monotonic()
        self._held_back += batch.requests

    async def _wait_for_room(self) -> None:
        """Wait for room in a full queue when no batch runs and the last ones settled no request.

        Raises EndpointError if the queue was full for too long, or if the last batches left requests unanswered.
        """
        if self._queue_full_since:
            if time.monotonic() - self._queue_full_since > self._tuning.queue_patience_s:
                raise EndpointError(
                    "no batch finds room in the account's queue of tokens",
                    fix="wait until other batches of the account have ended, then run again",
                )
            self._on_event("the account's queue of batches is full; waiting for room")
            await asyncio.sleep(self._tuning.queue_retry_s)
        elif left := self._attempts.count_unanswered():
            raise EndpointError(
                f"the last batches brought no answer: {left:,} of {self.tally.total:,} requests are left "
                f"({self.tally.messages['not_answered']})",
                fix="run again for another try, or set `mode: auto` so that these are asked online",
            )
