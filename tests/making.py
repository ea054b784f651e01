"""Compiles small specs and makes some of their nodes in this process, for tests from YAML to rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orcac import rows
from orcac.make import make
from orcac.model.chat_format import load_tokenizer
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.arms import BASE
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.tokenize import rowfile

# twelve puzzles, whose working the embedded teacher sends as reasoning of several sentences
SPEC: dict[str, Any] = {
    "orcac": 1,
    "name": "made",
    "queries": {"q": {"format": "puzzles", "task": "object_counting", "size": [2, 5], "take": 12}},
    "system_messages": {"messages": {"7": "Explain step by step."}},
    "teachers": {
        "t": {"model": "expert", "sampling": {"extra": {"reasoning": True}}, "endpoint": {"kind": "solver"}},
        "bare": {"model": "expert", "endpoint": {"kind": "solver"}},
    },
    "datasets": {"d": {"teacher": "t", "queries": ["q"]}},
    "student": {
        "shape": {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 24},
        "tokenizer": {"vocabulary": 400, "train_on": ["d"]},
        "max_length": 512,
    },
    "stages": {"s": {"dataset": "d", "epochs": 1, "batch": 1}},
}


class Made:
    """A compiled spec and a store."""

    def __init__(self, folder: Path, **sections: object) -> None:
        """sections: those of the spec that differ from SPEC"""
        self.store, self.plan = Store(folder / "store"), Plan()
        (folder / "spec.yaml").write_text(json.dumps(SPEC | sections))
        lower(self.plan, load(folder / "spec.yaml"))

    def ref(self, address: str, arm: str = BASE) -> str:
        """Return KIND/ID of a node by its address in an arm."""
        return self.plan.experiments[str(SPEC["name"])].addresses[arm][address]

    def make(self, address: str, arm: str = BASE) -> Path:
        """Make a node with all that it needs, and return its folder."""
        ref = self.ref(address, arm)
        for needed in self.plan.closure([ref]):
            make(self.plan, self.store, needed)
        return self.store.find_folder(ref)

    def kept(self, dataset: str, arm: str = BASE) -> list[rows.Response]:
        """Return the examples that the filter of a dataset keeps."""
        return list(rows.read(self.make(f"filter/{dataset}", arm) / "kept.parquet", rows.Response))

    def learnt(self, address: str, arm: str = BASE) -> list[str]:
        """Return the learnt texts of a tokenize node, one for each example, in the order of the rows."""
        folder = self.make(address, arm)
        tokenizer = load_tokenizer(self.make("student", arm) / "model")
        arrays = rowfile.read(folder / "rows.safetensors")
        texts = []
        for ids, labels in zip(arrays.input_ids, arrays.labels, strict=True):
            example: list[int] = []
            for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
                example += [token] * (label >= 0)
                if example and label < 0:
                    texts.append(tokenizer.decode(example))
                    example = []
            texts += [tokenizer.decode(example)] * bool(example)
        return [text.removesuffix(tokenizer.eos_token) for text in texts]


def count(texts: list[str]) -> Mapping[str, int]:
    """Return each text with the number of times that it occurs."""
    return Counter(texts)
