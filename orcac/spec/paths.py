"""The files that a spec names: on this machine, on a hub, or not here yet.

A local file is found now, since it enters the ids by its content. A part of a hub is not asked for until it is needed
and enters by the words that name it. What is `missing: later` enters by its path's words until it is here; then it
enters by content, and whatever depends on it gets a new id.
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
from orcac.spec.problems import Mark, shown

HUB = "hf://"


@dataclass(frozen=True, slots=True)
class Found:
    """What the paths of one field name."""

    files: tuple[Path, ...] = ()  # here, sorted
    root: Path | None = None  # the folder that `files` are all of, where a folder was named
    hub: tuple[HubRef, ...] = ()
    absent: tuple[str, ...] = ()  # paths as written, of what is not here yet
    why: str = ""  # what is wrong with the first of them


class NotHere(InputError):
    """A path that names nothing on this machine."""


@dataclass(slots=True)
class Finder:
    """Looks each path up once, however many arms name it."""

    _known: dict[tuple[str, Path], list[Path] | InputError] = field(default_factory=dict)

    def files(self, written: Sequence[tuple[str, Mark]], *, later: bool = False) -> Found:
        """What the paths name. Raises InputError for what is not here (unless `later`) or is no readable file."""
        files: set[Path] = set()
        hub, absent, why = [], [], ""
        for text, mark in written:
            if text.startswith(HUB):
                hub.append(parse_hub(text))
                continue
            try:
                files.update(_readable(self.expand(text, mark.folder)))
            except NotHere as error:
                if not later:
                    raise
                absent.append(text)
                why = why or error.message
        return Found(tuple(sorted(files)), None, tuple(hub), tuple(absent), why)

    def model(self, text: str, mark: Mark) -> Found:
        """A pretrained student: a folder with all its files, a .gguf file, or a repository of a hub."""
        if text.startswith(HUB):
            return Found(hub=(parse_hub(text),))
        try:
            root, *_ = self.expand(text, mark.folder)
        except NotHere as error:
            if re.fullmatch(r"[\w.-]+/[\w.-]+", text):
                raise InputError(f"{error.message}; a model of the hub is written `{HUB}{text}`") from None
            raise
        if root.suffix == ".gguf" and root.is_file():
            return Found(tuple(_readable([root])))
        if not (root / "config.json").is_file():
            raise InputError(f"{root}: neither a model directory (no config.json in it) nor a .gguf file")
        every = [path for path in root.rglob("*") if path.is_file()]
        # hidden files are the downloader's notes, with times in them
        seen = [path for path in every if not any(part.startswith(".") for part in path.relative_to(root).parts)]
        return Found(tuple(sorted(path.absolute() for path in _readable(seen))), root.absolute())

    def expand(self, pattern: str, folder: Path) -> list[Path]:
        """The paths that a path or glob names, relative to `folder`; `${NAME}` is the environment's."""
        key = (pattern, folder)
        if key not in self._known:
            try:
                self._known[key] = _expand(pattern, folder)
            except InputError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, InputError):
            raise found
        return found


def _readable(paths: Sequence[Path]) -> list[Path]:
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the files in it, as in `{path.name}/*.jsonl`")
        if not path.is_file() or not os.access(path, os.R_OK):
            raise InputError(f"{path} cannot be read")
    return list(paths)


def substituted(text: str) -> str:
    """A path with the environment's values for `${NAME}`. Raises NotHere where one is not set."""

    def variable(found: re.Match[str]) -> str:
        if not os.environ.get(found[1]):
            raise NotHere(f"the environment variable {found[1]} is not set; `{text}` needs it")
        return os.environ[found[1]]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", variable, text)


def _expand(pattern: str, folder: Path) -> list[Path]:
    text = Path(substituted(pattern))
    path = folder / text
    try:
        if path.exists():
            return [path]
        # from the spec's folder, whose own name may hold what a glob would read
        start, rest = (Path(text.anchor), text.relative_to(text.anchor)) if text.anchor else (folder, text)
        found = sorted(start.glob(str(rest)))
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(pattern)} is not a path or glob: {error}") from None
    if not found:
        missing = "matches no file" if re.search("[*?[]", pattern) else "is not there"
        raise NotHere(f"`{pattern}` {missing}; looked for {path}")
    return found
