"""States how questions were chosen by their values, whether the answers that were rated are trained on, and whether a
model judges its own answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from orcac.collect.recipe import CollectRecipe
from orcac.sample.recipe import SampleRecipe

__all__ = ["NodeFacts", "describe_choices", "describe_order", "describe_own_judge"]

_MEASURES = {"pass_rate": "pass rate", "length": "length"}


class NodeFacts(NamedTuple):
    """The parts of a node that its plan and the record of its artifact both have."""

    recipe: Mapping[str, Any]  # as JSON
    inputs: Mapping[str, Sequence[str]]  # role -> KIND/ID, in order


Find = Callable[[str], NodeFacts]


def describe_choices(name: str, collect: str, find: Find) -> Iterator[str]:
    """Yield a sentence for each choice of questions by their values that the dataset `name` is drawn from.

    collect: KIND/ID of its answers. find: returns a node by KIND/ID
    """
    for ref in _list_chosen(find(collect).inputs.get("prompts", ()), find):
        subset = SampleRecipe.model_validate(find(ref).recipe).subset
        assert subset
        limits = f" from {subset.between[0]:g} to {subset.between[1]:g}" if subset.between else ""
        limits += f", {'lowest' if subset.prefer == 'low' else 'highest'} first" if subset.prefer else ""
        (rated,) = find(ref).inputs["rated"]
        how = _describe_measure(rated, find)
        shared = _count_shared(collect, rated, find, pool=find(ref).inputs["from"])
        yield f"{name}: its questions are chosen by the {how}{limits}; {_describe_shared(shared)}"


def describe_order(rows: str, find: Find) -> Iterator[str]:
    """Yield a sentence for each dataset whose examples a tokenize node puts in order by values.

    rows: KIND/ID of the node. find: returns a node by KIND/ID
    """
    inputs = find(rows).inputs
    for filtered, rated in zip(inputs["examples"], inputs["rated"], strict=True) if inputs.get("rated") else ():
        (collect,) = find(filtered).inputs["responses"]
        shared = _count_shared(collect, rated, find, pool=find(collect).inputs["prompts"])
        yield f"examples are in order of the {_describe_measure(rated, find)}; {_describe_shared(shared)}"


def describe_own_judge(rated: str, find: Find) -> Iterator[str]:
    """Yield a sentence if the ratings `rated` (KIND/ID) are those of a judge that wrote the answers itself."""
    judge, asked = find(rated).recipe.get("judge"), _read_teacher(find(rated).inputs["responses"][0], find)
    if judge and judge["asked"]["model"] == asked.model:
        yield f"{asked.model} judges its own answers, which models tend to prefer; another judge would not"


def _list_chosen(refs: Sequence[str], find: Find) -> Iterator[str]:
    """Yield the subsets by values among sample nodes and those that they are drawn from."""
    for ref in dict.fromkeys(refs):
        inputs = find(ref).inputs
        if inputs.get("rated"):
            yield ref
        yield from _list_chosen(inputs.get("from", ()), find)


def _describe_measure(rated: str, find: Find) -> str:
    asked = _read_teacher(find(rated).inputs["responses"][0], find)
    each = "1 answer" if asked.samples == 1 else f"{asked.samples} answers"
    recipe = find(rated).recipe
    measure = f"points that {recipe['judge']['asked']['model']} gives" if recipe["by"] == "judge" else ""
    measure = measure or f"{_MEASURES[recipe['by']]} of"
    return f"{measure} {each} of {asked.model} to each"


def _describe_shared(shared: int) -> str:
    if not shared:
        return "none of these answers is trained on"
    which = "this answer is" if shared == 1 else f"{shared} of these answers are"
    return f"{which} trained on as well, so the values are not independent of what is learnt"


def _count_shared(collect: str, rated: str, find: Find, *, pool: Sequence[str]) -> int:
    """Return the number of rated answers to each question that the node `collect` has as well.

    pool: KIND/ID of the prompts that its questions are chosen from
    """
    (responses,) = find(rated).inputs["responses"]
    if [*find(responses).inputs["prompts"]] != [*pool]:
        return 0  # other system messages
    return _read_teacher(collect, find).count_shared(_read_teacher(responses, find))


def _read_teacher(ref: str, find: Find) -> CollectRecipe:
    return CollectRecipe.model_validate(find(ref).recipe)
