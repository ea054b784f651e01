"""The keys that a spec names of its files: a key that a file does not have is an error of the spec, at its place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from orcac.errors import InputError
from orcac.spec.paths import FileSet
from orcac.spec.problems import Problem, SpecPath
from orcac.spec.source import Tree
from orcac.tables.columns import find_fault, find_missing
from orcac.tables.paths import lookup
from orcac.tables.rows import BadRow, find_form, read_rows
from orcac.tables.template import list_keys

__all__ = ["check_columns"]

_FIRST_ROWS = 100
_MOST_NAMED = 20
_NEEDED = ("query", "question", "answer")  # our fields that each row must have
_OWN_MESSAGE = (
    "the conversations at `{key}` begin with a system message, and a benchmark asks under one message, its `system`; "
    "write `{key}.user` to take the human's turn alone"
)


def check_columns(
    tree: Tree, path: SpecPath, fields: Iterable[tuple[str, str]], files: FileSet, format: str
) -> Iterator[tuple[SpecPath, Problem]]:
    """Yield (path, problem) for each field whose key a local file lacks, and for each file that is not a table.

    A benchmark whose query is a conversation that begins with a system message is a problem as well.

    path: of the map `fields` of our names to keys
    """
    fields = [*fields]
    keys = {key: (*path, ours) for ours, field in fields for key in list_keys(field)}
    needed = [field for ours, field in fields if ours in _NEEDED and list_keys(field) == [field]]
    found: set[SpecPath] = set()
    for file in files.files:
        try:
            missing, columns = find_missing(file, format, keys, needed)
            fault_key, fault = ("", "") if missing else find_fault(file, format, needed)
        except InputError as error:
            at = (*path[:-1], "path")
            yield at, Problem(tree.locate(at), f"{error.message}; {error.fix}")
            return
        except OSError:
            continue  # its digest is an error of its own
        if fault:
            at = keys[fault_key] if fault_key else (*path[:-1], "path")
            yield at, Problem(tree.locate(at), fault)
            return
        for key in missing:
            if keys[key] not in found:
                yield keys[key], Problem(tree.locate(keys[key]), _describe(file, key, columns))
                found.add(keys[key])
    query = dict(fields).get("query")
    if path[0] == "benchmarks" and query and any(_has_own_message(file, format, query) for file in files.files):
        yield (*path, "query"), Problem(tree.locate((*path, "query")), _OWN_MESSAGE.format(key=query))


def _has_own_message(file: Path, format: str, key: str) -> bool:
    """Return whether a conversation at `key` in the first rows begins with a system message.

    Parquet is not read, since that takes Arrow: `sample` finds such a message in it, and in later rows.
    """
    try:
        rows = () if find_form(file, format) == "parquet" else islice(read_rows(file, format, [key]), _FIRST_ROWS)
        values = [lookup(row[1], key) for row in rows if not isinstance(row, BadRow)]
    except (InputError, OSError):
        return False  # an error of its own
    return any(isinstance(value, list | dict) and _begins_with_system(value) for value in values)


def _begins_with_system(value: object) -> bool:
    from orcac.sample.formats.conversation import find_conversation  # brings numpy; few benchmarks have turns

    try:
        conversation = find_conversation(value)
    except ValueError:
        return False  # a bad row
    return conversation is not None and bool(conversation.system)


def _describe(file: Path, key: str, columns: Collection[str]) -> str:
    near = difflib.get_close_matches(key, columns, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    names = [*columns][:_MOST_NAMED]
    more = f" and {len(columns) - len(names)} more" if len(columns) > len(names) else ""
    return f"{file.name} has no column `{key}`; {hint}it has {', '.join(names) or 'none'}{more}"
