"""The amounts that flow through a plan before anything is made: prompts, requests, examples, rows, and the model.

An amount is exact if its artifact is made. Otherwise it is computed from the inputs with a rate that was measured; if
there is none, with a rate that the spec expects; else with a prior. `basis` states which, in words. Lengths are in
tokens of the teacher, and in tokens of the student from the rows on.

The estimates ignore four things: the effect of a system message on the length of an answer (a mean is over all
messages of a teacher); that of a choice of questions by their values; equal texts in two sources, until they are
sampled; and the checkpoints of a stage in progress.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import TypeVar, cast

from orcac.chat.limits.budget import Budget
from orcac.chat.settings import EndpointSettings
from orcac.collect.recipe import CollectExecution, CollectRecipe, CollectSummary
from orcac.cost import lengths, priors
from orcac.cost.figures import ZERO, Range, between, sum_ranges, within_factor
from orcac.cost.measured import LOOKED_UP, Mean, Measured, mean_tokens, teacher_key
from orcac.cost.mixtures import PackedPart, mix
from orcac.cost.pilot import predict
from orcac.cost.record import MadeNode
from orcac.cost.selection import estimate_kept
from orcac.cost.shape import Model, student_model
from orcac.cost.traces import shorten
from orcac.errors import InputError
from orcac.filter.recipe import Bounds, FilterRecipe, FilterSummary
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.sample.recipe import Form, SampleExecution, SampleRecipe, SampleSummary, Source
from orcac.store.store import Store
from orcac.student.recipe import StudentRecipe, StudentSummary
from orcac.summary import Summary
from orcac.tokenize.recipe import AnswerPrice, Mixture, Part, TokenizeRecipe, TokenizeSummary

_FIRST_QUERIES, _SOME_FILES = 200, 8  # queries of a file, and files of a source, that measure the length of a query
_ENOUGH = 30  # so many answers to a node's own prompts are a better measure than many answers to other prompts
T = TypeVar("T")
S = TypeVar("S", bound=Summary)


@dataclass(frozen=True, slots=True)
class Prompts:
    count: Range
    tokens: Range  # of one prompt, as its teacher reads it, with its system message
    basis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Requests:
    prompts: Range
    unanswered: float  # share of the prompts that the store does not answer
    answers: Range
    input: Range  # tokens of one request
    output: Range  # tokens of one answer, over all answers
    coming: Range  # the same of the answers that the store does not have
    basis: tuple[str, ...]

    def usd(self, price: AnswerPrice) -> Range:
        """Return the USD of all answers."""
        return self.answers * (self.input * (price.input / 1e6) + self.output * (price.output / 1e6))


@dataclass(frozen=True, slots=True)
class Examples:
    count: Range
    tokens: Range  # of one example, prompt, reasoning and answer, as its teacher counts
    answers: Range  # the same without the reasoning
    reasoning: Range  # of one example; 0 unless it is known that its teacher reasons
    basis: tuple[str, ...]
    answers_basis: tuple[str, ...]  # the further basis of `answers`


@dataclass(frozen=True, slots=True)
class Rows:
    count: Range
    length: int  # slots of one row
    per_row: Range  # examples in one row
    fill: float  # share of the slots that hold tokens
    basis: tuple[str, ...]


def _cached(method: Callable[[Flow, str], T]) -> Callable[[Flow, str], T]:
    """Make a method of Flow remember its results by KIND/ID, for as long as the Flow lives."""

    def wrapped(self: Flow, ref: str) -> T:
        key = (method.__name__, ref)
        if key not in self.cache:
            self.cache[key] = method(self, ref)
        return cast("T", self.cache[key])

    return wrapped


class Flow:
    """The amounts of one plan, given a store; each is computed once.

    `done` has the finished nodes, `answered` the ledger's answers to unfinished collect nodes whose prompts are made.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        looked_up: int = LOOKED_UP,
        *,
        read_at_most: float = math.inf,
        has_packing_range: bool = True,
    ) -> None:
        """looked_up: questions of one node that are looked up in the ledger, at most; 0 leaves the ledger closed

        read_at_most: bytes of a source's files; larger sources are estimated as if they were not here

        has_packing_range: simulate packing for shorter and longer examples beside those of the mean length
        """
        self.plan, self.store, self.measured = plan, store, Measured(store, looked_up)
        self.cache: dict[tuple[str, str], object] = {}
        self.done = {ref for ref in plan.nodes if store.is_done(ref)}
        todo = [ref for ref, node in plan.nodes.items() if node.kind == "collect" and ref not in self.done]
        self.answered = self.measured.answered(plan, todo) if looked_up else {}
        self._read_at_most, self._has_packing_range = read_at_most, has_packing_range

    def _node(self, summary: type[S], ref: str) -> tuple[Node, MadeNode[S] | None]:
        """Return a node and, if it is done, its record."""
        return self.plan.nodes[ref], self.measured.record(summary, ref) if ref in self.done else None

    # --- prompts -------------------------------------------------------------------------------------------------

    @_cached
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
            size = sum_ranges(part.count for part in pool)
            tokens = sum_ranges(part.count * part.tokens for part in pool) / size
            return Prompts(Range(float(recipe.subset.take)), tokens, _unique(*(part.basis for part in pool)))
        if recipe.form:
            return self._formed(recipe.form, node)
        source, execution = recipe.source, node.execution
        assert source is not None
        assert isinstance(execution, SampleExecution)
        counted, why = self._count_queries(recipe.name, source, execution)
        if record:  # an older orcac made it, which did not count characters
            counted, why = Range(float(record.summary.kept)), ()
        query, query_why = self._query_tokens(recipe.name, source, execution)
        texts = [message.text for message in (*recipe.draw.always, *recipe.draw.multiple_choice)]
        system = sum(map(len, texts)) / len(texts) / priors.CHARACTERS.mid
        frame = priors.FRAME * (1 + sum(map(bool, texts)) / len(texts)) + 3
        return Prompts(counted, query + Range(system + frame), _unique(why, query_why))

    def tasks(self, ref: str) -> int | None:
        """Return the number of tasks of a sample node; None if it is not known before the node is made."""
        node, record = self._node(SampleSummary, ref)
        recipe = node.recipe
        assert isinstance(recipe, SampleRecipe)
        if record and record.summary.tasks is not None:
            return record.summary.tasks
        source = recipe.source
        if source is None or source.hub or source.absent:
            return None
        if source.puzzles:
            return 1
        if source.tasks:
            return len(set(source.tasks))
        one_file_each = source.format in ("bbh", "agieval")
        return len({ref.name for ref in source.files}) if one_file_each else None

    def _formed(self, form: Form, node: Node) -> Prompts:
        """Return the prompts of a benchmark's items in the form in which models are asked.

        Exemplars are as long as the items and their references; a worked example as a third of a file of BBH's, which
        have three.
        """
        (items,) = [self.prompts(ref) for ref in node.inputs["from"]]
        texts = (form.system.text, form.instruction, form.cue)
        tokens = items.tokens * Range(1.0 + form.shots) + Range(sum(map(len, texts)) / priors.CHARACTERS.mid)
        if form.examples:
            execution = node.execution
            assert isinstance(execution, SampleExecution)
            sizes = [Path(path).stat().st_size for path in execution.files.values()]
            tokens += Range(mean(sizes)) / priors.CHARACTERS.range
        return Prompts(items.count, tokens, items.basis)

    def _count_queries(self, name: str, source: Source, execution: SampleExecution) -> tuple[Range, tuple[str, ...]]:
        """Return the number of queries of a source, and its basis."""
        if source.puzzles:
            return Range(float(source.puzzles.count)), ()
        if source.take:
            return Range(float(source.take)), ()
        unknown, expected, some = f"queries in {name}", execution.expect_queries, source.tasks or source.per_task
        if not (expected and some) and (rows := self._read_files(_count_rows, source, execution)):
            kept = priors.TASKS if some else priors.DISTINCT
            return Range(float(rows)) * kept.range, (f"{name} has {rows:,} rows: counted", kept.basis)
        if expected:
            why = f"{unknown} {expected:,}: the spec's `expect`, trusted to a factor of {priors.EXPECTED}"
            return within_factor(expected, priors.EXPECTED, unknown), (why,)
        return priors.QUERIES.range, (priors.QUERIES.basis,)

    def _query_tokens(self, name: str, source: Source, execution: SampleExecution) -> tuple[Range, tuple[str, ...]]:
        """Return the mean tokens of a query without its system message, and the basis of it."""
        if source.puzzles:
            length = _puzzle_length(source.puzzles.task, source.puzzles.size)
            return Range(length) / priors.CHARACTERS.range, (priors.CHARACTERS.basis,)
        unknown = f"tokens per query of {name}"
        if execution.expect_tokens:
            why = f"{unknown} {execution.expect_tokens}: the spec's `expect`, trusted to a factor of {priors.EXPECTED}"
            return within_factor(execution.expect_tokens, priors.EXPECTED, unknown), (why,)
        if not (first := self._read_files(_query_lengths, source, execution)):
            return priors.QUERY.range, (priors.QUERY.basis,)
        length = mean(first)
        why = f"{unknown} {length / priors.CHARACTERS.mid:.0f}: measured on {len(first):,} queries of its files"
        return within_factor(length, priors.EXPECTED, unknown) / priors.CHARACTERS.range, (why, priors.CHARACTERS.basis)

    def _read_files(
        self, read: Callable[[Source, list[Path]], T], source: Source, execution: SampleExecution
    ) -> T | None:
        """Return the result of `read` on the files of a source, read once; None if a file is missing or broken."""
        key = (read.__name__, source.model_dump_json())
        if key not in self.cache:
            self.cache[key] = None
            if source.files and not source.hub and not source.absent:
                paths = [Path(execution.files[ref.sha256]) for ref in source.files]
                with contextlib.suppress(OSError, InputError):
                    if sum(path.stat().st_size for path in paths) <= self._read_at_most:
                        self.cache[key] = read(source, paths)
        return cast("T | None", self.cache[key])

    def _pool(self, refs: tuple[str, ...]) -> Prompts:
        """Return the prompts of several sample nodes together."""
        parts = [self.prompts(ref) for ref in refs]
        size = sum_ranges(part.count for part in parts)
        mean = sum_ranges(part.count * part.tokens for part in parts) / size if size.mid else ZERO
        return Prompts(size, mean, _unique(*(part.basis for part in parts)))

    # --- answers -------------------------------------------------------------------------------------------------

    @_cached
    def requests(self, ref: str) -> Requests:
        """Return the requests of a collect node and their answers."""
        node, record = self._node(CollectSummary, ref)
        if record and (tokens_each := mean_tokens(record.summary)):
            prompts, answers = Range(float(record.summary.prompts)), Range(float(record.summary.answered))
            output = Range(tokens_each[1])
            return Requests(prompts, 0.0, answers, Range(tokens_each[0]), output, output, ())
        pooled, (answer, why) = self._pool(node.inputs["prompts"]), self._answer_tokens(node)
        count, tokens, basis = pooled.count, pooled.tokens, (*pooled.basis, why)
        recipe = node.recipe
        assert isinstance(recipe, CollectRecipe)
        if rate := self._characters_rate(ref, recipe.model):
            are_done = self.done.issuperset(node.inputs["prompts"])
            characters = self.measured.total_characters(node.inputs["prompts"]) if are_done else None
            if characters is not None:
                unknown = f"characters per token of {recipe.model}"
                tokens = Range(characters / count.mid) / within_factor(rate.value, 1 + 1 / rate.n**0.5, unknown)
                basis = (f"{unknown} {rate.value:.2f}: measured on {rate.n:,} prompts", why)
        count *= float(recipe.samples)
        if record:  # its answers are recorded ones or references, whose tokens are not counted
            count, answers = Range(float(record.summary.prompts)), Range(float(record.summary.answered))
            return Requests(count, 0.0, answers, tokens, answer, answer, _unique(basis))
        unanswered = 1.0
        if found := self.answered.get(ref):
            count = Range(float(found.asked))
            unanswered = 1 - found.answered / found.asked if found.asked else 0.0
            if found.looked_up < found.asked:
                part = f"{found.looked_up:,} of {found.asked:,}, at random"
                basis = (*basis, f"{node.label}: the share of its questions that the ledger answers is that of {part}")
        output = answer * unanswered + Range(answer.mid * (1 - unanswered))  # those that came are known
        return Requests(count, unanswered, count, tokens, output, answer, _unique(basis))

    def _answer_tokens(self, node: Node) -> tuple[Range, str]:
        """Return the mean tokens of an answer, and the basis of it."""
        recipe, execution = node.recipe, node.execution
        assert isinstance(recipe, CollectRecipe)
        assert isinstance(execution, CollectExecution)
        most, unknown = recipe.sampling.max_tokens, f"tokens per answer of {recipe.model}"
        if recipe.origin == "reference":
            return priors.REFERENCE.range, priors.REFERENCE.basis
        own, elsewhere = self._ledger_mean(node.ref), self._mean_elsewhere(node)
        if own and (own.n >= _ENOUGH or not elsewhere or elsewhere.n <= own.n):
            why = f"{unknown} {own.value:.0f}: measured from {_answers_text(own.n)} to these prompts"
            # a server may count the tokens of reasoning in addition to max_tokens
            predicted = _predict(own, self.answered[node.ref].remaining, unknown)
            return predicted.capped_at(max(most, own.value)), why
        if elsewhere:
            why = f"{unknown} {elsewhere.value:.0f}: measured from {_answers_text(elsewhere.n)}"
            predicted = _predict(elsewhere, math.inf, unknown, least=priors.ELSEWHERE)
            return predicted.capped_at(max(most, elsewhere.value)), why
        if execution.expect_tokens:
            why = f"{unknown} {execution.expect_tokens}: the spec's `expect`, trusted to a factor of {priors.EXPECTED}"
            return within_factor(execution.expect_tokens, priors.EXPECTED, unknown).capped_at(most), why
        prior = priors.SOLVED if recipe.origin == "solver" else priors.ANSWER
        return prior.range.capped_at(most), prior.basis

    def _ledger_mean(self, ref: str) -> Mean | None:
        """Return the mean tokens of the ledger's answers to a node that is not made yet; None if it has none."""
        found = self.answered.get(ref)
        if not (found and found.replies):
            return None
        return Mean(found.output_tokens / found.replies, found.replies, found.lengths)

    def _characters_rate(self, ref: str, model: str) -> Mean | None:
        """Return the characters of a prompt for one token that the model counts, on the node's own prompts if it has
        enough answers to them."""
        elsewhere, found = self.measured.characters(model), self.answered.get(ref)
        if found and found.input_tokens and (found.replies >= _ENOUGH or not elsewhere):
            return Mean(found.characters / found.input_tokens, found.replies)
        return elsewhere

    def _mean_elsewhere(self, node: Node) -> Mean | None:
        """Return the mean tokens of this teacher's answers to other nodes.

        It is the mean over finished nodes or that of the largest unfinished node, whichever has more answers.
        """
        recipe = node.recipe.model_dump(mode="json")
        means = (self._unfinished.get(teacher_key(recipe)), self.measured.answer(recipe))
        return max(filter(None, means), key=lambda mean: mean.n, default=None)

    @functools.cached_property
    def _unfinished(self) -> dict[str, Mean]:
        """Return teacher key -> mean tokens of an answer, of the unfinished node with most answers of that teacher."""
        found = {ref: mean for ref in self.answered if (mean := self._ledger_mean(ref))}
        fewest_first = sorted(found, key=lambda ref: found[ref].n)
        return {teacher_key(self.plan.nodes[ref].recipe.model_dump(mode="json")): found[ref] for ref in fewest_first}

    def budget_left(self, settings: EndpointSettings) -> float | None:
        """Return the USD of an experiment's budget that are neither spent nor reserved; None if it has no budget."""
        name, usd = settings.budget_name, settings.budget_usd
        folder = self.store.answers / "budgets" / name
        if usd is None or not folder.is_dir():  # no request was paid from it yet
            return usd
        if (name, str(usd)) not in self.cache:
            self.cache[name, str(usd)] = Budget(folder, usd).left()
        return cast("float", self.cache[name, str(usd)])

    # --- examples and rows ---------------------------------------------------------------------------------------

    @_cached
    def examples(self, ref: str) -> Examples:
        """Return the examples that a filter node keeps."""
        node, record = self._node(FilterSummary, ref)
        (responses,) = node.inputs["responses"]
        requests, recipe = self.requests(responses), node.recipe
        assert isinstance(recipe, FilterRecipe)
        part, part_why, is_known = self.answer_share(responses, record.summary if record else None)
        within, longer = 1.0, 1.0
        if recipe.tokens:
            answer, both = requests.output.mid * part.mid, requests.output.mid
            within, longer = lengths.keep(
                {"answer": answer, "reasoning": both - answer, "both": both},
                {name: (limit.min or 0, limit.max or math.inf) for name, limit in recipe.tokens.items()},
            )
        collected = self.plan.nodes[responses].recipe
        assert isinstance(collected, CollectRecipe)
        selected = estimate_kept(recipe, collected.samples)
        output = requests.output * (longer * selected.longer)
        tokens, answers, reasoning = requests.input + output, requests.input + output * part, ZERO
        if part.mid < 1 and (is_known or recipe.tokens.get("reasoning", Bounds()).min):
            reasoning = output * part.propagate(lambda share: max(1 - share, 0.01))
        if record:
            return Examples(Range(float(record.summary.kept)), tokens, answers, reasoning, requests.basis, part_why)
        teacher = collected.model_dump(mode="json")
        if share := self.measured.kept(recipe.model_dump(mode="json"), teacher):
            kept = between(share.value * 0.98, share.value, min(1.0, share.value * 1.02), priors.KEPT.name)
            why: tuple[str, ...] = (f"{priors.KEPT.name} {share.value:.3f}: measured on {share.n:,} answers",)
        else:
            kept, why = priors.KEPT.range * within, (priors.KEPT.basis,)
            if recipe.tokens:
                why = (*why, f"share of answers within `filters.tokens` {within:.2f}: simulated")
            kept, why = kept * selected.share, (*why, *selected.basis)
        return Examples(requests.answers * kept, tokens, answers, reasoning, _unique(requests.basis, why), part_why)

    def answer_share(self, responses: str, made: FilterSummary | None = None) -> tuple[Range, tuple[str, ...], bool]:
        """Return the share of a collect node's responses that is their answers, its basis, and whether it is known
        that the teacher reasons or not.

        made: the figures of its filter, if that is made
        """
        recipe = self.plan.nodes[responses].recipe
        assert isinstance(recipe, CollectRecipe)
        never = recipe.origin == "reference" or (
            recipe.origin == "solver" and not recipe.sampling.extra.get("reasoning")
        )
        if made or never:
            return Range(1 - ((made.reasoning if made else None) or 0.0)), (), True
        unknown = f"{priors.ANSWER_SHARE.name} of {recipe.model}"
        if share := self.measured.answer_share(recipe.model_dump(mode="json")):
            why = f"{unknown} {share.value:.2f}: measured on {share.n:,} answers"
            return within_factor(share.value, 1.05, unknown).capped_at(1.0), (why,), True
        is_known = recipe.origin == "solver" or recipe.sampling.reasoning not in (None, "off")
        return priors.ANSWER_SHARE.range, (priors.ANSWER_SHARE.basis,), is_known

    @_cached
    def rows(self, ref: str) -> Rows:
        """Return the rows of a tokenize node."""
        node, record = self._node(TokenizeSummary, ref)
        recipe = node.recipe
        assert isinstance(recipe, TokenizeRecipe)
        if record:
            rows, packed = float(record.summary.rows), float(record.summary.packed)
            fill = record.summary.tokens / (rows * recipe.max_length) or 1.0
            return Rows(Range(rows), recipe.max_length, Range(packed / rows), fill, ())
        parts = self.parts(ref)
        count, tokens = parts[0].count, parts[0].tokens
        if len(parts) > 1:
            count = sum_ranges(part.count for part in parts)
            tokens = sum_ranges(part.count * part.tokens for part in parts) / count
        way = "shuffle" if recipe.order and recipe.packing == "best-fit" else recipe.packing
        packed_mean = lengths.pack(tokens.mid, recipe.max_length, way)
        per_row, filled = Range(packed_mean.per_row), packed_mean.fill
        if self._has_packing_range:
            per_row = tokens.propagate(lambda mean: lengths.pack(mean, recipe.max_length, way).per_row)
        packing = (
            f"{per_row.mid:.1f} examples of {tokens.mid:,.0f} tokens share a row of {recipe.max_length:,} "
            f"({'in order' if recipe.order else recipe.packing}, fill {filled:.0%}): simulated"
        )
        basis = _unique(*(part.basis for part in parts), (packing,))
        return Rows(count / per_row, recipe.max_length, per_row, filled, basis)

    @_cached
    def parts(self, ref: str) -> tuple[PackedPart, ...]:
        """Return the examples of each dataset in the rows of a tokenize node, in the order of its inputs."""
        recipe, all_of = self.plan.nodes[ref].recipe, self.fitting(ref)
        assert isinstance(recipe, TokenizeRecipe)
        if recipe.mixture is None:
            return all_of
        counts = mix(recipe.mixture, all_of, self._same_size(recipe.mixture, ref))
        return tuple(replace(part, count=count) for part, count in zip(all_of, counts, strict=True))

    def _same_size(self, mixture: Mixture, ref: str) -> Range | None:
        """Return the examples of a mixture that is as large as other rows, by the rules of `orcac.tokenize.equal`."""
        inputs = self.plan.nodes[ref].inputs
        twins = inputs.get("same_as", ())
        if mixture.same is None:
            return None
        if mixture.same == "examples":
            return sum_ranges(self.rows(twin).count * self.rows(twin).per_row for twin in twins)
        used = [
            part.count / every.count
            for twin in twins
            for part, every in zip(self.parts(twin), self.fitting(twin), strict=True)
        ]
        paid: dict[str, Range] = {}
        for answers, price, share in zip(inputs["same_answers"], mixture.same_prices, used, strict=True):
            usd = self.requests(answers).usd(price) * share
            paid[answers] = max(paid.get(answers, usd), usd, key=lambda usd: usd.mid)
        spent = sum_ranges(paid.values())
        own = zip(inputs["answers"], mixture.prices, mixture.parts, self.fitting(ref), strict=True)
        each = sum_ranges(
            self.requests(answers).usd(price) * part.share / every.count for answers, price, part, every in own
        )
        return spent / each

    @_cached
    def fitting(self, ref: str) -> tuple[PackedPart, ...]:
        """Return all examples of each dataset of a tokenize node that fit in a row and are not kept apart."""
        node = self.plan.nodes[ref]
        recipe, (student,) = node.recipe, node.inputs["student"]
        assert isinstance(recipe, TokenizeRecipe)
        return tuple(
            self._fitting(recipe, part, filtered, student)
            for part, filtered in zip(recipe.parts, node.inputs["examples"], strict=True)
        )

    def _fitting(self, recipe: TokenizeRecipe, part: Part, filtered: str, student: str) -> PackedPart:
        """Return all examples of one dataset that fit in a row and are not kept apart."""
        examples, (ratio, frame, why) = self.examples(filtered), self.ratio(student)
        (responses,) = self.plan.nodes[filtered].inputs["responses"]
        tokens = examples.tokens if part.learns_reasoning else examples.answers
        if part.transform:
            trace = examples.reasoning.mid if part.learns_reasoning else 0.0
            trace = trace or examples.answers.mid - self.requests(responses).input.mid
            tokens = shorten(tokens, trace, part.transform, ratio.mid)
        within, bounded = 1.0, tuple[str, ...]()
        if part.lengths:
            read = self.requests(responses).input.mid
            answer, both = (examples.answers.mid - read) * ratio.mid, (examples.tokens.mid - read) * ratio.mid
            within, longer = lengths.keep(
                {"answer": answer, "reasoning": both - answer, "both": both},
                {name: (limit.min or 0, limit.max or math.inf) for name, limit in part.lengths.items()},
            )
            tokens *= 1 + (longer - 1) * (tokens.mid - read) / tokens.mid
            bounded = (f"share of examples within `filters.student_tokens` {within:.2f}: simulated",)
        tokens = tokens * ratio + Range(frame)
        fit = tokens.propagate(lambda mean: lengths.fit(mean, recipe.max_length))
        learnt = () if part.learns_reasoning else examples.answers_basis
        trained = examples.count * (1 - (recipe.holdout or 0.0)) * within
        return PackedPart(trained * fit, tokens, _unique(examples.basis, learnt, why, bounded))

    @_cached
    def ratio(self, ref: str) -> tuple[Range, float, tuple[str, ...]]:
        """Return a student's tokens for one token of the teacher, the tokens that its template adds, and the basis."""
        if measured := self.measured.ratio(ref):
            unknown = priors.STUDENT_RATIO.name
            why = f"{unknown} {measured.value:.2f}, its template included: measured on {measured.n:,} examples"
            return within_factor(measured.value, 1.03, unknown), 0.0, (why,)
        recipe = self.plan.nodes[ref].recipe
        assert isinstance(recipe, StudentRecipe)
        ratio, why = priors.STUDENT_RATIO.range, priors.STUDENT_RATIO.basis
        if recipe.scratch is None:
            return ratio, priors.TEMPLATE, (why,)
        return ratio * priors.OWN_TOKENIZER.range, 0.0, (why, priors.OWN_TOKENIZER.basis)

    # --- the student ---------------------------------------------------------------------------------------------

    @_cached
    def model(self, ref: str) -> Model:
        """Return the model that a student or train node makes."""
        if self.plan.nodes[ref].kind == "train":
            return self.model(self.plan.nodes[ref].inputs["start"][0])
        node, record = self._node(StudentSummary, ref)
        folder = self.store.find_folder(ref) / "model" if record else None
        return student_model(node, folder, record.summary.parameters if record else None)


def _predict(mean: Mean, remaining: float, unknown: str, *, least: float = 1.0) -> Range:
    """Return the mean of further answers to `remaining` prompts, right within a factor of `least` at best."""
    low, high = predict(mean.lengths, mean.n, remaining)
    return between(mean.value * min(low, 1 / least), mean.value, mean.value * max(high, least), unknown)


def _answers_text(n: int) -> str:
    return f"{n:,} answer{'s' if n > 1 else ''}"


def _unique(*parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(why for part in parts for why in part if why))


def _count_rows(source: Source, paths: list[Path]) -> int:
    from orcac.sample.formats import count_items

    return sum(count_items(path, source) for path in paths)


def _query_lengths(source: Source, paths: list[Path]) -> list[int]:
    """Return the characters of the first queries of some of the files, which are spread evenly over all of them.

    A system message that a row brings itself counts as part of its query.
    """
    from orcac.sample.formats import BadRow, read_items

    some = paths[:: -(-len(paths) // _SOME_FILES)]
    items = (item for path in some for item in islice(read_items(path, path.name, source), _FIRST_QUERIES))
    return [len(item.query) + len(item.system or "") for item in items if not isinstance(item, BadRow)]


@functools.lru_cache(maxsize=256)
def _puzzle_length(task: str, size: tuple[int, int]) -> float:
    """Return the mean characters of a puzzle, measured on 20 generated ones."""
    from orcac.puzzles import generate

    rng = random.Random(0)
    return mean(len(generate(task, size=rng.randint(*size), rng=rng).query) for _ in range(20))
