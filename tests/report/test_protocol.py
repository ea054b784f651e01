"""Tests of orcac/report/protocol.py: the line of a benchmark's protocol, read from the records of artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orcac.chat.settings import Sampling
from orcac.collect.recipe import CollectRecipe
from orcac.eval.recipe import EvalRecipe
from orcac.recipe import FileRef, Recipe
from orcac.report.protocol import describe, describe_otherwise, read_protocol
from orcac.report.results import Protocol
from orcac.sample.recipe import Form, Message, SampleRecipe

PLAIN = "zero-shot, no system message, greedy decoding, at most 256 tokens"
EXAMPLES = (FileRef(name="navigate.txt", sha256="0" * 64),)


def write(root: Path, ref: str, recipe: Recipe, **inputs: list[str]) -> dict[str, Path]:
    (root / ref).mkdir(parents=True)
    record = {"files": {}, "recipe": recipe.model_dump(mode="json"), "inputs": inputs}
    (root / ref / "artifact.json").write_text(json.dumps(record))
    return {ref: root / ref}


def read(root: Path, recipe: EvalRecipe | CollectRecipe, form: Form | None = None, samples: int = 1) -> Protocol:
    """Return the protocol of a node whose items were put in this form."""
    kind, role = ("eval", "items") if isinstance(recipe, EvalRecipe) else ("collect", "prompts")
    folders = write(root, "sample/f", SampleRecipe(name="form", seed=0, form=form))
    folders |= write(root, f"{kind}/a", recipe, **{role: ["sample/f"]})
    return read_protocol(folders, f"{kind}/a", samples)


def baseline(**sampling: Any) -> CollectRecipe:
    return CollectRecipe(model="m", origin="api", sampling=Sampling(temperature=0, max_tokens=256, **sampling))


@pytest.mark.parametrize(
    ("recipe", "form", "line"),
    [
        (EvalRecipe(), None, PLAIN),
        (
            EvalRecipe(temperature=0.7, top_p=0.95, max_new_tokens=2048, samples=4, stop=("\n\nQ:",), reasoning=900),
            Form(shots=3, instruction="End with ANSWER: X", cue="So"),
            "3-shot, no system message, the instruction “End with ANSWER: X”, the cue “So”, temperature 0.7, top_p "
            "0.95, at most 2,048 tokens, ended by “\\n\\nQ:”, 4 answers to each item, at most 900 tokens of reasoning",
        ),
        (
            EvalRecipe(system="Think.", method="likelihood-per-character"),
            Form(system=Message(id=7, text="Think."), examples=EXAMPLES),
            "worked examples, the system message “Think.”, the option of the largest log-likelihood for each character",
        ),
    ],
)
def test_the_line_of_a_protocol(tmp_path: Path, recipe: EvalRecipe, form: Form | None, line: str) -> None:
    assert describe(read(tmp_path, recipe, form)) == line


def test_a_baseline_of_the_same_protocol_is_not_marked_and_one_of_another_is(tmp_path: Path) -> None:
    form = Form(system=Message(id=7, text="Think."), shots=2)
    ours = read(tmp_path / "ours", EvalRecipe(system="Think.", system_id=7, samples=3, reasoning="off"), form)
    assert read(tmp_path / "same", baseline(reasoning="off"), form, samples=3) == ours
    other = read(tmp_path / "more", baseline(extra={"top_k": 5}), form, samples=3)
    assert describe_otherwise(other, ours) == "no reasoning, top_k 5"
    nested = baseline(extra={"a": {"b": [False]}}, reasoning="off").model_copy(update={"system_role": "none"})
    moved = read(tmp_path / "moved", nested, form, samples=3)
    assert describe_otherwise(moved, ours) == 'a {"b": [false]}, system_role none'
    assert describe_otherwise(ours, ours) == ""


def test_answers_of_a_recording_are_not_said_to_be_asked(tmp_path: Path) -> None:
    recorded = baseline().model_copy(update={"origin": "replay"})
    assert describe_otherwise(read(tmp_path, recorded), Protocol(max_tokens=256)) == "recorded answers"


def test_a_record_of_version_1_has_the_protocol_of_its_time(tmp_path: Path) -> None:
    folders = write(tmp_path, "eval/old", EvalRecipe(), items=["sample/gone"])
    old = {"system_id": 1, "system": "", "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 256, "seed": 0}
    recipe = old | {"parser": "final-answer", "judge": None}
    record = {"files": {}, "recipe": recipe, "inputs": {"items": ["sample/gone"]}}
    (tmp_path / "eval/old" / "artifact.json").write_text(json.dumps(record))
    assert describe(read_protocol(folders, "eval/old", 1)) == PLAIN
