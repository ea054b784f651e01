"""Tests of orcac/cli/view.py, orcac/cli/viewed.py and orcac/cli/pages.py: the pages of a study as far as it is made,
and their server."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import studies
from browser import needs_browser, open_browser
from click.testing import CliRunner, Result
from patience import PATIENCE_S

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.messages import ChatResponse, conversation
from orcac.cli import cli
from orcac.cli.pages import Pages, following
from orcac.cli.view import HOST, _listen
from orcac.errors import InputError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

SPEC = str(Path(__file__).parents[2] / "specs" / "smoke.yaml")
DATA = ("sample", "collect", "filter")
ALL = (*DATA, "student", "tokenize", "train", "eval", "score", "report")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ORCAC_PLAN", str(tmp_path / "build" / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def plan() -> Plan:
    plan = Plan()
    lower(plan, load(Path(SPEC)))
    return plan


def invoke(*line: str) -> Result:
    return CliRunner().invoke(cli, ["view", SPEC, "--no-serve", *line], standalone_mode=False)


def read_view(store: Store) -> tuple[str, list[dict[str, Any]]]:
    """Return the page and its index after a call of the command."""
    assert invoke().exception is None
    page = (store.root.parent / "build" / "view" / "smoke" / "index.html").read_text()
    found = re.search(r'id="items-index">(.*?)</script>', page)
    return page, json.loads(found[1]) if found else []


def read_texts(store: Store, number: int) -> str:
    (path,) = (store.root.parent / "build" / "view" / "smoke").glob(f"texts-*/{number}-0.js")
    return path.read_text()


def test_a_finished_study_is_shown_with_all_items_and_rows(store: Store, plan: Plan) -> None:
    studies.publish_plan(plan, store, ALL)
    page, index = read_view(store)
    assert "Unfinished" not in page and 'id="matter"' in page
    by_name = {one["name"]: one for one in index}
    assert {name for name, one in by_name.items() if one["kind"] == "dataset"} == {"pool", "few"}
    pool = by_name["pool"]
    assert pool["outcomes"] == ["kept", "too short"] and [marks for _, marks, *_ in pool["items"]].count("1") == 5
    (benchmark,) = (one for one in index if one["kind"] == "benchmark")
    assert len(benchmark["items"]) == benchmark["total"] == 30 and len(benchmark["rows"]) == 2
    text = read_texts(store, index.index(pool))
    assert text.startswith("orcacTexts(") and '"answer 29"' in text
    read_view(store)  # a second call replaces the pages


def test_rows_are_limited_and_the_number_of_all_is_kept(store: Store, plan: Plan) -> None:
    studies.publish_plan(plan, store, DATA)
    assert invoke("--rows", "3").exception is None
    page = (store.root.parent / "build" / "view" / "smoke" / "index.html").read_text()
    index = json.loads(re.search(r'id="items-index">(.*?)</script>', page)[1])
    assert [(len(one["items"]), one["total"]) for one in index] == [(6, 30), (6, 30)]


def test_an_unfinished_study_names_the_arms_without_figures(store: Store, plan: Plan) -> None:
    studies.publish_plan(plan, store, ALL[:-1])
    (experiment,) = plan.experiments.values()
    of_base = set(experiment.arms["base"])
    ref = next(ref for ref in experiment.arms["no-first"] if ref.startswith("score/") and ref not in of_base)
    store.marker(ref).unlink()
    page, index = read_view(store)
    assert "Unfinished: 1 arm has no figures yet." in page and "no-first</bdi>: " in page
    (benchmark,) = (one for one in index if one["kind"] == "benchmark")
    assert [name for _, name in benchmark["rows"]] == ["base"]


def test_without_its_base_a_study_has_rows_and_no_figures(store: Store, plan: Plan) -> None:
    studies.publish_plan(plan, store, DATA)
    page, index = read_view(store)
    assert "Unfinished: 2 arms have no figures yet." in page and 'id="matter"' not in page
    assert {one["kind"] for one in index} == {"dataset"} and "30 = 25 + 5" in page


def test_nothing_made_is_a_page_without_rows(store: Store) -> None:
    page, index = read_view(store)
    assert "Unfinished" in page and index == []


def test_answers_are_shown_while_a_teacher_is_asked(store: Store, plan: Plan) -> None:
    studies.publish_plan(plan, store, ("sample",))
    for number in (3, 4):
        record_answer(store, plan, number)
    _, index = read_view(store)
    pool = next(one for one in index if one["name"] == "pool")
    assert pool["outcomes"] == ["waiting", "answered"] and "no filter has read" in pool["note"]
    assert [place for place, (_, marks, *_) in enumerate(pool["items"]) if marks == "1"] == [3, 4]
    text = read_texts(store, index.index(pool))
    assert "partial 3" in text


def record_answer(store: Store, plan: Plan, number: int) -> None:
    """Add the teacher's answer to a question of the dataset `pool` to the ledger."""
    node = next(node for node in plan.nodes.values() if node.kind == "collect" and node.label == "pool")

    async def record() -> None:
        async with Ledger(store.answers) as ledger:
            messages = conversation(system="", user=f"question {number}")
            asked = dataclasses.replace(node.recipe.template, messages=messages)
            await ledger.append(asked, ChatResponse(text=f"partial {number}", finish_reason="stop", output_tokens=3))

    asyncio.run(record())


@needs_browser
def test_a_served_page_follows_the_study_and_keeps_its_place(store: Store, plan: Plan, tmp_path: Path) -> None:
    studies.publish_plan(plan, store, ("sample",))
    record_answer(store, plan, 3)
    (experiment,) = plan.experiments.values()
    pages = Pages(plan, store, experiment, 5000, tmp_path / "pages", is_served=True)
    pages.make()
    assert not pages.renew(), "nothing has happened"
    with open_browser(tmp_path) as page, _listen(tmp_path / "pages", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        page.open(f"http://{HOST}:{server.server_port}/")
        page.wait_for("document.querySelector('#live') && !document.querySelector('#live').hidden")
        page.evaluate(
            "(() => {const box = document.querySelector('#f-outcome'); box.selectedIndex = 2;"
            " box.dispatchEvent(new Event('change')); window.isOld = true;})()"
        )
        count = "document.querySelector('#browser-count').textContent"
        page.wait_for(f"{count}.startsWith('1 of 30 rows')")
        record_answer(store, plan, 4)
        assert pages.renew()
        shown = "document.querySelector('.answers pre')?.textContent"
        page.wait_for_reload(f"!window.isOld && {count}.startsWith('2 of 30 rows') && {shown} === 'partial 3'")
        studies.publish_plan(plan, store, DATA)
        assert pages.renew()
        page.wait_for_reload(f"{shown} === 'answer 3'")
        assert len(list((tmp_path / "pages").glob("texts-*"))) == 2, "the newest and the one before"
        assert page.problems == []
        page.evaluate(
            "(() => {window.looks = 0; window.fetch = async () => {window.looks += 1;"
            " return {ok: false, text: async () => 'the page of another server'};};})()"
        )
        page.wait_for("window.looks >= 2")
        assert page.evaluate("document.querySelector('#renew').hidden"), "the reply is no version"
        page.evaluate("sessionStorage.setItem('orcac-view', JSON.stringify({values: []}))")  # of an older script
        page.open(f"http://{HOST}:{server.server_port}/")
        page.evaluate("window.isOld = true")
        record_answer(store, plan, 5)
        studies.publish_plan(plan, store, ("student",))
        assert pages.renew()
        page.wait_for_reload("!window.isOld")
        server.shutdown()
        thread.join()


def test_pages_that_cannot_be_made_anew_stay(
    store: Store, plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    studies.publish_plan(plan, store, ("sample",))
    (experiment,) = plan.experiments.values()
    pages = Pages(plan, store, experiment, 5000, tmp_path / "pages", is_served=True)
    pages.make()
    before = (tmp_path / "pages" / "index.html").read_text()
    studies.publish_plan(plan, store, DATA)
    broken = next(ref for ref in plan.nodes if ref.startswith("filter/"))
    (store.folder(broken) / "artifact.json").write_text("{}")
    said, end = "", time.monotonic() + PATIENCE_S
    with following(pages, every_s=0.01):
        while "not made anew" not in said and time.monotonic() < end:
            said += capfd.readouterr().err
    assert "not made anew" in said and "the record is damaged" in said
    assert (tmp_path / "pages" / "index.html").read_text() == before


def test_an_error_of_any_kind_is_named_and_later_pages_are_made(
    store: Store, plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    studies.publish_plan(plan, store, ("sample",))
    (experiment,) = plan.experiments.values()
    folder = tmp_path / "pages"
    pages = Pages(plan, store, experiment, 5000, folder, is_served=True)
    pages.make()
    studies.publish_plan(plan, store, DATA)
    made = threading.Event()

    def render(*arguments: Any, **options: Any) -> str:
        if not made.is_set():
            raise ValueError("no such column")
        return "made"

    monkeypatch.setattr("orcac.report.render.render_html", render)
    said, end = "", time.monotonic() + PATIENCE_S
    with following(pages, every_s=0.01):
        while "not made anew: ValueError('no such column')" not in said and time.monotonic() < end:
            said += capfd.readouterr().err
        made.set()
        while (folder / "index.html").read_text() != "made" and time.monotonic() < end:
            time.sleep(0.01)
    assert "not made anew: ValueError" in said and (folder / "index.html").read_text() == "made"
    assert len(list(folder.glob("texts-*"))) == 2, "none of a page that was not made"


def test_a_folder_that_exists_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert isinstance(invoke("--out", str(tmp_path / "mine")).exception, InputError)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "pages" / "texts").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "pages" / "index.html").write_text("page")
    with _listen(tmp_path / "pages", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "", 200),
        ("/texts/", "", 404),
        ("/../secret.txt", "", 404),
        ("/%2e%2e/secret.txt", "", 404),
        ("//etc/passwd", "", 404),
        ("/", "other.example", 403),
    ],
)
def test_the_server_gives_its_own_files_to_its_own_pages(address: int, path: str, host: str, status: int) -> None:
    connection = http.client.HTTPConnection(HOST, address, timeout=PATIENCE_S)
    connection.request("GET", path, headers={"Host": host} if host else {})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    assert reply.status == status and b"secret" not in body
    assert reply.getheader("Cross-Origin-Resource-Policy") == "same-origin"


@needs_browser
@pytest.mark.parametrize("served", [False, True])
def test_a_browser_opens_the_folder_from_the_disk_and_from_the_server(
    store: Store, plan: Plan, tmp_path: Path, served: bool
) -> None:
    studies.publish_plan(plan, store, ALL)
    read_view(store)
    folder = store.root.parent / "build" / "view" / "smoke"
    with open_browser(tmp_path) as page, _listen(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        place = f"http://{HOST}:{server.server_port}/" if served else (folder / "index.html").as_uri()
        page.open(place)
        page.wait_for("document.querySelectorAll('.answers pre').length === 2")
        page.evaluate(
            "(() => {const box = document.querySelector('#f-collection'); box.value = '1';"
            " box.dispatchEvent(new Event('change'));})()"
        )
        page.wait_for("document.querySelector('.answers pre')?.textContent.startsWith('answer ')")
        page.evaluate(
            "(() => {const box = document.querySelector('#f-search'); box.value = 'answer 27';"
            " box.dispatchEvent(new Event('input'));})()"
        )
        page.wait_for("document.querySelector('#browser-count').textContent.startsWith('1 of 30 rows')")
        assert page.problems == []
        server.shutdown()
        thread.join()
