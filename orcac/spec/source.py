"""YAML as a tree that remembers where each thing was written, so that every error can point at its line.

Only the parser's node graph is used: tags never build objects. Numbers, texts, booleans and null are the YAML 1.2
core ones (a date is a text). Refused with their place: syntax errors, duplicate keys, keys that are not texts or
whole numbers, foreign tags, more than 4 MiB, and aliases that unfold into more than 100,000 values.

A spec is read from the disk, or as a git revision had it: then so are the specs and libraries that it names, while
data files are those of the disk.
"""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ReusedAnchorWarning
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from orcac.errors import InputError
from orcac.spec.problems import Mark, Problem, SpecErrors, shown

MAX_BYTES = 4 * 2**20
MAX_VALUES = 100_000
MAX_DEPTH = 50
_MANY = f"the file holds more than {MAX_VALUES:,} values; a spec is a page or two"
_DEEP = f"lists and maps lie more than {MAX_DEPTH} deep in one another; a spec needs ten"
_CORE = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")}
_GIVE = "give the path of a spec, e.g. specs/tiny.yaml"


@dataclass(frozen=True, slots=True)
class File:
    """A YAML file on the disk, or as it was at a revision in git."""

    path: Path
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.revision}:{self.path}" if self.revision else str(self.path)

    def beside(self, path: Path) -> File:
        """Another file, of the same revision."""
        return File(path, self.revision)

    def text(self) -> str:
        """Raises InputError where it cannot be read, is not UTF-8, or is larger than MAX_BYTES."""
        try:
            content = self._shown() if self.revision else self._read()
            if len(content) <= MAX_BYTES:
                return content.decode("utf-8")
        except FileNotFoundError:
            raise InputError(f"{self}: no such file", fix=_GIVE) from None
        except IsADirectoryError:
            raise InputError(f"{self}: this is a folder", fix=_GIVE) from None
        except UnicodeDecodeError as error:
            *above, last = f"{content[: error.start].decode()}.".splitlines()
            where = f"{self}:{len(above) + 1}:{len(last)}"
            raise InputError(f"{where}: not UTF-8", fix="give a text file in UTF-8") from None
        except (OSError, ValueError) as error:  # a ValueError where a path holds a NUL
            raise InputError(f"{self}: cannot be read: {error}", fix="give a text file in UTF-8") from None
        fix = "a spec is a page or two; name data files by path instead of pasting them"
        raise InputError(f"{self}: the file is larger than {MAX_BYTES // 2**20} MiB", fix=fix)

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def _shown(self) -> bytes:
        folder = self.path.parent if self.path.parent.is_dir() else Path()
        relative = os.path.relpath(self.path, folder)
        line = ["git", "-C", str(folder), "cat-file", "blob", f"{self.revision}:./{relative}"]
        try:
            done = subprocess.run(line, capture_output=True, check=False)
        except FileNotFoundError:
            raise InputError(f"{self}: git is not installed", fix="install git, or compare files") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
            raise InputError(f"{self}: {said}", fix="write REVISION:PATH, as in HEAD~1:specs/tiny.yaml")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Tree:
    """A value with its place. `value` is a scalar, a list of trees, or a dict of trees; keys have places too."""

    value: Any
    mark: Mark
    key_marks: dict[str, Mark] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: tree.plain() for key, tree in self.value.items()}
        if isinstance(self.value, list):
            return [tree.plain() for tree in self.value]
        return self.value

    def same(self, other: Tree) -> bool:
        """Whether both hold the same value, wherever it was written. What they share is not looked into."""
        if self is other:
            return True
        one, two = self.value, other.value
        if isinstance(one, dict) and isinstance(two, dict):
            return one.keys() == two.keys() and all(tree.same(two[key]) for key, tree in one.items())
        if isinstance(one, list) and isinstance(two, list):
            return len(one) == len(two) and all(tree.same(twin) for tree, twin in zip(one, two, strict=True))
        return type(one) is type(two) and bool(one == two)

    def at(self, path: Sequence[str | int]) -> Tree:
        """What stands at `path`, which is there."""
        tree = self
        for step in path:
            tree = tree.value[str(step)] if isinstance(tree.value, dict) else tree.value[step]
        return tree

    @staticmethod
    def of(value: Any, mark: Mark) -> Tree:
        """A plain value, all of it at one place."""
        if isinstance(value, dict):
            return Tree({key: Tree.of(item, mark) for key, item in value.items()}, mark, dict.fromkeys(value, mark))
        return Tree([Tree.of(item, mark) for item in value] if isinstance(value, list) else value, mark)

    def without(self, *keys: str) -> Tree:
        """A map less some of its keys."""
        return Tree({key: tree for key, tree in self.value.items() if key not in keys}, self.mark, self.key_marks)

    def marks(self) -> Iterator[Mark]:
        """Every place in it: of each value and each key."""
        yield self.mark
        if isinstance(self.value, dict):
            yield from (self.key_marks[key] for key in self.value)
        for tree in (
            self.value.values() if isinstance(self.value, dict) else self.value if isinstance(self.value, list) else ()
        ):
            yield from tree.marks()

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Mark:
        """Where `path` was written, or its nearest ancestor that was. A map is pointed at by its key.

        `key` asks for the key, whatever its value.
        """
        tree, mark = self, self.mark
        for step in path:
            if isinstance(tree.value, dict) and str(step) in tree.value:
                at = tree.value[str(step)]
                mark = tree.key_marks[str(step)] if key or isinstance(at.value, dict) else at.mark
                tree = at
            elif isinstance(tree.value, list) and isinstance(step, int) and step < len(tree.value):
                tree = tree.value[step]
                mark = tree.mark
            elif not isinstance(tree.value, list):  # of a list, what only the schema knows: it is a draw in short
                break
        return mark


def parse(file: File, problems: list[Problem], what: str = "a spec") -> Tree:
    """Read a YAML file. Raises InputError when it cannot be read, SpecErrors when it is not the YAML described.

    What is wrong but leaves the rest readable (a key that stands twice, half a character) is added to `problems`.
    """
    text = file.text()
    lines = text.splitlines()
    yaml = YAML(typ="safe", pure=True)  # the round-trip reader leaves marks in folded texts
    yaml.Composer = _Composer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # which YAML allows
            node = yaml.compose(text)
        _unfolded(node, {})
    except _TooMuch as much:
        raise SpecErrors([Problem(_mark(file, lines, much.line, much.column, 1), much.message)]) from None
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        line, column = (at.line, at.column) if at else (0, 0)
        raise SpecErrors([Problem(_mark(file, lines, line, column, 1), f"not YAML: {_syntax(error)}")]) from None
    except ReaderError as error:
        *above, last = f"{text[: error.position]}.".splitlines()
        message = f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed; take it out"
        raise SpecErrors([Problem(_mark(file, lines, len(above), len(last) - 1, 1), message)]) from None
    except (YAMLError, ValueError) as error:
        raise SpecErrors([Problem(_mark(file, lines, 0, 0, 1), f"not YAML: {error}")]) from None
    if not isinstance(node, MappingNode):
        raise SpecErrors(
            [Problem(_mark(file, lines, 0, 0, 1), f"{what} is a map of keys to values, as in `orcac: 1`; this is none")]
        )
    return _Builder(file, lines, problems).tree(node, 0)


def _syntax(error: MarkedYAMLError) -> str:
    """What is wrong and what would be right, of the mistakes that people make most."""
    problem, since = str(error.problem), f"line {error.context_mark.line + 1}" if error.context_mark else "above"
    if "\\t" in problem:
        return "a tab stands here; indent with spaces"
    if found := re.match(r"expected ',' or '(.)'", problem):
        return f"`,` or `{found[1]}` is missing before this, for what opens on {since}"
    if "end of stream" in problem and "quoted" in str(error.context):
        return f"the quote that opens on {since} is not closed"
    if "expected the node content" in problem:
        return "a value is missing before this"
    if "mapping values are not allowed" in problem:
        return "no `:` can stand here; indent as the lines around, or put a text that holds a `: ` in quotes"
    if "expected <block end>" in problem:
        return f"this does not belong to what begins on {since}; indent it as the other lines of that"
    if found := re.match(r"found undefined alias '(.*)'", problem):
        return f"`*{found[1]}` repeats what `&{found[1]}` marks, and nothing above is marked so"
    if "another document" in problem:
        return "a second document begins; take the `---` out"
    if "could not find expected ':'" in problem:
        return "a key without its `:`"
    return problem


def merge(base: Tree, patch: Tree, *, keep_nulls: bool = False) -> Tree:
    """JSON Merge Patch (RFC 7396): maps merge, null removes, everything else replaces. Places come along.

    `keep_nulls` where `base` is a patch itself.
    """
    if not isinstance(patch.value, dict):
        return patch
    value = dict(base.value) if isinstance(base.value, dict) else {}
    key_marks = dict(base.key_marks)
    for key, tree in patch.value.items():
        if tree.value is None and not keep_nulls:
            value.pop(key, None)
        else:
            under = value.get(key, Tree({}, tree.mark))
            if key not in value or not (isinstance(tree.value, dict) and isinstance(under.value, dict)):
                key_marks[key] = patch.key_marks[key]  # a map that is only patched stays where it was begun
            value[key] = merge(under, tree, keep_nulls=keep_nulls)
    return Tree(value, base.mark, key_marks)


def put(base: Tree, path: Sequence[str], tree: Tree, mark: Mark) -> Tree:
    """`base` with `tree` at `path`, in place of what stood there. Maps that lack on the way are made, at `mark`."""
    if not path:
        return tree
    first, *rest = path
    value = dict(base.value) if isinstance(base.value, dict) else {}
    key_marks = base.key_marks if rest and first in value else base.key_marks | {first: mark}
    value[first] = put(value.get(first, Tree({}, mark)), rest, tree, mark)
    return Tree(value, base.mark, key_marks)


def cut(base: Tree, *paths: Sequence[str | int]) -> Tree:
    """`base` without what stands at each of the paths."""
    for path in paths:
        first, *rest = (str(step) for step in path)
        if isinstance(base.value, dict) and first in base.value:
            value = dict(base.value)
            if rest:
                value[first] = cut(value[first], rest)
            else:
                del value[first]
            base = Tree(value, base.mark, base.key_marks)
    return base


class _TooMuch(Exception):
    def __init__(self, message: str, mark: Any) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, mark.line, mark.column


class _Composer(Composer):
    """Stops at once where a file holds too much, rather than reading on to its end."""

    _values = _level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._values += 1
        self._level += 1
        if self._level > MAX_DEPTH:
            raise _TooMuch(_DEEP, self.parser.peek_event().start_mark)
        if self._values > MAX_VALUES:
            raise _TooMuch(_MANY, self.parser.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


def _unfolded(node: Any, known: dict[int, int]) -> int:
    """How many values a node is once its aliases are written out. Raises _TooMuch at the first that is too many."""
    if id(node) not in known:
        known[id(node)] = 0  # while it is being counted: it may hold itself, which is told later as too deep
        inner = node.value if isinstance(node, SequenceNode | MappingNode) else ()
        parts = [part for pair in inner for part in pair] if isinstance(node, MappingNode) else inner
        known[id(node)] = 1 + sum(_unfolded(part, known) for part in parts)
        if known[id(node)] > MAX_VALUES:
            message = f"its aliases unfold this into more than {MAX_VALUES:,} values; repeat less"
            raise _TooMuch(message, node.start_mark)
    return known[id(node)]


class _Builder:
    def __init__(self, file: File, lines: list[str], problems: list[Problem]) -> None:
        self._file, self._lines, self._problems = file, lines, problems
        self._scalars = SafeConstructor(loader=YAML(typ="safe", pure=True))

    def tree(self, node: Any, depth: int) -> Tree:
        mark = self._mark(node)
        if depth > MAX_DEPTH:
            self._refuse(mark, _DEEP)
        if node.tag not in _CORE:
            self._refuse(mark, f"the tag {node.tag} is not allowed; a spec is plain data: leave the tag out")
        if isinstance(node, ScalarNode):
            return Tree(self._scalar(node, mark), mark)
        if isinstance(node, SequenceNode):
            return Tree([self.tree(item, depth + 1) for item in node.value], mark)
        value: dict[str, Tree] = {}
        key_marks: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            key_mark = self._mark(key_node)
            if not isinstance(key_node, ScalarNode) or not isinstance(self._scalar(key_node, key_mark), str | int):
                self._refuse(key_mark, "a key must be a text or a whole number, not a list, a map or a fraction")
            key = key_node.value
            if key in value:
                first = key_marks[key]
                self._note(
                    key_mark, f"the key {shown(key)} stands twice; the first is on line {first.line}; leave one out"
                )
                continue
            tree = self.tree(value_node, depth + 1)
            nothing = value_node.start_mark.index == value_node.end_mark.index  # its mark is that of what comes next
            value[key], key_marks[key] = Tree(tree.value, key_mark) if nothing else tree, key_mark
        return Tree(value, mark, key_marks)

    def _scalar(self, node: ScalarNode, mark: Mark) -> Any:
        if node.value == "<<" or node.tag == "tag:yaml.org,2002:merge":
            self._refuse(mark, "merge keys (`<<`) are not supported; write its fields out")
        if not node.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in node.value):
            self._note(mark, "this text holds half a character (a lone surrogate); write the whole of it")
        if node.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"):
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, YAMLError):
            return self._refuse(mark, f"{shown(node.value)} is not a number")

    def _mark(self, node: Any) -> Mark:
        start, end = node.start_mark, node.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return _mark(self._file, self._lines, start.line, start.column, max(length, 1))

    def _note(self, mark: Mark, message: str) -> None:
        self._problems.append(Problem(mark, message))

    def _refuse(self, mark: Mark, message: str) -> Any:
        raise SpecErrors([*self._problems, Problem(mark, message)])


def _mark(file: File, lines: list[str], line: int, column: int, length: int) -> Mark:
    source = lines[line] if line < len(lines) else ""
    folder = file.path.parent
    return Mark(path=str(file), folder=folder, line=line + 1, column=column + 1, length=length, source=source)
