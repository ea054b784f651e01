"""YAML as a tree that remembers the place of each value, so that every error can point at its line.

The tree is built from the parser's node graph, so a tag never builds an object. Numbers, texts, booleans and null are
those of the YAML 1.2 core schema (a date is a text). These are refused, each with its place: syntax errors, duplicate
keys, keys that are neither texts nor whole numbers, other tags, files over 4 MiB, and aliases that unfold into more
than 100,000 values.

A spec can be read from a git revision. The specs and libraries that it names are then read from the same revision,
but data files are always those on the disk.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias, Union

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ReusedAnchorWarning
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from orcac.errors import InputError
from orcac.spec.missing import find_nearest_spec
from orcac.spec.problems import Mark, Problem, SpecErrors, describe
from orcac.spec.special import refuse_special
from orcac.spec.syntax import NO_COLON, explain_kind, explain_syntax

MAX_BYTES = 4 * 2**20
MAX_VALUES = 100_000
MAX_DEPTH = 50
_TOO_DEEP = f"lists and maps are nested more than {MAX_DEPTH} levels deep; a spec needs ten"
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")}
_GIVE_SPEC = "give the path of a spec, e.g. specs/tiny.yaml"
_NO_ENTRIES: Mapping[str, Tree] = {}

Scalar = None | bool | int | float | str
Value: TypeAlias = Union[Scalar, "list[Tree]", "dict[str, Tree]"]


@dataclass(frozen=True, slots=True)
class File:
    """A YAML file on the disk, or at a git revision."""

    path: Path
    revision: str = ""
    is_named: bool = field(default=False, compare=False)  # by another file, not by the user

    def __str__(self) -> str:
        return f"{self.revision}:{self.path}" if self.revision else str(self.path)

    def with_path(self, path: Path) -> File:
        """Return another file of the same revision. `..` is resolved, so that one file has one path."""
        return File(Path(os.path.normpath(path)), self.revision, is_named=True)

    def read(self) -> str:
        """Return the file's text. Raises InputError if it is unreadable, not UTF-8, or larger than MAX_BYTES."""
        try:
            content = self._read_revision() if self.revision else self._read_disk()
            if len(content) <= MAX_BYTES:
                return content.decode("utf-8")
        except FileNotFoundError:
            near = find_nearest_spec(self.path)
            raise InputError(f"{self}: no such file", fix=f"write {near}" if near else _GIVE_SPEC) from None
        except IsADirectoryError:
            raise InputError(f"{self}: this is a folder", fix=_GIVE_SPEC) from None
        except UnicodeDecodeError as error:
            if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError(f"{self}: the file is UTF-16", fix="save it as UTF-8") from None
            *above, last = f"{content[: error.start].decode()}.".splitlines()
            place = f"{self}:{len(above) + 1}:{len(last)}"
            raise InputError(f"{place}: not UTF-8", fix="give a text file in UTF-8") from None
        except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
            raise InputError(f"{self}: cannot be read: {error}", fix="give a text file in UTF-8") from None
        fix = "a spec is a page or two; name data files by path instead of pasting them"
        raise InputError(f"{self}: the file is larger than {MAX_BYTES // 2**20} MiB", fix=fix)

    def _read_disk(self) -> bytes:
        if self.is_named:
            refuse_special(self.path)
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def _read_revision(self) -> bytes:
        folder = self.path.parent if self.path.parent.is_dir() else Path()
        relative = os.path.relpath(self.path, folder)
        line = ["git", "-C", str(folder), "cat-file", "blob", f"{self.revision}:./{relative}"]
        try:
            done = subprocess.run(line, capture_output=True, check=False, env=os.environ | {"LC_ALL": "C"})
        except FileNotFoundError:
            raise InputError(f"{self}: git is not installed", fix="install git, or compare files") from None
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
            if message.startswith("not a git repository"):
                fix = "compare two files, or put the folder under git"
                raise InputError(f"{self}: the folder {folder.absolute()} is in no git repository", fix=fix)
            raise InputError(f"{self}: {message}", fix="write REVISION:PATH, as in HEAD~1:specs/tiny.yaml")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Tree:
    """A value with its place: a scalar, a list of trees, or a map of trees whose keys have places as well."""

    value: Value
    mark: Mark
    key_marks: dict[str, Mark] = field(default_factory=dict)

    @classmethod
    def of(cls, value: JsonValue, mark: Mark) -> Tree:
        """Return the tree of a plain value, all of it at one place."""
        if isinstance(value, dict):
            return Tree({key: Tree.of(item, mark) for key, item in value.items()}, mark, dict.fromkeys(value, mark))
        return Tree([Tree.of(item, mark) for item in value] if isinstance(value, list) else value, mark)

    @property
    def entries(self) -> Mapping[str, Tree]:
        """The entries of a map; empty for a list or a scalar."""
        return self.value if isinstance(self.value, dict) else _NO_ENTRIES

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, dict)

    def plain(self) -> JsonValue:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: tree.plain() for key, tree in self.value.items()}
        if isinstance(self.value, list):
            return [tree.plain() for tree in self.value]
        return self.value

    def equals(self, other: Tree) -> bool:
        """Return whether both trees hold the same values and types; places do not count. Shared parts cost no time."""
        if self is other:
            return True
        one, two = self.value, other.value
        if isinstance(one, dict) and isinstance(two, dict):
            return one.keys() == two.keys() and all(tree.equals(two[key]) for key, tree in one.items())
        if isinstance(one, list) and isinstance(two, list):
            return len(one) == len(two) and all(tree.equals(twin) for tree, twin in zip(one, two, strict=True))
        return type(one) is type(two) and bool(one == two)

    def at(self, path: Sequence[str | int]) -> Tree:
        """Return the subtree at `path`, which must exist."""
        tree = self
        for step in path:
            if isinstance(tree.value, dict):
                tree = tree.value[str(step)]
            else:
                assert isinstance(tree.value, list) and isinstance(step, int)
                tree = tree.value[step]
        return tree

    def without(self, *keys: str) -> Tree:
        """Return a map without some of its keys."""
        return Tree({key: tree for key, tree in self.entries.items() if key not in keys}, self.mark, self.key_marks)

    def marks(self) -> Iterator[Mark]:
        """Yield the place of each value and each key in the tree."""
        yield self.mark
        for key, tree in self.entries.items():
            yield self.key_marks[key]
            yield from tree.marks()
        for tree in self.value if isinstance(self.value, list) else ():
            yield from tree.marks()

    def locate(self, path: Sequence[str | int], *, key: bool = False) -> Mark:
        """Return the place of the value at `path`, or of its nearest ancestor in the file. A map's place is its key.

        With `key` the place is always that of the key.
        """
        tree, mark = self, self.mark
        for step in path:
            if isinstance(tree.value, dict) and str(step) in tree.value:
                child = tree.value[str(step)]
                mark = tree.key_marks[str(step)] if key or child.is_map else child.mark
                tree = child
            elif isinstance(tree.value, list) and isinstance(step, int) and step < len(tree.value):
                tree = tree.value[step]
                mark = tree.mark
            elif not isinstance(tree.value, list):  # a list may be a draw's short form: skip the keys that it implies
                break
        return mark

    def locate_patch(self, path: Sequence[str | int], file: File) -> Mark:
        """Return the place of the value at `path`; if another file begins that map, the first place in `file` in it."""
        mark, part = self.locate(path), self
        for step in path:
            part = part.entries.get(str(step), part)
        if part is self or mark.path == str(file):
            return mark
        return next((one for one in part.marks() if one.path == str(file)), mark)


def parse(file: File, problems: list[Problem], subject: str = "a spec", *, max_values: int = MAX_VALUES) -> Tree:
    """Read a YAML file whose top level is a map; `subject` names it in errors.

    Problems that leave the rest readable (a duplicate key, a lone surrogate) are appended to `problems`. Raises
    InputError if the file cannot be read, and SpecErrors if it is not the subset of YAML that this module describes.
    """
    text = file.read()
    lines = text.splitlines()
    yaml = YAML(typ="safe", pure=True)  # the round-trip reader would leave control characters in folded texts
    yaml.Composer = _BoundedComposer
    yaml.composer.limit = max_values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it
            node = yaml.compose(text)
        _count_values(node, {}, max_values)
    except _TooLarge as error:
        raise SpecErrors([Problem(_mark(file, lines, error.line, error.column, 1), error.message)]) from None
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        line, column = (at.line, at.column) if at else (0, 0)
        if NO_COLON in str(error.problem) and error.context_mark:
            line, column = error.context_mark.line, error.context_mark.column
        message = (
            f"not YAML: {explain_syntax(error, lines[max(0, line - 1) : line + 1], column)}{explain_kind(file.path)}"
        )
        raise SpecErrors([Problem(_mark(file, lines, line, column, 1), message)]) from None
    except ReaderError as error:
        *above, last = f"{text[: error.position]}.".splitlines()
        message = f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed; remove it"
        raise SpecErrors([Problem(_mark(file, lines, len(above), len(last) - 1, 1), message)]) from None
    except (YAMLError, ValueError) as error:
        raise SpecErrors([Problem(_mark(file, lines, 0, 0, 1), f"not YAML: {error}")]) from None
    if not isinstance(node, MappingNode):
        message = f"{subject} must be a map of keys to values, as in `orcac: 1`"
        raise SpecErrors([Problem(_mark(file, lines, 0, 0, 1), message)])
    return _Builder(file, lines, problems).build(node, 0)


def merge(base: Tree, patch: Tree, *, keep_nulls: bool = False) -> Tree:
    """Apply a JSON Merge Patch (RFC 7396): maps merge, null removes, every other value replaces. Places are kept.

    Set `keep_nulls` if `base` is a patch itself, whose nulls have yet to remove something.
    """
    if not isinstance(patch.value, dict):
        return patch
    value = dict(base.entries)
    key_marks = dict(base.key_marks)
    for key, tree in patch.value.items():
        if tree.value is None and not keep_nulls:
            value.pop(key, None)
        else:
            under = value.get(key, Tree({}, tree.mark))
            if key not in value or not (tree.is_map and under.is_map):
                key_marks[key] = patch.key_marks[key]  # a map that is only patched keeps its first place
            value[key] = merge(under, tree, keep_nulls=keep_nulls)
    return Tree(value, base.mark, key_marks)


def put(base: Tree, path: Sequence[str], tree: Tree, mark: Mark) -> Tree:
    """Return `base` with `tree` at `path`, replacing any value there. Missing maps on the way are made, at `mark`."""
    if not path:
        return tree
    first, *rest = path
    value = dict(base.entries)
    key_marks = base.key_marks if rest and first in value else base.key_marks | {first: mark}
    value[first] = put(value.get(first, Tree({}, mark)), rest, tree, mark)
    return Tree(value, base.mark, key_marks)


def cut(base: Tree, *paths: Sequence[str | int]) -> Tree:
    """Return `base` without the values at `paths`."""
    for path in paths:
        first, *rest = (str(step) for step in path)
        if first in base.entries:
            value = dict(base.entries)
            if rest:
                value[first] = cut(value[first], rest)
            else:
                del value[first]
            base = Tree(value, base.mark, base.key_marks)
    return base


class _TooLarge(Exception):
    """A file with too many values or levels, and the place at which the limit was reached."""

    def __init__(self, message: str, mark: StreamMark) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, mark.line, mark.column


class _BoundedComposer(Composer):
    """A composer that stops as soon as a file exceeds a limit, instead of reading to its end."""

    limit = MAX_VALUES
    _values = _level = 0

    def compose_node(self, parent: Node, index: object) -> Node:
        self._values += 1
        self._level += 1
        if self._level > MAX_DEPTH:
            raise _TooLarge(_TOO_DEEP, self.parser.peek_event().start_mark)
        if self._values > self.limit:
            message = f"the file holds more than {self.limit:,} values; a spec is a page or two"
            raise _TooLarge(message, self.parser.peek_event().start_mark)
        node: Node = super().compose_node(parent, index)
        self._level -= 1
        return node


def _count_values(node: Node, counts: dict[int, int], limit: int) -> int:
    """Return the number of values of a node with its aliases unfolded. Raises _TooLarge at the first over `limit`.

    `counts` maps the ids of the counted nodes to their counts, so that a repeated node is counted once.
    """
    if id(node) not in counts:
        counts[id(node)] = 0  # while it is being counted: it may contain itself, which is later refused as too deep
        inner = node.value if isinstance(node, SequenceNode | MappingNode) else ()
        parts = [part for pair in inner for part in pair] if isinstance(node, MappingNode) else inner
        counts[id(node)] = 1 + sum(_count_values(part, counts, limit) for part in parts)
        if counts[id(node)] > limit:
            message = f"its aliases unfold this into more than {limit:,} values; repeat less"
            raise _TooLarge(message, node.start_mark)
    return counts[id(node)]


class _Builder:
    """A builder of a file's tree from the parser's nodes."""

    def __init__(self, file: File, lines: list[str], problems: list[Problem]) -> None:
        self._file, self._lines, self._problems = file, lines, problems
        self._scalars = SafeConstructor(loader=YAML(typ="safe", pure=True))

    def build(self, node: Node, depth: int) -> Tree:
        """Return the tree of a node. Raises SpecErrors at a tag, key or scalar that a spec may not contain."""
        mark = self._mark(node)
        if depth > MAX_DEPTH:
            self._refuse(mark, _TOO_DEEP)
        if node.tag not in _TAGS:
            self._refuse(mark, f"the tag {node.tag} is not allowed; a spec is plain data: remove the tag")
        if isinstance(node, ScalarNode):
            return Tree(self._scalar(node, mark), mark)
        if isinstance(node, SequenceNode):
            return Tree([self.build(item, depth + 1) for item in node.value], mark)
        value: dict[str, Tree] = {}
        key_marks: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            key_mark = self._mark(key_node)
            if not isinstance(key_node, ScalarNode) or not isinstance(self._scalar(key_node, key_mark), str | int):
                self._refuse(key_mark, "a key must be a text or a whole number, not a list, a map or a fraction")
            key = key_node.value
            if key in value:
                first = key_marks[key].line
                self._note(key_mark, f"the key {describe(key)} appears twice, first on line {first}; remove one")
                continue
            tree = self.build(value_node, depth + 1)
            is_empty = value_node.start_mark.index == value_node.end_mark.index  # its mark is that of the next token
            value[key], key_marks[key] = Tree(tree.value, key_mark) if is_empty else tree, key_mark
        return Tree(value, mark, key_marks)

    def _scalar(self, node: ScalarNode, mark: Mark) -> Scalar:
        """Return the value of a scalar node. Raises SpecErrors for a merge key and for a malformed number."""
        if node.value == "<<" or node.tag == "tag:yaml.org,2002:merge":
            self._refuse(mark, "merge keys (`<<`) are not supported; write the fields out")
        if not node.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in node.value):
            self._note(mark, "this text contains half a character (a lone surrogate); write the whole character")
        if node.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"):
            return str(node.value)
        try:
            scalar: Scalar = self._scalars.construct_object(node)
            return scalar
        except (ValueError, YAMLError):
            self._refuse(mark, f"{describe(node.value)} is not a number")

    def _mark(self, node: Node) -> Mark:
        start, end = node.start_mark, node.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return _mark(self._file, self._lines, start.line, start.column, max(length, 1))

    def _note(self, mark: Mark, message: str) -> None:
        self._problems.append(Problem(mark, message))

    def _refuse(self, mark: Mark, message: str) -> NoReturn:
        raise SpecErrors([*self._problems, Problem(mark, message)])


def _mark(file: File, lines: list[str], line: int, column: int, length: int) -> Mark:
    """Return the mark of a place given by the parser, which counts lines and columns from 0."""
    source = lines[line] if line < len(lines) else ""
    folder = file.path.parent
    return Mark(path=str(file), folder=folder, line=line + 1, column=column + 1, length=length, source=source)
