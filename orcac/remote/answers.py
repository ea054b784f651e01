"""Pushing the records of a ledger to a place, and pulling them from one.

    answers/DIGEST.parquet          sealed records (`chat/ledger/sealed.py`), named by the sha256 of their content
    answers/forgotten/RANDOM.jsonl  records that settle nothing any more

A push writes the records that the place lacks to new files and changes none, so it only ever adds. A folder may be the
store of a running study, whose logs are read as well; at a URL only sealed files are. A pull reads the index of each
file, fetches those with news, and adds each record that has the key of its request. A file whose name is not its digest
is refused.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orcac.chat.ledger.exchange import add_records, read_unsettled, write_sealed
from orcac.chat.ledger.files import File, close_files, open_files
from orcac.chat.ledger.forgotten import Forgotten
from orcac.chat.ledger.index import Index
from orcac.chat.ledger.record import Record, cap_of
from orcac.chat.ledger.sealed import DamagedFileError, SealedFile, has_digest, name_of
from orcac.errors import StoreError
from orcac.remote.place import FolderPlace, Place, read
from orcac.remote.transfer import Counter
from orcac.store.links import refuse_links

__all__ = ["Counts", "fetch_files", "pull_answers", "push_answers"]

Keep = Callable[[Record], bool]
_FOLDER, _FORGOTTEN = "answers", "answers/forgotten"
_FORGOTTEN_BYTES = 64 << 20  # of one file, with some 80 bytes a record
_SEALED = re.compile(r"(?:[0-9a-f]{16}){1,2}\.parquet")
_MARKS = re.compile(r"[0-9a-f]{16}\.jsonl")
_FIX = "have its owner remove it and push again"


@dataclass(slots=True)
class Counts:
    """The numbers of records that were sent, or would be, and of those that are not what they claim to be."""

    sent: int = 0
    refused: int = 0
    damaged: list[str] = field(default_factory=list)  # files that were refused, with the reasons


def push_answers(answers: Path, place: Place, keep: Keep, *, dry_run: bool, count: Counter = lambda n: None) -> Counts:
    """Send the records of a ledger that `keep` selects and that the place lacks, and the marks of forgotten ones.

    Raises StoreError if a record is damaged or the place is full, EndpointError if it cannot be reached.
    """
    if not answers.is_dir():
        return Counts()
    counts = Counts()
    with tempfile.TemporaryDirectory() as temporary:
        known = _fetch_forgotten(place, Path(temporary) / "there")
        forgotten = Forgotten(answers, more=[*known])
        with _as_damage(f"{place.label}/{_FOLDER}"), _open_there(place) as files:
            index = Index(files, None, known)
        records = read_unsettled(answers, index, forgotten, keep)
        if dry_run:
            counts.sent = sum(1 for _ in records)
            return counts
        for path, number in write_sealed(records, Path(temporary)):
            place.put(f"{_FOLDER}/{path.name}", path, count)
            path.unlink()
            counts.sent += number
        there = set(place.names(_FORGOTTEN))
        for path in sorted((answers / "forgotten").glob("*.jsonl")):
            if path.name not in there:
                place.put(f"{_FORGOTTEN}/{path.name}", path.read_bytes())
    return counts


def pull_answers(answers: Path, place: Place, keep: Keep, staging: Path, *, dry_run: bool = False) -> Counts:
    """Add the records at the place that `keep` selects and that the ledger lacks. `staging` is a folder for its files.

    Raises StoreError if the ledger is damaged or full, EndpointError if the place cannot be reached.
    """
    counts = Counts()
    if isinstance(place, FolderPlace):
        source = place.root / _FOLDER
    else:
        source, counts.damaged = staging, fetch_files(answers, place, staging)
    if not source.is_dir():
        return counts
    forgotten = Forgotten(answers, more=[*Forgotten(source)])
    index = _read_index(answers)
    records = read_unsettled(source, index, forgotten, keep)
    with _as_damage(f"{place.label}/{_FOLDER}"):
        if dry_run:
            counts.sent = sum(1 for _ in records)
        else:
            counts.sent, counts.refused = add_records(answers, records)
    if source == staging:
        shutil.rmtree(staging)
    return counts


def fetch_files(answers: Path, place: Place, folder: Path) -> list[str]:
    """Make `folder` a ledger of the place's files that have records which `answers` lacks. Return the refused files.

    A file that is there already is not fetched again. Raises EndpointError if the place cannot be reached.
    """
    index, damaged = _read_index(answers), list[str]()
    _fetch_forgotten(place, folder)
    for name in filter(_SEALED.fullmatch, place.names(_FOLDER)):
        try:
            if not (folder / name).is_file() and _has_news(place, name, index):
                _fetch(place, name, folder, index)
        except StoreError as error:
            damaged.append(error.message)
        except FileNotFoundError:  # the place merged it into another file meanwhile
            continue
    return damaged


def _has_news(place: Place, name: str, index: Index) -> bool:
    if not place.can_seek:
        return True
    label = f"{place.label}/{_FOLDER}/{name}"
    with place.errors(name), place.open(f"{_FOLDER}/{name}") as file, _as_damage(label):
        return any(index.find_one(key, cap) is None for key, cap in SealedFile(Path(label), file).settled())


def _fetch(place: Place, name: str, folder: Path, index: Index) -> None:
    """Copy a sealed file into a folder. Raises StoreError if it is damaged or does not fit.

    All records are read once, since one that cannot be read would end each later pull from this folder.
    """
    part, label = folder / f"{name}.part", f"{place.label}/{_FOLDER}/{name}"
    room = shutil.disk_usage(folder).free // 2
    with part.open("wb") as to, place.errors(name), place.open(f"{_FOLDER}/{name}") as file:
        while chunk := file.read(1 << 20):
            room -= len(chunk)
            if room < 0:
                raise StoreError(f"{label}: does not fit on the disk of {folder}")
            to.write(chunk)
    if has_digest(Path(name)) and f"{name_of(part)}.parquet" != name:
        part.unlink()
        raise StoreError(f"{label}: its digest is not the one in its name", fix=_FIX)
    try:
        with contextlib.closing(SealedFile(part)) as sealed, _as_damage(label):
            for record in sealed.records():
                index.find_one(bytes.fromhex(record["key"]), cap_of(record))
    except StoreError as error:
        part.unlink()
        raise StoreError(error.message.replace(str(part), label), fix=_FIX) from None
    part.replace(folder / name)


def _fetch_forgotten(place: Place, folder: Path) -> Forgotten:
    """Copy the marks of the place's forgotten records into a ledger's folder, and return them.

    Raises StoreError if a file is damaged.
    """
    (folder / "forgotten").mkdir(parents=True, exist_ok=True)
    for name in filter(_MARKS.fullmatch, place.names(_FORGOTTEN)):
        content = read(place, f"{_FORGOTTEN}/{name}", _FORGOTTEN_BYTES)
        (folder / "forgotten" / name).write_bytes(content or b"")
    return Forgotten(folder)


@contextlib.contextmanager
def _open_there(place: Place) -> Iterator[list[File]]:
    """Open the files of the place's ledger. Raises StoreError if one is damaged or a link."""
    if isinstance(place, FolderPlace):
        folder = place.root / _FOLDER
        files = open_files(folder) if folder.is_dir() else []
        try:
            yield files
        finally:
            close_files(files)
        return
    with contextlib.ExitStack() as stack:
        names = [*filter(_SEALED.fullmatch, place.names(_FOLDER))]
        stack.enter_context(place.errors(_FOLDER))
        opened = [stack.enter_context(place.open(f"{_FOLDER}/{name}")) for name in names]
        yield [
            SealedFile(Path(f"{place.label}/{_FOLDER}/{name}"), file) for name, file in zip(names, opened, strict=True)
        ]


@contextlib.contextmanager
def _as_damage(label: str) -> Iterator[None]:
    """Raise StoreError for a damaged file of the place, and for the errors that strange values in one cause."""
    try:
        yield
    except DamagedFileError as error:
        named = str(Path(label))  # one slash after `s3:`
        if not error.message.startswith(named):  # a file of this machine
            raise
        raise StoreError(label + error.message.removeprefix(named), fix=_FIX) from None
    except (LookupError, ValueError, TypeError, AssertionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"{label}: holds what is not a record ({reason})", fix=_FIX) from error


def _read_index(answers: Path) -> Index:
    """Return the index of a ledger that stays readable after its files are closed."""
    if not answers.is_dir():
        return Index([], None, Forgotten(answers))
    refuse_links(answers)
    files = open_files(answers)
    try:
        return Index(files, None, Forgotten(answers))
    finally:
        close_files(files)
