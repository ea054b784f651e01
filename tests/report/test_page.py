"""Tests of orcac/report/page.js, through orcac/report/render.py, orcac/report/plots.py, orcac/report/browser.py and
orcac/report/items.py: the page in a browser."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import studies
from browser import Browser, needs_browser, open_browser
from hypothesis import given
from hypothesis import strategies as st

from orcac.report.browser import _share_budget, encode, inline_scripts
from orcac.report.items import read_items
from orcac.report.plots import _spread, fit_scale
from orcac.report.render import render_html
from orcac.report.results import HeldOut, read_json
from orcac.stats.wording import points, points_interval

HOSTILE = "<script>alert(1)</script></script><!-- \x1b[31m \u202egnp.exe & שלום"
TITLE = "<b>title</b> \x1b[1m \u202ederorrim"
TASK = "<img src=x onerror=alert(1)> of \x1b[1m \u202eksat_"
LONG = "no-explanations-and-a-name-that-goes-on-" + "and-on-" * 12
READY = "document.querySelector('#browser-item').children.length > 0"
COUNT = "document.querySelector('#browser-count').textContent"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> studies.Made:
    """Twelve arms, a baseline, a task of one item, and hostile names, on two benchmarks, one of them the paper's."""
    levels = {"base": 0.6, "=1+1 <b>\u202e": 0.3, LONG: 0.62} | {f"arm-{n}": 0.5 for n in range(9)}
    benchmarks = {"bbh": {"navigate": 30, "snarks": 25, "web_of_lies": 1}, "sums": {"sums": 18, TASK: 2}}
    forms = {"bbh": "bbh"}
    return studies.publish_study(
        tmp_path_factory.mktemp("page") / "store",
        title=TITLE,
        about=HOSTILE,
        levels=levels,
        benchmarks=benchmarks,
        forms=forms,
        says=HOSTILE,
        baseline="gpt",
    )


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def page(study: studies.Made, chromium: Browser) -> Iterator[Browser]:
    chromium.open(study.page.as_uri())
    chromium.wait_for(READY)
    yield chromium
    assert chromium.problems == []


def choose(page: Browser, name: str, text: str) -> None:
    """Choose the option of a filter whose text begins so."""
    page.evaluate(
        f"""(() => {{
            const select = document.querySelector('#f-{name}');
            select.value = [...select.options].find(one => one.text.startsWith({json.dumps(text)})).value;
            select.dispatchEvent(new Event('change'));
        }})()"""
    )


@needs_browser
def test_every_item_is_there_and_hostile_text_is_only_text(page: Browser) -> None:
    assert page.evaluate(COUNT) == "56 of 56 items."
    assert page.evaluate("document.querySelectorAll('.answers > div').length") == 13
    text = page.evaluate("document.querySelector('.answers pre:last-child').textContent")
    assert "<script>alert(1)</script>" in text and "␛[31m ⟨202E⟩gnp.exe & שלום" in text
    assert page.evaluate("document.scripts.length === [...document.scripts].filter(one => !one.src).length")
    assert "\x1b" not in page.evaluate("document.documentElement.textContent")
    assert "\u202e" not in page.evaluate("document.body.innerText"), "the data of the script have it"
    assert page.evaluate("document.querySelector('h1').textContent") == "<b>title</b> ␛[1m ⟨202E⟩derorrim"
    assert page.evaluate("document.querySelectorAll('img, h1 b, th b').length") == 0


@needs_browser
def test_a_script_in_the_page_would_not_run(page: Browser) -> None:
    """The policy allows the page's own script alone."""
    page.evaluate("(() => {const one = document.createElement('script'); one.text = 'window.ran = 1';"
                  " document.head.append(one);})()")  # fmt: skip
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in problem for problem in page.problems)
    page.problems.clear()


@needs_browser
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_the_verdict_is_on_the_screen_and_no_name_is_cut(study: studies.Made, chromium: Browser, width: int) -> None:
    chromium.open(study.page.as_uri(), width)
    chromium.wait_for(READY)
    assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth")
    off = chromium.evaluate(
        """[...document.querySelectorAll('.verdicts tbody :is(th bdi, .verdict)')].filter(one => {
            const box = one.getBoundingClientRect();
            return box.left < 0 || box.right > innerWidth || one.scrollWidth > one.parentElement.clientWidth + 1;
        }).length"""
    )
    assert off == 0
    scrolled = "document.querySelectorAll('.scroll').forEach(one => one.scrollLeft = 10000)"
    chromium.evaluate(scrolled)
    for selector in (".verdicts tbody th .verdict", ".heat tbody th bdi", "#cost-arms tbody th bdi"):
        box = chromium.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")
        assert box["left"] >= 0 and box["right"] <= width, f"{selector} leaves the screen"
    assert chromium.problems == []


@needs_browser
def test_rows_are_told_apart_without_colour(page: Browser) -> None:
    """Each row has a number, and no two lines of the losses have the same colour and dashes."""
    numbers = page.evaluate(
        "[...document.querySelectorAll('#matter-1-table tbody .number')].map(one => one.textContent)"
    )
    assert numbers == [str(number) for number in range(1, 14)]
    lines = page.evaluate(
        "[...document.querySelectorAll('.losses polyline')].map(one => one.getAttribute('style') +"
        " one.getAttribute('stroke-dasharray'))"
    )
    assert len(lines) == len(set(lines)) == 12
    ends = page.evaluate("[...document.querySelectorAll('.losses .end')].map(one => one.textContent)")
    assert sorted(map(int, ends)) == list(range(1, 13))


@needs_browser
def test_a_table_is_sorted_by_a_column_and_back(page: Browser) -> None:
    read = "[...document.querySelectorAll('#matter-1-table tbody tr')].map(row => row.cells[1].dataset.v.split('|')[0])"
    before = page.evaluate(read)
    press = "document.querySelectorAll('#matter-1-table .sorter')[1].click()"
    page.evaluate(press)
    sorted_by_points = page.evaluate(read)
    numbers = [float(value) for value in sorted_by_points if value]
    assert numbers == sorted(numbers, reverse=True) and sorted_by_points[-1] == "", "the base has no difference"
    page.evaluate(press)
    assert [float(value) for value in page.evaluate(read) if value] == numbers[::-1]
    page.evaluate(press)
    assert page.evaluate(read) == before


def read_forest(page: Browser, table: int) -> list[list[str]]:
    """Return the task, the difference and its interval in each line of the forest plot below a heat map."""
    lines = f"document.querySelector('.by-task[data-table=tasks-{table}-table]').querySelectorAll('tbody tr')"
    return page.evaluate(
        f"[...{lines}].map(row => [row.cells[0].textContent, row.querySelector('td').firstChild.data,"
        " row.querySelector('small').textContent])"
    )


@needs_browser
def test_the_differences_of_an_arm_by_task_are_those_of_the_results(page: Browser, study: studies.Made) -> None:
    bench = read_json(study.store.folder(study.report) / "results.json").benchmarks[0]
    for arm in (1, 3):
        page.evaluate(
            "(() => {const box = document.querySelector('.by-task select');"
            f" box.selectedIndex = {arm - 1}; box.dispatchEvent(new Event('change'));}})()"
        )
        found = [(task.task, task.difference) for task in bench.scores[arm].tasks if task.difference]
        assert [task for task, _ in found] == ["navigate", "snarks"], "one item has no interval"
        found.sort(key=lambda pair: -pair[1].points)
        assert read_forest(page, 1) == [
            [task, points(one.points), points_interval(one.interval)] for task, one in found
        ]
    marked = page.evaluate("document.querySelectorAll('#tasks-1-table .beyond').length")
    every = [task.difference for score in bench.scores for task in score.tasks if task.difference]
    assert marked == sum(one.interval.low > 0 or one.interval.high < 0 for one in every) > 0


@needs_browser
def test_the_name_of_a_task_leads_to_its_items(page: Browser) -> None:
    page.evaluate("[...document.querySelectorAll('.heat .go')].find(one => one.textContent.startsWith('<img')).click()")
    page.wait_for(f"{COUNT}.startsWith('2 of 20')")
    assert "Item 0 of <img" in page.evaluate("document.querySelector('.item .query').textContent")
    assert 0 <= page.evaluate("document.querySelector('#items').getBoundingClientRect().top") < 200


@needs_browser
def test_items_are_filtered_and_searched(page: Browser, study: studies.Made) -> None:
    def marks() -> list[str]:
        return page.evaluate(
            "[...document.querySelectorAll('#browser-list button .marks')].map(one => one.textContent)"
        )

    def count() -> int:
        return int(page.evaluate(COUNT).split()[0])

    choose(page, "task", "snarks")
    page.wait_for(f"{COUNT}.startsWith('25 of 56')")
    choose(page, "task", "all")
    choose(page, "against", "first arm and 2")
    page.evaluate("document.querySelector('#f-split').click()")
    page.wait_for(f"!{COUNT}.startsWith('56 ')")
    found = marks()
    assert len(found) == count() and all((mark[0] == "✓") != (mark[1] == "✓") for mark in found)
    assert page.evaluate("document.querySelectorAll('.answers > div').length") == 2
    choose(page, "outcome", "right")
    choose(page, "row", "2 ")
    page.wait_for(f"{COUNT}.split(' ')[0] !== '{len(found)}'")
    assert all(mark[1] == "✓" and mark[0] != "✓" for mark in marks())
    for name in ("outcome", "row", "against"):
        choose(page, name, {"outcome": "any", "row": "any", "against": "all"}[name])
    page.evaluate("document.querySelector('#f-split').click()")
    page.press("/")
    assert page.evaluate("document.activeElement.id") == "f-search"
    page.evaluate("(() => {const box = document.querySelector('#f-search'); box.value = 'ITEM 7 OF SNARKS';"
                  " box.dispatchEvent(new Event('input'));})()")  # fmt: skip
    page.wait_for(f"{COUNT}.startsWith('1 of 56')")
    assert "Item 7 of snarks" in page.evaluate("document.querySelector('.item .query').textContent")
    assert "First I look at item" in page.evaluate("document.querySelector('.answers').textContent"), "its reasoning"


@needs_browser
def test_the_keyboard_moves_through_the_items_and_the_address_leads_back(page: Browser, study: studies.Made) -> None:
    page.evaluate("document.querySelector('#browser-list button').focus()")
    for _ in range(3):
        page.press("ArrowDown")
    page.wait_for("location.hash === '#item=0.3'")
    query = page.evaluate("document.querySelector('.item .query').textContent")
    page.open(f"{study.page.as_uri()}#item=0.3")
    page.wait_for(READY)
    assert page.evaluate("document.querySelector('.item .query').textContent") == query


@needs_browser
def test_the_csv_of_a_table_has_its_figures_and_no_formula(page: Browser, study: studies.Made) -> None:
    page.evaluate(
        "(() => {const old = URL.createObjectURL; window.saved = [];"
        " URL.createObjectURL = (blob) => {window.saved.push(blob); return old(blob);};})()"
    )
    page.evaluate("document.querySelector('.csv').click()")
    rows = list(csv.DictReader(page.evaluate("window.saved[0].text()").splitlines()))
    scores = read_json(study.store.folder(study.report) / "results.json").benchmarks[0].scores
    assert [float(row["score"]) for row in rows] == [score.mean for score in scores]
    assert [row["difference"] for row in rows][:1] == [""] and float(rows[1]["low"]) == scores[1].difference.interval[0]
    assert rows[1]["arm"] == "'=1+1 <b>⟨202E⟩" and rows[2]["arm"] == LONG


def test_a_page_holds_the_items_that_fit_and_first_those_on_which_the_arms_differ(study: studies.Made) -> None:
    results = read_json(study.store.folder(study.report) / "results.json")
    folders = {ref: study.store.folder(ref) for ref in study.store.refs()}
    collections = read_items(folders, study.recipe, "", results)
    assert [len(one.items) for one in collections] == [56, 20]
    scripts = inline_scripts(collections, [], budget=sum(one.size for one in collections) // 4)
    index = json.loads(re.search(r'id="items-index">(.*?)</script>', scripts)[1])
    assert 0 < len(index[0]["items"]) < 56 and index[0]["total"] == 56
    assert all(len(set(marks)) > 1 for _, marks, _, _ in index[0]["items"])
    texts = [text for one in re.findall(r'id="texts-0-\d+">(.*?)</script>', scripts) for text in json.loads(one)]
    assert len(texts) == len(index[0]["items"])
    for (_, _, head, _), text in zip(index[0]["items"], texts, strict=True):
        assert text["query"].startswith(head.partition(" (A)")[0])
        assert all(HOSTILE in answer["response"] for answer in text["answers"])


@needs_browser
@pytest.mark.parametrize("arms", [1, 40])
def test_one_arm_and_forty_are_shown(chromium: Browser, tmp_path: Path, arms: int) -> None:
    levels = {f"arm-{n}": 0.5 for n in range(arms)}
    study = studies.publish_study(tmp_path / "store", levels=levels, benchmarks={"b": {"t": 1, "u": 2}})
    for width in (400, 1400):
        chromium.open(study.page.as_uri(), width)
        chromium.wait_for(READY)
        assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert chromium.evaluate("document.querySelectorAll('.answers > div').length") == arms
        assert chromium.evaluate("document.querySelectorAll('.by-task select option').length") == arms - 1
        assert chromium.problems == []
    page = study.page.read_text()
    assert page.count('class="strip"') == (1 if arms == 1 else arms - 1)
    assert len(re.findall('<text class="end"', page)) == arms and ("vs <bdi>" in page) == (arms > 1)


@given(st.recursive(st.text(), lambda more: st.lists(more)))
def test_no_text_ends_the_script_that_holds_it(value: object) -> None:
    encoded = encode(value)
    assert json.loads(encoded) == value and not set("<>&\u2028\u2029") & set(encoded)


@given(st.lists(st.integers(0, 1000), max_size=6), st.integers(0, 3000))
def test_the_budget_is_spent_and_never_exceeded(sizes: list[int], budget: int) -> None:
    shares = _share_budget(sizes, budget)
    assert all(share <= size for share, size in zip(shares, sizes, strict=True)) and sum(shares) <= budget
    assert sum(sizes) > budget or shares == sizes


@given(st.lists(st.floats(12, 300), max_size=60).map(sorted))
def test_labels_of_lines_do_not_cover_each_other(places: list[float]) -> None:
    spread = _spread(places)
    assert all(after - before >= 11.8 for before, after in itertools.pairwise(spread))
    assert not spread or (spread[0] >= 12 and spread[-1] <= max(300, 12 + 12 * (len(places) - 1)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_scale_holds_its_values_and_has_a_few_ticks_within(values: list[float]) -> None:
    scale = fit_scale(values)
    assert scale.low < min(values) and scale.high > max(values)
    assert len(scale.ticks) <= 5 and all(0 <= scale.place(tick) <= 100 for tick in scale.ticks)


def test_the_loss_on_examples_kept_apart_is_a_table_and_a_line_for_each_group(study: studies.Made) -> None:
    results = read_json(study.store.folder(study.report) / "results.json")
    group = HeldOut(arms=("base",), stage="s", teacher="t", source="a", examples=9, steps=(0, 5), losses=(3.0, 1.25))
    other = dataclasses.replace(group, source="b", losses=(2.0, 1.5))
    page = render_html(dataclasses.replace(results, held_out=(group, other)))
    figure = page[page.index('id="made-held-out"') : page.index('id="made-rows"')]
    assert figure.count("<polyline") == 2 and "1.250" in figure and "1.500" in figure
    assert 'id="made-held-out"' not in render_html(results)
