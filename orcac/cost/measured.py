"""Answers, lengths and speeds that were measured on the artifacts and the ledger of a store.

The records of a kind are read once, when the first of them is needed. A damaged record is skipped. The speed of a
stage is its work over the time of its whole last try, less a usual start-up; the median over stages is taken, since a
stage that was resumed looks faster than it was.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from orcac.chat.settings import SystemRole
from orcac.collect.recipe import CollectRecipe, CollectSummary
from orcac.cost.record import MadeNode, read_made
from orcac.errors import StoreError
from orcac.eval.recipe import EvalSummary
from orcac.filter.recipe import FilterSummary
from orcac.plan.node import Node, canonical
from orcac.plan.plan import Plan
from orcac.rate.recipe import RateRecipe
from orcac.sample.recipe import SampleSummary
from orcac.store.store import Store
from orcac.student.recipe import StudentSummary
from orcac.summary import Summary
from orcac.tokenize.recipe import TokenizeSummary
from orcac.train.recipe import TrainSummary

if TYPE_CHECKING:
    import numpy as np

LOOKED_UP = 20_000  # questions of one node, at most, that are looked up in the ledger
_FEW = 2_000  # answers of a teacher, at most, whose single lengths are read

S = TypeVar("S", bound=Summary)
K = TypeVar("K", bound=Hashable)


def find_adapter_kind(adapter: Mapping[str, object] | None) -> str | None:
    """Return the part of an adapter's recipe that a stage's speed depends on; None without an adapter."""
    return str(adapter.get("quantize") or adapter["kind"]) if adapter else None


class Mean(NamedTuple):
    value: float
    n: int  # number of measured things
    lengths: np.ndarray | None = None  # float64 (prompts,): the mean of the answers to each, of a mean of few answers


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers of the ledger to the questions of one collect node."""

    asked: int  # distinct questions
    answered: int  # questions that have an answer, or a failure that is final
    remaining: float  # prompts that lack an answer, or several
    looked_up: int  # questions looked up; if fewer than all, the two counts above are scaled up from a random part
    replies: int  # answers among those looked up whose output tokens were counted
    input_tokens: int  # of these replies; 0 if the server counts none
    output_tokens: int
    characters: int  # of the prompts of these replies
    lengths: np.ndarray = field(compare=False)  # float64 (prompts,): mean output tokens of the replies to each prompt


class Measured:
    """The measurements of one store, for as long as one pricing takes."""

    def __init__(self, store: Store, looked_up: int = LOOKED_UP) -> None:
        self._store, self._looked_up = store, looked_up
        self._records: dict[str, Mapping[str, MadeNode[Summary]]] = {}
        self._upstream: dict[str, MadeNode[Summary] | None] = {}  # records of the upstream, by KIND/ID

    def records(self, summary: type[S]) -> Mapping[str, MadeNode[S]]:
        """Return KIND/ID -> record of every finished artifact of the kind that has this type of summary."""
        if summary.kind not in self._records:
            self._records[summary.kind] = cast("Mapping[str, MadeNode[Summary]]", dict(self._read(summary)))
        return cast("Mapping[str, MadeNode[S]]", self._records[summary.kind])

    def _read(self, summary: type[S]) -> Iterator[tuple[str, MadeNode[S]]]:
        for path in sorted((self._store.root / summary.kind).glob("*/artifact.json")):
            if (record := read_made(summary, path)) is not None:
                yield f"{summary.kind}/{path.parent.name}", record

    def record(self, summary: type[S], ref: str) -> MadeNode[S] | None:
        """Return the record of a finished artifact; None if it is not made, or its record is damaged.

        That of an artifact of the upstream tells its size. It does not count among `records`, whose speeds are those of
        this store's machines.
        """
        if self._store.is_upstream(ref):
            if ref not in self._upstream:
                self._upstream[ref] = cast("MadeNode[Summary] | None", read_made(summary, self._store.marker(ref)))
            return cast("MadeNode[S] | None", self._upstream[ref])
        return self.records(summary).get(ref)

    # --- lengths -----------------------------------------------------------------------------------------------

    def answer(self, recipe: Mapping[str, object]) -> Mean | None:
        """Return the mean tokens of an answer of this collect recipe's teacher, over all finished nodes."""
        return self._answers.get(teacher_key(recipe))

    @functools.cached_property
    def _answers(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, int]] = {}
        for record in self.records(CollectSummary).values():
            answered, tokens = record.summary.answered, record.summary.output_tokens
            if answered and tokens:
                n, total = sums.get(key := teacher_key(record.recipe), (0, 0))
                sums[key] = n + answered, total + tokens
        return {key: Mean(total / n, n, self._read_lengths(key, n)) for key, (n, total) in sums.items()}

    def _read_lengths(self, teacher: str, count: int) -> np.ndarray | None:
        """Return the mean output tokens of the answers of a teacher to each prompt, float64 (prompts,).

        None of more than _FEW answers, if a file is gone or damaged, and if no ledger is looked into either.
        """
        if count > _FEW or not self._looked_up:
            return None
        import numpy as np

        from orcac.rows import read_columns

        parts = []
        for ref, record in self.records(CollectSummary).items():
            if teacher_key(record.recipe) == teacher and record.summary.answered and record.summary.output_tokens:
                samples = cast("int", record.recipe.get("samples", 1))
                try:
                    path = self._store.find_folder(ref) / "responses.parquet"
                    tokens = np.array([one for (one,) in read_columns(path, ("output_tokens",))])
                    parts.append(_mean_positive(tokens.reshape(-1, samples)))
                except (OSError, ValueError, KeyError, StoreError):
                    return None
        return np.concatenate(parts) if parts else None

    def characters(self, model: str) -> Mean | None:
        """Return the mean characters of a prompt for one token that the model counts, its messages' frame included."""
        return self._characters.get(model)

    @functools.cached_property
    def _characters(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, int, int]] = {}
        for record in self.records(CollectSummary).values():
            read = self.total_characters(record.inputs.get("prompts", ()))
            if record.summary.contaminated:  # the tokens are those of a part of the prompts
                continue
            if record.summary.input_tokens and read is not None:
                n, characters, tokens = sums.get(key := str(record.recipe["model"]), (0, 0, 0))
                read *= cast("int", record.recipe.get("samples", 1))
                sums[key] = n + record.summary.prompts, characters + read, tokens + record.summary.input_tokens
        return {key: Mean(characters / tokens, n) for key, (n, characters, tokens) in sums.items()}

    def total_characters(self, samples: Iterable[str]) -> int | None:
        """Return the characters of all prompts of these sample nodes; None if they are unknown for one of the nodes."""
        total = 0
        for ref in samples:
            record = self.record(SampleSummary, ref)
            if record is None or record.summary.characters is None:
                return None
            total += record.summary.characters
        return total

    def kept(self, recipe: Mapping[str, object], responses: Mapping[str, object]) -> Mean | None:
        """Return the share of this teacher's answers that filters of this recipe kept."""
        return self._kept.get(_kept_key(recipe, responses))

    @functools.cached_property
    def _kept(self) -> dict[tuple[str, str, object], Mean]:
        sums: dict[tuple[str, str, object], tuple[int, int]] = {}
        for record in self.records(FilterSummary).values():
            collected = self.record(CollectSummary, record.first_input("responses"))
            if collected:
                read, kept = sums.get(key := _kept_key(record.recipe, collected.recipe), (0, 0))
                sums[key] = read + record.summary.read, kept + record.summary.kept
        return {key: Mean(kept / read, read) for key, (read, kept) in sums.items() if read and kept}

    def answer_share(self, responses: Mapping[str, object]) -> Mean | None:
        """Return the share of this teacher's kept responses that is their answers, the rest being reasoning."""
        return self._answer_shares.get(teacher_key(responses))

    @functools.cached_property
    def _answer_shares(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, float]] = {}
        for record in self.records(FilterSummary).values():
            collected = self.record(CollectSummary, record.first_input("responses"))
            if collected and record.summary.kept:
                n, total = sums.get(key := teacher_key(collected.recipe), (0, 0.0))
                kept = record.summary.kept
                sums[key] = n + kept, total + kept * (1 - (record.summary.reasoning or 0.0))
        return {key: Mean(total / n, n) for key, (n, total) in sums.items()}

    def ratio(self, student: str) -> Mean | None:
        """Return the tokens of an example as this student counts them, for one token that its teacher counted."""
        return self._ratios.get(student)

    @functools.cached_property
    def _ratios(self) -> dict[str, Mean]:
        sums: dict[str, tuple[int, float, float]] = {}
        for record in self.records(TokenizeSummary).values():
            is_whole = record.recipe.get("learns_reasoning", True) and not record.recipe.get("transform")
            if not is_whole or record.recipe.get("mixture"):
                continue  # the rows are not the teacher's tokens, or not those of one teacher
            examples = self.record(FilterSummary, record.first_input("examples"))
            collected = self.record(CollectSummary, examples.first_input("responses")) if examples else None
            if collected and (teacher := mean_tokens(collected.summary)):
                student, packed = record.first_input("student"), record.summary.packed
                n, ours, theirs = sums.get(student, (0, 0.0, 0.0))
                sums[student] = n + packed, ours + record.summary.tokens, theirs + packed * sum(teacher)
        return {key: Mean(ours / theirs, n) for key, (n, ours, theirs) in sums.items()}

    # --- speeds ------------------------------------------------------------------------------------------------

    def parameters(self, ref: str) -> int | None:
        """Return the parameters of a student, or of the student that a stage started from; None if not known."""
        while ref.startswith("train/"):
            stage = self.record(TrainSummary, ref)
            if not stage:
                return None
            ref = stage.first_input("start")
        student = self.record(StudentSummary, ref)
        return student.summary.parameters if student else None

    def mfu(self, gpu: str, precision: str, *, recompute: bool) -> Mean | None:
        """Return the MFU of stages of any student on this GPU, padding counted as work.

        The record of a stage leaves padding out.
        """
        return self._mfus.get((gpu, precision, recompute))

    @functools.cached_property
    def _mfus(self) -> dict[tuple[str, str, bool], Mean]:
        found: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
        for record in self.records(TrainSummary).values():
            rows = self.record(TokenizeSummary, record.first_input("rows"))
            hardware, mfu = record.hardware, record.summary.mfu
            if rows and hardware and hardware.gpus and mfu and not (hardware.offload or record.recipe.get("adapter")):
                fill = rows.summary.tokens / (rows.summary.rows * rows.number("max_length"))
                found[str(hardware.gpu), str(record.recipe["precision"]), hardware.recompute].append(mfu / fill)
        return _medians(found)

    def trained(self, parameters: int, speed_key: tuple[object, ...]) -> Mean | None:
        """Return the row slots a second, on one GPU or on all CPU threads, of stages of a student of this size."""
        return self._trained.get((parameters, *speed_key))

    @functools.cached_property
    def _trained(self) -> dict[tuple[object, ...], Mean]:
        speeds: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for ref, record in self.records(TrainSummary).items():
            rows, hardware = self.record(TokenizeSummary, record.first_input("rows")), record.hardware
            if rows and hardware and (parameters := self.parameters(ref)):
                epochs = record.summary.tokens / rows.summary.tokens
                slots = rows.summary.rows * rows.number("max_length") * epochs
                speed = slots / record.working_seconds / max(1, hardware.nodes * hardware.gpus)
                key = (
                    parameters,
                    *hardware.speed_key(str(record.recipe["precision"])),
                    find_adapter_kind(cast("Mapping[str, object] | None", record.recipe.get("adapter"))),
                )
                speeds[key].append(speed)
        return _medians(speeds)

    def evaluated(
        self, parameters: int, speed_key: tuple[object, ...], recipe: Mapping[str, object], *, engine: str, gpus: int
    ) -> Mean | None:
        """Return the items a second that a student of this size answers, by an engine on so many GPUs."""
        return self._evaluated.get((parameters, *speed_key, engine, gpus, *_get_effort(recipe)))

    @functools.cached_property
    def _evaluated(self) -> dict[tuple[object, ...], Mean]:
        speeds: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for record in self.records(EvalSummary).values():
            hardware, model = record.hardware, record.inputs.get("model")
            if record.summary.earlier or record.summary.shards:
                continue  # another artifact has generated, or other jobs
            if hardware and model and (parameters := self.parameters(model[0])):
                engine = record.summary.engine or "transformers"
                key = parameters, *hardware.speed_key(""), engine, hardware.gpus, *_get_effort(record.recipe)
                speeds[key].append(record.summary.n / record.working_seconds)
        return _medians(speeds)

    # --- answers that are paid for -----------------------------------------------------------------------------

    def answered(self, plan: Plan, refs: Iterable[str]) -> dict[str, Answered]:
        """Return, for each collect node of `refs` whose prompts are made, its answers in the ledger and the upstream's.

        The index of a ledger is read once, and only if there is such a node. At most `looked_up` questions of one
        node are looked up, so that this takes about a second. Raises StoreError if the ledger is damaged.
        """
        nodes = [
            plan.nodes[ref]
            for ref in refs
            if getattr(plan.nodes[ref].recipe, "origin", "") in ("api", "solver", "local")
            and all(self._store.is_done(prompts) for prompts in plan.nodes[ref].inputs["prompts"])
        ]
        folder, upstream = self._store.answers, self._store.upstream_answers
        if not nodes or not (upstream or folder.is_dir()):
            return {}
        import numpy as np

        from orcac.chat.ledger.ledger import Ledger
        from orcac.chat.ledger.upstream import open_upstream

        keys = self._keys(nodes)
        every = np.unique(np.concatenate([wanted for wanted, *_ in keys.values()]))
        ledgers = [Ledger(folder, every), *([open_upstream(folder, upstream, every)] if upstream else [])]
        result = {}
        for node in nodes:
            recipe = node.recipe
            assert isinstance(recipe, CollectRecipe)
            wanted, prompts, texts, weight = keys[node.ref]
            left, parts, asked_of = wanted, [], []
            for ledger in ledgers:
                found = ledger.find(left, recipe.sampling.max_tokens)
                parts.append(ledger.entries[found[found >= 0]])
                asked_of.append(prompts[found >= 0])
                left, prompts = left[found < 0], prompts[found < 0]
            facts = np.concatenate(parts)
            is_reply = (facts["failure"] == 0) & (facts["output_tokens"] > 0)
            replies, answered = facts[is_reply], np.concatenate(asked_of)[is_reply]
            asked, unsettled = round(len(wanted) * weight), round(len(left) * weight)
            result[node.ref] = Answered(
                asked,
                asked - unsettled,
                unsettled / recipe.samples,
                len(wanted),
                len(replies),
                int(replies["input_tokens"].sum()),
                int(replies["output_tokens"].sum()),
                characters=int(texts[answered].sum()),
                lengths=_mean_by(answered, replies["output_tokens"]),
            )
        for ledger in ledgers:
            ledger.close()
        return result

    def count_reviews_left(self, node: Node) -> int | None:
        """Return the reviews of a judge's ratings that neither ledger has; None if the answers to rate are not made.

        Raises StoreError if the ledger is damaged.
        """
        recipe, (responses,) = node.recipe, node.inputs["responses"]
        assert isinstance(recipe, RateRecipe) and recipe.judge
        folder, upstream = self._store.answers, self._store.upstream_answers
        if not self._looked_up or not self._store.is_done(responses) or not (upstream or folder.is_dir()):
            return None
        import pyarrow.parquet as pq

        from orcac.chat.ledger.ledger import Ledger
        from orcac.chat.ledger.upstream import open_upstream
        from orcac.rate.shown import list_requests

        path = self._store.find_folder(responses) / "responses.parquet"
        share = min(1.0, self._looked_up / max(pq.read_metadata(path).num_rows, 1))
        left = list_requests(recipe.judge, path, share).keys.keys
        for ledger in [Ledger(folder, left), *([open_upstream(folder, upstream, left)] if upstream else [])]:
            left = left[ledger.find(left, recipe.judge.asked.sampling.max_tokens) < 0]
            ledger.close()
        return round(len(left) / share)

    def _keys(self, nodes: Iterable[Node]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
        """Return for each collect node the keys of its questions, their prompts, the prompts' sizes, and a weight.

        - The ledger keys, as `collect` uses them, sorted and distinct: S16 (keys,). Of a large node they are a random
          part.
        - The number of each key's prompt: int64 (keys,).
        - The characters of each prompt: int64 (prompts,).
        - The number of questions per key.

        The prompts of a sample node are read once for all collect nodes.
        """
        import numpy as np
        import pyarrow.parquet as pq

        from orcac.chat.keys import conversation_json, key_digest
        from orcac.rows import read_columns

        found: dict[str, list[bytes]] = {}
        sizes: dict[str, int] = {}
        texts: dict[str, list[int]] = defaultdict(list)
        # sample node -> share, ...
        takers: dict[str, list[tuple[float, SystemRole, list[bytes], list[bytes], list[int]]]] = {}
        for node in nodes:
            recipe = node.recipe
            assert isinstance(recipe, CollectRecipe)
            paths = [self._store.find_folder(prompts) / "prompts.parquet" for prompts in node.inputs["prompts"]]
            rows = sum(pq.read_metadata(path).num_rows for path in paths)
            sizes[node.ref], found[node.ref] = rows * recipe.samples, []
            share = min(1.0, self._looked_up / max(sizes[node.ref], 1))
            for prompts in node.inputs["prompts"]:
                prefixes = recipe.template.key_prefixes(recipe.samples)
                taker = share, recipe.system_role, prefixes, found[node.ref], texts[node.ref]
                takers.setdefault(prompts, []).append(taker)
        for prompts, all_ in takers.items():
            chance, most = random.Random(0), max(share for share, *_ in all_)
            roles = {role for _, role, *_ in all_}
            for query, system in read_columns(
                self._store.find_folder(prompts) / "prompts.parquet", ("query", "system")
            ):
                if (drawn := chance.random()) < most:
                    parts = {role: conversation_json(system=system, user=query, system_role=role) for role in roles}
                    for share, role, prefixes, keys, sizes_of in all_:
                        if drawn < share:
                            sizes_of.append(len(query) + len(system))
                            keys += [key_digest(prefix, parts[role]) for prefix in prefixes]
        result = {}
        for node in nodes:
            assert isinstance(node.recipe, CollectRecipe)
            keys = found[node.ref]
            distinct, first = np.unique(np.array(keys, "S16"), return_index=True)  # keys of a prompt follow one another
            prompts_of, weight = first // node.recipe.samples, sizes[node.ref] / max(len(keys), 1)
            result[node.ref] = distinct, prompts_of, np.array(texts[node.ref], np.int64), weight
        return result


def _mean_by(prompts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the mean tokens of each prompt, float64 (prompts,). prompts: int64 (answers,), the prompt of each."""
    import numpy as np

    _, place = np.unique(prompts, return_inverse=True)
    return np.bincount(place, tokens) / np.bincount(place)


def _mean_positive(tokens: np.ndarray) -> np.ndarray:
    """Return the mean of the positive numbers of each row that has one, float64; (prompts, samples) -> (prompts,)."""
    counted = (tokens > 0).sum(axis=1)
    return tokens.sum(axis=1)[counted > 0] / counted[counted > 0]


def mean_tokens(collected: CollectSummary) -> tuple[float, float] | None:
    """Return the mean (input, output) tokens of a collect node's answers; None if they were not counted."""
    if not (collected.answered and collected.input_tokens and collected.output_tokens):
        return None
    return collected.input_tokens / collected.answered, collected.output_tokens / collected.answered


def teacher_key(recipe: Mapping[str, object]) -> str:
    """Return a key that two collect recipes share if the same teacher answers, under the same sampling."""
    return canonical({name: recipe.get(name) for name in ("model", "sampling", "origin")})


def _kept_key(recipe: Mapping[str, object], responses: Mapping[str, object]) -> tuple[str, str, object]:
    """Return a key that two filters share if they keep the same share of the answers; it depends on their number."""
    return canonical(dict(recipe)), teacher_key(responses), responses.get("samples", 1)


def _get_effort(recipe: Mapping[str, object]) -> tuple[object, ...]:
    """Return the fields of a recipe of `eval` that its speed depends on. An older record lacks some."""
    return recipe["max_new_tokens"], recipe.get("samples", 1), recipe.get("method", "generate")


def _medians(values: Mapping[K, list[float]]) -> dict[K, Mean]:
    return {key: Mean(median(measured), len(measured)) for key, measured in values.items()}
