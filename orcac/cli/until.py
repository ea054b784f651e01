"""`--until KIND`, which `orcac run` passes to Snakemake: the nodes that a run then makes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from orcac.errors import InputError
from orcac.kinds import KINDS
from orcac.plan.plan import Plan

__all__ = ["list_wanted", "read_until"]

_OPTIONS = ("--until", "-U")


def read_until(arguments: Sequence[str]) -> list[str]:
    """Return the kinds after `--until` in Snakemake's arguments; [] without that option.

    Raises InputError if one is not a kind: Snakemake would then make nothing, and end well.
    """
    kinds, rest = list[str](), iter(arguments)
    for argument in rest:
        option, _, value = argument.partition("=")
        if option not in _OPTIONS:
            continue
        if value:
            kinds.append(value)
            continue
        for name in rest:
            if name.startswith("-"):
                break
            kinds.append(name)
        if not kinds:
            raise InputError("`--until` names no kind", fix=f"give one of {', '.join(KINDS)}")
    for name in kinds:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            fix = f"`--until {near[0]}`" if near else f"give one of {', '.join(KINDS)}"
            raise InputError(f"`--until {name}`: there is no such kind of node", fix=fix)
    return kinds


def list_wanted(plan: Plan, kinds: Sequence[str]) -> list[str]:
    """Return the nodes that a run makes: all of the plan, or those of `kinds` and all that they are made from."""
    if not kinds:
        return list(plan.nodes)
    return plan.closure([ref for ref, node in plan.nodes.items() if node.kind in kinds])
