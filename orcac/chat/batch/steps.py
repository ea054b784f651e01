"""The steps that take one batch from its plan to the ledger.

A step that changes a batch first takes the batch's lease, then reads its record anew. So any number of processes may
take one batch through its steps at once, and each continues where another was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from orcac.chat.batch import files, results
from orcac.chat.batch.files import ENDED, Batch
from orcac.chat.batch.provider import Gone, Provider, Providers
from orcac.chat.batch.results import RemoteBatch, Result
from orcac.chat.batch.tuning import DEFAULT_TUNING, Tuning
from orcac.chat.endpoints.body import MAX_BYTES
from orcac.chat.failures import ERRORS, Action, ChatError, fix_of
from orcac.chat.ledger.forgotten import Forgotten
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.limits.bounds import CostBounds
from orcac.chat.limits.budget import Budget
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError, InputError
from orcac.store.lease import try_acquire
from orcac.store.locks import file_system_time
from orcac.text import dollars

_AT_ONCE = 500  # answers that are made durable together
_REFUSALS = (Action.STOP, Action.GIVE_UP, Action.SLOW_DOWN)  # after such an error, the provider has created no batch


class Outcome(NamedTuple):
    """The outcome of a batch that has ended."""

    batch: Batch
    ended: RemoteBatch
    misses: dict[str, Result]  # by key, the results that do not settle their request
    billed: float  # USD, the most that was billed for them


class _StoredResults(NamedTuple):
    """The results of a batch whose answers are in the ledger."""

    answered: int
    spent: float  # USD, for the requests that are settled
    billed: float  # USD, the most that was billed for the others
    misses: dict[str, Result]
    bounds: CostBounds  # that the answers show


class Steps:
    """The steps of all batches of one run or command.

    `unsettled` holds the batches that are not settled, by id, as they were last read.
    `on_event` gets one line of text about each event.
    """

    def __init__(
        self,
        answers: Path,
        settings: EndpointSettings,
        providers: Providers,
        on_event: Callable[[str], None],
        tuning: Tuning = DEFAULT_TUNING,
    ) -> None:
        self._answers, self._settings, self._providers = answers, settings, providers
        self._on_event, self._tuning = on_event, tuning
        self._uploads, self._readers = asyncio.Semaphore(2), asyncio.Semaphore(1)
        self.unsettled: dict[str, Batch] = {}

    async def run_to_end(self, id: str) -> Outcome | None:
        """Send the batch if it is not sent, wait until it ends, and put its answers into the ledger.

        Returns None if another process has put them there. Raises EndpointError if a person must act first.
        """
        wait, tries, answered_at = self._tuning.poll_s, 0, time.monotonic()
        while True:
            batch = self.unsettled[id] = files.read_record(self._folder(id))
            try:
                if batch.settled:
                    self.unsettled.pop(id)
                    return None
                if batch.status in ENDED:
                    return await self.settle(id)
                if batch.provider_id:
                    await self._poll(batch)
                else:
                    await self._submit(id)
                tries, answered_at = 0, time.monotonic()
                if id not in self.unsettled or self.unsettled[id].status in ENDED:
                    continue
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, self._tuning.max_poll_s)
            except ChatError as error:
                tries += 1
                if self.unsettled[id].provider_id:
                    is_patient = time.monotonic() - answered_at < self._tuning.silence_s
                else:
                    is_patient = tries < self._settings.attempts
                if error.error == "malformed" and not is_patient and self.unsettled[id].status in ENDED:
                    raise await self._mark_lost(id, str(error)) from None
                if ERRORS[error.error].action in (Action.STOP, Action.GIVE_UP) or not is_patient:
                    raise await self._stop_error(self.unsettled[id], error) from None
                backoff = random.uniform(0, min(2.0 ** min(tries, 6), self._tuning.max_poll_s))
                await asyncio.sleep(max(error.retry_after or 0.0, backoff))

    async def cancel(self, id: str) -> str:
        """Cancel a batch; settle it instead if it has ended, and give it up if it is recorded as lost and still lost.

        Returns a predicate for the batch, e.g. "is cancelling; ...". Raises ChatError as the provider does, InputError
        if there is nothing to cancel, and EndpointError, after recording the loss, if the batch is lost and the record
        did not have that.
        """
        async with self._leased(id) as batch:
            if not batch.provider_id and batch.creating_at:
                await self._recover(batch)
            if batch.settled:
                raise InputError(
                    f"{batch.title} has ended already ({batch.status})",
                    fix="choose one that `orcac batches list` shows as live",
                )
            if not batch.provider_id:
                batch.status = "cancelled"
                self._close(batch)
                return "was never sent; its requests are free"
            provider, was_lost, gone = await self._provider(batch), bool(batch.lost), ""
            try:
                remote = await provider.retrieve(batch)
                if remote.status not in (*ENDED, "cancelling"):
                    remote = await provider.cancel(batch)
            except Gone as error:
                gone = f"the provider does not know it ({error})"
            else:
                batch.status, batch.lost = remote.status, batch.lost if remote.status in ENDED else ""
                self._write(batch)
                if batch.status not in ENDED:
                    return f"is {batch.status}; the next run or `orcac batches list` takes in its answers"
        if not gone:
            try:
                outcome = await self.settle(id)
                taken_in = "another process took in its answers"
                if outcome is not None:
                    taken_in = f"its answers are taken in: {outcome.batch.answered:,} answers"
                return f"has ended ({batch.status}); {taken_in}"
            except EndpointError:  # the provider has lost one of its files
                if not was_lost:
                    raise
        elif not was_lost:
            raise await self._mark_lost(id, gone)
        async with self._leased(id) as batch:
            batch.status, batch.usd = "given up", batch.usd_bound
            self._close(batch)
        return f"is given up; it may have cost up to {dollars(batch.usd_bound)}"

    async def refresh(self, id: str) -> None:
        """Bring a batch's record up to date with its provider, and settle the batch if it has ended.

        Raises ChatError if the provider does not answer, and EndpointError if the batch is lost.
        """
        batch = self.unsettled[id] = files.read_record(self._folder(id))
        if batch.provider_id and not batch.settled and batch.status not in ENDED:
            await self._poll(batch)
        if not batch.settled and self.unsettled[id].status in ENDED:
            await self.settle(id)

    def claim_budget(self, batch: Batch) -> bool:
        """Claim the most that a batch can cost from its budget. Returns False if it does not fit."""
        budget = self._budget(batch)
        return budget is None or budget.claim(f"batch-{batch.id}", batch.usd_bound)

    def _budget(self, batch: Batch) -> Budget | None:
        if batch.budget_usd is None:
            return None
        return Budget(self._answers / "budgets" / batch.budget, batch.budget_usd)

    def _folder(self, id: str) -> Path:
        return self._answers / "batches" / id

    def _provider(self, batch: Batch) -> Awaitable[Provider]:
        return self._providers.get(batch, self._settings.timeout_seconds)

    @asynccontextmanager
    async def _leased(self, id: str) -> AsyncIterator[Batch]:
        """Take and hold the batch's lease, and yield its record, read after that."""
        async with hold_lease(self._folder(id)):
            self.unsettled[id] = files.read_record(self._folder(id))
            yield self.unsettled[id]

    def _write(self, batch: Batch) -> None:
        files.write_record(self._folder(batch.id), batch)

    def _close(self, batch: Batch) -> None:
        """End the claim of a batch that has cost `batch.usd`.

        The budget comes first, then the record, then the deletion of the requests. The process that continues after a
        kill repeats the first two, which does not change the budget. In another order, a claim could stay for ever, or
        a folder without requests could look live.
        """
        if budget := self._budget(batch):
            budget.release(f"batch-{batch.id}", batch.usd)
        batch.settled = True
        self._write(batch)
        files.delete_transfers(self._folder(batch.id))
        self.unsettled.pop(batch.id, None)

    async def _stop_error(self, batch: Batch, error: ChatError) -> EndpointError:
        """Return the error that ends the run because `error` keeps `batch` from its next step."""
        label = (await self._provider(batch)).label
        fix = fix_of(error.error, key=batch.api_key_env, address=label)
        still_runs = "; it is still running at the provider" if batch.provider_id else ""
        return EndpointError(
            f"{label}, {batch.title}: {error.error}: {error}{still_runs}", fix=f"{fix}, then run again"
        )

    async def _mark_lost(self, id: str, reason: str) -> EndpointError:
        """Record that a batch is lost. Returns the error that reports it."""
        async with self._leased(id) as batch:
            batch.lost = reason
            self._write(batch)
        label = (await self._provider(batch)).label
        return EndpointError(
            f"{label}, {batch.title}, {batch.requests:,} requests, at most {dollars(batch.usd_bound)}: {reason}",
            fix=f"check that {batch.api_key_env} holds a key of the project that sent it, and run again; if it is gone "
            f"for good, `orcac batches cancel {id}` gives it up, and its requests are asked again",
        )

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _submit(self, id: str) -> None:
        """Upload a batch and create it at the provider, unless another process did so or its budget is spent."""
        async with self._uploads, self._leased(id) as batch:
            if batch.provider_id or batch.settled:
                return
            if batch.creating_at and await self._recover(batch):
                return
            if not self.claim_budget(batch):  # the process that planned it was killed before it claimed its cost
                batch.status = "over budget"
                self._close(batch)
                return
            provider = await self._provider(batch)
            if not batch.file_id:
                await self._upload(batch, provider)
            batch.creating_at = self._shared_time(id)
            self._write(batch)
            try:
                remote = await provider.create(batch)
            except Gone as gone:
                batch.creating_at, batch.file_id, batch.status = 0.0, "", "planned"
                self._write(batch)
                raise ChatError("server", f"the file that was uploaded is gone ({gone})") from None
            except ChatError as error:
                if ERRORS[error.error].action in _REFUSALS:
                    batch.creating_at = 0.0
                    self._write(batch)
                raise
            self._record_created(batch, remote, "submitted")

    async def _upload(self, batch: Batch, provider: Provider) -> None:
        folder = self._folder(batch.id)
        upload = folder / "upload.jsonl"
        with upload.open("wb") as file:
            for number, request in enumerate(files.read_requests(folder)):
                file.write(files.encode_upload_line(batch, number, request))
        batch.file_id = await provider.upload(upload, f"orcac-{batch.id}.jsonl")
        batch.status = "uploaded"
        self._write(batch)
        upload.unlink()

    async def _recover(self, batch: Batch) -> bool:
        """Look for `batch` at the provider after its `create` was sent and not answered. Returns True if it is there.

        Waits until `settle_s` after the `create`, since a new batch may not be in the provider's list at once.
        """
        provider, settle_s = await self._provider(batch), self._tuning.settle_s
        while True:
            waited = self._shared_time(batch.id) - batch.creating_at
            if found := await provider.find(batch):
                self._record_created(batch, found, "found again")
                return True
            if waited >= settle_s:
                batch.creating_at = 0.0
                self._write(batch)
                return False
            await asyncio.sleep(min(settle_s - waited, 5.0))

    def _shared_time(self, id: str) -> float:
        """Return the time in seconds since 1970 that all hosts share, by the clock of the file system."""
        return file_system_time(self._folder(id) / "lease.lock")

    def _record_created(self, batch: Batch, remote: RemoteBatch, how: str) -> None:
        batch.provider_id, batch.creating_at, batch.status = remote.id, 0.0, remote.status
        self._write(batch)
        most = f", at most {dollars(batch.usd_bound)}" if batch.usd_bound else ""
        self._on_event(f"{batch.title} {how}: {batch.requests:,} requests{most}")

    # --- waiting and settling ----------------------------------------------------------------------------------------

    async def _poll(self, batch: Batch) -> None:
        """Record the provider's progress with a batch. Raises EndpointError if the provider does not know the batch."""
        try:
            remote = await (await self._provider(batch)).retrieve(batch)
        except Gone as gone:
            raise await self._mark_lost(batch.id, f"the provider does not know it ({gone})") from None
        done = remote.completed + remote.failed
        if (remote.status, done, "") != (batch.status, batch.done, batch.lost):
            async with self._leased(batch.id) as current:
                if not current.settled:
                    current.status, current.done, current.lost = remote.status, done, ""
                    self._write(current)

    async def settle(self, id: str) -> Outcome | None:
        """Put the answers of an ended batch into the ledger and end its claim.

        Returns None if another process did so. Raises ChatError if the provider does not answer, and EndpointError if
        the batch or one of its files is lost.
        """
        async with self._readers, self._leased(id) as batch:
            if batch.settled:
                return None
            provider, folder = await self._provider(batch), self._folder(id)
            try:
                ended = await provider.retrieve(batch)
                for name, file_id in (("output.jsonl", ended.output_file_id), ("errors.jsonl", ended.error_file_id)):
                    if file_id and not (folder / name).exists():
                        await provider.download(file_id, folder / name, batch.requests * MAX_BYTES)
            except Gone as gone:
                reason = f"it is gone, or a file of its results is ({gone})"
            else:
                return await self._take_in(batch, ended)
        raise await self._mark_lost(id, reason)

    async def _take_in(self, batch: Batch, ended: RemoteBatch) -> Outcome:
        """Put all downloaded answers into the ledger and close the batch. Doing so again adds nothing."""
        folder, lines = self._folder(batch.id), dict[int, tuple[str, int]]()
        for name in ("output.jsonl", "errors.jsonl"):
            for number, offset in results.index_lines(folder / name, batch.requests):
                lines.setdefault(number, (name, offset))
        whole = results.count_whole_lines(folder / "output.jsonl")
        if whole < min(ended.completed, batch.requests):  # a download was cut off and raised no error
            (folder / "output.jsonl").unlink(missing_ok=True)
            raise ChatError("malformed", f"its output file holds {whole:,} of {ended.completed:,} answers")
        await asyncio.sleep(0)  # let a waiting signal be handled
        found = await self._store_answers(batch, ended, lines)
        unanswered = [key for key, miss in found.misses.items() if not miss.refused]
        if unanswered and ended.status != "failed":
            files.write_unanswered(folder, unanswered)
        refused = {miss.refused for miss in found.misses.values() if miss.refused}
        batch.answered, batch.usd, batch.status = found.answered, found.spent + found.billed, ended.status
        batch.done, batch.refused = len(lines), sorted({*batch.refused, *refused})
        batch.input_excess, batch.output_excess = found.bounds.input_excess, found.bounds.output_excess
        self._close(batch)
        notes = [f"{found.answered:,} answers"]
        notes += [f"{len(found.misses):,} requests without an answer"] if found.misses else []
        notes += [dollars(batch.usd)] if batch.usd else []
        notes += [f"sent again without {' and '.join(sorted(refused))}, which the model refuses"] if refused else []
        notes += [ended.message] if ended.message and not refused else []
        self._on_event(f"{batch.title} {batch.status}: {', '.join(notes)}")
        return Outcome(batch, ended, found.misses, found.billed)

    async def _store_answers(
        self, batch: Batch, ended: RemoteBatch, lines: dict[int, tuple[str, int]]
    ) -> _StoredResults:
        """Put the answers of a batch into the ledger; `lines` maps a request's number to its (file name, offset).

        An answer stays forgotten if it was forgotten after a process had put it there and before the batch was closed.
        No other record of a key is written while the batch is live, so the time of planning shows it.
        """
        forgotten = Forgotten(self._answers).keys_since(batch.planned_at)
        folder, price, is_azure = self._folder(batch.id), batch.settings.price, batch.azure is not None
        answered, spent, billed, misses, bounds = 0, 0.0, 0.0, dict[str, Result](), CostBounds(price)
        async with Ledger(self._answers, files.read_keys(folder)) as ledger:
            with contextlib.ExitStack() as stack:
                names = {name for name, _ in lines.values()}
                opened = {name: stack.enter_context((folder / name).open("rb")) for name in names}
                appends: list[Awaitable[None]] = []
                for number, request in enumerate(files.read_requests(folder)):
                    if number % _AT_ONCE == 0:
                        await asyncio.gather(*appends)
                        appends.clear()
                        await asyncio.sleep(0)  # let a waiting signal be handled
                    if number in lines:
                        name, offset = lines[number]
                        line = results.read_line(opened[name], offset)
                        result = results.parse_result(line, request, batch.refused)
                    else:
                        result = results.missing_result(ended, request, batch.refused)
                    if result.error and ERRORS[result.error].may_be_billed(azure=is_azure):
                        billed += request.usd_bound(price) * price.batch
                    if result.response is None:
                        misses[request.key] = result
                        continue
                    spent += request.usd_of(result.response, price)
                    answered += not result.response.error
                    bounds.learn(request, result.response)
                    if ledger.get_outcome(request) is None and request.key not in forgotten:
                        appends.append(ledger.append(request, result.response))
                await asyncio.gather(*appends)
        return _StoredResults(answered, spent, billed, misses, bounds)


@asynccontextmanager
async def hold_lease(folder: Path) -> AsyncIterator[None]:
    """Hold the lease of a folder; wait while another process holds it."""
    while True:
        with try_acquire(folder) as is_ours:
            if is_ours:
                yield
                return
        await asyncio.sleep(0.5)
