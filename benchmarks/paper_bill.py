"""Prints the paper's figures beside ours, as the tables of docs/cost-model.md.

    python benchmarks/paper_bill.py

They are computed from specs/orca-13b.yaml with an empty store, in about a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from orcac.cost import memory
from orcac.cost.bill import price
from orcac.cost.flow import Flow
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.train.gpus import peak_flops

SPEC = Path(__file__).parent.parent / "specs/orca-13b.yaml"


class Line(NamedTuple):
    """One figure of the bill, with its range."""

    name: str
    paper: float | None  # None if the paper does not print it
    ours: float
    low: float
    high: float
    unit: str

    def __str__(self) -> str:
        paper = "not printed" if self.paper is None else _show(self.paper)
        ratio = "" if self.paper is None else f"{self.ours / self.paper:.2f}"
        ours = f"{_show(self.ours)} ({_show(self.low)} to {_show(self.high)})"
        return f"| {self.name}, {self.unit} | {paper} | {ours} | {ratio} |"


def _show(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def bill() -> list[Line]:
    """Return the lines of the first table."""
    plan, store = Plan(), Store(Path("nowhere"))
    lower(plan, load(SPEC))
    (experiment,) = plan.experiments.values()
    costs, flow = price(plan, store), Flow(plan, store)

    def line(
        name: str, paper: float | None, figure: str, address: str, unit: str, scale: float = 1, arm: str = "base"
    ) -> Line:
        ref = experiment.addresses[arm][address]
        value = flow.rows(ref).per_row if figure == "per_row" else getattr(costs[ref], figure)
        return Line(name, paper, value.mid / scale, value.low / scale, value.high / scale, unit)

    best = "best-fit-packing"
    return [
        line("ChatGPT answers 5 M", 14, "seconds", "collect/flan-5m", "days", 86400),
        line("GPT-4 answers 1 M", 21, "seconds", "collect/flan-1m", "days", 86400),
        line("one row holds", 2.7, "per_row", "tokenize/flan-5m", "examples"),
        line("stage 1 on 20 A100", 160, "seconds", "train/assistant", "hours", 3600),
        line("stage 2 on 20 A100", 40, "seconds", "train/expert", "hours", 3600),
        line("ChatGPT's answers", None, "usd", "collect/flan-5m", "USD"),
        line("GPT-4's answers", None, "usd", "collect/flan-1m", "USD"),
        line("stage 1, best-fit packing", None, "seconds", "train/assistant", "hours", 3600, best),
        line("stage 2, best-fit packing", None, "seconds", "train/expert", "hours", 3600, best),
    ]


def table(lines: list[Line]) -> str:
    return "\n".join(["| figure | paper | orcac | ratio |", "|---|---|---|---|", *map(str, lines)])


def fits() -> str:
    """Return the table of the memory of one of the paper's 20 GPUs, under the setting of the spec and others."""
    plan, store = Plan(), Store(Path("nowhere"))
    lower(plan, load(SPEC))
    (experiment,) = plan.experiments.values()
    stage = memory.find_stage(plan, store, experiment.addresses["base"]["train/assistant"])
    assert stage
    heads = (*memory.Memory._fields[:6], "in all")
    lines = [f"| how | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for zero, micro_batch, recompute in ((0, 1, True), (1, 2, False), (2, 2, False), (3, 2, False), (3, 8, True)):
        changed = {"zero": zero, "micro_batch_rows": micro_batch, "recompute": recompute}
        needed = stage.memory(stage.execution.model_copy(update=changed))
        cells = [memory.gib(value) for value in (*needed[:6], needed.total)]
        how = f"zero: {zero}, micro_batch: {micro_batch}{', recompute: true' if recompute else ''}"
        lines.append(f"| `{how}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def hours() -> str:
    """Return the table of both stages' hours at two values of MFU, beside the paper's."""
    plan, store = Plan(), Store(Path("nowhere"))
    lower(plan, load(SPEC))
    (experiment,) = plan.experiments.values()
    flow = Flow(plan, store)

    def hours_at(mfu: float) -> list[float]:
        found = []
        for name in ("assistant", "expert"):
            node = plan.nodes[experiment.addresses["base"][f"train/{name}"]]
            rows, model = flow.rows(node.inputs["rows"][0]), flow.model(node.ref)
            flops = rows.count.mid * rows.length * 4 * model.flops(rows.length).mid
            found.append(flops / (20 * peak_flops("a100-80gb", "bf16") * mfu) / 3600)
        return [*found, sum(found)]

    columns = {"paper": [160.0, 40.0, 200.0], "MFU 0.33": hours_at(0.33), "MFU 0.45": hours_at(0.45)}
    lines = [f"| hours on 20 A100 | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for index, name in enumerate(("stage 1", "stage 2", "both")):
        lines.append(f"| {name} | {' | '.join(f'{column[index]:.0f}' for column in columns.values())} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print("\n\n".join([table(bill()), fits(), hours()]))
