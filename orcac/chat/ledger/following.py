"""Records that are added to a ledger from now on: each is yielded once, even if its files are sealed in between.

Only logs grow, so a read goes on at the offset where the last one ended. Files stay open between reads, since a reader
may pause for long (a full pipe, Ctrl-Z). A log that has lost its name is read to its end. A log that was begun and
sealed between two reads is found only in its sealed file, among records of older files. Its records are the ones that
no file known from earlier reads contains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from orcac.chat.ledger.files import File, open_files
from orcac.chat.ledger.log import Log
from orcac.chat.ledger.record import Record
from orcac.chat.ledger.sealed import SealedFile

_REWRITABLE = 1000  # last records of a log, which its writer may write to another after it was taken for dead
_RecordId = tuple[str, float]  # (key, time of writing): equal for one record wherever it is stored


class Follower:
    """The records of `folder` that are written after this object is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = self._list_names()
        self._files = {file.path.stem: file for file in open_files(folder)}
        self._offsets = {stem: file.find_end() for stem, file in self._files.items() if isinstance(file, Log)}
        self._yielded = {stem: deque[_RecordId](maxlen=_REWRITABLE) for stem in self._offsets}  # the last of each log
        self._yielded_and_gone: dict[_RecordId, None] = {}  # those of logs that were sealed, in order

    def read_new(self) -> Iterator[Record]:
        """Yield the records that no earlier call has yielded. Raises StoreError if one is damaged."""
        names = self._list_names()
        if names != self._names:
            yield from self._reopen()
            self._names = names
        for stem, file in self._files.items():
            if isinstance(file, Log):
                yield from self._read_on(stem, file)

    def _list_names(self) -> set[str]:
        return {path.name for path in self._folder.glob("*") if path.suffix in (".jsonl", ".sealing", ".parquet")}

    def _reopen(self) -> Iterator[Record]:
        """Open the present files, after yielding the new records of logs that are gone and of new sealed files."""
        now = {file.path.stem: file for file in open_files(self._folder)}
        gone = {stem: file for stem, file in self._files.items() if stem not in now}
        for stem, file in gone.items():
            if isinstance(file, Log):
                yield from self._read_on(stem, file)
        yield from self._read_sealed(now, gone)
        for stem, file in gone.items():
            if isinstance(file, Log):
                self._yielded_and_gone |= dict.fromkeys(self._yielded.pop(stem))
                del self._offsets[stem]
            file.close()
        for id in [*self._yielded_and_gone][: -100 * _REWRITABLE]:
            del self._yielded_and_gone[id]
        for stem, file in now.items():
            if stem in self._files:
                file.close()  # the one that is open already stays
            elif isinstance(file, Log):
                self._offsets[stem], self._yielded[stem] = 0, deque(maxlen=_REWRITABLE)
        self._files = {stem: self._files.get(stem, file) for stem, file in now.items()}

    def _read_sealed(self, now: dict[str, File], gone: dict[str, File]) -> Iterator[Record]:
        """Yield the records of new sealed files that are in none of the files that are gone."""
        new = [file for stem, file in now.items() if isinstance(file, SealedFile) and stem not in self._files]
        if all(part in gone for file in new for part in file.made_from):
            return
        known = {_id_of(record) for file in gone.values() for record in file.records()}
        for file in new:
            yield from (record for record in file.records() if _id_of(record) not in known)

    def _read_on(self, stem: str, log: Log) -> Iterator[Record]:
        """Yield the records of a log after the last one read."""
        for end, record in log.read_from(self._offsets[stem]):
            self._offsets[stem] = end
            id = _id_of(record)
            self._yielded[stem].append(id)
            if id not in self._yielded_and_gone:
                yield record


def _id_of(record: Record) -> _RecordId:
    return record["key"], record["at"]
