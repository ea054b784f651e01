"""The Batch API: requests go as files, are answered within a day, and cost about half.

What is sent is written down before it is sent, so that no kill can make a request go twice. A batch is a folder
under `answers/batches/`:

    requests.jsonl   what it asks, a line each; its `custom_id` at the provider is the number of the line, from 0
    batch.json       the record (`Batch`): who is asked, how far it is, what it costs at most; replaced atomically
    output.jsonl, errors.jsonl   what the provider answered, while it is taken into the ledger

The folder is all that has to be known: any process may send, poll and take in any batch, each step under a lease.

- **A live batch is a claim on its questions.** Whoever wants one of them, of whatever experiment, waits for that batch.
  Planning happens under one lease, with the ledger read anew, so two runs never claim the same question.
- **Before `create` is sent its time is on disk.** Where its answer was not heard, the provider's list is searched for
  our id, which stands in the batch's metadata (or for its file), until `_SETTLE_S` later; only then is it sent again.
  An upload costs nothing: one whose answer was not heard is made again.
- **Output and error files of every ended batch are read**, completed, expired, cancelled or failed. Taking in is
  idempotent: what the ledger has is not added again. Requests and answers are dropped only when all of it is durable.
- **A batch that the provider no longer knows, or whose file is gone, keeps its claim**, since a wrong key looks the
  same. It stops the run with a message, until `orcac batches cancel` gives it up.
- **Batches that the provider fails because too many tokens wait** (`token_limit_exceeded`) are cut to the limit that
  it names, or to half, and sent again when others have ended.

A request that a batch did not answer goes into another, `attempts` times; with `mode: auto` it is asked online
instead. One whose model refuses a parameter that need not be sent, or has another name for it, goes into another
without it, in either mode; the record of the batch keeps what was refused, so that no later one sends it.

What a batch can cost is held in the budget, under the batch's id, after its record is written and before it is sent,
and is released when its answers are in the ledger, by whoever takes them in. So a batch whose job has died is counted
once, and in full. The record keeps the price and the budget that it was planned with.

Requests are gone through several times and never held. What is known of each is an entry of some bytes.

This module plans and decides. `batch_steps` sees one batch through, `batch_files` knows the disk, `batch_provider` the
wire, `batch_results` the answers.
"""

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
import numpy.typing as npt

from orcac.chat.batch import files as files
from orcac.chat.batch.files import Batch, Shard, batches
from orcac.chat.batch.provider import Providers
from orcac.chat.batch.steps import Outcome, Steps, alone
from orcac.chat.engine import Tally
from orcac.chat.failures import ERRORS, Action
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.ledger.keys import Keys, compact_keys, isin, pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import FAILURES
from orcac.chat.limits.budget import Budget, to_micro_usd
from orcac.chat.messages import ChatRequest
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError, OrcacError
from orcac.text import dollars

_SHOW_S = 1.0  # between two updates of the progress
_QUEUE_S, _QUEUE_WAIT_S = 24 * 3600.0, 300.0  # how long a batch may find no room in the account's queue; between tries
_BLOCK = 1000  # requests that are looked at together
_WORTH = 0.01  # of all requests: where the budget has room for fewer, no batch is worth its day

Mask = npt.NDArray[np.bool_]


async def ask_in_batches(
    requests: Callable[[], Iterator[ChatRequest]],
    *,
    settings: EndpointSettings,
    answers: Path,
    budget: Budget | None = None,
    on_progress: Callable[[Tally, str], None] = lambda tally, note: None,
    say: Callable[[str], None] = lambda text: None,
) -> Tally:
    """Put into the ledger at `answers` what batches answer of `requests`, which are gone through several times.

    Returns the tally, with the class of failure of all that is left. With `mode: auto` this asks each request once,
    however often it is called. Batches that asked something of it are seen to their end, though it may all be on
    record. `budget` is that of `settings`; it is not entered.
    `on_progress` gets the tally and a note on what waits; `say` gets a line for whatever happens to a batch.

    Raises EndpointError when a person must mend something, when the budget is reached, and on SIGINT and SIGTERM,
    which wait for nothing: the batches go on, and the same call finds them. Raises StoreError as the ledger does.
    """
    async with AsyncExitStack() as stack:
        asking = _Asking(requests, settings, answers, budget, on_progress, say, Providers(stack))
        task, stopped = asyncio.current_task(), list[BaseException]()
        assert task is not None

        def stop(reason: BaseException) -> None:
            stopped.append(reason)
            task.cancel()

        with halt_on_signals(stop):
            try:
                return await asking.run()
            except asyncio.CancelledError:
                if not stopped:
                    raise
                task.uncancel()
        why = str(stopped[0]).partition(";")[0]
        raise EndpointError(
            f"{why}: {asking.note() or 'no batch is at the provider'}",
            fix="run the same command again: it finds the batches that go on, and takes in what they answer",
        )


class _Asking:
    """The state of one `ask_in_batches`."""

    def __init__(
        self,
        requests: Callable[[], Iterator[ChatRequest]],
        settings: EndpointSettings,
        answers: Path,
        budget: Budget | None,
        on_progress: Callable[[Tally, str], None],
        say: Callable[[str], None],
        providers: Providers,
    ) -> None:
        self._requests, self._settings, self._answers = requests, settings, answers
        self._budget, self._on_progress, self._say = budget, on_progress, say
        self._steps = Steps(answers, settings, providers, say)
        self._keys = pack_keys(request.key for request in requests())
        self._error = np.zeros(len(self._keys), "u1")  # in FAILURES: why batches did not answer it; 0 where none has
        self._times = np.zeros(len(self._keys), "u4")  # that they did not
        self._tries = np.array([_tries(error, settings.attempts) for error in FAILURES])  # in batches
        self._claims: dict[str, Keys] = {}  # by the id of a batch
        self.tally = Tally(total=len(self._keys))
        self._billed = 0.0  # USD, at most, of answers that came and made no sense
        self._queue_tokens = float("inf")  # what the account's queue holds, as far as it is known
        self._queue_full = 0.0  # since when (monotonic)
        self._held_back = 0  # requests that the budget or the queue has no room for yet
        self._over_budget = False  # it was the budget
        self._next_bound = 0.0  # USD, of the first of them
        if settings.mode == "auto":  # a run that was stopped has asked some of it already
            for batch in (batch for batch in batches(answers) if batch.settled):
                self._note_left(batch.id)
        self._cancelled = {batch.id for batch in batches(answers) if batch.status in ("cancelled", "cancelling")}

    async def run(self) -> Tally:
        tasks: dict[str, asyncio.Task[Outcome | None]] = {}
        problems: list[OrcacError] = []
        try:
            while True:
                for id in await self._plan(under_way=bool(tasks)):
                    if id not in tasks:
                        tasks[id] = asyncio.create_task(self._steps.see_through(id))
                if not tasks:
                    break
                gained = 0
                while tasks:
                    self._show()
                    ended, _ = await asyncio.wait(tasks.values(), timeout=_SHOW_S, return_when=asyncio.FIRST_COMPLETED)
                    room = False
                    for id in [id for id, task in tasks.items() if task in ended]:
                        try:
                            outcome = tasks.pop(id).result()
                            gained += self._ended(id, outcome)
                            room |= not (outcome and outcome.verdict.queue_full)
                        except OrcacError as problem:  # the others' answers are not lost for it
                            problems.append(problem)
                            self._say(problem.message)
                    if room and self._held_back and not problems:
                        break
                if problems and not tasks:
                    raise problems[0]
                if gained:
                    self._queue_full = 0.0
                elif not tasks:
                    await self._nothing_gained()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        self._fail()
        return self.tally

    def _note_left(self, id: str) -> None:
        """Take note of what a batch that is settled has left."""
        mine = isin(self._keys, files.left(self._answers / "batches" / id))
        self._error[mine] = FAILURES.index("not_answered")
        self._times[mine] += 1
        self.tally.messages.setdefault("not_answered", "a batch that ended left it")

    def _fail(self) -> None:
        """Enter what no batch answered as failures."""
        tally, keys = self.tally, self._keys.view("u1").reshape(-1, 16)
        for place in np.flatnonzero(self._error).tolist():
            error = why = FAILURES[self._error[place]]
            if ERRORS[why].action is not Action.GIVE_UP:
                error = "not_answered"
                tally.messages.setdefault(error, f"{why}: {tally.messages[why]}")
            tally.failed[error] += 1
            tally.failures[keys[place].tobytes().hex()] = error

    def note(self) -> str:
        """What waits, for people: `2 batches go on, 1,234 of 2,000 requests done`."""
        sent = [batch for batch in self._steps.seen.values() if batch.provider_id]
        if not sent:
            return ""
        done, asked = sum(batch.done for batch in sent), sum(batch.requests for batch in sent)
        what = "1 batch goes on" if len(sent) == 1 else f"{len(sent)} batches go on"
        return f"{what}, {done:,} of {asked:,} requests done"

    def _show(self) -> None:
        self.tally.in_flight = sum(batch.requests for batch in self._steps.seen.values())
        self._on_progress(self.tally, self.note())

    # --- planning ----------------------------------------------------------------------------------------------------

    async def _plan(self, *, under_way: bool) -> list[str]:
        """Write down batches for all that is not answered, not claimed, and that budget and queue have room for.

        Returns the ids of these, and of the batches that claim something wanted or hold what is left of the budget.
        Raises EndpointError where the budget holds no further request and nothing is under way.
        """
        root = self._answers / "batches"
        root.mkdir(parents=True, exist_ok=True)
        async with alone(root):
            for folder in root.iterdir():  # left by a planner that was killed: nobody was asked
                if folder.is_dir() and not (folder / "batch.json").exists():
                    shutil.rmtree(folder)
            known = batches(self._answers)
            live = {batch.id: batch for batch in known if not batch.settled}
            claimed, needed = np.zeros(len(self._keys), bool), list[Batch]()
            for id, batch in live.items():
                if id not in self._claims:
                    self._claims[id] = files.keys(root / id)
                    await asyncio.sleep(0)  # a signal may be waiting
                mine = isin(self._keys, self._claims[id])
                claimed |= mine
                needed += [batch] if mine.any() else []
            async with Ledger(self._answers, self._keys) as ledger:
                settled = await self._count(ledger)
            planned = await self._cut(root, self._may_be_asked() & ~settled & ~claimed, needed, known)
            if self._over_budget:  # what others hold of it may come back
                same = (batch for batch in live.values() if batch.budget_usd is not None)
                needed += [batch for batch in same if batch.budget == self._settings.budget_name]
        if self._held_back and not (needed or planned or under_way):
            raise self._spent()
        return list(dict.fromkeys(batch.id for batch in (*needed, *planned)))

    async def _each(self) -> AsyncIterator[tuple[int, ChatRequest]]:
        """The first request of each key, with the place of its key."""
        seen, requests = np.zeros(len(self._keys), bool), self._requests()
        while block := list(islice(requests, _BLOCK)):
            await asyncio.sleep(0)  # a signal may be waiting
            keys = np.array([bytes.fromhex(request.key) for request in block], "S16")
            for place, request in zip(np.searchsorted(self._keys, keys).tolist(), block, strict=True):
                if not seen[place]:
                    seen[place] = True
                    yield place, request

    async def _count(self, ledger: Ledger) -> Mask:
        """Bring the tally up to the ledger. Returns which keys it answers."""
        tally = Tally(total=len(self._keys), messages=self.tally.messages)
        settled = np.zeros(len(self._keys), bool)
        async for place, request in self._each():
            if answer := ledger.get_outcome(request):
                settled[place] = True
                tally.count(request, answer, self._settings.price)
        self._error[settled] = 0
        tally.usd += self._billed
        self.tally = tally
        return settled

    def _may_be_asked(self) -> Mask:
        """Which requests no batch has failed to answer, or a further one may."""
        again = self._times < self._tries[self._error]
        return (self._error == 0) | (again if self._settings.mode == "batch" else False)

    async def _cut(self, root: Path, wanted: Mask, needed: list[Batch], known: list[Batch]) -> list[Batch]:
        """Batches of the `wanted` requests, in order; what there is no room for is held back.

        `known` are all that are on record, and `needed` those that claim something wanted.
        """
        settings, shard, planned = self._settings, None, list[Batch]()
        left = to_micro_usd(self._budget.left()) if self._budget else 0
        tokens = sum(batch.tokens for batch in needed)
        self._held_back, self._over_budget, taken = 0, False, 0

        def close(shard: Shard | None) -> None:
            if shard is None:
                return
            batch = shard.close()
            if self._steps.hold(batch):
                planned.append(batch)
                self._claims[batch.id] = files.keys(root / batch.id)
            else:  # a job that asks online was faster
                files.forget(root / batch.id)
                self._over_budget, self._held_back = True, self._held_back + batch.requests

        async for place, request in self._each():
            if not wanted[place]:
                continue
            bound, more = files.bound_of(request, settings.price), files.tokens_of(request)
            over_budget = self._budget is not None and bound > left
            if over_budget or (tokens > 0 and tokens + more > self._queue_tokens):
                self._over_budget, self._held_back = over_budget, int(wanted.sum()) - taken
                self._next_bound = bound / 1e6
                break
            left, tokens, taken = left - bound, tokens + more, taken + 1
            if shard is None or not shard.add(request, bound=bound):
                close(shard)
                shard = Shard(root, settings, request.model, known)
                shard.add(request, bound=bound)
        if shard and self._over_budget and taken < _WORTH * self.tally.total:
            shard.drop()
            self._held_back += taken
            return planned
        close(shard)
        if planned and self._over_budget:
            wait = f"the other {self._held_back:,} wait for what these do not use"
            self._say(f"the budget has room for {taken:,} requests, at what they can cost at most; {wait}")
        return planned

    def _spent(self) -> EndpointError:
        assert self._budget
        tally = self.tally
        each = tally.usd / tally.answered if tally.answered else 0.0
        need = f" by about {dollars(each * self._held_back)}" if each else ""
        return EndpointError(
            f"the budget of {dollars(self._budget.usd)} holds no further batch ({dollars(self._budget.spent())} spent, "
            f"{self._held_back:,} of {tally.total:,} requests left, each at most {dollars(self._next_bound)})",
            fix=f"raise `budget`{need} for these (`orcac cost` tells what all that is left would cost) and run again; "
            "what is answered is kept",
        )

    # --- what came back ----------------------------------------------------------------------------------------------

    def _ended(self, id: str, outcome: Outcome | None) -> int:
        """Take note of what a batch brought. Returns how many requests it settled.

        Raises EndpointError where a person must mend something first.
        """
        if outcome is None:  # another process took it in: the ledger will tell the rest
            self._note_left(id)
            return 1
        batch, ended, misses, billed = outcome
        if ended.queue_full:
            self._learn_queue(batch, ended.message)
            return 0
        self._billed += billed
        left = {key: miss for key, miss in misses.items() if not miss.refused}  # the others go into the next one
        for key, miss in left.items():
            place, _ = compact_keys(pack_keys([key]), self._keys)  # one, or none where others wanted it
            self._error[place] = FAILURES.index(miss.error)
            self._times[place] += 1
            if len(place):
                self.tally.messages.setdefault(miss.error, miss.message)
        name = files.name(batch)
        if ended.status == "failed" and left:
            raise EndpointError(f"{name} failed: {ended.code}: {ended.message}", fix="mend what it names and run again")
        for miss in left.values():
            if ERRORS[miss.error].action is Action.STOP and self._settings.mode == "batch":
                fix = ERRORS[miss.error].fix.format(key=batch.api_key_env)
                raise EndpointError(f"{name}: {miss.error}: {miss.message}", fix=f"{fix}, then run again")
        if ended.status == "cancelled" and left and batch.id not in self._cancelled:
            raise EndpointError(
                f"{name} was cancelled: {len(left):,} of its {batch.requests:,} requests have no answer",
                fix="run again to ask them; what was answered is kept",
            )
        return batch.requests - len(left)

    def _learn_queue(self, batch: Batch, message: str) -> None:
        """The provider took no more tokens: wait until others have ended, or send fewer."""
        running = sum(other.tokens for other in self._steps.seen.values() if other.provider_id)
        named = re.search(r"[Ll]imit: ([\d,]*\d)", message)
        limit = int(named[1].replace(",", "")) if named else running
        if not running and limit <= batch.tokens * 4:  # our count may not be the provider's
            self._queue_tokens = min(limit or batch.tokens, batch.tokens, self._queue_tokens) // 2
        else:
            self._queue_tokens = limit
        self._queue_full = self._queue_full or time.monotonic()
        self._held_back += batch.requests

    async def _nothing_gained(self) -> None:
        """Nothing is under way, and what was brought nothing. Raises EndpointError where no more is to be expected."""
        if self._queue_full:
            if time.monotonic() - self._queue_full > _QUEUE_S:
                raise EndpointError(
                    "no batch finds room in the account's queue of tokens",
                    fix="wait for the batches of others, run again",
                )
            self._say("the account's queue of batches is full; waiting for room")
            await asyncio.sleep(_QUEUE_WAIT_S)
            return
        left = int(((self._error == FAILURES.index("not_answered")) & self._may_be_asked()).sum())
        if left:
            raise EndpointError(
                f"the last batches brought no answer: {left:,} of {self.tally.total:,} requests are left "
                f"({self.tally.messages['not_answered']})",
                fix="run again for another try, or say `mode: auto` so that these are asked online",
            )


def _tries(error: str, attempts: int) -> int:
    """How many batches may leave a request with this class of error."""
    if error == "not_answered":
        return attempts
    if not error or ERRORS[error].action not in (Action.RETRY, Action.SLOW_DOWN):
        return 0
    return min(attempts, ERRORS[error].attempts or attempts)
