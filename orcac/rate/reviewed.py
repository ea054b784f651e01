"""The ratings of judges that data depend on, whose reviews are a part of what the data cost."""

from __future__ import annotations

from collections.abc import Iterable

from orcac.rate.wording import Find

__all__ = ["list_reviewed"]


def list_reviewed(refs: Iterable[str], find: Find) -> list[str]:
    """Return the ratings of judges (KIND/ID) by which the nodes `refs` choose questions, select answers or order them.

    refs: sample, filter and tokenize nodes. find: returns a node by KIND/ID
    """
    found: dict[str, None] = {}
    todo = [*refs]
    seen = set[str]()
    while todo:
        ref = todo.pop()
        if ref in seen:
            continue
        seen.add(ref)
        inputs = find(ref).inputs
        todo += inputs.get("from", ())
        found |= dict.fromkeys(one for one in inputs.get("rated", ()) if find(one).recipe["by"] == "judge")
    return sorted(found)
