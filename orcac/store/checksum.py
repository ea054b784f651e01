"""Checksums of JSON objects: the last field, `crc`, is the CRC-32 of the bytes before it.

Lines of logs have one, and so have the small records that a store keeps beside its artifacts and answers: budgets,
batches and finished shards. An object that an older orcac wrote has none, so damage in it may be found or not.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from orcac.store import durable
from orcac.store.links import refuse_irregular

__all__ = ["add_checksum", "has_checksum", "matches_checksum", "parse_checked", "seal_object"]

_CHECKSUM = b',"crc":"%08x"}\n'  # the end of an object, in the place of `}`
_CHECKSUM_BYTES = len(_CHECKSUM % 0)


def add_checksum(content: bytes) -> bytes:
    """Return a JSON object, which ends with its brace, as a line with its checksum and its line end."""
    return b"".join((memoryview(content)[:-1], _CHECKSUM % zlib.crc32(content)))


def matches_checksum(line: bytes) -> bool:
    """Return whether a line ends with the checksum of the rest of it."""
    return line.endswith(_CHECKSUM % zlib.crc32(b"}", zlib.crc32(memoryview(line)[:-_CHECKSUM_BYTES])))


def has_checksum(line: bytes) -> bool:
    """Return whether a line ends with a checksum."""
    return line[-_CHECKSUM_BYTES:].startswith(_CHECKSUM[:8])


def parse_checked(content: bytes, fields: Collection[str]) -> dict[str, Any]:
    """Return a JSON object without its checksum.

    Raises ValueError if it does not match its checksum, or if it has none and a field that is not one of `fields`: the
    name of the checksum may be damaged.
    """
    try:
        record = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("it is not an object")
    if has_checksum(content):
        if not matches_checksum(content):
            raise ValueError("its content does not match its checksum")
        del record["crc"]
    elif unknown := record.keys() - fields:
        raise ValueError(f"it has an unknown field {sorted(unknown)[0]!r}")
    return record


def seal_object(path: Path) -> None:
    """Give the JSON object in a file, which was read without an error, a checksum. Its time stays."""
    refuse_irregular(path)
    facts = path.stat()
    durable.write(path, add_checksum(path.read_bytes().rstrip()))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # Snakemake compares times
