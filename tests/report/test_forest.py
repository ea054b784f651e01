"""Tests of orcac/report/forest.py: the differences of several studies as one picture."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring

import pytest
import studies

from orcac.report.across import Figure, list_figures
from orcac.report.forest import draw_forest, list_contrasts

HOSTILE = '</text><script>x</script>&"\x1b\u202e'
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[Figure]:
    """The scores and differences of two studies with three benchmarks and the same arms."""
    root = tmp_path_factory.mktemp("studies") / "store"
    levels = {"base": 0.5, HOSTILE: 0.9, "half": 0.51}
    fruit = studies.publish_study(
        root, title="fruit", runs=2, levels=levels, benchmarks={"sums": {"a": 90}, "more": {"a": 60}}
    )
    stones = studies.publish_study(root, title="stones", runs=2, levels=levels | {"third": 0.2})
    found = list_figures(fruit.store, [fruit.report, stones.report])
    return [one for one in found if not one.task and one.replicate is None]


def find(root: Element, tag: str, name: str) -> list[Element]:
    """Return the elements with this tag that have this class."""
    return [one for one in root.iter(SVG + tag) if name in one.get("class", "").split()]


def read_place(text: str) -> float:
    return float(text.removeprefix("translate(").partition(" ")[0])


def read_points(text: str) -> float:
    return float(text.replace("−", "-"))


def list_panels(root: Element) -> list[Element]:
    return [one for one in root.iter(SVG + "g") if any("head" in child.get("class", "") for child in one)]


def test_each_interval_and_point_is_drawn_to_scale(figures: list[Figure]) -> None:
    root = fromstring(draw_forest(figures, "all"))
    contrasts = {(one.study, one.benchmark, one.arm): one for one in list_contrasts(figures)}
    assert len(contrasts) == 2 + 2 + 3 and sum(len(find(panel, "line", "bar")) for panel in list_panels(root)) == len(
        contrasts
    )
    arms = list(dict.fromkeys(one.arm for one in contrasts.values()))
    panels = list_panels(root)
    assert len(panels) == 3
    by_panel: dict[tuple[str, str], list[Figure]] = {}
    for one in contrasts.values():
        by_panel.setdefault((one.study, one.benchmark), []).append(one)
    for panel, expected in zip(panels, by_panel.values(), strict=True):
        (zero,) = find(panel, "line", "zero")
        labels = {float(one.get("x", "")): read_points(one.text or "") for one in find(panel, "text", "middle")}
        (first, value), *_ = ((x, value) for x, value in labels.items() if value)
        pixels = (first - float(zero.get("x1", ""))) / value  # for each point
        rows = [one for one in panel if one.tag == SVG + "g"]
        assert len(rows) == len(expected)
        for row, one in zip(rows, sorted(expected, key=lambda one: arms.index(one.arm)), strict=True):
            (bar,), (mark,) = row.findall(SVG + "line"), row.findall(SVG + "g")
            places = float(bar.get("x1", "")), read_place(mark.get("transform", "")), float(bar.get("x2", ""))
            for place, share in zip(places, (one.low, one.value, one.high), strict=True):
                assert (place - float(zero.get("x1", ""))) / pixels == pytest.approx(100 * share, abs=1.5 / pixels)
            (label,) = row.findall(SVG + "text")
            assert read_points(label.text or "") == pytest.approx(100 * one.value, abs=0.051)


def test_each_arm_has_one_row_and_those_with_a_verdict_come_first(figures: list[Figure]) -> None:
    late = [
        dataclasses.replace(one, p_holm=None, verdict="exploratory") if one.arm == "half" else one for one in figures
    ]
    root = fromstring(draw_forest(late, "all"))
    names = [text for one in root for text in (one, *one) if text.tag == SVG + "text" and not text.get("class")]
    assert [one.text for one in names][1:] == ["third", "half"] and len(names) == 3
    heights = [float(one.get("y", "")) for one in names]
    assert all(above < below for above, below in pairwise(heights))
    dashed = find(root, "line", "without")
    assert len(dashed) == len(find(root, "circle", "without")) == 3 + 1, "three rows, and the legend"


def test_a_verdict_has_a_mark_of_its_own_shape_and_a_place_in_the_legend(figures: list[Figure]) -> None:
    (one, *_) = list_contrasts(figures)
    marks = {}
    for verdict in ("better", "worse", "equal", "no difference shown", "scores higher", "exploratory"):
        root = fromstring(draw_forest([dataclasses.replace(one, verdict=verdict)], "one"))
        mark, legend = find(root, "circle", "mark") + find(root, "path", "mark")
        assert mark.attrib == legend.attrib
        marks[verdict] = (mark.tag, mark.get("d", ""), mark.get("class", ""))
    assert len(set(marks.values())) == len(marks)
    filled = {verdict for verdict, (*_, kind) in marks.items() if "full" in kind.split()}
    assert filled == {"better", "worse", "scores higher"}


def test_names_are_escaped_and_the_picture_loads_nothing(figures: list[Figure]) -> None:
    figures = [dataclasses.replace(one, study=HOSTILE, benchmark=HOSTILE) for one in figures]
    text = draw_forest(figures, HOSTILE)
    tags = {one.tag.removeprefix(SVG) for one in fromstring(text).iter()}
    assert tags == {"svg", "title", "desc", "style", "rect", "text", "g", "line", "circle"}
    assert "\x1b" not in text and "\u202e" not in text
    assert not any(part in text for part in ("url(", "@import", "@font-face", "href"))
    assert "prefers-color-scheme:dark" in text
    assert draw_forest(figures, HOSTILE) == text


def test_panels_that_do_not_fit_beside_each_other_go_below(figures: list[Figure]) -> None:
    one = list_contrasts(figures)[-1]
    many = [
        dataclasses.replace(one, benchmark=f"bench {number}", arm=f"{'w' * 99} {arm}")
        for number in range(7)
        for arm in range(2)
    ]
    root = fromstring(draw_forest(many, "many"))
    assert len(list_panels(root)) == 7
    places = [
        panel.get("transform", "").removeprefix("translate(").removesuffix(")").split() for panel in list_panels(root)
    ]
    assert len({y for _, y in places}) == 3, "bands"
    width = float(root.get("width", "0"))
    for panel, (x, _) in zip(list_panels(root), places, strict=True):
        assert all(float(x) + float(end.get("x", "0")) < width for end in panel.iter(SVG + "text"))
    last = max(float(y) for _, y in places)
    assert last < float(root.get("height", "0"))
