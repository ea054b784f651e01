"""The content of a data file, by its first bytes, and its bytes without compression.

Decompression is a stream: a large file need not fit in memory, and a cut one is an error at the place of the cut.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from orcac.errors import InputError

AGAIN = "mend or download the file again"
_HEAD_BYTES = 64 << 10
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
PACKED = (".gz", ".zst", ".zstd", ".bz2", ".xz")  # the ends of the names of compressed files
_FOREIGN = {  # first bytes -> (the content, the fix)
    b"PK\x03\x04": ("a zip file or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"ARROW1": ("an Arrow file (Feather)", "save it as Parquet"),
    b"FEA1": ("an Arrow file (Feather)", "save it as Parquet"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "save it as Parquet"),
    b"ORC": ("an ORC file", "save it as Parquet"),
    b"Obj\x01": ("an Avro file", "save it as Parquet"),
    b"SQLite format 3\x00": ("an SQLite database", "save its table as CSV"),
    b"\x89HDF\r\n": ("an HDF5 file", "save it as Parquet"),
    b"%PDF-": ("a PDF", "give a data file"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "run `git lfs pull`, or download it"),
    b"<!doctype html": ("a web page, not a data file", "download the file itself"),
    b"<html": ("a web page, not a data file", "download the file itself"),
    b"<head": ("a web page, not a data file", "download the file itself"),
    b"<body": ("a web page, not a data file", "download the file itself"),
    b"<script": ("a web page, not a data file", "download the file itself"),
    b"<?xml": ("XML", "save its rows as JSON Lines or CSV"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
    b"{\x00": ("text in UTF-16", "save it as UTF-8"),
    b"[\x00": ("text in UTF-16", "save it as UTF-8"),
    b"\x80\x03": ("a pickle, which can run code", "save it as JSON Lines or Parquet"),
    b"\x80\x04": ("a pickle, which can run code", "save it as JSON Lines or Parquet"),
    b"\x80\x05": ("a pickle, which can run code", "save it as JSON Lines or Parquet"),
}
_TAR = (257, b"ustar")
PARQUET = b"PAR1"


def strip_compression(name: str) -> str:
    """Return a file's name without the ending of a compressed file."""
    path = PurePosixPath(name)
    return name[: -len(path.suffix)] if path.suffix.lower() in PACKED else name


def find_compression(path: Path) -> str:
    """Return the name of the method by which a file is compressed; "" if it is not."""
    with path.open("rb") as file:
        head = file.read(6)
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), "")


@contextlib.contextmanager
def open_content(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, decompressed. Raises InputError if the compressed data are damaged or cut."""
    method = find_compression(path)
    if not method:
        with path.open("rb") as file:
            yield file
        return
    try:
        with _decompress(path, method) as file:
            yield io.BufferedReader(cast(io.RawIOBase, file))  # that of Arrow is no RawIOBase, but reads like one
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: the compressed data ({method}) are damaged or cut: {reason}", fix=AGAIN) from error


@contextlib.contextmanager
def _decompress(path: Path, method: str) -> Iterator[IO[bytes]]:
    if method == "zstd":
        import pyarrow as pa

        with pa.OSFile(str(path)) as raw, pa.CompressedInputStream(raw, "zstd") as file:
            yield file
        return
    with {"gzip": gzip.GzipFile, "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}[method](path) as file:
        yield cast(IO[bytes], file)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file's content, without a byte order mark of UTF-8.

    Raises InputError for an empty file, and for content that is neither text nor Parquet: the message names it.
    """
    with open_content(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{path}:1: the file is empty", fix=f"{AGAIN}, or leave it out of the source's `path`")
    text = head.removeprefix(codecs.BOM_UTF8)
    start = text.lstrip()[:64].lower()
    for magic, (name, fix) in _FOREIGN.items():
        if head.startswith(magic) or (magic[:1] in b"<v" and start.startswith(magic)):
            raise InputError(f"{path}: the file is {name}", fix=fix)
    place, magic = _TAR
    if head[place : place + len(magic)] == magic:
        raise InputError(f"{path}: the file is a tar archive", fix="unpack it")
    return text
