"""The small records of a store beside its artifacts and its ledger: compared with their checksums, and given them.

    answers/budgets/NAME/log/*.json     the spending of jobs
    answers/batches/ID/batch.json       a batch
    answers/batches/ID/requests.jsonl   the requests of a batch that is under way
    answers/batches/ID/left             the requests that it left unanswered
    KIND/ID/shards/I-of-N/done.json     a finished shard

Leases, logs, progress, downloads under way and the `work` of unfinished nodes have no checksum: they are of one try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from orcac.chat.batch import files
from orcac.chat.limits import budget
from orcac.errors import StoreError
from orcac.store.checksum import has_checksum, parse_checked, seal_object
from orcac.store.lease import try_acquire
from orcac.store.links import is_plain

__all__ = ["SmallRecords", "check_small_records", "seal_small_records"]

_SHARD = ("shard", "summary")


class SmallRecords(NamedTuple):
    """The state of the small records: the number of sound ones, those without a checksum, and the damage."""

    sound: int
    unverifiable: list[Path]
    damaged: list[str]


def check_small_records(root: Path) -> SmallRecords:
    """Compare the small records of the store in `root` with their checksums."""
    sound, unverifiable, damaged = 0, list[Path](), list[str]()
    for path, check in _list(root):
        try:
            is_checked = check(path)
        except FileNotFoundError:  # its batch was settled meanwhile
            continue
        except (StoreError, ValueError, LookupError, TypeError) as error:
            reason = error.message if isinstance(error, StoreError) else f"{path}: the record is damaged ({error})"
            damaged.append(reason)
            continue
        if is_checked:
            sound += 1
        else:
            unverifiable.append(path)
    return SmallRecords(sound, unverifiable, damaged)


def seal_small_records(found: SmallRecords) -> None:
    """Give the JSON objects among the records without a checksum one. A record in use is left alone."""
    for path in found.unverifiable:
        if path.suffix == ".json":
            with try_acquire(path.parent) as is_free:
                if is_free:
                    seal_object(path)


def _list(root: Path) -> Iterator[tuple[Path, Callable[[Path], bool]]]:
    """Yield each small record and the function that checks it, which returns whether it has a checksum."""
    for pattern, check in (
        ("answers/budgets/*/log/[0-9]*.json", lambda path: _check_object(path, budget.FIELDS)),
        ("answers/batches/*/batch.json", lambda path: _check_object(path, files.FIELDS)),
        ("answers/batches/*/requests.jsonl", _check_requests),
        ("answers/batches/*/left", _check_left),
        ("*/*/shards/*/done.json", lambda path: _check_object(path, _SHARD)),
    ):
        for path in sorted(root.glob(pattern)):
            if is_plain(path):
                yield path, check


def _check_object(path: Path, fields: frozenset[str] | tuple[str, ...]) -> bool:
    content = path.read_bytes()
    parse_checked(content, fields)
    return has_checksum(content)


def _check_requests(path: Path) -> bool:
    for _ in files.read_requests(path.parent):
        pass
    with path.open("rb") as file:
        return all(map(has_checksum, file))


def _check_left(path: Path) -> bool:
    files.read_unanswered(path.parent)
    return files.has_left_checksum(path.read_bytes())
