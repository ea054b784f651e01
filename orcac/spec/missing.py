"""The likely reason that a path of a spec names no file, and the path that was meant."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

__all__ = ["explain_missing", "find_nearest", "find_nearest_spec"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+]*:/", re.IGNORECASE)
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_DATA = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".yaml", ".gz", ".zst", ".bz2", ".xz")
_MOST_LISTED = 2_000  # names of a folder that are compared


def explain_missing(pattern: str, path: Path) -> str:
    """Return the advice for a path without a file, as the end of a sentence; "" if nothing is known to advise.

    pattern: as the spec has it
    path: as it was looked for
    """
    if hub := _suggest_hub(pattern):
        return f"; write `{hub}` for a repository of the hub"
    if _ADDRESS.match(pattern):
        return "; a path is a file on this machine or begins with hf://: download it first"
    if pattern.startswith("~"):
        return f"; `~` is not replaced: write `${{HOME}}{pattern[1:]}`"
    if "\\" in pattern:
        return f"; a path is written with `/`: `{pattern.replace(chr(92), '/')}`"
    if re.search(r"[*?\[]|\$\{", pattern):
        return ""
    if not Path(pattern).is_absolute():
        here = Path.cwd() / pattern
        if here.exists() and here != path.absolute():
            folder = path.absolute().parents[len(Path(pattern).parts) - 1]
            meant = os.path.relpath(here, folder)
            return f"; it exists in the working folder, and a path starts at the spec's folder: write `{meant}`"
    if near := find_nearest(path):
        return f"; its folder has `{near}`"
    if _REPOSITORY.fullmatch(pattern) and path.suffix.lower() not in _DATA:
        return f"; write `hf://{pattern}` for a repository of the hub"
    return ""


def find_nearest(path: Path) -> str:
    """Return the name in a path's folder that is most like the path's own; "" if none is."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_LISTED), strict=False)]
    except (OSError, ValueError):
        return ""
    by_case = {name.lower(): name for name in names}
    near = difflib.get_close_matches(path.name.lower(), by_case, n=1, cutoff=0.75)
    return by_case[near[0]] if near else ""


def find_nearest_spec(path: Path) -> Path | None:
    """Return the spec whose path is most like `path`, of its folder and of a folder `specs`; None if none is."""
    suffixes = (".yaml", ".yml")
    for folder in (path.parent, path.parent / "specs"):
        for name in (path.name, *(f"{path.stem}{suffix}" for suffix in suffixes)):
            if (folder / name).is_file() and folder / name != path:
                return folder / name
        near = find_nearest(folder / path.name)
        if near.lower().endswith(suffixes):
            return folder / near
    return None


def _suggest_hub(text: str) -> str:
    """Return the reference to a hub that another form of its address means; "" for any other text."""
    if match := re.fullmatch(r"hf:/{0,3}([^/].*)|(?:https?:/+)?(?:www\.)?(?:huggingface\.co|hf\.co)/+(.+)", text):
        parts = (match[1] or match[2]).strip("/").split("/")
        parts = parts[1:] if parts[0] in ("datasets", "models") else parts
        if len(parts) >= 2:
            revision = f"@{parts[3]}" if len(parts) > 3 and parts[2] in ("tree", "blob", "resolve") else ""
            rest = parts[4:] if revision else parts[2:]
            return "hf://" + "/".join([parts[0], parts[1] + revision, *rest]).partition("?")[0]
    return ""
