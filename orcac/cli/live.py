"""The live display while Snakemake runs: the nodes being made at the foot of the terminal, redrawn in place.

Snakemake and its jobs write into a pipe, and their lines are printed above the display. Progress lines, which start
with `progress.REDRAWN`, are dropped: the display shows more than they do. So is Snakemake's line on its profile.
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

from orcac.cli.node_lines import render_nodes
from orcac.plan.plan import Plan
from orcac.plan.state import State, read_states
from orcac.progress import REDRAWN, is_in_foreground
from orcac.store.store import Store
from orcac.text import clean, clock

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_REDRAW_S = 0.5
_SHARE = 20  # at most a 20th of the time goes into reading states: a plan may have thousands of nodes
_BLOCK = 1 << 16  # bytes; lines that arrive together are printed together, since each print redraws the display
_CLOSE_S = 1.0  # seconds, since a process that outlives Snakemake may keep the pipe open


def find_terminal() -> Console | None:
    """Return a console on stderr if it can be redrawn: not a file (even with FORCE_COLOR), nor in the background."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if is_in_foreground(sys.stderr) and console.is_terminal and not console.is_dumb_terminal else None


@contextlib.contextmanager
def live_display(console: Console, plan: Plan, store: Store, *, close_s: float = _CLOSE_S) -> Iterator[int]:
    """Yield a file descriptor for the output of Snakemake, and show the display meanwhile.

    At the end it waits up to `close_s` seconds for output that is still in the pipe.
    """
    from rich.live import Live
    from rich.text import Text

    read, write = os.pipe()
    ended = threading.Event()
    display = _NodesAtWork(plan, store)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        console.show_cursor()  # else Ctrl-Z and SIGKILL would leave it hidden

        def redraw() -> None:
            took = 0.0
            while not ended.wait(max(_REDRAW_S, _SHARE * took)):
                start = time.monotonic()
                live.update(display.render(console.width), refresh=True)
                took = time.monotonic() - start

        def print_above() -> None:
            text = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
            partial = ""
            with os.fdopen(read, "rb", buffering=0) as pipe:
                while block := pipe.read(_BLOCK):
                    *lines, partial = (partial + text.decode(block)).split("\n")
                    echo(lines)
            echo([partial] if partial else [])

        def echo(lines: list[str]) -> None:
            if kept := [clean(line.expandtabs()) for line in lines if not _is_dropped(line)]:
                console.print(Text("\n".join(kept)), soft_wrap=True)

        threads = [threading.Thread(target=each, daemon=True) for each in (redraw, print_above)]
        for thread in threads:
            thread.start()
        try:
            yield write
        finally:
            os.close(write)
            ended.set()
            for thread in threads:
                thread.join(close_s)


def _is_dropped(line: str) -> bool:
    on_profile = line.startswith("Using ") and line.endswith(" for setting default command line arguments.")
    return on_profile or line.startswith(REDRAWN)


class _NodesAtWork:
    """The content of the display."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._start = time.monotonic()
        self._states: dict[str, State] = {}

    def render(self, width: int) -> RenderableType:
        """Return the number of finished nodes, and a line for each node that is being made."""
        from rich.console import Group
        from rich.text import Text

        states = self._states = read_states(self._store, self._plan.nodes, self._states)
        making = [(ref, state) for ref, state in states.items() if state.name == "making"]
        done = sum(state.is_finished for state in states.values())
        head = Text(f"{done} of {len(states)} nodes done  {clock(time.monotonic() - self._start)}")
        return Group(Text(), head, *render_nodes(self._plan, making, width))
