"""The ledger: every answer that was ever received, on disk before it counts, shared by all experiments.

A folder of append-only logs, JSON Lines, and of the Parquet files that old logs are sealed into (`segments` reads
these files, `sealing` makes the latter). A log has one writer, so any number of processes on one file system can add
answers at once. A record holds the whole request, too: the ledger can be read, exported and keyed anew by itself.

- What `append` was given is in the log after the next `flush`, and outlives this process; when the future that it
  returned is done, it is durable and outlives the host. Appends that come while a sync is under way share the next one
  (group commit), so the cost of a sync is divided by the number of requests in flight; those between two flushes share
  one write.
- What settles a request is the record of its key that serves its cap (`messages.served_caps`) and was written first.
- Only what settles a request is recorded: an answer (cut off or not), or a failure of the request itself. A
  server that was down, or that called the request bad, says nothing for good: it is asked again next time.

Opening reads an index: for every record of a wanted key which one it is, its caps, its tokens and its place, 32 bytes
in all. Texts stay on disk, those that were just received, too, so that memory does not grow with their number.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orcac.chat.failures import ERRORS
from orcac.chat.ledger import files as segments
from orcac.chat.ledger.files import FACTS, Log
from orcac.chat.ledger.keys import Keys, named, order_of
from orcac.chat.ledger.record import FAILURES, Facts, Record, cap_of, facts_of, line_of, record_of, response_of
from orcac.chat.messages import ChatRequest, ChatResponse
from orcac.errors import StoreError
from orcac.store.durable import sync_folder
from orcac.store.lease import HEARTBEAT_SECONDS

_datasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
Numbers = npt.NDArray[np.int32]  # of records in an index
_GATHER_S = 0.02  # how long records gather for a sync, since each takes the disk some milliseconds
_CHUNK = 65_536  # records that are looked at, or moved, together
_RECENT = 4096  # records that are not in the sorted index yet; of a large one, more


class Known(NamedTuple):
    """What the index tells of the record that settles a request."""

    error: str
    input_tokens: int
    output_tokens: int
    batched: bool


class _Pending(NamedTuple):
    """A record that is not yet durable."""

    key: bytes
    facts: Facts
    line: bytes
    place: int  # in the log
    durable: asyncio.Future[None]


class Ledger:
    """The records in `folder` of the `wanted` keys (sorted; None: of all), and one new log to add to.

    Use as `async with Ledger(folder, wanted=keys) as ledger`. Raises StoreError where a record is damaged.
    """

    def __init__(self, folder: Path, wanted: Keys | None = None) -> None:
        self._folder = folder
        self._log: Log | None = None  # made at the first append, so that reading alone leaves no trace
        self._size = 0  # of the log, in bytes, with what is unwritten
        self._unwritten: list[bytes] = []  # lines
        self._beating: asyncio.Task[None] | None = None
        self._broken: StoreError | None = None
        self._pending: list[_Pending] = []
        self._syncing: asyncio.Task[None] | None = None
        self._files = segments.opened(folder)
        self._recent: dict[bytes, list[tuple[Any, ...]]] = {}  # key -> FACTS of each
        self._wanted = wanted
        self._keys = np.empty(0, "S16" if wanted is None else "u4")  # by their names
        self._sorted, at = np.empty(0, FACTS), np.empty(0)
        for number, file in enumerate(self._files):
            for some in file.index(wanted):
                some.facts["file"] = number
                for array, more in ((self._keys, some.names), (at, some.at), (self._sorted, some.facts)):
                    array.resize(len(array) + len(more), refcheck=False)  # in place: there may be millions
                    array[len(array) - len(more) :] = more
        order = order_of(self._keys, at) if wanted is None else np.lexsort((at, self._keys))
        del at
        self._keys = self._keys[order]
        for name in FACTS.names or ():  # one after the other: a second copy of all is saved
            self._sorted[name] = self._sorted[name][order]

    def look(self, request: ChatRequest) -> Known | None:
        """What the index tells of what settles `request`, None where nothing does yet."""
        facts = self._facts(request)
        if facts is None:
            return None
        error, tokens = FAILURES[facts["failure"]], (int(facts["input_tokens"]), int(facts["output_tokens"]))
        return Known(error, *tokens, bool(facts["batched"]))

    def get(self, request: ChatRequest) -> ChatResponse | None:
        """What settles `request`, None where nothing does yet."""
        facts = self._facts(request)
        if facts is None:
            return None
        return next(self._files[facts["file"]].responses(np.array([facts["place"]])))

    def find(self, keys: Keys, cap: int) -> Numbers:
        """For each of `keys`: the number, in `facts`, of the record that settles it under max_tokens `cap`, or -1."""
        self._merge()
        found = np.full(len(keys), -1, np.int32)
        for begin in range(0, len(keys), _CHUNK):
            some, settled = keys[begin : begin + _CHUNK], found[begin : begin + _CHUNK]
            names, mine = named(some, self._wanted)
            at = np.zeros(len(some), np.intp)
            end = at.copy()
            at[mine] = np.searchsorted(self._keys, names, "left")
            end[mine] = np.searchsorted(self._keys, names, "right")
            open_ = np.flatnonzero(at < end)
            while len(open_):
                facts = self._sorted[at[open_]]
                serves = (facts["low"] <= cap) & (cap <= facts["high"])
                settled[open_[serves]] = at[open_[serves]]
                at[open_] += 1
                open_ = open_[~serves & (at[open_] < end[open_])]
        return found

    @property
    def facts(self) -> npt.NDArray[Any]:
        """FACTS of every record, as `find` numbers them; to be copied from, since the next append may move it."""
        return self._sorted

    def responses(self, numbers: Numbers) -> Iterator[tuple[int, ChatResponse]]:
        """(place in `numbers`, response) of these records, in the order in which they stand on disk."""
        files = self._sorted["file"][numbers]
        for file in np.unique(files).tolist():
            here = np.flatnonzero(files == file).astype(np.int32)
            order = self._sorted["place"][numbers[here]]  # and, in its lower part, which of `numbers` it is
            assert int(order.max()) < 2**63 // len(numbers), file
            order *= len(numbers)
            order += here
            del here
            order.sort()  # in place: there may be millions
            for begin in range(0, len(order), _CHUNK):
                some = order[begin : begin + _CHUNK] % len(numbers)
                responses = self._files[file].responses(self._sorted["place"][numbers[some]])
                yield from zip(some.tolist(), responses, strict=True)

    def append(self, request: ChatRequest, response: ChatResponse) -> asyncio.Future[None]:
        """Record what settles `request`: it is in the log after `flush`, and durable when the future is done.

        Raises StoreError where no log can be written, and through the future where the record is not kept.
        """
        record = record_of(request, response)
        return self._append(record, facts_of(request.sampling.max_tokens, response))

    def append_record(self, record: Record) -> asyncio.Future[None]:
        """`append` of a record as `records` gives it, which keeps its time."""
        return self._append(record, facts_of(cap_of(record), response_of(record)))

    def _append(self, record: Record, facts: Facts) -> asyncio.Future[None]:
        error = record["response"]["error"]
        assert not error or ERRORS[error].recorded, error
        line, loop = line_of(record), asyncio.get_running_loop()
        pending = _Pending(bytes.fromhex(record["key"]), facts, line, self._place(line), loop.create_future())
        self._pending.append(pending)
        if self._syncing is None or self._syncing.done():
            self._syncing = loop.create_task(self._sync())
        return pending.durable

    def _place(self, line: bytes) -> int:
        """Have a line added to the log. Returns its offset."""
        if self._broken:  # then the log may end in half a record, which must stay its last
            raise self._broken
        try:
            self._log = self._log or self._begin()
        except OSError as error:
            raise self._unkept(error) from error
        self._unwritten.append(line)
        self._size += len(line)
        return self._size - len(line)

    def flush(self) -> None:
        """Write to the log what was appended. Raises StoreError where that fails, now or before."""
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
            with contextlib.suppress(OSError):  # what stands there was paid for, too
                _datasync(self._log.descriptor)
            raise self._unkept(error) from error

    async def _sync(self) -> None:
        """Make durable what is pending, all of which stands in the present log."""
        loop = asyncio.get_running_loop()
        while self._pending and self._log:
            await asyncio.sleep(_GATHER_S)
            log, batch, self._pending = self._log, self._pending, []
            failed: Exception | None = None
            try:
                self.flush()
                # Alone in the thread: whatever else ran there would fight for the interpreter with what is asked.
                await loop.run_in_executor(None, _datasync, log.descriptor)
                if not log.path.exists():
                    # This process stood still, was taken for dead, and its log is being sealed: all of it elsewhere.
                    self._log, self._unwritten = None, []
                    batch, self._pending = [*batch, *self._pending], []
                    self._pending = [one._replace(place=self._place(one.line)) for one in batch]
                    continue
            except OSError as error:
                failed = self._unkept(error)
            except Exception as error:  # no thread, or no memory: whoever waits must hear of it
                failed = error
            for one in batch:
                if not failed:
                    self._recent.setdefault(one.key, []).append((*one.facts, len(self._files) - 1, one.place))
                if one.durable.done():  # its request was cancelled; the record is there all the same
                    continue
                if failed:
                    one.durable.set_exception(failed)
                else:
                    one.durable.set_result(None)
            if len(self._recent) > max(_RECENT, len(self._keys) // 64):
                self._merge()

    def _unkept(self, error: OSError) -> StoreError:
        """The error of a ledger that can keep nothing more."""
        self._broken = self._broken or StoreError(
            f"{self._folder}: an answer could not be written ({error.strerror or error})",
            fix="free or mount the disk and run again; every answer reported so far is kept",
        )
        return self._broken

    def _begin(self) -> Log:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        log = Log(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644))
        with contextlib.suppress(OSError):  # a file system without locks: the heartbeat is enough
            fcntl.flock(log.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_folder(self._folder)
        self._files.append(log)
        self._size = 0
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        return log

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self._log:
                with contextlib.suppress(OSError):
                    os.utime(self._log.descriptor)

    def _facts(self, request: ChatRequest) -> Any:
        """FACTS of the record that settles `request`, or None."""
        key, cap = bytes.fromhex(request.key), request.sampling.max_tokens
        name: bytes | int = key.rstrip(b"\0")  # as numpy gives it
        if self._wanted is not None:
            name = bisect.bisect_left(self._wanted, name)  # NumPy's own search takes four times as long for one key
            is_wanted = name < len(self._wanted) and self._wanted[name] == key.rstrip(b"\0")
            name = name if is_wanted else len(self._wanted)  # which none has
        place = bisect.bisect_left(self._keys, name)
        while place < len(self._keys) and self._keys[place] == name:
            facts = self._sorted[place]
            if facts["low"] <= cap <= facts["high"]:
                return facts
            place += 1
        for recent in self._recent.get(key, ()):
            if recent[0] <= cap <= recent[1]:
                return np.array(recent, FACTS)[()]
        return None

    def _merge(self) -> None:
        """Put what is recent behind what the index has of the same key: it was written later."""
        if not self._recent:
            return
        _, mine = named(np.array(list(self._recent), "S16"), self._wanted)
        recent = dict(compress(self._recent.items(), mine))
        self._recent = dict(compress(self._recent.items(), ~mine))  # which have no name
        names, _ = named(np.array([key for key, some in recent.items() for _ in some], "S16"), self._wanted)
        facts = np.array([entry for some in recent.values() for entry in some], FACTS)
        order = np.argsort(names, kind="stable")
        places = np.searchsorted(self._keys, names[order], side="right")
        _insert(self._keys, places, names[order])
        _insert(self._sorted, places, facts[order])

    def close(self) -> None:
        """For one that was only read."""
        segments.close(self._files)

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


def _insert(array: npt.NDArray[Any], places: npt.NDArray[np.intp], more: npt.NDArray[Any]) -> None:
    """What `numpy.insert` does, in place and from the end: `more[n]` before what stands at the n-th of `places`."""
    end = len(array)
    array.resize(end + len(more), refcheck=False)
    while len(places):
        begin = max(0, end - _CHUNK)
        here = np.searchsorted(places, begin)
        array[begin + here : end + len(places)] = np.insert(array[begin:end], places[here:] - begin, more[here:])
        places, more, end = places[:here], more[:here], begin
