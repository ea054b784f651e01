"""The ledger: every answer that was ever received, on disk before it counts, shared by all experiments.

A folder of append-only logs in JSON Lines, and of the Parquet files into which old logs are sealed (`files` reads both,
`sealing` makes the latter). A log has one writer, so any number of processes on one file system can add answers at
once. A record holds the whole request, so it can be read, exported and given a new key without any other file.

- A record that was passed to `append` is in the log after the next `flush`, and outlives this process; once the future
  that `append` returned is done, it is durable and outlives the host. Appends during a sync share the next one and its
  future (group commit), so the cost of a sync is divided by the number of requests in flight; the appends between two
  flushes share one write.
- A request is settled by the first record of its key that serves its cap (`messages.served_caps`) and is not forgotten.
- Only records that settle a request are kept: an answer, cut off or not, or a failure of the request itself. A failure
  that can be repaired, of the server or of a setting that it rejects, is not recorded: the request is asked again.

Opening a ledger reads an index of 32 bytes a record (`index`). Texts stay on disk, also those of new answers, so memory
does not grow with their number.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from orcac.chat.failures import ERRORS
from orcac.chat.ledger.entry import Entries, EntryValues, entry_of
from orcac.chat.ledger.files import close_files, open_files
from orcac.chat.ledger.forgotten import Forgotten
from orcac.chat.ledger.index import EntryNumbers, Index
from orcac.chat.ledger.keys import Keys
from orcac.chat.ledger.log import Log
from orcac.chat.ledger.record import FAILURES, Record, cap_of, line_of, record_of, response_of
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.errors import StoreError
from orcac.store.durable import sync_folder
from orcac.store.locks import HEARTBEAT_SECONDS, flock

_CHUNK = 65_536  # responses that are read together
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Outcome(NamedTuple):
    """The response that settles a request, without its text: read from the index alone."""

    error: str
    input_tokens: int
    output_tokens: int
    batched: bool


class _Pending(NamedTuple):
    """A record that is not yet durable."""

    key: bytes
    values: EntryValues
    line: bytes
    offset: int  # in the log
    durable: asyncio.Future[None]


class Ledger:
    """The records in `folder` with `wanted` keys (sorted; None: all), and one new log to add to.

    Use as `async with Ledger(folder, wanted=keys) as ledger`, or `close` it after reading alone. Records gather for
    `gather_s` seconds before a sync, since each sync takes the disk some milliseconds; `datasync` makes the content of
    an open file durable. For `max_unmerged` see `Index`. `forgotten` replaces the records that the folder names as
    forgotten. Raises StoreError if a record is damaged.
    """

    def __init__(
        self,
        folder: Path,
        wanted: Keys | None = None,
        *,
        gather_s: float = 0.02,
        max_unmerged: int = 4096,
        datasync: Callable[[int], None] = _fdatasync,
        forgotten: Forgotten | None = None,
    ) -> None:
        self._folder, self._gather_s, self._datasync = folder, gather_s, datasync
        self._log: Log | None = None  # begun at the first append, so that reading alone leaves no trace
        self._size = 0  # of the log in bytes, with the unwritten lines
        self._unwritten: list[bytes] = []  # lines
        self._beating: asyncio.Task[None] | None = None
        self._broken: StoreError | None = None
        self._pending: list[_Pending] = []
        self._syncing: asyncio.Task[None] | None = None
        self._files = open_files(folder)
        self._index = Index(self._files, wanted, forgotten or Forgotten(folder), max_unmerged=max_unmerged)

    @property
    def entries(self) -> Entries:
        """The index entries of all records, by the numbers that `find` returns: see `Index.entries`."""
        return self._index.entries

    def get_outcome(self, request: ChatRequest) -> Outcome | None:
        """Return the outcome of `request`, None if it is not settled yet."""
        entry = self._index.find_one(bytes.fromhex(request.key), request.sampling.max_tokens)
        if entry is None:
            return None
        tokens = int(entry["input_tokens"]), int(entry["output_tokens"])
        return Outcome(FAILURES[entry["failure"]], *tokens, bool(entry["batched"]))

    def get(self, request: ChatRequest) -> ChatResponse | None:
        """Return the response that settles `request`, None if there is none yet."""
        entry = self._index.find_one(bytes.fromhex(request.key), request.sampling.max_tokens)
        if entry is None:
            return None
        with self._sealed_elsewhere():
            return next(self._files[entry["file"]].responses(np.array([entry["position"]])))

    def find(self, keys: Keys, cap: int) -> EntryNumbers:
        """Return int32 (keys,): the number in `entries` of the record that settles each key under `cap`, or -1."""
        return self._index.find(keys, cap)

    def responses(self, numbers: EntryNumbers) -> Iterator[tuple[int, ChatResponse]]:
        """Yield (position in `numbers`, response) of these records, in their order on disk.

        Raises StoreError if a file was sealed on another host meanwhile, and its file system keeps no removed files.
        """
        entries = self._index.entries
        files = entries["file"][numbers]
        for file in np.unique(files).tolist():
            here = np.flatnonzero(files == file).astype(np.int32)
            # sort both positions as one integer: (position on disk) * len(numbers) + (position in `numbers`)
            order = entries["position"][numbers[here]]
            assert int(order.max()) < 2**63 // len(numbers), file
            order *= len(numbers)
            order += here
            del here
            order.sort()  # in place: there may be millions
            for begin in range(0, len(order), _CHUNK):
                some = order[begin : begin + _CHUNK] % len(numbers)
                responses = self._files[file].responses(self._index.entries["position"][numbers[some]])
                with self._sealed_elsewhere():
                    yield from zip(some.tolist(), responses, strict=True)

    @contextlib.contextmanager
    def _sealed_elsewhere(self) -> Iterator[None]:
        """Raise StoreError for a file that was open here and that another host has removed after it sealed it (NFS)."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            fix = "run again; nothing is lost and nothing is asked twice"
            raise StoreError(f"{self._folder}: its files were merged on another host meanwhile", fix=fix) from error

    def append(self, request: ChatRequest, response: ChatResponse) -> asyncio.Future[None]:
        """Record the response that settles `request`: in the log after `flush`, durable once the future is done.

        Records that become durable together have the same future.

        Raises StoreError if no log can be written; the future raises it if this record cannot be kept.
        """
        record = record_of(request, response)
        return self._append(record, entry_of(request.sampling.max_tokens, response))

    def append_record(self, record: Record) -> asyncio.Future[None]:
        """Do as `append` for a record that `read_records` yielded. It keeps its time."""
        return self._append(record, entry_of(cap_of(record), response_of(record)))

    def _append(self, record: Record, values: EntryValues) -> asyncio.Future[None]:
        error = record["response"]["error"]
        assert not error or ERRORS[error].recorded, error
        line, loop = line_of(record), asyncio.get_running_loop()
        key, offset = bytes.fromhex(record["key"]), self._add_line(line)
        durable = self._pending[-1].durable if self._pending else loop.create_future()
        if durable.done():  # its waiter was cancelled
            durable = loop.create_future()
        self._pending.append(_Pending(key, values, line, offset, durable))
        if self._syncing is None or self._syncing.done():
            self._syncing = loop.create_task(self._sync())
        return durable

    def _add_line(self, line: bytes) -> int:
        """Add a line to those that the next flush writes. Return its offset in the log."""
        if self._broken:  # the log may end in half a record, after which nothing may be written
            raise self._broken
        try:
            self._log = self._log or self._begin_log()
        except OSError as error:
            raise self._break(error) from error
        self._unwritten.append(line)
        self._size += len(line)
        return self._size - len(line)

    def flush(self) -> None:
        """Write the appended lines to the log. Raises StoreError if that fails now, or has failed before."""
        if self._broken:
            raise self._broken
        if not (self._unwritten and self._log):
            return
        left = memoryview(b"".join(self._unwritten))
        self._unwritten.clear()
        try:
            while left:
                left = left[os.write(self._log.descriptor, left) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # save the answers that were written before: they were paid for
                self._datasync(self._log.descriptor)
            raise self._break(error) from error

    async def _sync(self) -> None:
        """Make the pending records durable; all of them are in the present log."""
        loop = asyncio.get_running_loop()
        while self._pending and self._log:
            await asyncio.sleep(self._gather_s)
            log, batch, self._pending = self._log, self._pending, []
            failed: Exception | None = None
            try:
                self.flush()
                # The thread runs nothing but the sync: Python code in it would compete with the event loop for the GIL.
                await loop.run_in_executor(None, self._datasync, log.descriptor)
                if not log.path.exists():
                    # This process paused, was taken for dead, and its log is being sealed: write all to another log.
                    self._log, self._unwritten = None, []
                    batch, self._pending = [*batch, *self._pending], []
                    self._pending = [one._replace(offset=self._add_line(one.line)) for one in batch]
                    continue
            except OSError as error:
                failed = self._break(error)
            except Exception as error:  # no thread, or no memory: the futures must report it
                failed = error
            for one in batch:
                if not failed:
                    self._index.add(one.key, one.values, len(self._files) - 1, one.offset)
            for durable in {one.durable for one in batch}:
                if durable.done():  # its waiter was cancelled; the records are in the ledger nevertheless
                    continue
                if failed:
                    durable.set_exception(failed)
                else:
                    durable.set_result(None)
            self._index.merge_if_many()

    def _break(self, error: OSError) -> StoreError:
        """Refuse all further records, and return the error to raise."""
        self._broken = self._broken or StoreError(
            f"{self._folder}: an answer could not be written ({error.strerror or error})",
            fix="free or mount the disk and run again; every answer reported so far is kept",
        )
        return self._broken

    def _begin_log(self) -> Log:
        """Create a log of this process alone, locked and kept alive by a heartbeat."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        log = Log(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666))
        flock(log.descriptor)  # on a file system without locks, the heartbeat is enough
        sync_folder(self._folder)
        self._files.append(log)
        self._size = 0
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        return log

    async def _beat(self) -> None:
        """Touch the log again and again, so that no sealer takes its writer for dead."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self._log:
                with contextlib.suppress(OSError):
                    os.utime(self._log.descriptor)

    def close(self) -> None:
        """Close the files of a ledger that was only read; `async with` closes one that was written."""
        close_files(self._files)

    async def __aenter__(self) -> Ledger:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._syncing:
            await self._syncing
        if self._beating:
            self._beating.cancel()
        self.close()
