"""What a change remakes: the nodes of one arm against those of another, and against the store."""

from __future__ import annotations

from dataclasses import dataclass

from orcac.plan.plan import Plan
from orcac.store.store import Store


@dataclass(frozen=True, slots=True)
class Effect:
    """Nodes as KIND/ID, in the order of making."""

    reused: list[str]  # both sides need them
    remade: list[str]  # the new side alone needs them, and they must be made
    stored: list[str]  # the new side alone needs them, and they stand in the store
    dropped: list[str]  # the old side alone needed them

    @property
    def is_empty(self) -> bool:
        return not (self.remade or self.stored or self.dropped)


def compute_effect(plan: Plan, old: list[str], new: list[str], store: Store) -> Effect:
    """`old` and `new` are the nodes of two arms of one plan, in the order of making."""
    before, after = set(old), set(new)
    fresh = [ref for ref in new if ref not in before]
    done = {ref for ref in fresh if store.is_done(ref)}
    return Effect(
        reused=[ref for ref in new if ref in before],
        remade=[ref for ref in fresh if ref not in done],
        stored=[ref for ref in fresh if ref in done],
        dropped=[ref for ref in old if ref not in after],
    )
