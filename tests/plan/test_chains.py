"""Tests of orcac/plan/chains.py: the nodes that share a job, and the names of jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from orcac.plan.chains import Chains
from orcac.plan.file import PlanData
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load

SPEC = (Path(__file__).parents[2] / "specs" / "smoke.yaml").read_text()
KINDS = frozenset({"sample", "collect", "filter", "rate", "tokenize", "train", "eval", "score"})


def read(folder: Path, spec: str = SPEC, *, brief: bool = True) -> tuple[PlanData, dict[str, dict[str, str]]]:
    """Return the plan of a spec, each node with an estimate, and arm -> address -> KIND/ID."""
    (folder / "spec.yaml").write_text(spec)
    plan = Plan()
    lower(plan, load(folder / "spec.yaml"))
    data = cast("PlanData", json.loads(plan.to_json()))
    for node in data["nodes"].values():
        node["execution"]["estimate"] = {"minutes": 30, "memory_mb": 2000, "is_brief": brief}
    return data, plan.experiments["smoke"].addresses


def chain_of(chains: Chains, plan: PlanData, ref: str) -> set[str]:
    """Return the kinds and ends of ids of the nodes in the job of a node."""
    return {other for other in plan["nodes"] if chains.chain_name(other) == chains.chain_name(ref)}


def test_a_chain_has_each_node_that_only_the_next_one_needs(tmp_path: Path) -> None:
    plan, arms = read(tmp_path)
    base, chains = arms["base"], Chains(plan, KINDS)
    few = {base[address] for address in ("subset/few", "collect/few", "filter/few", "tokenize/few")}
    assert chain_of(chains, plan, base["collect/few"]) == few
    assert chain_of(chains, plan, base["train/second"]) == {
        base[address] for address in ("tokenize/pool", "train/first", "train/second", "eval/held-out", "score/held-out")
    }
    # shared by two: a dataset and its subset; by two arms; by the student and the rows
    for address in ("queries/pool/boolean", "items/held-out", "student"):
        assert chain_of(chains, plan, base[address]) == {base[address]}
    # the answers of shards are filtered in the job that takes them in, and asked for in jobs of their own
    assert chain_of(chains, plan, base["collect/pool"]) == {base["collect/pool"], base["filter/pool"]}


@pytest.mark.parametrize(
    "change",
    [
        ("ablations:", "hardware: {train: {threads: 2}, eval: {threads: 3}}\nablations:"),
        ("ablations:", "hardware: {train: {gpus: 1}, eval: {gpus: 1}}\nablations:"),
        ("ablations:", "hardware: {train: {constraint: a100}, eval: {constraint: h100}}\nablations:"),
        ("", ""),
    ],
    ids=["threads", "gpus", "features", "long"],
)
def test_nodes_on_unlike_machines_and_long_ones_have_jobs_of_their_own(tmp_path: Path, change: tuple[str, str]) -> None:
    plan, arms = read(tmp_path, SPEC.replace(*change), brief=change[0] != "")
    chains = Chains(plan, KINDS)
    own = chain_of(chains, plan, arms["base"]["train/second"])
    assert own <= {arms["base"][address] for address in ("train/first", "train/second")}
    assert len(chain_of(chains, plan, arms["base"]["collect/few"])) == 4  # steps of a dataset


def test_a_profile_without_chains_has_a_job_for_each_node(tmp_path: Path) -> None:
    plan, _ = read(tmp_path)
    chains = Chains(plan, frozenset())
    assert len({chains.chain_name(ref) for ref in plan["nodes"]}) == len(plan["nodes"])


def test_a_group_never_waits_for_a_node_that_waits_for_it(tmp_path: Path) -> None:
    plan, _ = read(tmp_path)
    chains = Chains(plan, KINDS)
    needs: dict[str, set[str]] = {}
    for ref, node in plan["nodes"].items():
        found = {chains.chain_name(need) for refs in node["inputs"].values() for need in refs}
        needs.setdefault(chains.chain_name(ref), set()).update(found - {chains.chain_name(ref)})
    while needs:
        ready = {name for name, waits in needs.items() if not waits & needs.keys()}
        assert ready, "the groups wait for each other"
        needs = {name: waits for name, waits in needs.items() if name not in ready}


def test_a_name_shows_kind_name_and_arm_and_nothing_else_of_the_spec(tmp_path: Path) -> None:
    plan, arms = read(tmp_path)
    chains, ref = Chains(plan, frozenset()), arms["base"]["train/second"]
    assert chains.name(ref) == f"orcac:train/second@base.{ref.partition('/')[2][:6]}"
    experiment = plan["experiments"]["smoke"]
    experiment["addresses"] = {"$(id) ../../x %j": {"train/a'b\n": ref}}
    name = Chains(plan, frozenset()).name(ref)
    assert name == f"orcac:train/a-b-@-id-..-..-x-j.{ref.partition('/')[2][:6]}"
