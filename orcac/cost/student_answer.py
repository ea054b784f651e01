"""The length of a student's answer to a benchmark's item.

An answer is assumed to be as long as any model's. A student that has learnt reasoning writes it first, as much as the
examples of its last stage have. If nothing shows that their teacher reasons, none is added.
"""

from __future__ import annotations

from orcac.cost import priors
from orcac.cost.figures import ZERO, Range, sum_ranges
from orcac.cost.flow import Flow
from orcac.cost.traces import shorten
from orcac.eval.recipe import EvalRecipe
from orcac.tokenize.recipe import TokenizeRecipe

__all__ = ["estimate_answer"]


def estimate_answer(flow: Flow, ref: str) -> tuple[Range, tuple[str, ...]]:
    """Return the tokens of all answers to an item of an eval node, of its choices or of its text, and the basis."""
    node = flow.plan.nodes[ref]
    recipe = node.recipe
    assert isinstance(recipe, EvalRecipe)
    if recipe.method == "loss":
        text = priors.ANSWER if "texts" in node.inputs else priors.REFERENCE
        return text.range, (text.basis,)
    if recipe.method != "generate":
        return priors.CHOICES.range, (priors.CHOICES.basis,)
    reasoning, why = _find_learnt_reasoning(flow, node.inputs["model"][0])
    if recipe.reasoning == "off":
        reasoning, why = ZERO, ()
    elif isinstance(recipe.reasoning, int) and reasoning.mid:
        reasoning = reasoning.capped_at(recipe.reasoning)
    answer = (reasoning + priors.ANSWER.range).capped_at(recipe.max_new_tokens)
    return answer * float(recipe.samples), (priors.ANSWER.basis, *why)


def _find_learnt_reasoning(flow: Flow, model: str) -> tuple[Range, tuple[str, ...]]:
    """Return the student's tokens of reasoning in an example of a model's last stage, 0 if none are learnt."""
    node = flow.plan.nodes[model]
    if node.kind != "train":
        return ZERO, ()
    rows = flow.plan.nodes[node.inputs["rows"][0]]
    recipe = rows.recipe
    assert isinstance(recipe, TokenizeRecipe)
    ratio = flow.ratio(rows.inputs["student"][0])[0]
    found = []
    for part, filtered in zip(recipe.parts, rows.inputs["examples"], strict=True):
        teachers = flow.examples(filtered).reasoning if part.learns_reasoning else ZERO
        if part.transform and teachers.mid:
            teachers = shorten(teachers, teachers.mid, part.transform, ratio.mid)
        found.append(teachers * ratio * part.share)
    reasoning = sum_ranges(found)
    if not reasoning.mid:
        return ZERO, ()
    why = f"tokens of a student's reasoning {reasoning.mid:,.0f}: those of an example of {rows.label}, which it learns"
    return reasoning, (why,)
