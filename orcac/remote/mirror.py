"""The upstream of a study, if it is a URL: a folder beside the plan that holds its records, and its answers.

    BUILD/upstream/HASH/KIND/ID/artifact.json  the record of a node of a plan that the upstream has
    BUILD/upstream/HASH/answers                sealed files of its ledger, with records that the study lacks

The folder takes the place of a folder upstream: with the records alone, every command knows which nodes are finished
and what they are. `orcac run` pulls those that a job or a result needs, with their files, into the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from orcac.plan.plan import Plan
from orcac.remote.artifacts import fetch_record
from orcac.remote.place import Place
from orcac.remote.transfer import each
from orcac.store import durable
from orcac.store.store import Store

__all__ = ["find_folder", "list_needed", "refresh"]


def find_folder(plan: Path, label: str) -> Path:
    """Return the folder, which may not exist yet, for files of the place with this label.

    plan: the study's plan file
    """
    return plan.parent / "upstream" / hashlib.sha256(label.encode()).hexdigest()[:16]


def refresh(place: Place, folder: Path, store: Store, refs: Iterable[str]) -> None:
    """Fetch the records of those nodes (KIND/ID) that the store lacks and the place has.

    Raises StoreError if one is damaged or not that of its node, EndpointError if the place cannot be reached.
    """
    for ref, fetched in each(lambda ref: fetch_record(place, ref), [ref for ref in refs if not store.is_own(ref)]):
        marker = folder / ref / "artifact.json"
        if fetched is None:
            marker.unlink(missing_ok=True)
        else:
            marker.parent.mkdir(parents=True, exist_ok=True)
            durable.write(marker, fetched[0], sync=False)


def list_needed(plan: Plan, store: Store) -> tuple[list[str], list[str]]:
    """Return the nodes (KIND/ID) of the upstream whose files a run of the plan reads, and the nodes that it makes.

    The first are the plan's targets, and the inputs of nodes to be made.
    """
    stack = [ref for item in plan.experiments.values() for ref in item.targets]
    read, made = dict[str, None](), dict[str, None]()
    while stack:
        ref = stack.pop()
        if ref in read or ref in made or store.is_own(ref):
            continue
        if store.is_upstream(ref):
            read[ref] = None
        else:
            made[ref] = None
            stack += plan.nodes[ref].needs
    return sorted(read), sorted(made)
