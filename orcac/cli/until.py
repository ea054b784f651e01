"""`--until KIND`, which `orcac run` passes to Snakemake: the nodes that a run then makes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from orcac.errors import InputError
from orcac.kinds import KINDS
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.store.store import Store
from orcac.student.recipe import StudentExecution

__all__ = ["describe_unchecked", "list_wanted", "read_until"]

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


def describe_unchecked(plan: Plan, wanted: Sequence[Node], store: Store) -> Iterator[str]:
    """Yield a line for each pretrained student of the plan that is not made before the answers that `wanted` asks for.

    Without `--until`, such a student is made first, so that no answer is paid for that it cannot be trained on.
    """
    refs = {node.ref for node in wanted}
    if not any(node.kind == "collect" for node in wanted):
        return
    for ref, node in plan.nodes.items():
        is_trained = isinstance(node.execution, StudentExecution) and node.execution.lengths
        if is_trained and ref not in refs and not store.is_done(ref):
            yield (
                f"{node.label}: not checked before answers are asked for, since this run makes no student; "
                "`--until student` checks it"
            )
