"""The picture of a plan: whatever is in the plan, it is one safe file in which each node can be seen."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orcac.plan.node import Node
from orcac.plan.picture.picture import BOXES, ROWS, STATES, draw_plan
from orcac.plan.plan import Experiment, Plan
from orcac.recipe import Execution, Recipe

SVG = "{http://www.w3.org/2000/svg}"


class Numbered(Recipe):
    number: int


def add(plan: Plan, kind: str, label: str, *needs: str) -> str:
    recipe = Numbered(number=len(plan.nodes))
    return plan.add(Node(kind=kind, recipe=recipe, inputs={"needs": needs}, execution=Execution(), label=label))


def study(arms: int, *, name: str = "study", between: int = 1) -> Plan:
    """A shared trunk; `between` first stages shared by some arms; each arm its last stage and two evaluations."""
    plan = Plan()
    items, queries = add(plan, "sample", "items"), add(plan, "sample", "queries")
    kept = add(plan, "filter", "answers", add(plan, "collect", "answers", queries), items)
    student = add(plan, "student", "tiny", kept)
    rows = add(plan, "tokenize", "answers", kept, student)
    trunk = list(plan.nodes)
    firsts = [add(plan, "train", f"base: first {index}", rows, student) for index in range(between)]
    refs = {}
    for index in range(arms):
        arm = f"arm-{index}" if index else "base"
        last = add(plan, "train", f"{arm}: last", rows, firsts[index % between])
        evals = [add(plan, "eval", f"{arm}: {bench}", last, student, items) for bench in ("easy", "hard")]
        refs[arm] = [*trunk, firsts[index % between], last, *evals]
    report = add(plan, "report", name, *plan.nodes)
    plan.experiments[name] = Experiment(name=name, spec="study.yaml", report=report, arms=refs, addresses={})
    return plan


def scattered(seed: int) -> Plan:
    """A plan of no reasonable shape."""
    rng, plan = random.Random(seed), Plan()
    for index in range(rng.randint(2, 60)):
        needs = rng.sample(list(plan.nodes), min(len(plan.nodes), rng.randint(0, 3)))
        add(plan, rng.choice(["sample", "filter", "train"]), f"node {index}", *needs)
    arms = {f"a{index}": plan.closure(rng.sample(list(plan.nodes), 2)) for index in range(3)}
    plan.experiments["s"] = Experiment(
        name="s", spec="s.yaml", report=add(plan, "report", "s", *plan.nodes), arms=arms, addresses={}
    )
    return plan


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """What each box says of itself -> left, top, right, bottom."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if (about := group.find(f"{SVG}title")) is not None:
            left, top = (float(number) for number in re.findall(r"[\d.]+", group.get("transform", "")))
            rect = group.find(f"{SVG}rect")
            assert rect is not None and about.text
            found[about.text] = (left, top, left + float(rect.get("width", "")), top + float(rect.get("height", "")))
    return found


def lines(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("class") in ("edge", "trunk")]


PLANS = {"study": study(4), "one arm": study(1), **{f"scattered {seed}": scattered(seed) for seed in range(10)}}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_every_node_stands_once_and_nothing_covers_it(plan: Plan) -> None:
    svg = draw_plan(plan, {}, title="t")
    found = boxes(svg)
    assert sorted(about.split("\n")[0] for about in found) == sorted(plan.nodes)
    width, height = (float(number) for number in re.findall(r'width="(\d+)" height="(\d+)"', svg)[0])
    for one in found.values():
        assert 0 < one[0] < one[2] < width and 0 < one[1] < one[3] < height
        for other in found.values():
            apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
            assert one is other or apart
        for line in lines(svg):
            for y, x in re.findall(r" (\d+)H(\d+)", line):  # a lane, which ends at its column's right side
                assert not (one[0] < float(x) <= one[2] and one[1] < float(y) < one[3]), "a line runs under a box"


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_lines_are_those_that_nothing_else_implies(plan: Plan) -> None:
    above: dict[str, set[str]] = {}
    wanted = 0
    for ref, node in plan.nodes.items():
        above[ref] = {ref}.union(*(above[need] for need in node.needs))
        wanted += sum(all(need == other or need not in above[other] for other in node.needs) for need in node.needs)
    assert len(lines(draw_plan(plan, {}, title="t"))) == wanted


def test_the_report_hangs_on_the_evaluations_alone() -> None:
    plan = study(5)
    found = boxes(svg := draw_plan(plan, {}, title="t"))
    report = next(place for about, place in found.items() if about.startswith("report/"))
    ends = [line for line in lines(svg) if line.endswith(f" {report[0]:.0f} {(report[1] + report[3]) / 2:.0f}")]
    assert len(ends) == 10


def test_sharing_and_state_are_told_without_colour() -> None:
    plan = study(6, between=2)
    trains = [ref for ref in plan.nodes if ref.startswith("train/")]
    states = dict(zip(trains, STATES, strict=False))
    svg = draw_plan(plan, states, title="t")
    about = {text.split("\n")[0]: text for text in boxes(svg)}
    assert about[trains[0]].endswith("wanted by 3 of 6 arms: base, arm-2, arm-4")
    assert about[trains[2]].endswith("wanted by base")
    assert about[next(iter(plan.nodes))].endswith("wanted by all 6 arms")
    for state in STATES:
        assert svg.count(f'<use href="#{state.replace(" ", "-")}"') == 1 + (
            1 if state != "to do" else len(plan.nodes) - 4
        )
    assert "stroke-dasharray" in svg


HOSTILE = '</title><script>alert(1)</script>" onload="x" &amp; <![CDATA[ \x00\x1b[31m \ud800 \u202e ]]> ' + "長い" * 200


def test_hostile_names_stay_text() -> None:
    plan = study(3, name=HOSTILE)
    add(plan, "sample", HOSTILE)
    svg = draw_plan(plan, {}, title=HOSTILE)
    svg.encode()  # no lone surrogate is left
    root = ElementTree.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "desc", "style", "defs", "g", "rect", "circle", "path", "text", "use"}
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert "\u202e" not in svg and "url(" not in svg and "@import" not in svg
    assert any('<script>alert(1)</script>" onload="x" &amp;' in about for about in boxes(svg))
    assert float(root.get("width", "")) < 2500


@pytest.mark.parametrize("arms, between", [(60, 1), (200, 50), (1000, 300), (400, 399)])
def test_many_arms_are_stacked_and_every_node_is_counted(arms: int, between: int) -> None:
    plan = study(arms, between=between)
    svg = draw_plan(plan, {}, title="t")
    stacks = [re.match(r"([\d,]+) \w+ nodes: ", about) for about in boxes(svg)]
    assert sum(int(stack[1].replace(",", "")) if stack else 1 for stack in stacks) == len(plan.nodes)
    assert len(stacks) <= min(BOXES, 11 * ROWS) and len(svg.encode()) < 100_000
    assert "2 an arm" in svg or svg.count("one an arm") == 3


def test_what_is_shared_by_all_is_not_stacked_with_what_is_not() -> None:
    about = boxes(draw_plan(study(1000, between=300), {}, title="t"))
    assert any(text.startswith("sample/") and text.endswith("all 1,000 arms") for text in about)
    assert any(text.startswith("300 train nodes") for text in about)


def test_the_same_plan_gives_the_same_bytes() -> None:
    code = "from test_picture import *; import hashlib;"
    code += "svg = draw_plan(scattered(7), {}, title='t') + draw_plan(study(80), {}, title='t');"
    code += "print(hashlib.sha256(svg.encode()).hexdigest())"
    digests = set()
    for seed in ("1", "2"):  # of the hashes of str, and so the order of sets
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
