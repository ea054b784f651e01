"""The replicates of an arm: its runs, which differ in their training seed, and in the draw of their data if the spec
asks for several draws.

    train/expert        the first run, with the seeds of the spec: the node of a spec without replicates
    train/expert#2      the third run on the same data
    collect/few~1       the second draw of the data
    train/expert~1#2    the third run on it

An address ends with the mark of its replicate, and a node's label has it after a space. Names in a spec contain neither
`~` nor `#`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replicate:
    """One run of an arm."""

    draw: int = 0
    run: int = 0

    @property
    def mark(self) -> str:
        """The end of the run's addresses and labels; "" for the first run."""
        return draw_mark(self.draw) + (f"#{self.run}" if self.run else "")

    def seed(self, seed: int) -> int:
        """Return the run's own seed in place of `seed`, a seed of the spec."""
        seed = draw_seed(seed, self.draw)
        return derive_seed(seed, f"replicate {self.run}") if self.run else seed


FIRST = Replicate()


def draw_mark(draw: int) -> str:
    return f"~{draw}" if draw else ""


def draw_seed(seed: int, draw: int) -> int:
    """Return the seed of a draw of the data in place of `seed`, the spec's."""
    return derive_seed(seed, f"draw {draw}") if draw else seed


def derive_seed(seed: int, use: str) -> int:
    """Return a seed in [0, 2**32) that depends on another one and on its use."""
    return int(hashlib.sha256(f"{seed}/{use}".encode()).hexdigest()[:8], 16)


_MARK = re.compile(r" ?((?:~[0-9]+)?(?:#[0-9]+)?)$")


def strip_mark(name: str) -> str:
    """Return an address or a label without the mark of a replicate."""
    return _MARK.sub("", name)


def read_draw(address: str) -> int:
    """Return the number of the draw that a node belongs to, given its address."""
    return int(address.rpartition("~")[2].partition("#")[0]) if "~" in address else 0


def map_to_first(addresses: Mapping[str, str]) -> dict[str, str]:
    """Return KIND/ID of each node of a later run or draw -> KIND/ID of the same node of the first one.

    addresses: those of one arm -> KIND/ID
    """
    return {ref: addresses[strip_mark(address)] for address, ref in addresses.items() if strip_mark(address) != address}


def count_runs(addresses: Iterable[str]) -> int:
    """Return the number of runs of an arm, given the addresses of its nodes; 1 if it trains nothing."""
    marks = {address.removeprefix(strip_mark(address)) for address in addresses if address.startswith("train/")}
    return max(len(marks), 1)
