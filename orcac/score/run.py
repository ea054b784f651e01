"""Score the recorded answers of one model to one benchmark, by checkers, by likelihoods, or by a judge.

No student is asked again. A judge is asked through the ledger, like any other model (judging/).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from orcac import rows
from orcac.checkers import CHECKERS
from orcac.errors import InputError
from orcac.job import Job, save_memory
from orcac.progress import print_line
from orcac.reasoning import split_reasoning
from orcac.sample.references import find_fault, list_asked, name_items
from orcac.score.likelihood import score_choices, score_loss
from orcac.score.recipe import LIKELIHOOD_RULES, ScoreExecution, ScoreRecipe, ScoreSummary
from orcac.score.samples import sum_up_samples
from orcac.score.scores import Answers, by_item, write
from orcac.score.verdict import Reply, decide

__all__ = ["run"]


def run(job: Job[ScoreRecipe, ScoreExecution]) -> ScoreSummary:
    """Write `scores.parquet` and `scores.json`. Raises InputError if no item has a reference that can be scored."""
    save_memory()
    if rule := job.recipe.likelihood:
        return _run_likelihood(job, rule)
    answered = list(_read_answers(job.input("items"), job.inputs["answers"]))
    if job.recipe.judge:
        from orcac.score.judging.judged import score_judged  # brings the client of models

        return score_judged(job, [(item, reply) for item, (reply,) in answered])
    checkers = job.recipe.checkers
    worded = _read_worded(job) if "form" in checkers else {}
    scored, faults = [], defaultdict(list)
    for item, replies in answered:
        compared = {checker: _word(item, worded) if checker == "form" else item for checker in checkers}
        if fault := find_fault(compared[checkers[0]], checkers[0]):
            faults[fault].append(item)
        else:
            scored.append([_score(compared, reply, sample) for sample, reply in enumerate(replies)])
    left_out = len(answered) - len(scored)
    if not scored:
        raise InputError(
            f"{job.label}: none of its {len(answered):,} items has a reference answer that can be scored",
            fix="evaluate on items whose right answer is known",
        )
    for fault, items in sorted(faults.items()):
        what = f"of {len(answered):,} items are left out: {fault}"
        name_items(job.label, len(items), what, items, fix="correct these references, or name another checker")
    known = CHECKERS[checkers[0]]
    samples = sum_up_samples(scored, lambda one, other, row: known.same(one, other, list_asked(row)[0]))
    rows_of_all = [row for of_item in scored for row in of_item]
    return _write(job, Answers(rows=rows_of_all, checkers=checkers, left_out=left_out, samples=samples))


def _run_likelihood(job: Job[ScoreRecipe, ScoreExecution], rule: Literal["choice", "mass", "loss"]) -> ScoreSummary:
    items = {item.id: item for item in rows.read(job.input("items") / "prompts.parquet", rows.BenchmarkItem)}
    answers = list(rows.read(job.input("answers") / "answers.parquet", rows.Answer))
    if rule == "loss":
        scored = [score_loss(items[answer.id], answer) for answer in answers if answer.response]
        if not any(row.score is not None for row in scored):
            raise InputError(
                f"{job.label}: none of its {len(answers):,} items has a text that the student's positions hold",
                fix="give the items a reference, or a teacher that answers them (`loss_of`)",
            )
    else:
        scored = [score_choices(rule, items[answer.id], answer) for answer in answers]
    left_out = len(answers) - len(scored)
    return _write(job, Answers(rows=scored, checkers=(LIKELIHOOD_RULES[rule],), left_out=left_out))


def _write(job: Job[ScoreRecipe, ScoreExecution], answers: Answers) -> ScoreSummary:
    scores = write(job.out, answers)
    return ScoreSummary(
        n=scores.n,
        mean=scores.mean,
        outcomes=scores.outcomes,
        left_out=scores.left_out,
        chance=scores.chance,
        others=scores.others,
    )


def _read_answers(items: Path, answers: Sequence[Path]) -> Iterator[tuple[rows.Prompt, list[Reply]]]:
    """Yield every item that was asked, with the replies to it and the system message that it was asked under.

    answers: the folder of a student's answers, or those of a baseline's samples. A row of answers has the item's id;
    its query may be the item's in another form, so the item's own is taken.
    """
    by_id = {item.id: item for item in rows.read(items / "prompts.parquet", rows.BenchmarkItem)}
    found: Iterable[Sequence[rows.Answer | rows.Response]]
    if (answers[0] / "answers.parquet").exists():
        found = by_item(rows.read(answers[0] / "answers.parquet", rows.Answer))
    else:
        found = zip(*(rows.read(folder / "responses.parquet", rows.Response) for folder in answers), strict=True)
    for replies in found:
        first = replies[0]
        assert {row.id for row in replies} == {first.id}
        item = dataclasses.replace(by_id[first.id], system_id=first.system_id, system=first.system)
        yield item, [_reply(row) for row in replies]


def _read_worded(job: Job[ScoreRecipe, ScoreExecution]) -> dict[str, str]:
    """Return item id -> the answer of the teacher whose wording `form` looks for, without its reasoning."""
    (folder,) = job.inputs["form_of"]
    found = {row.id: split_reasoning(row.response)[1] for row in rows.read(folder / "responses.parquet", rows.Response)}
    if empty := sum(not text.strip() for text in found.values()):
        effect = "they are left out" if job.recipe.checkers[0] == "form" else "their form scores 0"
        print_line(f"{job.label}  the teacher has no answer to {empty:,} of {len(found):,} items: {effect}")
    return found


def _word(item: rows.Prompt, worded: Mapping[str, str]) -> rows.Prompt:
    """Return an item with the teacher's answer as its reference; such an item has no options."""
    changes: dict[str, Any] = {"references": []} if isinstance(item, rows.BenchmarkItem) else {}
    return dataclasses.replace(item, reference=worded.get(item.id, ""), options=[], **changes)


def _reply(row: rows.Answer | rows.Response) -> Reply:
    """Return a reply without its reasoning, which an `eval` node has removed from a student's."""
    text, own = split_reasoning(row.response)[1], row if isinstance(row, rows.Response) else None
    return Reply(text, row.finish_reason, own.error if own else "", own.refusal if own else "")


def _score(items: Mapping[str, rows.Prompt], reply: Reply, sample: int) -> rows.Scored:
    """Return the score of a reply. `items` has, by checker, the item that it compares the reply with."""
    first, *others = (decide(checker, reply, item) for checker, item in items.items())
    return rows.widen(
        next(iter(items.values())),
        rows.Scored,
        response=reply.text,
        finish_reason=reply.finish_reason,
        parsed=first.parsed,
        outcome=first.outcome,
        score=first.score,
        others_parsed=[verdict.parsed for verdict in others],
        others_score=[verdict.score for verdict in others if verdict.score is not None],
        sample=sample,
    )
