"""One batch from its plan to the ledger, step by step (see batch.py).

A step that changes something is made under the batch's lease, on the record as it then is. So any number of processes
may see one batch through at once, and each goes on where another was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from orcac.chat.batch import files as files
from orcac.chat.batch import results as results
from orcac.chat.batch.files import ENDED, Batch
from orcac.chat.batch.provider import Gone, Provider, Providers
from orcac.chat.failures import ERRORS, Action, ChatError
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.limits.budget import Budget
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError, InputError
from orcac.store.lease import try_acquire
from orcac.text import dollars

_POLL_S, _POLL_MOST_S = 10.0, 60.0  # between two looks at a batch: the first, and the longest
_SETTLE_S = 60.0  # after it was sent, a batch is in the provider's list or was never made
_PATIENCE_S = 3600.0  # without word from the provider, while a batch waits there
_AT_ONCE = 500  # answers that are made durable together
_REFUSED = (Action.STOP, Action.GIVE_UP, Action.SLOW_DOWN)  # the server said no: nothing was made


class Outcome(NamedTuple):
    """What a batch that has ended brought."""

    batch: Batch
    verdict: results.Verdict
    misses: dict[str, results.Result]  # by key: the requests that nothing settles
    billed: float  # USD, at most, for those of them that may have been answered


class Steps:
    """Brings batches to their end. `seen` are those that are not settled, as they were last seen."""

    def __init__(
        self, answers: Path, settings: EndpointSettings, providers: Providers, say: Callable[[str], None]
    ) -> None:
        self._answers, self._settings, self._providers, self._say = answers, settings, providers, say
        self._uploads, self._readers = asyncio.Semaphore(2), asyncio.Semaphore(1)
        self.seen: dict[str, Batch] = {}

    async def see_through(self, id: str) -> Outcome | None:
        """Send the batch if it is not sent, wait until it ends, take in what it answered.

        None where another process took it in. Raises EndpointError where a person must mend something.
        """
        wait, tries, heard_at = _POLL_S, 0, time.monotonic()
        while True:
            batch = self.seen[id] = files.read(self._folder(id))
            try:
                if batch.settled:
                    self.seen.pop(id)
                    return None
                if batch.status in ENDED:
                    return await self.settle(id)
                if batch.provider_id:
                    await self._look(batch)
                else:
                    await self._submit(id)
                tries, heard_at = 0, time.monotonic()
                if id not in self.seen or self.seen[id].status in ENDED:
                    continue
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, _POLL_MOST_S)
            except ChatError as error:
                tries += 1
                sent = self.seen[id].provider_id
                patient = time.monotonic() - heard_at < _PATIENCE_S if sent else tries < self._settings.attempts
                if error.error == "malformed" and not patient and self.seen[id].status in ENDED:
                    raise await self._lost(id, str(error)) from None
                if ERRORS[error.error].action in (Action.STOP, Action.GIVE_UP) or not patient:
                    raise await self._stopped(self.seen[id], error) from None
                await asyncio.sleep(
                    max(error.retry_after or 0.0, random.uniform(0, min(2.0 ** min(tries, 6), _POLL_MOST_S)))
                )

    async def cancel(self, id: str) -> str:
        """Cancel a batch; take in one that has ended; give up one that was lost before and still is.

        Returns what was done, in words. Raises ChatError as the provider does, InputError where there is nothing to
        cancel, and EndpointError where the provider seems to have lost it just now.
        """
        async with self._alone(id) as batch:
            if not batch.provider_id and batch.creating_at:
                await self._recover(batch)
            if batch.settled:
                raise InputError(f"{files.name(batch)} has ended already ({batch.status})", fix="`orcac batches list`")
            if not batch.provider_id:
                self._close(batch, status="cancelled")
                return "was never sent; its requests are free"
            provider, was_lost, gone = await self._provider(batch), bool(batch.lost), ""
            try:
                answer = await provider.retrieve(batch)
                if results.status(answer) not in (*ENDED, "cancelling"):
                    answer = await provider.cancel(batch)
                self._record(batch, status=results.status(answer))
            except Gone as error:
                gone = f"the provider does not know it ({error})"
            else:
                if batch.status not in ENDED:
                    self._record(batch, lost="")
                    return (
                        f"is {batch.status}; what it has answered is taken in by the next run or `orcac batches list`"
                    )
        if not gone:
            try:
                outcome = await self.settle(id)
                took = "by another process" if outcome is None else f"{outcome.batch.answered:,} answers"
                return f"has ended ({batch.status}); it is taken in: {took}"
            except EndpointError:  # a file of it is lost
                if not was_lost:
                    raise
        elif not was_lost:
            raise await self._lost(id, gone)
        async with self._alone(id) as batch:
            self._close(batch, status="given up", usd=batch.usd_bound)
        return f"is given up; it may have cost up to {dollars(batch.usd_bound)}"

    async def catch_up(self, id: str) -> None:
        """Bring the record up to what the provider says, and take in what has ended.

        Raises ChatError, and EndpointError where it is lost.
        """
        batch = self.seen[id] = files.read(self._folder(id))
        if batch.provider_id and not batch.settled and batch.status not in ENDED:
            await self._look(batch)
        if not batch.settled and self.seen[id].status in ENDED:
            await self.settle(id)

    def hold(self, batch: Batch) -> bool:
        """Set aside in its budget what a batch can cost; False where that does not fit."""
        budget = self._budget(batch)
        return budget is None or budget.claim(f"batch-{batch.id}", batch.usd_bound)

    def _budget(self, batch: Batch) -> Budget | None:
        if batch.budget_usd is None:
            return None
        return Budget(self._answers / "budgets" / batch.budget, batch.budget_usd)

    def _folder(self, id: str) -> Path:
        return self._answers / "batches" / id

    def _provider(self, batch: Batch) -> Awaitable[Provider]:
        return self._providers.of(batch, self._settings.timeout_seconds)

    @asynccontextmanager
    async def _alone(self, id: str) -> AsyncIterator[Batch]:
        async with alone(self._folder(id)):
            self.seen[id] = files.read(self._folder(id))
            yield self.seen[id]

    def _record(self, batch: Batch, **changes: Any) -> None:
        for field, value in changes.items():
            setattr(batch, field, value)
        files.write(self._folder(batch.id), batch)

    def _close(self, batch: Batch, **changes: Any) -> None:
        """End the claim. The budget goes first, then the record: a kill between them has this done again, which
        changes no budget, while a folder whose requests are gone must not seem to be live."""
        if budget := self._budget(batch):
            budget.release(f"batch-{batch.id}", changes.get("usd", 0.0))
        self._record(batch, settled=True, **changes)
        files.drop(self._folder(batch.id))
        self.seen.pop(batch.id, None)

    async def _stopped(self, batch: Batch, error: ChatError) -> EndpointError:
        fix = ERRORS[error.error].fix.format(key=batch.api_key_env)
        goes_on = "; it goes on at the provider" if batch.provider_id else ""
        where = (await self._provider(batch)).where
        return EndpointError(
            f"{where}, {files.name(batch)}: {error.error}: {error}{goes_on}", fix=f"{fix}, then run again"
        )

    async def _lost(self, id: str, why: str) -> EndpointError:
        async with self._alone(id) as batch:
            self._record(batch, lost=why)
        where = (await self._provider(batch)).where
        return EndpointError(
            f"{where}, {files.name(batch)}, {batch.requests:,} requests, at most {dollars(batch.usd_bound)}: {why}",
            fix=f"check that {batch.api_key_env} holds a key of the project that sent it, and run again; if it is gone "
            f"for good, `orcac batches cancel {id}` gives it up, and its requests are asked again",
        )

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _submit(self, id: str) -> None:
        async with self._uploads, self._alone(id) as batch:
            if batch.provider_id or batch.settled:
                return
            if batch.creating_at and await self._recover(batch):
                return
            if not self.hold(batch):  # its planner was killed before it did
                self._close(batch, status="over budget")
                return
            provider, folder = await self._provider(batch), self._folder(id)
            if not batch.file_id:
                upload = folder / "upload.jsonl"
                with upload.open("wb") as file:
                    for number, request in enumerate(files.requests(folder)):
                        file.write(files.upload_line(batch, number, request))
                file_id = await provider.upload(upload, f"orcac-{id}.jsonl")
                self._record(batch, file_id=file_id, status="uploaded")
                upload.unlink()
            self._record(batch, creating_at=time.time())
            try:
                created = await provider.create(batch)
            except Gone as gone:
                self._record(batch, creating_at=0.0, file_id="", status="planned")
                raise ChatError("server", f"the file that was uploaded is gone ({gone})") from None
            except ChatError as error:
                if ERRORS[error.error].action in _REFUSED:
                    self._record(batch, creating_at=0.0)
                raise
            self._sent(batch, created, "submitted")

    async def _recover(self, batch: Batch) -> bool:
        """Find the batch whose `create` was sent and not answered; whether there is one. May wait `_SETTLE_S`."""
        provider = await self._provider(batch)
        while True:
            waited = time.time() - batch.creating_at
            if found := await provider.find(batch):
                self._sent(batch, found, "found again")
                return True
            if waited >= _SETTLE_S:
                self._record(batch, creating_at=0.0)
                return False
            await asyncio.sleep(min(_SETTLE_S - waited, 5.0))

    def _sent(self, batch: Batch, answer: dict[str, Any], how: str) -> None:
        self._record(batch, provider_id=str(answer["id"]), creating_at=0.0, status=results.status(answer))
        most = f", at most {dollars(batch.usd_bound)}" if batch.usd_bound else ""
        self._say(f"{files.name(batch)} {how}: {batch.requests:,} requests{most}")

    # --- waiting and taking in ---------------------------------------------------------------------------------------

    async def _look(self, batch: Batch) -> None:
        try:
            answer = await (await self._provider(batch)).retrieve(batch)
        except Gone as gone:
            raise await self._lost(batch.id, f"the provider does not know it ({gone})") from None
        counts = answer.get("request_counts") or {}
        done = int(counts.get("completed") or 0) + int(counts.get("failed") or 0)
        if (results.status(answer), done, "") != (batch.status, batch.done, batch.lost):
            async with self._alone(batch.id) as now:
                if not now.settled:
                    self._record(now, status=results.status(answer), done=done, lost="")

    async def settle(self, id: str) -> Outcome | None:
        """Take in what a batch that has ended has answered; None where another process did.

        Raises ChatError, and EndpointError where it or a file of it is lost.
        """
        async with self._readers, self._alone(id) as batch:
            if batch.settled:
                return None
            provider, folder = await self._provider(batch), self._folder(id)
            try:
                answer = await provider.retrieve(batch)
                for name, key in (("output.jsonl", "output_file_id"), ("errors.jsonl", "error_file_id")):
                    if answer.get(key) and not (folder / name).exists():
                        await provider.download(str(answer[key]), folder / name)
            except Gone as gone:
                why = f"it is gone, or a file of its results is ({gone})"
            else:
                return await self._take_in(batch, answer)
        raise await self._lost(id, why)

    async def _take_in(self, batch: Batch, answer: dict[str, Any]) -> Outcome:
        """All that the files say goes into the ledger; then the batch is settled. Doing it again adds nothing."""
        folder, price, ended = self._folder(batch.id), batch.settings.price, results.verdict(answer)
        found: dict[int, tuple[str, int]] = {}
        for name in ("output.jsonl", "errors.jsonl"):
            for number, offset in results.lines(folder / name, batch.requests):
                found.setdefault(number, (name, offset))
        completed = int((answer.get("request_counts") or {}).get("completed") or 0)
        if (whole := results.count(folder / "output.jsonl")) < min(
            completed, batch.requests
        ):  # cut on its way, unnoticed
            (folder / "output.jsonl").unlink(missing_ok=True)
            raise ChatError("malformed", f"its output file holds {whole:,} of {completed:,} answers")
        await asyncio.sleep(0)  # a signal may be waiting
        keys = files.keys(folder)
        answered, spent, billed, misses = 0, 0.0, 0.0, dict[str, results.Result]()
        async with Ledger(self._answers, keys) as ledger:
            with contextlib.ExitStack() as stack:
                opened = {
                    name: stack.enter_context((folder / name).open("rb"))
                    for name in {name for name, _ in found.values()}
                }
                appends: list[Awaitable[None]] = []
                for number, request in enumerate(files.requests(folder)):
                    if number % _AT_ONCE == 0:
                        await asyncio.gather(*appends)
                        appends.clear()
                        await asyncio.sleep(0)  # a signal may be waiting
                    if number in found:
                        name, offset = found[number]
                        result = results.read(files.line_at(opened[name], offset), request, batch.refused)
                    else:
                        result = results.missing(ended, request, batch.refused)
                    if result.error and ERRORS[result.error].may_be_billed(azure=batch.azure is not None):
                        billed += request.usd_bound(price) * price.batch
                    if result.response is None:
                        misses[request.key] = result
                        continue
                    spent += request.usd_of(result.response, price)
                    answered += not result.response.error
                    if ledger.get_outcome(request) is None:
                        appends.append(ledger.append(request, result.response))
                await asyncio.gather(*appends)
        left = [key for key, miss in misses.items() if not miss.refused]
        if left and ended.status != "failed":
            files.leave(folder, left)
        more = {miss.refused for miss in misses.values() if miss.refused}
        self._close(
            batch,
            answered=answered,
            usd=spent + billed,
            status=ended.status,
            done=len(found),
            refused=sorted({*batch.refused, *more}),
        )
        notes = [f"{answered:,} answers"]
        notes += [f"{len(misses):,} requests without one"] if misses else []
        notes += [dollars(batch.usd)] if batch.usd else []
        notes += [f"the model refuses {' and '.join(sorted(more))}: they are sent again without"] if more else []
        notes += [ended.message] if ended.message and not more else []
        self._say(f"{files.name(batch)} {batch.status}: {', '.join(notes)}")
        return Outcome(batch, ended, misses, billed)


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[None]:
    """Hold a folder alone, waiting for whoever holds it."""
    while True:
        with try_acquire(folder) as free:
            if free:
                yield
                return
        await asyncio.sleep(0.5)
