"""How much flows through the plan: prompts, answers, examples, rows, and the model they train, before any is made.

Each is exact where its artifact stands. Otherwise it follows from what flows in, by (in this order) what was
measured, what the spec expects, a prior; and says which in words. Lengths are in the teacher's tokens up to the
rows, which are in the student's.

What is not seen: that system messages shape the length of an answer (a mean is of a teacher, whatever it was told);
prompts of two sources with equal texts, until they are sampled; the checkpoints of a stage that was begun.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from orcac.chat.limits.budget import Budget
from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectExecution, CollectRecipe, CollectSummary
from orcac.cost import lengths, priors
from orcac.cost.figures import NOTHING, Range, between, times, total
from orcac.cost.measured import LOOKED_UP, Mean, Measured, Record, mean_tokens, teacher_key
from orcac.cost.shape import Model, student_model
from orcac.errors import InputError
from orcac.filter.recipe import FilterRecipe, FilterSummary
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.sample.recipe import SampleExecution, SampleRecipe, SampleSummary, Source
from orcac.store.store import Store
from orcac.student.recipe import StudentRecipe, StudentSummary
from orcac.summary import Summary
from orcac.tokenize.recipe import TokenizeRecipe, TokenizeSummary

_FIRST, _SOME = 200, 8  # queries that are read of a file to see how long they are; files
_ENOUGH = 30  # answers to a node's own prompts that say more than many to others
T = TypeVar("T")
S = TypeVar("S", bound=Summary)


@dataclass(frozen=True, slots=True)
class Prompts:
    count: Range
    tokens: Range  # of one, as its teacher reads it, with its system message
    basis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    prompts: Range
    left: float  # share that the store has no answer to
    answers: Range  # that come back
    input: Range  # tokens of one request
    output: Range  # tokens of one answer
    basis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Examples:
    count: Range
    tokens: Range  # of one: prompt and answer, in the teacher's
    basis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    count: Range
    length: int  # slots of one
    per_row: Range  # examples that share one
    fill: float  # share of the slots that hold tokens
    basis: tuple[str, ...]


def _once(method: Callable[[Flow, str], T]) -> Callable[[Flow, str], T]:
    def wrapped(self: Flow, ref: str) -> T:
        key = (method.__name__, ref)
        if key not in self.known:
            self.known[key] = method(self, ref)
        found: T = self.known[key]
        return found

    return wrapped


class Flow:
    def __init__(self, plan: Plan, store: Store, looked_up: int = LOOKED_UP) -> None:
        self.plan, self.store, self.measured = plan, store, Measured(store, looked_up)
        self.known: dict[tuple[str, str], Any] = {}
        self.done = {ref for ref in plan.nodes if store.is_done(ref)}
        todo = [ref for ref, node in plan.nodes.items() if node.kind == "collect" and ref not in self.done]
        self.answered = self.measured.answered(plan, todo)

    def _node(self, summary: type[S], ref: str) -> tuple[Node, Record[S] | None]:
        """Return a node and, if it is done, its record."""
        return self.plan.nodes[ref], self.measured.record(summary, ref) if ref in self.done else None

    # --- prompts -------------------------------------------------------------------------------------------------

    @_once
    def prompts(self, ref: str) -> Prompts:
        """Return the prompts of a sample node."""
        node, record = self._node(SampleSummary, ref)
        recipe = node.recipe
        assert isinstance(recipe, SampleRecipe)
        if record and record.summary.characters is not None:
            kept, characters = record.summary.kept, record.summary.characters
            tokens = Range(characters / max(kept, 1)) / priors.CHARACTERS.range + Range(2.0 * priors.FRAME + 3)
            return Prompts(Range(float(kept)), tokens, (priors.CHARACTERS.basis,))
        if recipe.subset:
            pool = [self.prompts(part) for part in node.inputs["from"]]
            size = total(part.count for part in pool)
            tokens = total(part.count * part.tokens for part in pool) / size
            return Prompts(Range(float(recipe.subset.take)), tokens, _all(*(part.basis for part in pool)))
        source, execution = recipe.source, node.execution
        assert source is not None
        assert isinstance(execution, SampleExecution)
        counted, why = self._count(recipe.name, source, execution)
        if record:  # made before samples counted their characters
            counted, why = Range(float(record.summary.kept)), ()
        query, query_why = self._query(recipe.name, source, execution)
        texts = [message.text for message in (*recipe.draw.always, *recipe.draw.multiple_choice)]
        system = sum(map(len, texts)) / len(texts) / priors.CHARACTERS.mid
        frame = priors.FRAME * (1 + sum(map(bool, texts)) / len(texts)) + 3
        return Prompts(counted, query + Range(system + frame), _all(why, query_why))

    def _count(self, name: str, source: Source, execution: SampleExecution) -> tuple[Range, tuple[str, ...]]:
        """How many queries a source gives, and why."""
        if source.puzzles:
            return Range(float(source.puzzles.count)), ()
        if source.take:
            return Range(float(source.take)), ()
        unknown, expected, some = f"queries in {name}", execution.expect_queries, source.tasks or source.per_task
        if not (expected and some) and (rows := self._files(_rows, source, execution)):
            kept = priors.TASKS if some else priors.DISTINCT
            return Range(float(rows)) * kept.range, (f"{name} has {rows:,} rows: counted", kept.basis)
        if expected:
            why = f"{unknown} {expected:,}: the spec's `expect`, taken to a factor of {priors.EXPECTED}"
            return times(expected, priors.EXPECTED, unknown), (why,)
        return priors.QUERIES.range, (priors.QUERIES.basis,)

    def _query(self, name: str, source: Source, execution: SampleExecution) -> tuple[Range, tuple[str, ...]]:
        """Mean tokens of a query, without its system message, and why."""
        if source.puzzles:
            length = _puzzle(source.puzzles.task, source.puzzles.size)
            return Range(length) / priors.CHARACTERS.range, (priors.CHARACTERS.basis,)
        unknown = f"tokens a query of {name}"
        if execution.expect_tokens:
            why = f"{unknown} {execution.expect_tokens}: the spec's `expect`, taken to a factor of {priors.EXPECTED}"
            return times(execution.expect_tokens, priors.EXPECTED, unknown), (why,)
        if not (first := self._files(_first, source, execution)):
            return priors.QUERY.range, (priors.QUERY.basis,)
        length = mean(first)
        why = f"{unknown} {length / priors.CHARACTERS.mid:.0f}: measured on {len(first):,} queries of its files"
        return times(length, priors.EXPECTED, unknown) / priors.CHARACTERS.range, (why, priors.CHARACTERS.basis)

    def _files(self, read: Callable[[Source, list[Path]], T], source: Source, execution: SampleExecution) -> T | None:
        """What `read` finds in the files of a source, read once; None where some are not here or are broken."""
        key = (read.__name__, source.model_dump_json())
        if key not in self.known:
            self.known[key] = None
            if source.files and not source.hub and not source.absent:
                with contextlib.suppress(OSError, InputError):
                    self.known[key] = read(source, [Path(execution.files[ref.sha256]) for ref in source.files])
        found: T | None = self.known[key]
        return found

    def _together(self, refs: tuple[str, ...]) -> Prompts:
        parts = [self.prompts(ref) for ref in refs]
        size = total(part.count for part in parts)
        mean = total(part.count * part.tokens for part in parts) / size if size.mid else NOTHING
        return Prompts(size, mean, _all(*(part.basis for part in parts)))

    # --- answers -------------------------------------------------------------------------------------------------

    @_once
    def asked(self, ref: str) -> Asked:
        """Return the requests of a collect node and their answers."""
        node, record = self._node(CollectSummary, ref)
        if record and (each := mean_tokens(record.summary)):
            prompts, answers = Range(float(record.summary.prompts)), Range(float(record.summary.answered))
            return Asked(prompts, 0.0, answers, Range(each[0]), Range(each[1]), ())
        pooled, (answer, why) = self._together(node.inputs["prompts"]), self._answer(node)
        count, tokens, basis = pooled.count, pooled.tokens, (*pooled.basis, why)
        recipe = node.recipe
        assert isinstance(recipe, CollectRecipe)
        unsure = math.inf  # of the mean of what is read, as a share of it
        if rate := self.measured.characters(recipe.model):
            known = self.done.issuperset(node.inputs["prompts"])
            characters = self.measured.total_characters(node.inputs["prompts"]) if known else None
            if characters is not None:
                unsure = 0.3 / rate.n**0.5
                tokens = times(characters / count.mid / rate.value, 1 + unsure, f"input of {recipe.model}")
                basis = (f"characters a token of {recipe.model} {rate.value:.2f}: measured on {rate.n:,} prompts", why)
        if record:  # by hand or from a recording: nobody counted tokens
            count, answers = Range(float(record.summary.prompts)), Range(float(record.summary.answered))
            return Asked(count, 0.0, answers, tokens, answer, _all(basis))
        left = 1.0
        if found := self.answered.get(ref):
            count = Range(float(found.asked))
            left = 1 - found.answered / found.asked if found.asked else 0.0
            if found.replies and 1 / found.replies**0.5 <= unsure:
                unknown, read = f"tokens a request of {recipe.model}", found.input_tokens / found.replies
                tokens = times(read, 1 + 1 / found.replies**0.5, unknown)
                basis = (f"{unknown} {read:.0f}: measured from {_answers(found.replies)} to these prompts", why)
            if found.looked_up < found.asked:
                part = f"{found.looked_up:,} of {found.asked:,}, at random"
                basis = (*basis, f"{node.label}: what the ledger answers of its questions is taken from {part}")
        return Asked(count, left, count, tokens, answer, _all(basis))

    def _answer(self, node: Node) -> tuple[Range, str]:
        """Mean tokens of an answer, and why."""
        recipe, execution = node.recipe, node.execution
        assert isinstance(recipe, CollectRecipe)
        assert isinstance(execution, CollectExecution)
        most, unknown = recipe.sampling.max_tokens, f"tokens an answer of {recipe.model}"
        if recipe.origin == "reference":
            return priors.REFERENCE.range, priors.REFERENCE.basis
        own, elsewhere = self._mean(node.ref), self._elsewhere(node)
        if own and (own.n >= _ENOUGH or not elsewhere or elsewhere.n <= own.n):
            why = f"{unknown} {own.value:.0f}: measured from {_answers(own.n)} to these prompts"
            return times(own.value, 1 + 1 / own.n**0.5, unknown).at_most(most), why
        if elsewhere:
            why = f"{unknown} {elsewhere.value:.0f}: measured from {_answers(elsewhere.n)}"
            factor = max(priors.ELSEWHERE, 1 + 1 / elsewhere.n**0.5)
            return times(elsewhere.value, factor, unknown).at_most(most), why
        if execution.expect_tokens:
            why = f"{unknown} {execution.expect_tokens}: the spec's `expect`, taken to a factor of {priors.EXPECTED}"
            return times(execution.expect_tokens, priors.EXPECTED, unknown).at_most(most), why
        prior = priors.SOLVED if recipe.origin == "solver" else priors.ANSWER
        return prior.range.at_most(most), prior.basis

    def _mean(self, ref: str) -> Mean | None:
        """Tokens of an answer, over what the ledger has of a node that is not made yet."""
        found = self.answered.get(ref)
        return Mean(found.output_tokens / found.replies, found.replies) if found and found.replies else None

    def _elsewhere(self, node: Node) -> Mean | None:
        """The same of what this teacher answered to most of: a node that is made, or one that is begun."""
        recipe = node.recipe.model_dump(mode="json")
        known = (self._begun.get(teacher_key(recipe)), self.measured.answer(recipe))
        return max(filter(None, known), key=lambda mean: mean.n, default=None)

    @functools.cached_property
    def _begun(self) -> dict[str, Mean]:
        """Teacher -> `_mean` of the node that has most answers of it."""
        found = {ref: mean for ref in self.answered if (mean := self._mean(ref))}
        fewest_first = sorted(found, key=lambda ref: found[ref].n)
        return {teacher_key(self.plan.nodes[ref].recipe.model_dump(mode="json")): found[ref] for ref in fewest_first}

    def budget_left(self, settings: EndpointSettings) -> float | None:
        """USD of an experiment's budget that nobody has spent or set aside; None where it has none."""
        name, usd = settings.budget_name, settings.budget_usd
        folder = self.store.answers / "budgets" / name
        if usd is None or not folder.is_dir():  # nobody has spent of it
            return usd
        if (name, str(usd)) not in self.known:
            self.known[name, str(usd)] = Budget(folder, usd).left()
        left: float = self.known[name, str(usd)]
        return left

    # --- examples and rows ---------------------------------------------------------------------------------------

    @_once
    def examples(self, ref: str) -> Examples:
        """Return the examples that a filter node keeps."""
        node, record = self._node(FilterSummary, ref)
        (responses,) = node.inputs["responses"]
        asked, recipe = self.asked(responses), node.recipe
        tokens = asked.input + asked.output
        if record:
            return Examples(Range(float(record.summary.kept)), tokens, asked.basis)
        assert isinstance(recipe, FilterRecipe)
        teacher = self.plan.nodes[responses].recipe.model_dump(mode="json")
        if share := self.measured.kept(recipe.model_dump(mode="json"), teacher):
            kept = between(share.value * 0.98, share.value, min(1.0, share.value * 1.02), priors.KEPT.name)
            why: tuple[str, ...] = (f"share that filters keep {share.value:.3f}: measured on {share.n:,} answers",)
        else:
            kept, why = priors.KEPT.range, (priors.KEPT.basis,)
            if recipe.agree_with_reference:
                kept, why = kept * priors.AGREEING.range, (*why, priors.AGREEING.basis)
        return Examples(asked.answers * kept, tokens, _all(asked.basis, why))

    @_once
    def rows(self, ref: str) -> Rows:
        """Return the rows of a tokenize node."""
        node, record = self._node(TokenizeSummary, ref)
        recipe = node.recipe
        assert isinstance(recipe, TokenizeRecipe)
        if record:
            rows, packed = float(record.summary.rows), float(record.summary.packed)
            fill = record.summary.tokens / (rows * recipe.max_length) or 1.0
            return Rows(Range(rows), recipe.max_length, Range(packed / rows), fill, ())
        (filtered,), (student,) = node.inputs["examples"], node.inputs["student"]
        examples, (ratio, frame, why) = self.examples(filtered), self._ratio(student)
        tokens = examples.tokens * ratio + Range(frame)
        per_row = tokens.through(lambda mean: lengths.pack(mean, recipe.max_length, recipe.packing).per_row)
        fit = tokens.through(lambda mean: lengths.pack(mean, recipe.max_length, recipe.packing).fit)
        filled = lengths.pack(tokens.mid, recipe.max_length, recipe.packing).fill
        packing = (
            f"{per_row.mid:.1f} examples of {tokens.mid:,.0f} tokens share a row of {recipe.max_length:,} "
            f"({recipe.packing}, fill {filled:.0%}): simulated"
        )
        basis = _all(examples.basis, why, (packing,))
        return Rows(examples.count * fit / per_row, recipe.max_length, per_row, filled, basis)

    @_once
    def _ratio(self, ref: str) -> tuple[Range, float, tuple[str, ...]]:
        """Of a student: its tokens of an example for one of the teacher's, and what its template adds."""
        if known := self.measured.ratio(ref):
            unknown = priors.STUDENT_RATIO.name
            why = f"{unknown} {known.value:.2f}, its template included: measured on {known.n:,} examples"
            return times(known.value, 1.03, unknown), 0.0, (why,)
        recipe = self.plan.nodes[ref].recipe
        assert isinstance(recipe, StudentRecipe)
        ratio, why = priors.STUDENT_RATIO.range, priors.STUDENT_RATIO.basis
        if recipe.scratch is None:
            return ratio, priors.TEMPLATE, (why,)
        return ratio * priors.OWN_TOKENIZER.range, 0.0, (why, priors.OWN_TOKENIZER.basis)

    # --- the student ---------------------------------------------------------------------------------------------

    @_once
    def model(self, ref: str) -> Model:
        """The student that a student or train node leaves."""
        if self.plan.nodes[ref].kind == "train":
            return self.model(self.plan.nodes[ref].inputs["start"][0])
        node, record = self._node(StudentSummary, ref)
        folder = self.store.folder(ref) / "model" if record else None
        return student_model(node, folder, record.summary.parameters if record else None)


def _answers(n: int) -> str:
    return f"{n:,} answer{'s' if n > 1 else ''}"


def _all(*parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(why for part in parts for why in part if why))


def _rows(source: Source, paths: list[Path]) -> int:
    from orcac.sample.formats import count

    return sum(count(path, source) for path in paths)


def _first(source: Source, paths: list[Path]) -> list[int]:
    """Characters of the first queries of some of the files, from all over them."""
    from orcac.sample.formats import FORMATS

    some = paths[:: -(-len(paths) // _SOME)]
    read = FORMATS[source.format]
    return [len(item.query) for path in some for item in islice(read(path, path.name, source), _FIRST)]


@functools.lru_cache(maxsize=256)
def _puzzle(task: str, size: tuple[int, int]) -> float:
    """Mean characters of a generated puzzle, from some that are generated."""
    from orcac.puzzles import generate

    rng = random.Random(0)
    return mean(len(generate(task, size=rng.randint(*size), rng=rng).query) for _ in range(20))
