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
instead. The budget is reserved before a batch is planned, at the most that all its requests can cost.

This module plans and decides. `batch_steps` sees one batch through, `batch_files` knows the disk, `batch_provider` the
wire, `batch_results` the answers.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from orcac.chat import batch_files as files
from orcac.chat.batch_files import Batch, Shard, batches
from orcac.chat.batch_provider import Providers
from orcac.chat.batch_steps import Outcome, Steps, alone
from orcac.chat.engine import Tally
from orcac.chat.interrupt import halt_on_signals
from orcac.chat.ledger import Ledger
from orcac.chat.messages import ERRORS, Action, ChatError, ChatRequest, ChatResponse, dollars
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError, OrcacError

_SHOW_S = 1.0  # between two updates of the progress
_QUEUE_S, _QUEUE_WAIT_S = 24 * 3600.0, 300.0  # how long a batch may find no room in the account's queue; between tries


class Miss(NamedTuple):
    """A request that no batch has answered yet."""

    times: int
    error: str  # a class of `ERRORS`
    message: str


class Unanswered:
    """An endpoint that says of each request why no batch answered it, and asks nobody."""

    def __init__(self, misses: Mapping[str, Miss], where: str) -> None:
        self._misses, self.where = misses, where

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Raises ChatError."""
        miss = self._misses[request.key]
        if ERRORS[miss.error].action is Action.GIVE_UP:
            raise ChatError(miss.error, miss.message)
        raise ChatError("not_answered", f"{miss.error}: {miss.message}")


async def ask_in_batches(
    requests: Iterable[ChatRequest],
    *,
    settings: EndpointSettings,
    answers: Path,
    on_progress: Callable[[Tally, str], None] = lambda tally, note: None,
    say: Callable[[str], None] = lambda text: None,
) -> Unanswered:
    """Put into the ledger at `answers` what batches answer of `requests`, which are iterated several times.

    Returns an endpoint that has the reason for each of the rest. With `mode: auto` this asks each request once.
    `on_progress` gets the tally and a note on what waits; `say` gets a line for whatever happens to a batch.

    Raises EndpointError when a person must mend something, when the budget is reached, and on SIGINT and SIGTERM,
    which wait for nothing: the batches go on, and the same call finds them. Raises StoreError as the ledger does.
    """
    async with AsyncExitStack() as stack:
        asking = _Asking(requests, settings, answers, on_progress, say, Providers(stack))
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
        requests: Iterable[ChatRequest],
        settings: EndpointSettings,
        answers: Path,
        on_progress: Callable[[Tally, str], None],
        say: Callable[[str], None],
        providers: Providers,
    ) -> None:
        self._requests, self._settings, self._answers = requests, settings, answers
        self._on_progress, self._say = on_progress, say
        self._steps = Steps(answers, settings, providers, say)
        self._wanted = {request.key for request in requests}
        self._misses: dict[str, Miss] = {}
        self._tally = Tally(total=len(self._wanted))
        self._billed = 0.0  # USD, at most, of answers that came and made no sense
        self._queue_tokens = float("inf")  # what the account's queue holds, as far as it is known
        self._queue_full = 0.0  # since when (monotonic)
        self._held_back = 0  # requests that the budget or the queue has no room for yet
        self._cancelled = {batch.id for batch in batches(answers) if batch.status in ("cancelled", "cancelling")}

    async def run(self) -> Unanswered:
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
                            gained += self._ended(outcome)
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
        return Unanswered(self._misses, self._settings.base_url or "the Batch API")

    def note(self) -> str:
        """What waits, for people: `2 batches go on, 1,234 of 2,000 requests done`."""
        sent = [batch for batch in self._steps.seen.values() if batch.provider_id]
        if not sent:
            return ""
        done, asked = sum(batch.done for batch in sent), sum(batch.requests for batch in sent)
        what = "1 batch goes on" if len(sent) == 1 else f"{len(sent)} batches go on"
        return f"{what}, {done:,} of {asked:,} requests done"

    def _show(self) -> None:
        self._tally.in_flight = sum(batch.requests for batch in self._steps.seen.values())
        self._on_progress(self._tally, self.note())

    # --- planning ----------------------------------------------------------------------------------------------------

    async def _plan(self, *, under_way: bool) -> list[str]:
        """Write down batches for all that is not answered, not claimed, and that budget and queue have room for.

        Returns the ids of these, and of the batches that claim something wanted. Raises EndpointError where the budget
        holds no further request and nothing is under way.
        """
        root = self._answers / "batches"
        root.mkdir(parents=True, exist_ok=True)
        async with alone(root):
            for folder in root.iterdir():  # left by a planner that was killed: nobody was asked
                if folder.is_dir() and not (folder / "batch.json").exists():
                    shutil.rmtree(folder)
            live = {batch.id: batch for batch in batches(self._answers) if not batch.settled}
            claims: dict[str, str] = {}
            for id in live:
                claims |= {request.key: id for request in files.requests(root / id)}
                await asyncio.sleep(0)  # a signal may be waiting
            needed = [live[id] for id in sorted({id for key, id in claims.items() if key in self._wanted})]
            async with Ledger(self._answers, self._wanted) as ledger:
                fresh = await self._count(ledger, claims)
            planned = await self._cut(root, fresh, needed)
        if self._held_back and not (needed or planned or under_way):
            raise self._over_budget()
        return [batch.id for batch in (*needed, *planned)]

    async def _count(self, ledger: Ledger, claims: Mapping[str, str]) -> set[str]:
        """Bring the tally up to the ledger. Returns the keys that a batch should ask."""
        price, tally = self._settings.price, Tally(total=len(self._wanted), messages=self._tally.messages)
        seen, fresh = set[str](), set[str]()
        for number, request in enumerate(self._requests):
            if number % 1000 == 0:
                await asyncio.sleep(0)  # a signal may be waiting
            key = request.key
            if key in seen:
                continue
            seen.add(key)
            if answer := ledger.get(request):
                self._misses.pop(key, None)
                tally.usd += request.usd_of(answer, price)
                tally.answered += not answer.error
                if answer.error:
                    tally.failed[answer.error] += 1
            elif key not in claims and self._may_be_asked(key):
                fresh.add(key)
        tally.usd += self._billed
        self._tally = tally
        return fresh

    def _may_be_asked(self, key: str) -> bool:
        miss = self._misses.get(key)
        if not miss:
            return True
        again = miss.error == "not_answered" or ERRORS[miss.error].action in (Action.RETRY, Action.SLOW_DOWN)
        return again and self._settings.mode == "batch" and miss.times < self._settings.attempts

    async def _cut(self, root: Path, fresh: set[str], needed: list[Batch]) -> list[Batch]:
        """Batches of the `fresh` requests, in order; what there is no room for is held back."""
        settings, shard, planned = self._settings, None, list[Batch]()
        usd = self._tally.usd + sum(batch.usd_bound for batch in needed)
        tokens = sum(batch.tokens for batch in needed)
        self._held_back = 0
        for number, request in enumerate(self._requests):
            if number % 1000 == 0:
                await asyncio.sleep(0)
            if request.key not in fresh:
                continue
            bound = request.usd_bound(settings.price) * settings.price.batch
            over_budget = settings.budget_usd is not None and usd + bound > settings.budget_usd
            over_queue = tokens > 0 and tokens + files.tokens_of(request) > self._queue_tokens
            if over_budget or over_queue:
                self._held_back = len(fresh)
                break
            fresh.discard(request.key)
            usd, tokens = usd + bound, tokens + files.tokens_of(request)
            if shard is None or not shard.add(request, bound=bound):
                planned += [shard.close()] if shard else []
                shard = Shard(root, settings, request.model)
                shard.add(request, bound=bound)
        return [*planned, shard.close()] if shard else planned

    def _over_budget(self) -> EndpointError:
        budget, tally = self._settings.budget_usd, self._tally
        assert budget is not None
        each = tally.usd / tally.answered if tally.answered else 0.0
        need = f" by about {dollars(each * self._held_back)}" if each else ""
        return EndpointError(
            f"the budget of {dollars(budget)} holds no further batch ({dollars(tally.usd)} spent, "
            f"{self._held_back:,} of {tally.total:,} requests left)",
            fix=f"raise `budget`{need} and run again; what is answered is kept",
        )

    # --- what came back ----------------------------------------------------------------------------------------------

    def _ended(self, outcome: Outcome | None) -> int:
        """Take note of what a batch brought. Returns how many requests it settled.

        Raises EndpointError where a person must mend something first.
        """
        if outcome is None:  # another process took it in: the ledger will tell
            return 1
        batch, ended, misses, billed = outcome
        if ended.queue_full:
            self._learn_queue(batch, ended.message)
            return 0
        self._billed += billed
        for key, miss in misses.items():
            if key in self._wanted:
                times = self._misses[key].times if key in self._misses else 0
                self._misses[key] = Miss(times + 1, miss.error, miss.message)
                self._tally.messages.setdefault(miss.error, miss.message)
        name = files.name(batch)
        if ended.status == "failed":
            raise EndpointError(f"{name} failed: {ended.code}: {ended.message}", fix="mend what it names and run again")
        for miss in misses.values():
            if ERRORS[miss.error].action is Action.STOP:
                fix = ERRORS[miss.error].fix.format(key=batch.api_key_env)
                raise EndpointError(f"{name}: {miss.error}: {miss.message}", fix=f"{fix}, then run again")
        if ended.status == "cancelled" and misses and batch.id not in self._cancelled:
            raise EndpointError(
                f"{name} was cancelled: {len(misses):,} of its {batch.requests:,} requests have no answer",
                fix="run again to ask them; what was answered is kept",
            )
        return batch.requests - len(misses)

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
        left = [key for key, miss in self._misses.items() if miss.error == "not_answered" and self._may_be_asked(key)]
        if left:
            raise EndpointError(
                f"the last batches brought no answer: {len(left):,} of {self._tally.total:,} requests are left "
                f"({self._misses[left[0]].message})",
                fix="run again for another try, or say `mode: auto` so that these are asked online",
            )


async def cancel(answers: Path, id: str) -> str:
    """Cancel a batch, or give up one that the provider has lost. Returns what became of it, in words.

    Raises InputError where there is nothing to cancel, and EndpointError where the provider does not answer.
    """
    async with AsyncExitStack() as stack:
        steps = Steps(answers, EndpointSettings(kind="openai"), Providers(stack), say=lambda text: None)
        try:
            return await steps.cancel(id)
        except ChatError as error:
            raise EndpointError(f"batch {id}: {error.error}: {error}", fix="try again") from None


async def look(answers: Path) -> list[str]:
    """Bring the records of all live batches up to what their providers say. Returns what stood in the way, in words."""

    async def one(steps: Steps, id: str) -> str:
        try:
            await steps.look(id)
        except ChatError as error:
            return f"batch {id}: {error.error}: {error}"
        except OrcacError as error:
            return error.message
        return ""

    async with AsyncExitStack() as stack:
        steps = Steps(
            answers, EndpointSettings(kind="openai", timeout_seconds=10.0), Providers(stack), lambda text: None
        )
        live = [batch.id for batch in batches(answers) if not batch.settled]
        return [problem for id in live if (problem := await one(steps, id))]
