"""Time the page of a large study: its making, the opening of both forms in Chromium, a search and a sort.

    python benchmarks/page.py [ARMS] [TASKS] [ITEMS]        two minutes
    python benchmarks/page.py --shots REPORT.html docs      the pictures of docs/report.md, of a report's page

The timed study is made up: random answers of about 100 characters, on which the arms' levels differ.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import studies
from browser import Browser, open_browser

from orcac.report.browser import index_script, write_texts
from orcac.report.items import read_items
from orcac.report.render import Folder, list_rows, render_html
from orcac.report.results import read_json

READY = "document.querySelectorAll('.answers > div').length > 0 && (window.readyAt ??= performance.now())"
COUNT = "document.querySelector('#browser-count').textContent"


def main() -> None:
    if sys.argv[1:2] == ["--shots"]:
        return shoot(Path(sys.argv[2]), Path(sys.argv[3]))
    arms, tasks, items = (int(text) for text in (*sys.argv[1:], *("30", "27", "10000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        levels = {"base": 0.5} | {f"arm-{n}": 0.4 + 0.2 * n / arms for n in range(1, arms)}
        counts = {f"task-{n}": items // tasks + (n < items % tasks) for n in range(tasks)}
        clock = _Clock()
        study = studies.publish_study(root / "store", levels=levels, benchmarks={"bench": counts})
        clock.stop("the artifacts and the report")
        results = read_json(study.store.folder(study.report) / "results.json")
        clock.start()
        collections = read_items(
            {ref: study.store.folder(ref) for ref in study.store.refs()}, study.recipe, "", results
        )
        view = root / "view"
        view.mkdir()
        write_texts(view / "texts", collections)
        page = render_html(results, index_script(collections, list_rows(results)), folder=Folder("texts"))
        (view / "index.html").write_text(page)
        clock.stop("the folder of pages")
        size = sum(path.stat().st_size for path in view.rglob("*") if path.is_file())
        print(f"{study.page.stat().st_size / 1e6:.1f} MB page of the report, {size / 1e6:.0f} MB folder of pages")
        with open_browser(root) as browser:
            for name, path in (("the page of the report", study.page), ("the folder of pages", view / "index.html")):
                _time(browser, name, path)


def shoot(page: Path, folder: Path) -> None:
    """Write the pictures of the documentation: the top of a page, and its items on a narrow, dark screen."""
    with tempfile.TemporaryDirectory() as place, open_browser(Path(place)) as browser:
        browser.open(page.absolute().as_uri(), 1200, 1000)
        browser.wait_for(READY)
        browser.screenshot(folder / "report.png")
        browser.open(page.absolute().as_uri(), 420, 900, dark=True)
        browser.wait_for(READY)
        browser.evaluate("document.querySelector('#f-split').click()")
        browser.evaluate("document.querySelector('#items').scrollIntoView()")
        browser.screenshot(folder / "report-items.png")


def _time(browser: Browser, name: str, path: Path) -> None:
    for _ in range(3):
        browser.open(path.as_uri())
        browser.wait_for(READY)
        print(f"{browser.evaluate('window.readyAt') / 1000:6.2f} s  open {name}, until its first item is shown")
    clock = _Clock()
    browser.evaluate("document.querySelectorAll('#matter-1-table .sorter')[1].click()")
    clock.stop("sort the verdicts")
    clock.start()
    browser.evaluate("document.querySelector('#f-split').click()")
    clock.stop("filter: arms disagree")
    browser.evaluate("document.querySelector('#f-split').click()")
    clock.start()
    browser.evaluate(
        "(() => {const box = document.querySelector('#f-search'); box.value = 'in case 77.';"
        " box.dispatchEvent(new Event('input'));})()"
    )
    browser.wait_for(f"/^([0-9,]+) of (?!\\1 )/.test({COUNT}) && !{COUNT}.includes('Searched')")
    clock.stop("search all texts")
    print("  problems in the console:", browser.problems or "none")


class _Clock:
    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self, name: str) -> None:
        print(f"{time.perf_counter() - self._started:6.2f} s  {name}", flush=True)


if __name__ == "__main__":
    main()
