"""The nodes that a change remakes: those of one arm compared with those of another, and with the store."""

from __future__ import annotations

from dataclasses import dataclass

from orcac.plan.plan import Plan
from orcac.store.store import Store


@dataclass(frozen=True, slots=True)
class Effect:
    """The nodes (KIND/ID) of two arms, in four groups, each in the order of making."""

    reused: list[str]  # both arms need them
    remade: list[str]  # only the new arm needs them, and the store lacks them
    stored: list[str]  # only the new arm needs them, and the store has them
    dropped: list[str]  # only the old arm needs them

    @property
    def is_empty(self) -> bool:
        return not (self.remade or self.stored or self.dropped)


def compute_effect(plan: Plan, old: list[str], new: list[str], store: Store) -> Effect:
    """Compare the nodes `old` and `new` of two arms of one plan, each in the order of making."""
    before, after = set(old), set(new)
    fresh = [ref for ref in new if ref not in before]
    done = {ref for ref in fresh if store.is_done(ref)}
    return Effect(
        reused=[ref for ref in new if ref in before],
        remade=[ref for ref in fresh if ref not in done],
        stored=[ref for ref in fresh if ref in done],
        dropped=[ref for ref in old if ref not in after],
    )
