"""The prices that several test files share, computed once."""

from __future__ import annotations

import pytest
from priced import NOWHERE, ROOT, at, planned, small

from orcac.cost.bill import Cost, price
from orcac.make import make
from orcac.plan.plan import Plan
from orcac.store.store import Store


@pytest.fixture(scope="module")
def orca() -> tuple[Plan, dict[str, Cost]]:
    plan = planned(ROOT / "specs" / "orca-13b.yaml")
    return plan, price(plan, NOWHERE)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store, dict[str, Cost]]:
    """Make the pool and nothing else; return the plan, the store, and the costs before it was made."""
    folder = tmp_path_factory.mktemp("cost")
    plan, store = small(folder), Store(folder / "store")
    before = price(plan, store)
    for address in ("queries/pool/q", "collect/pool"):
        make(plan, store, at(plan, address))
    return plan, store, before
