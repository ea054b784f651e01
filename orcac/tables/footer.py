"""The columns of a Parquet file, read from its footer without Arrow, whose import takes as long as compiling a spec.

The footer is a Thrift structure in the compact protocol, whose field 2 lists the schema depth first. Each element has
a name (field 4), a number of children (field 5) and, for a list or a map, a converted type (field 6). All else is
skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orcac.errors import InputError
from orcac.tables.content import AGAIN, PARQUET

__all__ = ["Column", "read_columns"]

_MAP, _MAP_KEY_VALUE, _LIST = 1, 2, 3  # converted types
_REPEATED = 2  # repetition type
_LONGEST_SHIFT = 63  # of a number of 64 bits
_BYTE, _DOUBLE, _BINARY, _ELEMENTS, _SET, _PAIRS, _STRUCT = 3, 7, 8, 9, 10, 11, 12  # types of the protocol


@dataclass(slots=True)
class Column:
    """A column; `children` are those of a structure, and of a list the inner columns of the format."""

    name: str = ""
    count: int = 0  # of children
    is_list: bool = False
    children: list[Column] = field(default_factory=list)


def read_columns(path: Path) -> list[Column]:
    """Return the columns of a file. Raises InputError if it is not Parquet or is damaged."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        length, mark = int.from_bytes(file.read(4), "little"), file.read(4)
        file.seek(max(0, size - 8 - length))
        footer = file.read(length)
    try:
        if mark != PARQUET:
            raise ValueError("it does not end as Parquet does, so it may be cut")
        elements = iter(_Reader(footer).read_schema())
        root = next(elements)
        _add_children(root, elements)
    except (ValueError, IndexError, StopIteration, RecursionError) as error:
        reason = str(error) if mark != PARQUET else "its footer is damaged"
        raise InputError(f"{path}: cannot be read as Parquet: {reason}", fix=AGAIN) from None
    return root.children


def _add_children(column: Column, elements: Iterator[Column]) -> None:
    for _ in range(column.count):
        child = next(elements)
        _add_children(child, elements)
        column.children.append(child)


class _Reader:
    """A reader of the compact protocol."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read_schema(self) -> list[Column]:
        for number, kind in self._fields():
            if (number, kind) == (2, _ELEMENTS):
                count, _ = self._list()
                return [self._element() for _ in range(count)]
            self._skip(kind)
        raise ValueError

    def _element(self) -> Column:
        column = Column()
        for number, kind in self._fields():
            if number == 4:
                length = self._varint()
                column.name = self.data[self.at : self.at + length].decode()
                self.at += length
            elif number == 5:
                column.count = self._integer()
            elif number == 3:
                column.is_list |= self._integer() == _REPEATED
            elif number == 6:
                column.is_list |= self._integer() in (_MAP, _MAP_KEY_VALUE, _LIST)
            else:
                self._skip(kind)
        return column

    def _fields(self) -> Iterator[tuple[int, int]]:
        """Yield (number, type) of each field of a structure; the caller reads its value."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            yield number, head & 15

    def _skip(self, kind: int) -> None:
        if kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner)
        elif kind in (_ELEMENTS, _SET):
            count, inner = self._list()
            self._skip_elements(count, inner)
        elif kind == _PAIRS:
            if count := self._check(self._varint()):
                kinds = self._byte()
                self._skip_elements(count, kinds >> 4, kinds & 15)
        elif kind == _BINARY:
            self.at += self._varint()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BYTE:
            self.at += 1
        elif kind > 2:  # a boolean is in its type
            self._varint()

    def _skip_elements(self, count: int, *kinds: int) -> None:
        """Skip elements of a container; each has one byte at least."""
        if 0 in kinds:
            raise ValueError
        for _ in range(count):
            for kind in kinds:
                self._skip(_BYTE if kind in (1, 2) else kind)

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return self._check(head >> 4 if head >> 4 < 15 else self._varint()), head & 15

    def _check(self, count: int) -> int:
        """Return a number of elements. Raises ValueError if there are not as many bytes."""
        if count > len(self.data):
            raise ValueError
        return count

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value, shift = 0, 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > _LONGEST_SHIFT:
                raise ValueError
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
