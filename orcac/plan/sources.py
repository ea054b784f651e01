"""Translates a spec's query sources and local files into the recipe of a `sample` node.

A local file enters a recipe as content (`FileRef`: name and digest); the path of that content on this machine goes into
the execution. Each file of an experiment is read once, however many arms and sources name it.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.plan.remembered import Remembered
from orcac.recipe import MATCHING, FileRef
from orcac.sample.recipe import Puzzles, Source, TruthfulQA
from orcac.spec import schema
from orcac.spec.paths import FileSet
from orcac.tables.content import strip_compression

FileQueries: TypeAlias = (
    schema.TableQueries
    | schema.FormQueries
    | schema.TableBenchmark
    | schema.FormBenchmark
    | schema.TruthfulQABenchmark
    | schema.OpenBenchmark
)

_NAMED_OPTION = re.compile(rb"\\n- [A-Za-z]{2,20} (?:[A-Z]|[0-9]{1,2}): ")  # its literal begin makes it fast
_HEAD_BEFORE = re.compile(rb"options:[ \t]*$", re.IGNORECASE)
# the name of the remembered fact: other patterns find other facts
_LISTS_NAMES = f"lists names {_HEAD_BEFORE.pattern!r} {_NAMED_OPTION.pattern!r}"


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Local files as content for a recipe (`refs`) and as absolute paths for an execution (`paths`: sha256 -> path)."""

    refs: tuple[FileRef, ...] = ()
    paths: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class FileDigests:
    """The facts that a plan needs of local files, each found once: their sha256 digests, and how they list options."""

    compute: Callable[[Path], str] = file_digest
    remembered: Remembered = field(default_factory=Remembered)
    _digests: dict[Path, str] = field(default_factory=dict)
    _lists_names: dict[Path, bool] = field(default_factory=dict)

    def digest(self, path: Path) -> str:
        """Return a file's digest. Raises InputError if the file cannot be read to its end or was removed."""
        if path not in self._digests:
            try:
                digest = self.remembered.find(path, "sha256", str, self.compute)
            except OSError as error:
                fix = "give a file that can be read, then compile again"
                raise InputError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
            assert digest is not None
            self._digests[path] = digest
        return self._digests[path]

    def lists_names(self, path: Path) -> bool:
        """Return whether a text file lists options with names; lines end in two characters in JSON and in FLAN's TSV.

        Return False for a file that cannot be read: its digest is an error of its own.
        """
        if path not in self._lists_names:
            self._lists_names[path] = bool(self.remembered.find(path, _LISTS_NAMES, bool, _lists_names))
        return self._lists_names[path]

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Save the facts that the block finds, also those found before an error."""
        try:
            yield
        finally:
            self.remembered.save()

    def lower(self, file_set: FileSet | None) -> LocalFiles:
        """Return the local files of one field of a spec, in the order of their names.

        If the spec names a folder, the name of each file is its path in that folder; otherwise it is the base name. So
        the order does not depend on the location of the files, which is not part of an id.
        """
        refs, paths = [], {}
        with self.saving():
            for path in file_set.files if file_set else ():
                digest = self.digest(path)
                name = path.relative_to(file_set.root).as_posix() if file_set and file_set.root else path.name
                refs.append(FileRef(name=name, sha256=digest))
                paths[digest] = str(path.absolute())
        return LocalFiles(tuple(sorted(refs, key=lambda ref: (ref.name, ref.sha256))), paths)


def _lists_names(path: Path) -> bool | None:
    """Return whether a file lists options with names; None if it cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            found = [match.start() for match in _NAMED_OPTION.finditer(text)]
            return any(_HEAD_BEFORE.search(text[max(0, at - 20) : at]) for at in found)
    except OSError:
        return None
    except ValueError:  # the file is empty
        return False


def lower_puzzles(queries: schema.GeneratedQueries | schema.GeneratedBenchmark, seed: int, address: str) -> Source:
    """Return a source of generated tasks.

    The tasks' seed depends on `address` (SECTION/NAME) as well as on the spec's `seed`, so that a benchmark of the same
    task and size holds other puzzles than the training data.
    """
    own_seed = int(hashlib.sha256(f"{seed}/{address}".encode()).hexdigest()[:8], 16)
    puzzles = Puzzles(task=queries.task, size=queries.size, count=queries.take, seed=own_seed)
    return Source(format=queries.format, puzzles=puzzles)


def lower_file_source(queries: FileQueries, file_set: FileSet, files: LocalFiles, *, seed: int = 0) -> Source:
    """Return a source of queries from files.

    `file_set` is the resolved `path` of `queries`, `files` its local part. `seed` shuffles the choices of TruthfulQA.
    """
    truthfulqa = None
    if isinstance(queries, schema.TruthfulQABenchmark):
        truthfulqa = TruthfulQA(task=queries.task, seed=seed)
    fields: Mapping[str, str] = getattr(queries, "fields", {})  # published formats have none
    shown: Literal["no", "words", "letters"] = getattr(queries, "show_options", "no")
    return Source(
        format="jsonl" if queries.format == "open-ended" else queries.format,
        files=files.refs,
        hub=file_set.hub,
        absent=file_set.absent,
        truthfulqa=truthfulqa,
        fields={str(ours): key for ours, key in fields.items()},
        show_options=None if shown == "no" else shown,
        tasks=queries.tasks,
        take=queries.take,
        per_task=queries.per_task,
        sampling=queries.sampling,
    )


def find_matching(source: Source, file_set: FileSet | None, digests: FileDigests) -> int | None:
    """Return the rule by which the references of a source meet their options; None if all name options by their text.

    Of files on this machine that list options in their queries, the rule is for those in which an option has a name
    ("- Sentence A: ..."), and for the forms that no earlier orcac read. All other samples keep the ids that they had
    before there was a rule.
    """
    fields, files = source.fields, file_set.files if file_set else ()
    if source.format in ("flan-cot", "jsonl") and "options" not in fields:
        with digests.saving():
            lists_names = any(map(digests.lists_names, files))
        may_differ = lists_names or any(strip_compression(f.name) != f.name for f in files)
    else:
        may_differ = "options" in fields or source.format in ("json", "csv", "tsv")
    has_references = source.format == "flan-cot" or bool(fields.keys() & {"reference", "references"})
    return MATCHING if may_differ and has_references else None
