"""The answers of baselines as orcac asked for them before every row of a benchmark was asked alike.

A baseline, and a teacher that answers are judged against, was asked with the teacher's own sampling and the benchmark's
`max_tokens`, over items that a sample node had put under the benchmark's system message. Now the benchmark's sampling
and form count (`asking.lower_protocol`), so these nodes have other ids, and their requests other keys in the ledger.
Here the earlier nodes are made again, to find the answers that were paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from orcac.chat.settings import Sampling
from orcac.collect.recipe import CollectRecipe
from orcac.plan.node import Node
from orcac.plan.plan import BASELINES, Plan
from orcac.plan.upgrade import change_node
from orcac.sample.recipe import Draw, Message, SampleRecipe
from orcac.spec.load import Arm, Experiment

__all__ = ["EarlierReplies", "list_earlier_replies"]


@dataclass(frozen=True, slots=True)
class EarlierReplies:
    """The answers of a teacher to a benchmark, as they were planned until now."""

    ref: str  # KIND/ID of the collect node that asks anew
    teacher: str
    benchmark: str
    items: str  # KIND/ID of the benchmark's items
    system: str  # the system message
    recipe: CollectRecipe  # of the earlier answers
    sampling: Sampling  # of the new ones
    nodes: tuple[Node, ...]  # the earlier prompts, answers and, if no judge compares, scores


def list_earlier_replies(plan: Plan, experiments: Iterable[Experiment]) -> list[EarlierReplies]:
    """Return the earlier nodes of all models that are asked a benchmark with another sampling than until now.

    Answers that were recorded elsewhere, or are the items' references, are not among them: they cost nothing.
    """
    found: dict[str, EarlierReplies] = {}
    for experiment in experiments:
        addresses_of = plan.experiments[experiment.base.spec.name].addresses
        for name, addresses in addresses_of.items():
            arm = experiment.base if name == BASELINES else experiment.arms[name]
            replies = {address: ref for address, ref in addresses.items() if address.startswith("replies/")}
            new = {address: ref for address, ref in replies.items() if ref not in found}  # arms share most of them
            found |= {one.ref: one for one in _list_replies(plan, arm, addresses, new)}
    return list(found.values())


def _list_replies(
    plan: Plan, arm: Arm, addresses: Mapping[str, str], replies: Mapping[str, str]
) -> Iterator[EarlierReplies]:
    """Yield the earlier nodes of some of an arm's addresses, `replies/TEACHER/BENCHMARK`."""
    for address, ref in replies.items():
        _, teacher, benchmark = address.split("/", 2)
        if benchmark not in arm.spec.benchmarks:  # a further sample
            continue
        of_teacher, of_benchmark = arm.spec.teachers[teacher], arm.spec.benchmarks[benchmark]
        node, items = plan.nodes[ref], addresses[f"items/{benchmark}"]
        recipe, items_recipe = node.recipe, plan.nodes[items].recipe
        assert isinstance(recipe, CollectRecipe)
        assert isinstance(items_recipe, SampleRecipe)
        sampling = of_teacher.sampling.model_copy(update={"max_tokens": of_benchmark.max_tokens})
        if sampling == recipe.sampling or recipe.origin in ("replay", "reference"):
            continue
        message = Message(id=of_benchmark.system, text=arm.messages[of_benchmark.system])
        earlier = recipe.model_copy(update={"sampling": sampling})
        asked = items_recipe.model_copy(update={"draw": Draw(always=(message,))})
        prompts = change_node(plan.nodes[items], recipe=asked)
        answers = change_node(node, recipe=earlier, inputs=node.inputs | {"prompts": (prompts.ref,)})
        nodes = [prompts, answers]
        if score := plan.nodes.get(addresses.get(f"baseline/{teacher}/{benchmark}", "")):
            nodes.append(change_node(score, recipe=score.recipe, inputs=score.inputs | {"answers": (answers.ref,)}))
        yield EarlierReplies(
            ref=ref,
            teacher=teacher,
            benchmark=benchmark,
            items=items,
            system=message.text,
            recipe=earlier,
            sampling=recipe.sampling,
            nodes=tuple(nodes),
        )
