"""Finds the processes of a run and says of which kind each is, so that each kind is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VARIABLE = "CHAOS_RUN"  # in the environment of every process of a run, on Slurm too
ASKERS = frozenset({"collect", "score", "rate"})  # kinds of nodes that ask an endpoint


class Found(NamedTuple):
    """A process of a run. `kind` is that of the node that it makes, if it holds the lease of one."""

    pid: int
    kind: str


def find_processes(token: str, store: Path) -> list[Found]:
    """Return the living processes whose environment has VARIABLE=`token`; zombies are left out."""
    holders = dict(_read_leases(store))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _has_token(entry, token):
            line = _read(entry / "cmdline").decode(errors="replace").split("\0")
            found.append(Found(int(entry.name), holders.get(int(entry.name)) or _kind_of(line)))
    return found


def _has_token(process: Path, token: str) -> bool:
    return f"{VARIABLE}={token}".encode() in _read(process / "environ").split(b"\0")


def _read_leases(store: Path) -> Iterator[tuple[int, str]]:
    """Yield (pid, kind) of every lease in the store."""
    for lease in (*store.glob("*/*/lease.json"), *store.glob("*/*/shards/*/lease.json")):
        try:
            yield int(json.loads(lease.read_text())["pid"]), lease.relative_to(store).parts[0]
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _kind_of(line: list[str]) -> str:
    words = " ".join(line)
    if "snakemake" in words:
        return "snakemake"
    if "orcac.cli.warm" in words:
        return "warm server"
    names = [Path(word).name for word in line[:4]]
    if "orcac" in names and "run" in line:
        return "orcac run"
    if "orcac" in names and "make" in line:
        return "orcac make"
    if names[0] in ("sh", "bash", "dash"):
        return "shell"
    return names[0] or "other"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
