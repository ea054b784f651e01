"""The upstream of a study, if it is a URL: finding its nodes, and pulling those that a run needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orcac.errors import StoreError
from orcac.extras import explain_missing_package
from orcac.plan.plan import Plan
from orcac.study import Study
from orcac.text import clean, size

if TYPE_CHECKING:
    from orcac.remote.place import Place


def look_upstream(plan: Plan, study: Study) -> None:
    """Find the nodes of a plan that an upstream at a URL has; a folder upstream needs no step.

    Raises EndpointError if it cannot be reached, InputError if it is not a store.
    """
    if study.upstream_url:
        from orcac.remote.mirror import refresh

        assert study.store.upstream
        refresh(_open_upstream(study), study.store.upstream, study.store, plan.nodes)


def pull_needed(plan: Plan, study: Study) -> None:
    """Pull what a run needs of an upstream at a URL: artifacts into the store, and answers beside the plan.

    Raises StoreError if an artifact is refused, EndpointError if the upstream cannot be reached.
    """
    store = study.store
    if not study.upstream_url:
        return
    from orcac.remote.artifacts import find_to_pull, pull
    from orcac.remote.mirror import list_needed
    from orcac.remote.transfer import Meter

    assert store.upstream
    read, made = list_needed(plan, store)
    place = _open_upstream(study)
    if read:
        found = find_to_pull(store, place, read)
        click.echo(f"{len(read):,} artifacts ({size(found.bytes)}) are pulled from {study.upstream_url}", err=True)
        meter = Meter(f"pull from {study.upstream_url}", found.bytes, quiet=False)
        outcomes = {**found.refused, **dict(pull(store, place, list(found.sizes), meter.add))}
        for ref, reason in outcomes.items():
            if reason:
                fix = "have it repaired there, or remove `upstream` from orcac.toml and run again"
                raise StoreError(f"{ref}: {reason}", fix=fix)
    if any(hasattr(plan.nodes[ref].execution, "endpoint") or ref.startswith("score/") for ref in made):
        from orcac.remote.answers import fetch_files

        for damage in fetch_files(store.answers, place, store.upstream / "answers"):
            click.echo(clean(f"warning: not used: {damage}"), err=True)


def _open_upstream(study: Study) -> Place:
    from orcac.remote.place import open_place, require_store

    with explain_missing_package("an upstream at a URL"):
        place = open_place(study.upstream_url)
    require_store(place)
    return place
