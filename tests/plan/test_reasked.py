"""Tests of orcac/plan/reasked.py: the earlier nodes of baselines are those that orcac planned then."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.plan.reasked import list_earlier_replies
from orcac.spec.load import load

SPEC = Path(__file__).parents[2] / "specs" / "orca-13b.yaml"
# from the lock of the last commit that asked baselines with the teacher's sampling
EARLIER = {
    ("chatgpt", "agieval"): ("collect/fbc3a6e1789beae766f8", "score/c8241a52b5b4adc7b0cb"),
    ("chatgpt", "bbh"): ("collect/90d701bcab1737c3b870", "score/9b877ec39b35df21309c"),
    ("gpt4", "agieval"): ("collect/cd73c2ec8323dd501478", "score/356909ad7fa2987b5ad8"),
    ("gpt4", "bbh"): ("collect/a93b5264a3979f6cde28", "score/bd4c5a9d0f06af5455a7"),
    ("chatgpt", "awesome"): ("collect/f4a29061d4cdbf905c36",),
    ("gpt4", "wizardlm"): ("collect/991a211eb57696c16f04",),
}


def test_the_earlier_nodes_of_baselines_have_their_ids_of_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ORCAC_DATA", "EVAL"):
        monkeypatch.delenv(variable, raising=False)
    plan, loaded = Plan(), load(SPEC)
    lower(plan, loaded)
    found = list_earlier_replies(plan, [loaded])
    refs = {(one.teacher, one.benchmark, tuple(node.ref for node in one.nodes[1:])) for one in found}
    assert refs >= {(*key, nodes) for key, nodes in EARLIER.items()}
    assert all(one.recipe.sampling.max_tokens == one.sampling.max_tokens for one in found)
