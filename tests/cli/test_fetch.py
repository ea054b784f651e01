"""Tests of orcac/cli/fetch.py: a login node fetches, and nodes without internet make the whole plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from hub_server import HubServer
from patience import PATIENCE_S

from orcac.chat.settings import EndpointSettings, Sampling
from orcac.collect.recipe import CollectExecution, CollectRecipe, Recording, Weights
from orcac.plan.deferred import list_hub_addresses, list_served_models
from orcac.plan.node import Node
from orcac.recipe import HubRef

SPEC = """
orcac: 1
name: away
queries:
  mine: {format: jsonl, path: hf://o/sums/data, fields: {query: q, reference: a}}
system_messages: {messages: {2: ""}, draw: {mine: [2]}}
teachers:
  labels: {model: labels, endpoint: {kind: reference}}
datasets: {answers: {teacher: labels, queries: [mine]}}
student: {base: hf://o/model, max_length: 64}
stages: {only: {dataset: answers, epochs: 1, batch: 2 rows}}
curriculum: [only]
benchmarks:
  test: {format: jsonl, path: hf://o/sums/test.jsonl, fields: {query: q, reference: a}, max_tokens: 4}
"""


def node(recipe: CollectRecipe, endpoint: EndpointSettings) -> Node:
    return Node(kind="collect", recipe=recipe, inputs={}, execution=CollectExecution(endpoint=endpoint), label="x")


def test_recordings_and_weights_on_a_hub_and_models_of_vllm_are_sources() -> None:
    asked = {"sampling": Sampling(), "origin": "replay"}
    ref = HubRef(repo="o/n", path="a.jsonl")
    recording = Recording(answers=(), hub=(ref,), fields={})
    recorded = node(CollectRecipe(model="m", recording=recording, **asked), EndpointSettings(kind="replay"))
    assert list_hub_addresses(recorded) == ("hf://o/n@main/a.jsonl",)
    weights = Weights(hub=HubRef(repo="o/m"))
    local = node(CollectRecipe(model="m", weights=weights, **asked), EndpointSettings(kind="local"))
    assert list_hub_addresses(local) == ("hf://o/m@main",)
    served = node(CollectRecipe(model="o/judge", **asked), EndpointSettings(kind="vllm"))
    assert list_hub_addresses(served) == ()
    assert [source.address for source in list_served_models(served)] == ["hf://o/judge@main"]
    here = node(CollectRecipe(model="o/judge", **asked), EndpointSettings(kind="vllm", path="/models/judge"))
    assert list_served_models(here) == ()


@pytest.fixture
def hub(tmp_path: Path) -> HubServer:
    """A hub, not yet started, with questions and a model."""
    hub = HubServer()
    rows = [json.dumps({"q": f"What is {n} and one?", "a": str(n + 1)}) for n in range(12)]
    hub.add(
        "datasets/o/sums",
        {
            "data/a.jsonl": "\n".join(rows[:6]).encode(),
            "data/b.jsonl": "\n".join(rows[6:10]).encode(),
            "data/other.csv": b"x" * 20_000,
            "test.jsonl": "\n".join(rows[10:]).encode(),
        },
    )
    examples = tiny.write_examples(tmp_path / "examples", [tiny.response(number) for number in range(40)])
    shape = tiny.SHAPE.model_copy(update={"positions": 128})
    model = tiny.make_student(tmp_path / "student", examples, shape=shape) / "model"
    hub.add("models/o/model", {path.name: path.read_bytes() for path in model.iterdir()})
    return hub


def test_a_plan_is_fetched_in_two_tries_and_made_without_the_network(tmp_path: Path, hub: HubServer) -> None:
    (tmp_path / "study").mkdir()
    spec = tmp_path / "study" / "spec.yaml"
    spec.write_text(SPEC)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }

    def orcac(*line: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orcac", *line],
            cwd=spec.parent,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    with hub:
        hub.behaviour = lambda method, path, before: "403" if path.endswith("test.jsonl") else ""
        cut = orcac("fetch", "spec.yaml")
        assert cut.returncode == 2 and "Traceback" not in cut.stderr
        assert "hf://o/sums@main/data  2 files" in cut.stdout
        hub.behaviour = lambda method, path, before: ""
        hub.log.clear()
        whole = orcac("fetch", "spec.yaml", "--json")
        assert whole.returncode == 0, whole.stderr
        assert not hub.got("data/a.jsonl"), "it was there"
        fetched = json.loads(whole.stdout)
    sources = {source["address"]: source for source in fetched["sources"]}
    assert set(sources) == {"hf://o/sums@main/data", "hf://o/sums@main/test.jsonl", "hf://o/model@main"}
    questions = sources["hf://o/sums@main/data"]
    assert questions["files"] == ["data/a.jsonl", "data/b.jsonl"] and questions["nodes"] == ["sample mine"]
    assert (Path(questions["folder"]) / "data" / "a.jsonl").is_file()
    assert fetched["bytes"] == sum(source["bytes"] for source in sources.values())

    asked = len(hub.log)
    made = orcac("run", "spec.yaml", "--cores", "2", HF_HUB_OFFLINE="1")
    assert made.returncode == 0, made.stderr[-3000:]
    assert len(hub.log) == asked
    assert "nothing to fetch" in orcac("fetch", "spec.yaml").stdout
    (tmp_path / "study" / "store").rename(tmp_path / "old")
    empty = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    away = orcac("run", "spec.yaml", "--until", "sample", **empty)
    assert away.returncode == 2 and "run `orcac fetch SPEC` where there is internet" in away.stderr
