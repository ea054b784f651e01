"""The foot of a terminal while Snakemake runs: the nodes at work, redrawn in place; what is printed scrolls by above.

What runs below us writes into a pipe, and its lines come out above the foot. Of the lines that tell how far a node is,
the foot shows more: they bear `progress.REDRAWN`, and stay away.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orcac.cli.common import plain
from orcac.cli.node_lines import node_lines
from orcac.plan.plan import Plan
from orcac.plan.state import State, read_states
from orcac.progress import REDRAWN, is_in_foreground
from orcac.store.store import Store
from orcac.text import clock

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_REDRAW_S = 0.5
_SHARE = 20  # of the time, at most one part goes into looking: a plan may have thousands of nodes
_BLOCK = 1 << 16  # bytes; lines that came together are printed together, since each print draws the foot
_LAST_WORDS_S = 1.0  # for the pipe to end; what outlives Snakemake may hold it open


def terminal() -> Console | None:
    """stderr, where something can be redrawn on it: no file, whatever FORCE_COLOR says, and no shell's terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if is_in_foreground(sys.stderr) and console.is_terminal and not console.is_dumb_terminal else None


@contextlib.contextmanager
def drawn(console: Console, plan: Plan, store: Store) -> Iterator[int]:
    """A file descriptor to write to, while the foot stands."""
    from rich.live import Live
    from rich.text import Text

    read, write = os.pipe()
    ended = threading.Event()
    foot = _Foot(plan, store)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        console.show_cursor()  # Ctrl-Z and SIGKILL would leave it hidden

        def redraw() -> None:
            took = 0.0
            while not ended.wait(max(_REDRAW_S, _SHARE * took)):
                start = time.monotonic()
                live.update(foot.look(console.width), refresh=True)
                took = time.monotonic() - start

        def print_above() -> None:
            text = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
            begun = ""
            with os.fdopen(read, "rb", buffering=0) as pipe:
                while block := pipe.read(_BLOCK):
                    *lines, begun = (begun + text.decode(block)).split("\n")
                    say(lines)
            say([begun] if begun else [])

        def say(lines: list[str]) -> None:
            if shown := [plain(line.expandtabs()) for line in lines if not line.startswith(REDRAWN)]:
                console.print(Text("\n".join(shown)), soft_wrap=True)

        threads = [threading.Thread(target=each, daemon=True) for each in (redraw, print_above)]
        for thread in threads:
            thread.start()
        try:
            yield write
        finally:
            os.close(write)
            ended.set()
            for thread in threads:
                thread.join(_LAST_WORDS_S)


class _Foot:
    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._start = time.monotonic()
        self._states: dict[str, State] = {}

    def look(self, width: int) -> RenderableType:
        """What is being made now, and how many nodes are done."""
        from rich.console import Group
        from rich.text import Text

        states = self._states = read_states(self._store, self._plan.nodes, self._states)
        making = [(ref, state) for ref, state in states.items() if state.name == "making"]
        done = sum(state.name == "done" for state in states.values())
        head = Text(f"{done} of {len(states)} nodes done  {clock(time.monotonic() - self._start)}")
        return Group(Text(), head, *node_lines(self._plan, making, width))
