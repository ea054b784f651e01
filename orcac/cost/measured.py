"""What the store knows already: answers, lengths and speeds that other nodes were measured to have.

Records are read when something is asked of them, each kind once. One that is damaged says nothing. How fast a
stage trained is its work over the time of its whole last try, less a usual start-up; the median is taken, since a
stage that was resumed looks faster than it was.
"""

from __future__ import annotations

import functools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from orcac.cost import priors
from orcac.plan.node import Node, canonical
from orcac.plan.plan import Plan
from orcac.store.store import Store

Record = dict[str, Any]
LOOKED_UP = 20_000  # questions of one node, at most, that are looked up in the ledger


class Mean(NamedTuple):
    value: float
    n: int  # of what it was measured on


@dataclass(frozen=True, slots=True)
class Answered:
    """What the ledger holds of one collect node's questions."""

    asked: int  # distinct questions
    answered: int  # of them; failures that are final too
    looked_up: int  # of them: where it is less than all, the two above are taken from a random part
    replies: int  # answers among what was looked up whose tokens were counted
    input_tokens: int  # of these
    output_tokens: int


class Measured:
    def __init__(self, store: Store) -> None:
        self._store = store

    @functools.cache  # noqa: B019  lives as long as one pricing
    def records(self, kind: str) -> Mapping[str, Record]:
        """KIND/ID -> the record of every finished artifact of a kind, whoever wanted it."""
        found = {}
        for path in sorted((self._store.root / kind).glob("*/artifact.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                assert all(isinstance(record[part], dict) for part in ("recipe", "inputs", "summary", "made"))
            except (OSError, ValueError, KeyError, TypeError, AssertionError):
                continue
            found[f"{kind}/{path.parent.name}"] = record
        return found

    def record(self, ref: str) -> Record | None:
        return self.records(ref.partition("/")[0]).get(ref)

    # --- lengths -----------------------------------------------------------------------------------------------

    def answer(self, recipe: Mapping[str, Any]) -> Mean | None:
        """Tokens of an answer of this teacher under this sampling, over all nodes that are made of its answers."""
        return self._answers.get(teacher(recipe))

    @functools.cached_property
    def _answers(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, int]] = {}
        for record in self.records("collect").values():
            answered, tokens = (int(record["summary"].get(key, 0)) for key in ("answered", "output_tokens"))
            if answered and tokens:
                n, total = sums.get(key := teacher(record["recipe"]), (0, 0))
                sums[key] = n + answered, total + tokens
        return {key: Mean(total / n, n) for key, (n, total) in sums.items()}

    def characters(self, model: str) -> Mean | None:
        """Characters of a prompt for one token that the model counts, the frame of its messages included."""
        return self._characters.get(model)

    @functools.cached_property
    def _characters(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, int, int]] = {}
        for record in self.records("collect").values():
            prompts = [self.record(ref) for ref in record["inputs"].get("prompts", ())]
            summaries = [sample["summary"] for sample in prompts if sample]
            tokens = int(record["summary"].get("input_tokens", 0))
            if tokens and len(summaries) == len(prompts) and all("characters" in summary for summary in summaries):
                n, characters, total = sums.get(key := record["recipe"]["model"], (0, 0, 0))
                characters += sum(int(summary["characters"]) for summary in summaries)
                sums[key] = n + int(record["summary"]["prompts"]), characters, total + tokens
        return {key: Mean(characters / total, n) for key, (n, characters, total) in sums.items()}

    def kept(self, recipe: Mapping[str, Any], responses: Mapping[str, Any]) -> Mean | None:
        """The share that a filter of this recipe kept of answers of this teacher."""
        return self._kept.get((canonical(dict(recipe)), teacher(responses)))

    @functools.cached_property
    def _kept(self) -> dict[tuple[str, str], Mean]:
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for record in self.records("filter").values():
            collected = self.record(_one(record, "responses"))
            if collected:
                read, kept = sums.get(key := (canonical(record["recipe"]), teacher(collected["recipe"])), (0, 0))
                sums[key] = read + int(record["summary"]["read"]), kept + int(record["summary"]["kept"])
        return {key: Mean(kept / read, read) for key, (read, kept) in sums.items() if read and kept}

    def ratio(self, student: str) -> Mean | None:
        """Tokens of an example as this student counts them, for one that the teacher counted."""
        return self._ratios.get(student)

    @functools.cached_property
    def _ratios(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, float, float]] = {}
        for record in self.records("tokenize").values():
            examples = self.record(_one(record, "examples"))
            collected = self.record(_one(examples, "responses")) if examples else None
            if collected and (teachers := tokens_each(collected["summary"])):
                summary, student = record["summary"], _one(record, "student")
                n, ours, theirs = sums.get(student, (0, 0.0, 0.0))
                packed = int(summary["packed"])
                sums[student] = n + packed, ours + summary["tokens"], theirs + packed * sum(teachers)
        return {key: Mean(ours / theirs, n) for key, (n, ours, theirs) in sums.items()}

    # --- speeds ------------------------------------------------------------------------------------------------

    def parameters(self, ref: str) -> int | None:
        """Of a student, or of the student that a stage started from."""
        while ref.startswith("train/"):
            record = self.record(ref)
            if not record:
                return None
            ref = _one(record, "start")
        record = self.record(ref)
        return int(record["summary"]["parameters"]) if record else None

    def mfu(self, gpu: str, precision: str, *, recompute: bool) -> Mean | None:
        """Of stages of any student on this GPU, padding counted as work: a stage's own record leaves it out."""
        return self._mfus.get((gpu, precision, recompute))

    @functools.cached_property
    def _mfus(self) -> dict[tuple[str, str, bool], Mean]:
        found = defaultdict(list)
        for record in self.records("train").values():
            rows, ours, share = self.record(_one(record, "rows")), record.get("hardware"), record["summary"].get("mfu")
            if rows and ours and ours["gpus"] and share and not ours.get("offload"):
                fill = rows["summary"]["tokens"] / (rows["summary"]["rows"] * rows["recipe"]["max_length"])
                key = str(ours.get("gpu")), record["recipe"]["precision"], bool(ours.get("recompute"))
                found[key].append(share / fill)
        return {key: Mean(median(values), len(values)) for key, values in found.items()}

    def trained(self, parameters: int, hardware: tuple[Any, ...]) -> Mean | None:
        """Row slots a second on one GPU, or on all CPU threads, of stages of a student of this size."""
        return self._trained.get((parameters, *hardware))

    @functools.cached_property
    def _trained(self) -> dict[tuple[Any, ...], Mean]:
        speeds = defaultdict(list)
        for ref, record in self.records("train").items():
            rows, ours = self.record(_one(record, "rows")), record.get("hardware")
            if rows and ours and (parameters := self.parameters(ref)):
                recipe = record["recipe"]
                epochs = recipe.get("epochs") or recipe["tokens"] / rows["summary"]["tokens"]
                slots = rows["summary"]["rows"] * rows["recipe"]["max_length"] * epochs
                speed = slots / _worked(record) / max(1, ours.get("nodes", 1) * ours["gpus"])
                speeds[parameters, *hardware(ours, recipe["precision"])].append(speed)
        return {key: Mean(median(values), len(values)) for key, values in speeds.items()}

    def evaluated(self, parameters: int, hardware: tuple[Any, ...], max_new_tokens: int) -> Mean | None:
        """Items a second that a student of this size answers."""
        return self._evaluated.get((parameters, *hardware, max_new_tokens))

    @functools.cached_property
    def _evaluated(self) -> dict[tuple[Any, ...], Mean]:
        speeds = defaultdict(list)
        for record in self.records("eval").values():
            ours = record.get("hardware")
            model = record["inputs"].get("model")
            if ours and model and (parameters := self.parameters(model[0])):
                key = parameters, *hardware(ours, ""), record["recipe"]["max_new_tokens"]
                speeds[key].append(record["summary"]["n"] / _worked(record))
        return {key: Mean(median(values), len(values)) for key, values in speeds.items()}

    # --- answers that are paid for -----------------------------------------------------------------------------

    def answered(self, plan: Plan, refs: Iterable[str]) -> dict[str, Answered]:
        """For each collect node of `refs` whose prompts stand in the store: what the ledger holds of its questions.

        The index of the ledger is read once, and only where there is such a node. Of a node with many prompts a part
        of `LOOKED_UP` is looked up, so that this takes about a second. Raises StoreError where the ledger is damaged.
        """
        nodes = [
            plan.nodes[ref]
            for ref in refs
            if getattr(plan.nodes[ref].recipe, "origin", "") in ("api", "solver", "local")
            and all(self._store.is_done(prompts) for prompts in plan.nodes[ref].inputs["prompts"])
        ]
        if not nodes or not self._store.answers.is_dir():
            return {}
        import numpy as np

        from orcac.chat.ledger.ledger import Ledger

        keys = self._keys(nodes)
        ledger = Ledger(self._store.answers, wanted=np.unique(np.concatenate([some for some, _ in keys.values()])))
        result = {}
        for node in nodes:
            recipe: Any = node.recipe
            some, weight = keys[node.ref]
            found = ledger.find(some, recipe.sampling.max_tokens)
            facts = ledger.entries[found[found >= 0]]
            replies = facts[(facts["failure"] == 0) & (facts["input_tokens"] + facts["output_tokens"] > 0)]
            read, written = int(replies["input_tokens"].sum()), int(replies["output_tokens"].sum())
            asked, left = round(len(some) * weight), round((len(some) - len(facts)) * weight)
            result[node.ref] = Answered(asked, asked - left, len(some), len(replies), read, written)
        ledger.close()
        return result

    def _keys(self, nodes: Iterable[Node]) -> dict[str, tuple[Any, float]]:
        """For each collect node the keys of its questions, as `collect` asks them, and how many questions each of them
        stands for: sorted, each once; of a large node a random part. Prompts are read once for all nodes.
        """
        import numpy as np
        import pyarrow.parquet as pq

        from orcac.chat.messages import digest_of, key_head, turn_tail
        from orcac.collect.questions import request
        from orcac.rows import read_columns

        found: dict[str, list[bytes]] = {}
        sizes: dict[str, int] = {}
        takers: dict[str, list[tuple[float, bytes, list[bytes]]]] = {}  # sample node -> share, head and keys of each
        for node in nodes:
            recipe: Any = node.recipe
            paths = [self._store.folder(prompts) / "prompts.parquet" for prompts in node.inputs["prompts"]]
            sizes[node.ref], found[node.ref] = sum(pq.read_metadata(path).num_rows for path in paths), []
            share = min(1.0, LOOKED_UP / max(sizes[node.ref], 1))
            for prompts in node.inputs["prompts"]:
                taker = share, key_head(request(recipe, system="", query="")), found[node.ref]
                takers.setdefault(prompts, []).append(taker)
        for prompts, all_ in takers.items():
            chance, most = random.Random(0), max(share for share, _, _ in all_)
            for query, system in read_columns(self._store.folder(prompts) / "prompts.parquet", ("query", "system")):
                if (drawn := chance.random()) < most:
                    tail = turn_tail(system=system, user=query)
                    for share, head, keys in all_:
                        if drawn < share:
                            keys.append(digest_of(head, tail))
        return {ref: (np.unique(np.array(keys, "S16")), sizes[ref] / max(len(keys), 1)) for ref, keys in found.items()}


def hardware(execution: Mapping[str, Any], precision: str) -> tuple[Any, ...]:
    """What makes two speeds comparable: the GPU and the precision, or the number of CPU threads; and whether a stage
    computes its activations twice, or AdamW on the CPU."""
    how = tuple(bool(execution.get(name)) for name in ("recompute", "offload"))
    if execution["gpus"]:
        return (execution.get("gpu"), precision, *how)
    return ("cpu", execution["threads"], *how)


def tokens_each(collected: Mapping[str, Any]) -> tuple[float, float] | None:
    """Mean (input, output) tokens of a collect node's answers, by its summary; None where nobody counted them."""
    answered = collected.get("answered", 0)
    if not answered or not collected.get("input_tokens") or not collected.get("output_tokens"):
        return None
    return collected["input_tokens"] / answered, collected["output_tokens"] / answered


def _worked(record: Record) -> float:
    """Seconds, without what it took to start."""
    seconds = float(record["made"]["seconds"])
    return max(seconds - priors.START_MODEL, seconds / 10, 1e-3)


def teacher(recipe: Mapping[str, Any]) -> str:
    return canonical({name: recipe.get(name) for name in ("model", "sampling", "origin")})


def _one(record: Record, role: str) -> str:
    return str(record["inputs"][role][0])
