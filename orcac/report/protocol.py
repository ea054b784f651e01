"""The protocol of a row on one benchmark as it was sent, read from the records of its artifacts.

All rows of a benchmark are asked alike (`plan.asking`), unless an arm patches the benchmark, or a baseline has further
parameters or recorded answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orcac.eval.recipe import EvalRecipe
from orcac.report.results import Protocol
from orcac.sample.recipe import Form
from orcac.store.store import read_record

__all__ = ["describe", "describe_otherwise", "read_protocol"]

_SHOWN = 80  # characters of a text in a sentence
_SOURCES = {"replay": "recorded answers", "reference": "the items' references"}


def read_protocol(folders: Mapping[str, Path], answers: str, samples: int) -> Protocol:
    """Return the protocol of an eval or collect node, given the folders of nodes by KIND/ID.

    samples: the number of a baseline's nodes, each of which has one answer to each item
    """
    record = read_record(folders[answers] / "artifact.json")
    recipe = record["recipe"]
    asked = next(iter(record.get("inputs", {}).get("items" if answers.startswith("eval/") else "prompts", ())), "")
    of_asked = read_record(folders[asked] / "artifact.json")["recipe"] if asked in folders else {}
    form = Form.model_validate(of_asked.get("form") or {})
    shared: dict[str, Any] = {
        "shots": form.shots,
        "examples": tuple(ref.name for ref in form.examples),
        "instruction": form.instruction,
        "cue": form.cue,
    }
    if answers.startswith("eval/"):  # a record of VERSION 1 lacks the newer fields
        own = EvalRecipe.model_validate({name: recipe[name] for name in EvalRecipe.model_fields if name in recipe})
        kept = own.model_dump(include={"system", "temperature", "top_p", "stop", "samples", "method", "reasoning"})
        return Protocol(max_tokens=own.max_new_tokens, **shared, **kept)
    sampling = recipe.get("sampling", {})
    names = ("temperature", "top_p", "max_tokens", "reasoning")
    is_moved = form.system.text and recipe.get("system_role", "system") != "system"
    role = {"system_role": recipe["system_role"]} if is_moved else {}
    return Protocol(
        system=form.system.text,
        samples=samples,
        stop=tuple(sampling.get("stop", ())),
        source=recipe.get("origin", "") if recipe.get("origin") in _SOURCES else "",
        **shared,
        extra=sampling.get("extra", {}) | role,
        **{name: sampling[name] for name in names if name in sampling},
    )


def describe(protocol: Protocol) -> str:
    """Return a protocol in a few words: "zero-shot, no system message, greedy decoding, at most 256 tokens"."""
    return ", ".join(phrase for phrase in _phrases(protocol).values() if phrase)


def describe_otherwise(protocol: Protocol, shared: Protocol) -> str:
    """Return the settings of a row that are not those of the benchmark's first row; "" if all are."""
    if protocol.source:
        return _SOURCES[protocol.source]
    ours, theirs = _phrases(protocol), _phrases(shared)
    return ", ".join(ours[name] or f"no {name}" for name in ours if ours[name] != theirs[name])


def _phrases(protocol: Protocol) -> dict[str, str]:
    """Return setting -> its phrase, "" for one that is not in use."""
    before = "worked examples" if protocol.examples else f"{protocol.shots}-shot" if protocol.shots else "zero-shot"
    phrases = {
        "exemplars": before,
        "system message": f"the system message {_quote(protocol.system)}" if protocol.system else "no system message",
        "instruction": f"the instruction {_quote(protocol.instruction)}" if protocol.instruction else "",
        "cue": f"the cue {_quote(protocol.cue)}" if protocol.cue else "",
    }
    if protocol.method == "loss":
        return phrases | {"method": "how likely the model finds a given answer"}
    if protocol.method != "generate":
        per_character = " for each character" if protocol.method == "likelihood-per-character" else ""
        return phrases | {"method": f"the option of the largest log-likelihood{per_character}"}
    top_p = f", top_p {protocol.top_p:g}" if protocol.top_p < 1 else ""
    thought = protocol.reasoning
    phrases |= {
        "method": "",
        "temperature": f"temperature {protocol.temperature:g}{top_p}" if protocol.temperature else "greedy decoding",
        "max_tokens": f"at most {protocol.max_tokens:,} tokens",
        "stop string": f"ended by {' or '.join(map(_quote, protocol.stop))}" if protocol.stop else "",
        "samples": f"{protocol.samples:,} answers to each item" if protocol.samples > 1 else "",
        "reasoning": f"at most {thought:,} tokens of reasoning" if isinstance(thought, int) else f"reasoning {thought}",
        "parameter": ", ".join(f"{name} {_plain(value)}" for name, value in protocol.extra.items()),
    }
    return phrases | ({"reasoning": ""} if thought is None else {})


def _plain(value: object) -> str:
    """Return a parameter's value as text; maps and lists as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _quote(text: str) -> str:
    one_line = json.dumps(text, ensure_ascii=False)[1:-1]
    return f"“{one_line if len(one_line) <= _SHOWN else one_line[: _SHOWN - 1] + '…'}”"
