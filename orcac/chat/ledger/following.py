"""What is added to a ledger from now on, as it is added: each record once, whatever is sealed meanwhile.

Only logs grow, so a look reads on where the last one ended. What has been opened stays open, since whoever looks may
stand still for long between two looks (a full pipe, Ctrl-Z): a log whose name is gone is read to its end, and a log
that came and was sealed in between is found in the sealed file, as what none of the files that went into it had.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from orcac.chat.ledger.files import File, Log, opened
from orcac.chat.ledger.record import Record

_AGAIN = 1000  # records at the end of a log that its writer may write again, when it was taken for dead
_Name = tuple[str, float]


class Following:
    """The records that `look` gives were not in `folder` when this was made, nor given by an earlier look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = self._listed()
        self._files = {file.path.stem: file for file in opened(folder)}
        self._read = {stem: file.end() for stem, file in self._files.items() if isinstance(file, Log)}
        self._given = {stem: deque[_Name](maxlen=_AGAIN) for stem in self._read}  # the last of each log
        self._again: dict[_Name, None] = {}  # those of logs that are gone, in order

    def look(self) -> Iterator[Record]:
        names = self._listed()
        if names != self._names:
            yield from self._reopened()
            self._names = names
        for stem, file in self._files.items():
            if isinstance(file, Log):
                yield from self._grown(stem, file)

    def _listed(self) -> set[str]:
        return {path.name for path in self._folder.glob("*") if path.suffix in (".jsonl", ".sealing", ".parquet")}

    def _reopened(self) -> Iterator[Record]:
        """What was added to logs that are gone, and what came in sealed files. Then the files are those of now."""
        now = {file.path.stem: file for file in opened(self._folder)}
        gone = {stem: file for stem, file in self._files.items() if stem not in now}
        for stem, file in gone.items():
            if isinstance(file, Log):
                yield from self._grown(stem, file)
        yield from self._sealed(now, gone)
        for stem, file in gone.items():
            if isinstance(file, Log):
                self._again |= dict.fromkeys(self._given.pop(stem))
                del self._read[stem]
            file.close()
        for name in [*self._again][: -100 * _AGAIN]:
            del self._again[name]
        for stem, file in now.items():
            if stem in self._files:
                file.close()  # the one that was open has the place up to which it was read
            elif isinstance(file, Log):
                self._read[stem], self._given[stem] = 0, deque(maxlen=_AGAIN)
        self._files = {stem: self._files.get(stem, file) for stem, file in now.items()}

    def _sealed(self, now: dict[str, File], gone: dict[str, File]) -> Iterator[Record]:
        """The records of sealed files that none of the files that are gone had."""
        new = [file for stem, file in now.items() if not isinstance(file, Log) and stem not in self._files]
        if all(part in gone for file in new for part in file.made_from):
            return
        known = {_name(record) for file in gone.values() for record in file.records()}
        for file in new:
            yield from (record for record in file.records() if _name(record) not in known)

    def _grown(self, stem: str, log: Log) -> Iterator[Record]:
        for end, record in log.since(self._read[stem]):
            self._read[stem] = end
            name = _name(record)
            self._given[stem].append(name)
            if name not in self._again:
                yield record


def _name(record: Record) -> _Name:
    """What tells a record from all others, wherever it stands."""
    return record["key"], record["at"]
