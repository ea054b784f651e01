"""What a change remakes: the nodes of one arm against those of another, and against the store."""

from __future__ import annotations

from dataclasses import dataclass

from orcac.plan.plan import Plan
from orcac.store import Store


@dataclass(frozen=True, slots=True)
class Effect:
    """Nodes as KIND/ID, in the order of making."""

    reused: list[str]  # both sides need them
    remade: list[str]  # the new side alone needs them, and they must be made
    stored: list[str]  # the new side alone needs them, and they stand in the store
    dropped: list[str]  # the old side alone needed them

    @property
    def is_nothing(self) -> bool:
        return not (self.remade or self.stored or self.dropped)


def effect(plan: Plan, old: list[str], new: list[str], store: Store) -> Effect:
    """`old` and `new` are the nodes of two arms of one plan."""
    before, after = set(old), set(new)
    fresh = [ref for ref in plan.nodes if ref in after - before]
    return Effect(
        reused=[ref for ref in plan.nodes if ref in after & before],
        remade=[ref for ref in fresh if not store.is_done(ref)],
        stored=[ref for ref in fresh if store.is_done(ref)],
        dropped=[ref for ref in plan.nodes if ref in before - after],
    )


def requests(plan: Plan, refs: list[str]) -> int | None:
    """How many answers the collect nodes among `refs` need, at most; None where a source's size is not known yet."""
    total = 0
    for ref in refs:
        if plan.nodes[ref].kind == "collect":
            for prompts in plan.nodes[ref].inputs["prompts"]:
                count = _prompts(plan, prompts)
                if count is None:
                    return None
                total += count
    return total


def _prompts(plan: Plan, ref: str) -> int | None:
    recipe = plan.nodes[ref].recipe.model_dump()
    if recipe["subset"]:
        return int(recipe["subset"]["take"])
    source = recipe["source"]
    take = source["puzzles"]["count"] if source["puzzles"] else source["take"]
    return None if take is None else int(take)
