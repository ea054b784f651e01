"""Plans for the tests of pictures."""

from __future__ import annotations

import random

from orcac.plan.node import Node
from orcac.plan.plan import Experiment, Plan
from orcac.recipe import Execution, Recipe


class NumberedRecipe(Recipe):
    number: int


def add_node(plan: Plan, kind: str, label: str, *needs: str) -> str:
    recipe = NumberedRecipe(number=len(plan.nodes))
    return plan.add(Node(kind=kind, recipe=recipe, inputs={"needs": needs}, execution=Execution(), label=label))


def make_study(arms: int, *, name: str = "study", between: int = 1) -> Plan:
    """Return a study: a shared trunk, `between` first stages that some arms share, and each arm's own nodes.

    An arm's own nodes are its last stage and two evaluations.
    """
    plan = Plan()
    items, queries = add_node(plan, "sample", "items"), add_node(plan, "sample", "queries")
    kept = add_node(plan, "filter", "answers", add_node(plan, "collect", "answers", queries), items)
    student = add_node(plan, "student", "tiny", kept)
    rows = add_node(plan, "tokenize", "answers", kept, student)
    trunk = list(plan.nodes)
    firsts = [add_node(plan, "train", f"base: first {index}", rows, student) for index in range(between)]
    refs = {}
    for index in range(arms):
        arm = f"arm-{index}" if index else "base"
        last = add_node(plan, "train", f"{arm}: last", rows, firsts[index % between])
        evals = [add_node(plan, "eval", f"{arm}: {bench}", last, student, items) for bench in ("easy", "hard")]
        refs[arm] = [*trunk, firsts[index % between], last, *evals]
    report = add_node(plan, "report", name, *plan.nodes)
    plan.experiments[name] = Experiment(
        name=name, spec="study.yaml", report=report, targets=[report], arms=refs, addresses={}
    )
    return plan


def scatter_nodes(seed: int) -> Plan:
    """Return a plan with random inputs, of no reasonable shape."""
    rng, plan = random.Random(seed), Plan()
    for index in range(rng.randint(2, 60)):
        needs = rng.sample(list(plan.nodes), min(len(plan.nodes), rng.randint(0, 3)))
        add_node(plan, rng.choice(["sample", "filter", "train"]), f"node {index}", *needs)
    arms = {f"a{index}": plan.closure(rng.sample(list(plan.nodes), 2)) for index in range(3)}
    report = add_node(plan, "report", "s", *plan.nodes)
    plan.experiments["s"] = Experiment(
        name="s", spec="s.yaml", report=report, targets=[report], arms=arms, addresses={}
    )
    return plan
