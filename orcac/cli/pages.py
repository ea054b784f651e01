"""The folder of pages of `orcac view`: made once, and made anew as the study goes on.

`index.html` is replaced as a whole. The texts of its items are in a folder of their own, whose name has the page's
version, so an open page of an older version still finds its own; they are kept for the page before the newest.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click

from orcac.errors import OrcacError
from orcac.plan.plan import Experiment, Plan
from orcac.store import durable
from orcac.store.store import Store
from orcac.text import clean

__all__ = ["Pages", "following"]

_LOOK_EVERY_S = 2.0
_SHARE = 10  # at most a tenth of the time goes into making the pages of a large study
_END_S = 1.0  # seconds to wait for pages that are being made at the end

Marks = tuple[frozenset[str], int]  # finished nodes, bytes of recorded answers


class Pages:
    """The pages of an experiment in a folder. rows: of each dataset, of the kept and of the dropped."""

    def __init__(
        self, plan: Plan, store: Store, experiment: Experiment, rows: int, folder: Path, *, is_served: bool
    ) -> None:
        self._plan, self._store, self._experiment, self._rows = plan, store, experiment, rows
        self._folder, self._is_served = folder, is_served
        self._refs = plan.closure([*experiment.targets, *(ref for refs in experiment.arms.values() for ref in refs)])
        self._made: Marks | None = None
        self._texts: list[Path] = []  # the folders that are kept

    def make(self) -> None:
        """Make the pages in a new folder. Raises InputError if it exists already."""
        self._made = self._look()
        with durable.new_folder(self._folder) as part:
            self._write(part)

    def renew(self) -> bool:
        """Make the pages anew if the study has gone on, and return whether it has."""
        marks = self._look()
        if marks == self._made:
            return False
        self._write(self._folder)
        self._made = marks
        for old in self._texts[:-2]:
            shutil.rmtree(self._folder / old, ignore_errors=True)
        del self._texts[:-2]
        return True

    def _look(self) -> Marks:
        done = frozenset(ref for ref in self._refs if self._store.is_done(ref))
        is_asking = any(ref.startswith("collect/") for ref in self._refs if ref not in done)
        size = 0
        if is_asking and self._store.answers.is_dir():
            size = sum(path.stat().st_size for path in self._store.answers.glob("*.jsonl"))
        return done, size

    def _write(self, folder: Path) -> None:
        from orcac.cli.viewed import gather_view
        from orcac.report.browser import index_script, write_texts
        from orcac.report.render import Folder, list_rows, render_html

        viewed = gather_view(self._plan, self._store, self._experiment, self._rows)
        done, _ = self._look()
        version = f"{time.time_ns() // 1_000_000}"
        texts = Path(f"texts-{version}")
        try:
            write_texts(folder / texts, viewed.collections)
            index = index_script(viewed.collections, list_rows(viewed.results)) if viewed.collections else ""
            place = Folder(str(texts), version if self._is_served else "", len(done), len(self._refs))
            page = render_html(viewed.results, index, unfinished=viewed.unfinished, folder=place)
            durable.write(folder / "index.html", page.encode("utf-8", "replace"), sync=False)
        except BaseException:
            shutil.rmtree(folder / texts, ignore_errors=True)
            raise
        self._texts.append(texts)
        if self._is_served:
            durable.write(folder / "version", version, sync=False)


@contextlib.contextmanager
def following(pages: Pages, *, every_s: float = _LOOK_EVERY_S) -> Iterator[None]:
    """Make pages anew in the block, as the study goes on; a warning names the cause if that fails."""
    ended = threading.Event()

    def follow() -> None:
        took, warned = 0.0, ""
        while not ended.wait(max(every_s, _SHARE * took)):
            start = time.monotonic()
            try:
                pages.renew()
                warned = ""
            except Exception as error:  # any other than these two is an error in orcac; later pages may be made again
                text = str(error) if isinstance(error, (OrcacError, OSError)) else repr(error)
                if text != warned:
                    click.echo(f"warning: the pages are not made anew: {clean(text)}", err=True)
                warned = text
            took = time.monotonic() - start

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_END_S)
