"""The files that a spec names: on this machine, on a hub, or not here yet.

A local file is looked up at once, because it enters the ids by content. A file on a hub enters the ids by its
reference, and the hub is not contacted before a node needs the file. A missing file with `missing: later` enters by
its path, until it exists; then it enters by content, and every node that depends on it gets a new id.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orcac.errors import InputError
from orcac.hub import parse_hub
from orcac.recipe import HubRef
from orcac.spec.missing import explain_missing
from orcac.spec.problems import Mark, describe
from orcac.spec.secrets import is_secret_name
from orcac.spec.special import refuse_special

HUB = "hf://"


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files that one field of a spec names."""

    files: tuple[Path, ...] = ()  # on this machine, sorted
    root: Path | None = None  # the folder that contains `files`, if the field names a folder
    hub: tuple[HubRef, ...] = ()
    absent: tuple[str, ...] = ()  # the paths, as written, of files that do not exist yet
    why: str = ""  # the error message for the first of `absent`


class MissingFileError(InputError):
    """A path that names no file on this machine."""


@dataclass(slots=True)
class Finder:
    """A finder of a spec's files. It looks up each path once, however many arms name it."""

    _results: dict[tuple[str, Path], list[Path] | InputError] = field(default_factory=dict)

    def find_files(self, written: Sequence[tuple[str, Mark]], *, later: bool = False) -> FileSet:
        """Return the files that paths name; with `later`, missing ones are allowed.

        Raises MissingFileError for a missing file, InputError for a folder or an unreadable file.
        """
        files: set[Path] = set()
        hub, absent, why = [], [], ""
        for text, mark in written:
            if text.startswith(HUB):
                hub.append(parse_hub(text))
                continue
            try:
                files.update(_check_readable(self.expand(text, mark.folder)))
            except MissingFileError as error:
                if not later:
                    raise
                absent.append(text)
                why = why or error.message
        return FileSet(tuple(sorted(files)), None, tuple(hub), tuple(absent), why)

    def find_model(self, text: str, mark: Mark) -> FileSet:
        """Return the files of a pretrained model: a folder with all its files, a .gguf file, or a hub's repository.

        Raises InputError if the path names none of these.
        """
        if text.startswith(HUB):
            return FileSet(hub=(parse_hub(text),))
        root, *_ = self.expand(text, mark.folder)
        if root.suffix == ".gguf" and root.is_file():
            return FileSet(tuple(_check_readable([root])))
        if not (root / "config.json").is_file():
            raise InputError(f"{root}: neither a model directory (it has no config.json) nor a .gguf file{_hint(root)}")
        every = [path for path in root.rglob("*") if path.is_file()]
        # hidden files are metadata of the downloader, which contain times
        visible = [path for path in every if not any(part.startswith(".") for part in path.relative_to(root).parts)]
        for path in visible:
            _refuse_foreign_link(path, root)
        return FileSet(tuple(sorted(path.absolute() for path in _check_readable(visible))), root.absolute())

    def expand(self, pattern: str, folder: Path) -> list[Path]:
        """Return the paths that a path or glob relative to `folder` matches, with `${NAME}` from the environment.

        Raises MissingFileError if there are none.
        """
        key = (pattern, folder)
        if key not in self._results:
            try:
                self._results[key] = _expand(pattern, folder)
            except InputError as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, InputError):
            raise result
        return result


def _check_readable(paths: Sequence[Path]) -> list[Path]:
    """Return the paths of files. Raises InputError for a folder or an unreadable file."""
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the files in it, as in `{path.name}/*.jsonl`")
        refuse_special(path)
        if not path.is_file() or not os.access(path, os.R_OK):
            raise InputError(f"{path} cannot be read; make it a readable file")
    return list(paths)


def _refuse_foreign_link(path: Path, root: Path) -> None:
    """Raise InputError if a file of the model in `root` is a link to a file elsewhere, which would be copied.

    The cache of a hub is one of links: `snapshots/COMMIT/NAME` leads to `blobs/DIGEST` beside `snapshots`.
    """
    folder, resolved = root.resolve(), path.resolve()
    blobs = folder.parent.parent / "blobs"
    if folder not in resolved.parents and not (folder.parent.name == "snapshots" and blobs in resolved.parents):
        raise InputError(f"{path} is a link to {resolved}, outside the model's folder; put a copy of the file there")


def _hint(root: Path) -> str:
    """Return the advice for a path that is not a model, as the end of a sentence."""
    if (root / "adapter_config.json").is_file():
        return "; it is a LoRA adapter: merge it into its base model, save that, and give its folder"
    if (root.parent / "config.json").is_file() and root.is_file():
        return f"; write the folder, `{root.parent.name}`"
    return ""


def substitute_variables(text: str) -> str:
    """Return a path with the environment's values for `${NAME}`.

    Raises MissingFileError if one is not set, InputError for a variable whose name announces a secret, since paths
    are shown in messages.
    """

    def value_of(match: re.Match[str]) -> str:
        if is_secret_name(match[1]):
            raise InputError(
                f"{match[1]} is by its name a secret, which belongs in no path; write the path itself, or name the "
                "variable where a key is needed, as in `api_key_env`"
            )
        if not os.environ.get(match[1]):
            raise MissingFileError(f"the environment variable {match[1]} is not set; `{text}` needs it")
        return os.environ[match[1]]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", value_of, text)


def _expand(pattern: str, folder: Path) -> list[Path]:
    expanded = substitute_variables(pattern)
    text = Path(expanded)
    path = folder / text
    try:
        if path.exists():
            return [path]
        # glob inside the spec's folder, since the folder's own name may contain characters with a meaning in globs
        start, rest = (Path(text.anchor), text.relative_to(text.anchor)) if text.anchor else (folder, text)
        matches = sorted(start.glob(str(rest)))
    except (OSError, ValueError) as error:
        raise InputError(f"{describe(pattern)} is not a path or glob: {error}") from None
    if not matches:
        problem = "matches no file" if re.search("[*?[]", pattern) else "does not exist"
        looked = "" if "/" not in expanded and expanded != pattern else f"; looked for {path}"  # it may be a secret
        raise MissingFileError(f"`{pattern}` {problem}{looked}{explain_missing(pattern, path)}")
    return matches
