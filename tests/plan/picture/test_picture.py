"""Tests of orcac/plan/picture/picture.py: every plan becomes one safe file in which each node can be seen."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from study_plans import add_node, make_study, scatter_nodes

from orcac.plan.picture.picture import draw_plan
from orcac.plan.picture.svg import STATES
from orcac.plan.plan import Plan

SVG = "{http://www.w3.org/2000/svg}"


def find_boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Return each box's tooltip -> left, top, right, bottom."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if (tooltip := group.find(f"{SVG}title")) is not None:
            left, top = (float(number) for number in re.findall(r"[\d.]+", group.get("transform", "")))
            rect = group.find(f"{SVG}rect")
            assert rect is not None and tooltip.text
            found[tooltip.text] = (left, top, left + float(rect.get("width", "")), top + float(rect.get("height", "")))
    return found


def find_lines(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("class") in ("edge", "trunk")]


PLANS = {
    "study": make_study(4),
    "one arm": make_study(1),
    **{f"scattered {seed}": scatter_nodes(seed) for seed in range(10)},
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_every_node_is_drawn_once_and_nothing_covers_it(plan: Plan) -> None:
    svg = draw_plan(plan, {}, title="t")
    found = find_boxes(svg)
    assert sorted(tooltip.split("\n")[0] for tooltip in found) == sorted(plan.nodes)
    width, height = (float(number) for number in re.findall(r'width="(\d+)" height="(\d+)"', svg)[0])
    for one in found.values():
        assert 0 < one[0] < one[2] < width and 0 < one[1] < one[3] < height
        for other in found.values():
            apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
            assert one is other or apart
        for line in find_lines(svg):
            for y, x in re.findall(r" (\d+)H(\d+)", line):  # a lane, which ends at its column's right side
                assert not (one[0] < float(x) <= one[2] and one[1] < float(y) < one[3]), "a line runs under a box"


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_a_line_is_drawn_for_each_need_that_no_other_implies(plan: Plan) -> None:
    above: dict[str, set[str]] = {}
    count = 0
    for ref, node in plan.nodes.items():
        above[ref] = {ref}.union(*(above[need] for need in node.needs))
        count += sum(all(need == other or need not in above[other] for other in node.needs) for need in node.needs)
    assert len(find_lines(draw_plan(plan, {}, title="t"))) == count


def test_the_report_has_lines_from_the_evaluations_alone() -> None:
    plan = make_study(5)
    found = find_boxes(svg := draw_plan(plan, {}, title="t"))
    report = next(place for tooltip, place in found.items() if tooltip.startswith("report/"))
    ends = [line for line in find_lines(svg) if line.endswith(f" {report[0]:.0f} {(report[1] + report[3]) / 2:.0f}")]
    assert len(ends) == 10


def test_sharing_and_state_can_be_read_without_colour() -> None:
    plan = make_study(6, between=2)
    trains = [ref for ref in plan.nodes if ref.startswith("train/")]
    states = dict(zip(trains, STATES, strict=False))
    svg = draw_plan(plan, states, title="t")
    tooltips = {text.split("\n")[0]: text for text in find_boxes(svg)}
    assert tooltips[trains[0]].endswith("wanted by 3 of 6 arms: base, arm-2, arm-4")
    assert tooltips[trains[2]].endswith("wanted by base")
    assert tooltips[next(iter(plan.nodes))].endswith("wanted by all 6 arms")
    for state in STATES:
        assert svg.count(f'<use href="#{state.replace(" ", "-")}"') == 1 + (
            1 if state != "to do" else len(plan.nodes) - 4
        )
    assert "stroke-dasharray" in svg


HOSTILE = '</title><script>alert(1)</script>" onload="x" &amp; <![CDATA[ \x00\x1b[31m \ud800 \u202e ]]> ' + "長い" * 200


def test_hostile_names_stay_text() -> None:
    plan = make_study(3, name=HOSTILE)
    add_node(plan, "sample", HOSTILE)
    svg = draw_plan(plan, {}, title=HOSTILE)
    svg.encode()  # fails if a lone surrogate is left
    root = ElementTree.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "desc", "style", "defs", "g", "rect", "circle", "path", "text", "use"}
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert "\u202e" not in svg and "url(" not in svg and "@import" not in svg
    assert any('<script>alert(1)</script>" onload="x" &amp;' in tooltip for tooltip in find_boxes(svg))
    assert float(root.get("width", "")) < 2500


@pytest.mark.parametrize("arms, between", [(60, 1), (200, 50), (1000, 300), (400, 399)])
def test_many_arms_are_stacked_and_every_node_is_counted(arms: int, between: int) -> None:
    plan = make_study(arms, between=between)
    svg = draw_plan(plan, {}, title="t")
    stacks = [re.match(r"([\d,]+) \w+ nodes: ", tooltip) for tooltip in find_boxes(svg)]
    assert sum(int(stack[1].replace(",", "")) if stack else 1 for stack in stacks) == len(plan.nodes)
    assert len(svg.encode()) < 100_000
    assert "2 an arm" in svg or svg.count("one an arm") == 3


def test_nodes_of_all_arms_are_not_stacked_with_others() -> None:
    tooltips = find_boxes(draw_plan(make_study(1000, between=300), {}, title="t"))
    assert any(text.startswith("sample/") and text.endswith("all 1,000 arms") for text in tooltips)
    assert any(text.startswith("300 train nodes") for text in tooltips)


def test_the_same_plan_gives_the_same_bytes() -> None:
    code = "from study_plans import *; from orcac.plan.picture.picture import draw_plan; import hashlib;"
    code += "svg = draw_plan(scatter_nodes(7), {}, title='t') + draw_plan(make_study(80), {}, title='t');"
    code += "print(hashlib.sha256(svg.encode()).hexdigest())"
    digests = set()
    for seed in ("1", "2"):  # of the hashes of str, which the order of a set depends on
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
