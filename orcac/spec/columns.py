"""The keys that a spec names of its files: a key that a file does not have is an error of the spec, at its place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from orcac.errors import InputError
from orcac.spec.paths import FileSet
from orcac.spec.problems import Problem, SpecPath
from orcac.spec.source import Tree
from orcac.tables.columns import find_fault, find_missing
from orcac.tables.template import list_keys

__all__ = ["check_columns"]

_MOST_NAMED = 20
_NEEDED = ("query", "question", "answer")  # our fields that each row must have


def check_columns(
    tree: Tree, path: SpecPath, fields: Iterable[tuple[str, str]], files: FileSet, format: str
) -> Iterator[tuple[SpecPath, Problem]]:
    """Yield (path, problem) for each field whose key a local file lacks, and for each file that is not a table.

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


def _describe(file: Path, key: str, columns: Collection[str]) -> str:
    near = difflib.get_close_matches(key, columns, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    names = [*columns][:_MOST_NAMED]
    more = f" and {len(columns) - len(names)} more" if len(columns) > len(names) else ""
    return f"{file.name} has no column `{key}`; {hint}it has {', '.join(names) or 'none'}{more}"
