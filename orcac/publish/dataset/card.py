"""The card of an exported dataset: README.md, whose front matter makes each Parquet file of the folder a split.

Figures come from the records in the store, settings from the recipes, and licences from the spec, which alone has them.
Texts of unknown origin are escaped. The card contains no address, no path and no host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orcac.collect.recipe import CollectRecipe, CollectSummary
from orcac.filter.funnel import count_funnels
from orcac.filter.recipe import FilterRecipe, FilterSummary
from orcac.filter.wording import describe_rules
from orcac.plan.node import Node
from orcac.plan.plan import Plan
from orcac.publish.dataset.dates import Span
from orcac.publish.markdown import load_template
from orcac.publish.records import read_summary
from orcac.report.recipe import Dataset
from orcac.sample.recipe import SampleRecipe, Source
from orcac.spec.schema import Spec
from orcac.store.store import Store
from orcac.text import dollars

__all__ = ["render_card"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_KINDS = {
    "openai": "a server that speaks OpenAI's chat completions",
    "vllm": "weights served by vLLM",
    "local": "weights loaded by the job itself (transformers)",
    "solver": "orcac's embedded solver of puzzles",
    "replay": "recorded answers",
    "reference": "the questions' own reference answers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """A row of the table of sources."""

    name: str
    origin: str
    license: str  # "" if the spec states none


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A row of the funnel: a count of questions or answers, and the reasons for the loss since the step before."""

    name: str
    count: int
    lost: Mapping[str, int]


def render_card(
    plan: Plan,
    store: Store,
    *,
    spec: Spec,
    arm: str,
    dataset: Dataset,
    count: int,
    reasons: bool,
    answered: Span | None,
    data: str,
    rejected: str,
    columns: Mapping[str, str],
) -> str:
    """Return the card as Markdown.

    count: the number of kept rows. reasons: whether some of their answers have reasoning. answered: the days of the
    answers, if a ledger has them. data, rejected: the paths of the kept and of the rejected rows
    in the folder; "" if the latter are not exported.
    """
    collect, filters = plan.nodes[dataset.collect], plan.nodes[dataset.filter].recipe
    assert isinstance(collect.recipe, CollectRecipe) and isinstance(filters, FilterRecipe)
    asked = read_summary(store, CollectSummary, dataset.collect)
    filtered = read_summary(store, FilterSummary, dataset.filter)
    made = {ref: store.artifact(ref)["made"] for ref in (dataset.collect, dataset.filter) if store.has_record(ref)}
    teacher = spec.teachers[dataset.teacher]
    nodes = (*dataset.prompts, dataset.collect, dataset.filter)
    return load_template("dataset/card.md.jinja").render(
        spec=spec.name,
        arm=arm,
        about=spec.about,
        name=dataset.name,
        count=count,
        size=next((name for limit, name in _SIZES if count < limit), "n>1M"),
        reasons=reasons,
        data=data,
        rejected=rejected,
        columns=columns,
        teacher=dataset.teacher,
        teacher_license=teacher.license,
        model=collect.recipe.model,
        kind=_KINDS[teacher.endpoint.kind],
        sampling=_describe_sampling(collect.recipe),
        answered=answered,
        collected=str(made.get(dataset.collect, {}).get("started", ""))[:10],
        usd=dollars(asked.usd) if asked and collect.recipe.origin not in ("replay", "reference") else None,
        sources=list(_list_sources(plan, dataset, spec)),
        steps=_list_steps(asked, filtered),
        funnels=count_funnels(store.find_folder(dataset.filter)),
        rules=[(rule, rule.count(filtered.rejected) if filtered else None) for rule in describe_rules(filters)],
        benchmarks=sorted(_benchmark_names(plan, plan.nodes[dataset.filter])),
        versions=sorted({str(record.get("orcac", "")) for record in made.values()}),
        nodes=[(ref, plan.nodes[ref].label) for ref in nodes],
    )


def _describe_sampling(recipe: CollectRecipe) -> str:
    """Return the decoding settings that were sent; "" if no model was asked."""
    if recipe.origin in ("replay", "reference"):
        return ""
    values = {name: value for name, value in recipe.sampling.values.items() if value not in (None, {}, ())}
    settings = [f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    role = recipe.system_role
    sent = {"system": [], "none": ["system message in the user's turn"]}.get(role, [f"system message as role {role}"])
    sample = [f"sample {recipe.sample_index}"] if recipe.sample_index else []
    return ", ".join([*settings, *sent, *sample])


def _list_sources(plan: Plan, dataset: Dataset, spec: Spec) -> Iterator[SourceRow]:
    """Yield the sources of the questions."""
    for ref in plan.closure([dataset.collect]):
        recipe = plan.nodes[ref].recipe
        if isinstance(recipe, SampleRecipe) and recipe.source:
            license = getattr(spec.queries.get(recipe.name), "license", "")
            yield SourceRow(name=recipe.name, origin=_describe_source(recipe.source), license=license)


def _describe_source(source: Source) -> str:
    """Return the origin of questions: a generator, or files by name and digest, never by folder."""
    if source.puzzles:
        low, high = source.puzzles.size
        return f"generated by orcac: {source.puzzles.task}, size {low} to {high}"
    hub = [f"{ref.repo}@{ref.revision}{f' {ref.path}' if ref.path else ''}" for ref in source.hub]
    files = [f"{ref.name} (sha256 {ref.sha256[:16]})" for ref in source.files]
    shown = [*hub, *files]
    more = [f"{len(shown) - 4:,} more files"] if len(shown) > 5 else []
    return ", ".join([*(shown[:4] if more else shown), *more])


def _list_steps(asked: CollectSummary | None, filtered: FilterSummary | None) -> list[Step]:
    """Return the steps from the questions to the rows; the steps of a record that is gone are left out."""
    steps = []
    if asked:
        steps = [
            Step(name="asked", count=asked.prompts, lost={}),
            Step(name="answered", count=asked.answered, lost=asked.failed),
        ]
    if filtered:
        failed = asked.failed if asked else {}
        lost = {reason: number for reason, number in filtered.rejected.items() if reason not in failed}
        steps.append(Step(name="kept", count=filtered.kept, lost=lost))
    return steps


def _benchmark_names(plan: Plan, node: Node) -> set[str]:
    """Return the benchmarks that the questions were compared with."""
    recipes = [plan.nodes[ref].recipe for ref in node.inputs.get("benchmarks", ())]
    return {recipe.name for recipe in recipes if isinstance(recipe, SampleRecipe)}
