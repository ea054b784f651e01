"""The rates of wrong verdicts and of intervals that hold the truth, and the error of the power calculator.

    nice python benchmarks/verdicts.py --out build/verdicts.jsonl     all cells, 4,000 studies each; continues a file
    python benchmarks/verdicts.py --only grid --studies 200           some cells, fewer studies
    python benchmarks/verdicts.py --read build/verdicts.jsonl         the tables of benchmarks/README.md from a file
    python benchmarks/verdicts.py --students scores.npy               real students that differ by their seed alone

A cell is one kind of study. Each study is drawn anew and compared by the product's own functions, which see scores and
nothing else. The draws: an item, an arm's bent for the item and a run's noise are normal on a latent scale, and an
answer is right if their sum is below a threshold. The weights of the three follow from two shares: `discordance`, on
which one run of each arm differ, and `churn`, on which two runs of one arm differ. Each run's threshold gives it a true
accuracy that is normal about that of its arm; the standard deviation is the `luck`. So the true difference between the
arms is known exactly: their accuracies are 0.5 plus the effect, and 0.5.

The five effects of a cell share their draws, and cells share none. A rate passes if its exact test against the goal is
not significant at 1 %, after Holm's adjustment over all cells of its table.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from orcac.stats.averages import Average  # noqa: E402
from orcac.stats.compare import Layout, Scores, compare, spread  # noqa: E402
from orcac.stats.power import Design, Variances, power  # noqa: E402
from orcac.stats.verdict import holm  # noqa: E402

EFFECTS = (0.0, 0.01, 0.02, 0.03, 0.05)
SIZES = (250, 1000, 6511)
DISCORDANCE = (0.10, 0.36)
LUCK = (0.0, 0.01, 0.02, 0.03)
STUDIES = 4000
LEVEL = 0.05
HOLM_LEVEL = 0.005  # of one comparison in a family of ten
CERTAIN = 0.01  # a rate fails if its exact test, adjusted over the cells, is below this
TASKS = 27
UNEQUAL = {  # who has the larger luck: the arm, the base, each other arm
    "both": (True, True, False),
    "the arm": (True, False, False),
    "the base": (False, True, False),
    "the rest": (False, False, True),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of study; shares, not points."""

    table: str
    items: int
    discordance: float
    bent: float  # the part of the discordance that another training does not vary (arm x item)
    luck: tuple[float, float, float]  # of the arm, of the base, of each other arm
    runs: tuple[int, int, int]  # replicates of the arm, of the base, of each other arm
    arms: int
    effects: tuple[float, ...] = EFFECTS
    average: Average = "micro"
    task_effect: float = 0.0  # standard deviation over tasks of the arm's true difference
    graded: bool = False  # scores in [0, 1] in place of right and wrong

    @property
    def churn(self) -> float:
        return self.discordance * (1 - self.bent)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of one cell at one effect."""

    cell: Cell
    effect: float
    studies: int
    found: int  # significant at 5 %
    found_holm: int  # significant at 0.5 %
    wrong: int  # significant in a direction that is not the true one
    covered: int  # 95 % intervals that hold the truth
    warned: int  # F test of unequal spreads below 1 %
    width: float  # mean width of the interval, a share


def grid() -> Iterator[Cell]:
    """Yield the cells of equal spreads."""
    for size, discordance, bent, luck, runs, arms in itertools.product(
        SIZES, DISCORDANCE, (0.0, 0.4), LUCK, (2, 3, 5), (2, 4, 8)
    ):
        yield Cell(
            table="grid", items=size, discordance=discordance, bent=bent, luck=(luck,) * 3, runs=(runs,) * 3, arms=arms
        )


def mixed() -> Iterator[Cell]:
    """Yield the cells in which the base has more replicates than the arms, or an arm has a single one."""
    for size, discordance, luck, runs, arms in itertools.product(
        SIZES, DISCORDANCE, LUCK, ((3, 5, 3), (2, 3, 2), (1, 5, 1), (1, 3, 1)), (2, 4)
    ):
        yield Cell(
            table="mixed", items=size, discordance=discordance, bent=0.25, luck=(luck,) * 3, runs=runs, arms=arms
        )


def unequal() -> Iterator[Cell]:
    """Yield the cells whose arms differ in their luck, by a factor of 2 and of 6."""
    low = 0.01
    for discordance, factor, who, runs, arms in itertools.product(
        DISCORDANCE, (2, 6), UNEQUAL, ((2, 2, 2), (3, 3, 3), (5, 5, 5), (3, 5, 3)), (2, 4, 8)
    ):
        if who in ("both", "the rest") and arms == 2:
            continue  # there is no other arm
        high = low * factor
        luck = tuple(high if varies else low for varies in UNEQUAL[who])
        same = {"items": 1000, "discordance": discordance, "bent": 0.25, "effects": (0.0,)}
        yield Cell(table=f"luck of {who} × {factor}", luck=luck, runs=runs, arms=arms, **same)


def forms() -> Iterator[Cell]:
    """Yield the cells of other averages, other scores and no replicates."""
    for discordance, luck in itertools.product(DISCORDANCE, LUCK):
        same = {"discordance": discordance, "luck": (luck,) * 3, "arms": 4, "effects": (0.0, 0.03)}
        yield Cell(table="one run each", items=1000, bent=0.4, runs=(1,) * 3, **same)
        yield Cell(table="graded scores", items=1000, bent=0.4, runs=(3,) * 3, graded=True, **same)
        for effect in (0.0, 0.06):
            for average in ("micro", "macro", "clustered"):
                yield Cell(
                    table=f"{average}, tasks differ by {100 * effect:.0f}",
                    items=2700,
                    bent=0.4,
                    runs=(3,) * 3,
                    average=average,
                    task_effect=effect,
                    **same,
                )


PARTS = {"unequal": unequal, "forms": forms, "grid": grid, "mixed": mixed}


def run(cell: Cell, studies: int) -> list[Row]:
    """Draw and compare a number of studies; one row per effect. The same cell always gives the same rows."""
    rng = np.random.default_rng(zlib.crc32(repr(cell).encode()))
    found, found_holm, wrong, covered, warned, width = (np.zeros(len(cell.effects)) for _ in range(6))
    for _ in range(studies):
        labels = _labels(cell)
        layout = Layout(labels, cell.average)
        item = rng.standard_normal(cell.items, np.float32)
        base = Draw(cell, rng, item, cell.luck[1], cell.runs[1]).scores(0.5)
        others = [
            spread(Draw(cell, rng, item, cell.luck[2], cell.runs[2]).scores(0.5), layout) for _ in range(cell.arms - 2)
        ]
        shifts = rng.normal(0, cell.task_effect, TASKS)
        arm = Draw(cell, rng, item, cell.luck[0], cell.runs[0])
        for index, effect in enumerate(cell.effects):
            if cell.task_effect:
                scores = arm.scores(0.5 + effect + shifts[labels])
                truth = effect if cell.average == "clustered" else effect + _mean_shift(shifts, labels, cell.average)
            else:
                scores, truth = arm.scores(0.5 + effect), effect
            comparison = compare(scores, base, others, layout=layout)
            low, high = comparison.interval
            significant = comparison.p < LEVEL
            assert comparison.test == "mcnemar" or significant == (low > 0 or high < 0)
            found[index] += significant
            found_holm[index] += comparison.p < HOLM_LEVEL
            wrong[index] += significant and (truth == 0 or comparison.difference * truth < 0)
            covered[index] += low <= truth <= high
            warned[index] += comparison.unequal is not None and comparison.unequal < 0.01
            width[index] += (high - low) / studies
    return [
        Row(
            cell=cell,
            effect=effect,
            studies=studies,
            found=int(found[index]),
            found_holm=int(found_holm[index]),
            wrong=int(wrong[index]),
            covered=int(covered[index]),
            warned=int(warned[index]),
            width=float(width[index]),
        )
        for index, effect in enumerate(cell.effects)
    ]


def predicted(cell: Cell, effect: float) -> float | None:
    """Return the power by the calculator, from the true variances at this effect; None where it does not apply."""
    arm, base, other = cell.runs
    drawn_truth = cell.task_effect and cell.average != "clustered"
    if len(set(cell.luck)) > 1 or arm != other or drawn_truth or cell.graded or max(cell.runs) == 1:
        return None
    churn = (_differ(cell.churn, 0.5, 0.5) + _differ(cell.churn, 0.5 + effect, 0.5 + effect)) / 2
    bent = _differ(cell.discordance, 0.5 + effect, 0.5) - churn - effect**2
    layout = Layout(_labels(cell), cell.average)
    uneven = layout.square * layout.items  # tasks of unequal size are worth fewer items
    variances = Variances(
        luck=cell.luck[0],
        discordance=uneven * (bent + churn) + effect**2,
        churn=uneven * churn,
        between_tasks=cell.task_effect,
    )
    tasks = layout.tasks if cell.average == "clustered" else None
    design = Design(items=cell.items, arms=cell.arms, base_runs=base, arm_runs=arm, tasks=tasks)
    return power(effect, design, variances, LEVEL)


def _differ(share: float, first: float, second: float) -> float:
    """Return the share of items on which two runs of these accuracies differ, if at 0.5 they differ on `share`."""
    correlation = math.cos(math.pi * share)
    thresholds = special.ndtri([first, second])
    both = stats.multivariate_normal.cdf(thresholds, cov=[[1, correlation], [correlation, 1]])
    return float(first + second - 2 * both)


def _labels(cell: Cell) -> NDArray[np.int_]:
    """Return the task of each item: sizes from 20 to 180 of 2,700 items in 27 tasks, the same in every study."""
    if cell.average == "micro" and not cell.task_effect:
        return np.zeros(cell.items, int)
    sizes = np.linspace(20, 2 * cell.items / TASKS - 20, TASKS).round().astype(int)
    sizes[-1] += cell.items - sizes.sum()
    return np.repeat(np.arange(TASKS), sizes)


def _mean_shift(shifts: NDArray[np.float64], labels: NDArray[np.int_], average: Average) -> float:
    return float(shifts.mean() if average == "macro" else shifts[labels].mean())


class Draw:
    """The replicates of one arm in one study, drawn but for the arm's accuracy."""

    def __init__(self, cell: Cell, rng: np.random.Generator, item: NDArray[np.float32], luck: float, runs: int) -> None:
        # Two normal values with correlation r lie on different sides of 0 with probability arccos(r) / pi.
        shared, within = math.cos(math.pi * cell.discordance), math.cos(math.pi * cell.churn)
        bent = rng.standard_normal(cell.items, np.float32)
        noise = rng.standard_normal((runs, cell.items), np.float32)
        noise *= np.float32(math.sqrt(1 - within))
        self.latent = noise + (np.float32(math.sqrt(shared)) * item + np.float32(math.sqrt(within - shared)) * bent)
        self.luck = rng.normal(0, luck, (runs, 1))
        self.graded = cell.graded

    def scores(self, accuracy: float | NDArray[np.float64]) -> Scores:
        """Return float (runs, items) with a true mean score of `accuracy`, a share or one for each item."""
        threshold = special.ndtri(accuracy + self.luck)
        if self.graded:  # the mean of Phi(x) over normal x with mean m and variance 1 is Phi(m / sqrt 2)
            return special.ndtr(math.sqrt(2) * threshold - self.latent)
        return (self.latent < threshold.astype(np.float32)).astype(np.float64)


def failures(counts: Sequence[int], studies: Sequence[int], goal: float, *, at_most: bool) -> int:
    """Return the number of rates that miss a goal: an exact one-sided test of each at 1 %, Holm over all."""
    tests = [
        stats.binomtest(count, n, goal, alternative="greater" if at_most else "less").pvalue
        for count, n in zip(counts, studies, strict=True)
    ]
    return sum(p < CERTAIN for p in holm(tests))


def power_failures(rows: Sequence[Row], powers: Sequence[float], tolerance: float = 0.03) -> int:
    """Return the number of cells whose power differs from the calculator's by more than the tolerance."""
    tests = []
    for row, expected in zip(rows, powers, strict=True):
        low, high = max(0.0, expected - tolerance), min(1.0, expected + tolerance)
        above = stats.binomtest(row.found, row.studies, high, alternative="greater").pvalue
        below = stats.binomtest(row.found, row.studies, low, alternative="less").pvalue
        tests.append(min(1.0, 2 * min(above, below)))
    return sum(p < CERTAIN for p in holm(tests))


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Verdicts on random splits of real students that differ by their seed alone, so that every verdict is wrong."""

    splits: int
    wrong: float  # share of splits with a verdict
    error: float  # its standard error over students, by the jackknife
    luck: float  # standard deviation of a student's true score, a share

    def __str__(self) -> str:
        low, high = max(0.0, self.wrong - 1.96 * self.error), self.wrong + 1.96 * self.error
        return (
            f"{100 * self.wrong:.1f} % of {self.splits:,} splits get a verdict (95 % over students {100 * low:.1f} to "
            f"{100 * high:.1f}); luck {100 * self.luck:.1f} points"
        )


def split(scores: Scores, runs: int = 5, splits: int = 20_000) -> Splits:
    """Return how often `runs` students chosen at random differ from as many others; scores: float (students, items).

    Splits share students, so their number says nothing about the error. The jackknife leaves out one student at a time,
    which here means the splits that contain it.
    """
    rng, students = np.random.default_rng(0), len(scores)
    layout = Layout(np.zeros(scores.shape[1], int), "micro")
    chosen = np.array([rng.permutation(students)[: 2 * runs] for _ in range(splits)])
    wrong = np.array([compare(scores[row[:runs]], scores[row[runs:]], layout=layout).p < LEVEL for row in chosen])
    without = np.array([wrong[(chosen != student).all(axis=1)].mean() for student in range(students)])
    return Splits(
        splits=splits,
        wrong=float(wrong.mean()),
        error=float(np.sqrt((students - 1) * without.var())),
        luck=spread(scores, layout).luck,
    )


def to_line(row: Row) -> str:
    return json.dumps(dataclasses.asdict(row))


def from_line(line: str) -> Row:
    record = json.loads(line)
    cell = record.pop("cell")
    for field in ("luck", "runs", "effects"):
        cell[field] = tuple(cell[field])
    return Row(cell=Cell(**cell), **record)


def rate(count: int, studies: int) -> str:
    """Return a rate in % with its exact 99 % interval."""
    low, high = stats.binomtest(count, studies).proportion_ci(0.99, method="exact")
    return f"{100 * count / studies:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one line for each goal over the cells of a table."""
    null = [row for row in rows if row.effect == 0]
    worst = max(null, key=lambda row: row.wrong / row.studies)
    failed = failures([row.wrong for row in null], [row.studies for row in null], LEVEL, at_most=True)
    yield f"| wrong at no effect, {len(null)} cells | {rate(worst.wrong, worst.studies)} | 5 % | {failed} |"
    tail = max(null, key=lambda row: row.found_holm / row.studies)
    failed = failures([row.found_holm for row in null], [row.studies for row in null], HOLM_LEVEL, at_most=True)
    yield f"| the same at level 0.5 %, {len(null)} cells | {rate(tail.found_holm, tail.studies)} | 0.5 % | {failed} |"
    real = [row for row in rows if row.effect > 0]
    if real:
        worst = max(real, key=lambda row: row.wrong / row.studies)
        failed = failures([row.wrong for row in real], [row.studies for row in real], LEVEL, at_most=True)
        yield f"| wrong sign, {len(real)} cells | {rate(worst.wrong, worst.studies)} | 5 % | {failed} |"
    worst = min(rows, key=lambda row: row.covered / row.studies)
    failed = failures([row.covered for row in rows], [row.studies for row in rows], 1 - LEVEL, at_most=False)
    yield f"| coverage, {len(rows)} cells | {rate(worst.covered, worst.studies)} | 95 % | {failed} |"
    yield power_line(rows)


def power_line(rows: Sequence[Row]) -> str:
    """Return the line of the table on the power calculator."""
    planned = [(row, expected) for row in rows if (expected := predicted(row.cell, row.effect)) is not None]
    misses = [100 * (row.found / row.studies - expected) for row, expected in planned]
    size = f"{max(misses, key=abs):+.1f} points (rms {math.sqrt(np.mean(np.square(misses))):.1f})"
    failed = power_failures([row for row, _ in planned], [expected for _, expected in planned])
    return f"| power less the calculator's, {len(planned)} cells | {size} | ±3 points | {failed} |"


def grid_table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a table of wrong verdicts in % at no effect: luck 0 / 1 / 2 / 3, the larger of the parts arm x item."""
    cells: dict[tuple[int, float], dict[tuple[tuple[int, ...], int], dict[float, float]]] = defaultdict(dict)
    for row in rows:
        if row.effect == 0:
            of_luck = cells[row.cell.items, row.cell.discordance].setdefault((row.cell.runs, row.cell.arms), {})
            of_luck[row.cell.luck[0]] = max(of_luck.get(row.cell.luck[0], 0), 100 * row.wrong / row.studies)
    columns = sorted({column for of_size in cells.values() for column in of_size})
    yield "| n, discordance | " + " | ".join(f"{_runs(runs)}, {arms} arms" for runs, arms in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for (size, discordance), of_size in sorted(cells.items()):
        shown = [" / ".join(f"{of_size[column][luck]:.1f}" for luck in sorted(of_size[column])) for column in columns]
        yield f"| {size:,}, {100 * discordance:.0f} % | " + " | ".join(shown) + " |"


def unequal_table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table of wrong verdicts in %, and in brackets of studies with the warning of unequal spreads."""
    cells = {(row.cell.table, row.cell.discordance, row.cell.runs, row.cell.arms): row for row in rows}
    columns = sorted({key[2:] for key in cells})
    yield "| discordance, luck | " + " | ".join(f"{_runs(runs)}, {arms} arms" for runs, arms in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for table, discordance in dict.fromkeys(key[:2] for key in cells):
        found = [cells.get((table, discordance, *column)) for column in columns]
        shown = [f"{100 * r.wrong / r.studies:.1f} ({100 * r.warned / r.studies:.0f})" if r else "" for r in found]
        yield f"| {100 * discordance:.0f} %, {table} | " + " | ".join(shown) + " |"


def forms_table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table of intervals in % that miss the truth, at luck 0 / 1 / 2 / 3; the larger over the effects."""
    cells: dict[tuple[str, float], dict[float, float]] = defaultdict(dict)
    for row in rows:
        of_luck = cells[row.cell.table, row.cell.discordance]
        missed = 100 * (1 - row.covered / row.studies)
        of_luck[row.cell.luck[0]] = max(of_luck.get(row.cell.luck[0], 0), missed)
    yield "| form | " + " | ".join(f"discordance {100 * share:.0f} %" for share in DISCORDANCE) + " |"
    yield "|---|---|---|"
    for table in dict.fromkeys(key[0] for key in cells):
        shown = [
            " / ".join(f"{missed:.1f}" for _, missed in sorted(cells[table, share].items())) for share in DISCORDANCE
        ]
        yield f"| {table} | " + " | ".join(shown) + " |"


def _runs(runs: tuple[int, ...]) -> str:
    arm, base, _ = runs
    return f"K={arm}" if arm == base else f"K={arm}, base {base}"


def read(path: Path) -> list[Row]:
    return [from_line(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(rows: Sequence[Row]) -> None:
    by_part: dict[str, list[Row]] = defaultdict(list)
    part_of = {cell: part for part, cells in PARTS.items() for cell in cells()}
    for row in rows:
        by_part[part_of[row.cell]].append(row)
    for part in ("grid", "mixed"):
        if by_part[part]:
            print(f"\n{part}\n\n| rate | worst cell (99 %) | goal | cells that miss it |\n|---|---|---|---|")
            print("\n".join(summary(by_part[part])), end="\n\n")
            print("\n".join(grid_table(by_part[part])))
    for part, table in (("unequal", unequal_table), ("forms", forms_table)):
        if by_part[part]:
            print(f"\n{part}\n")
            print("\n".join(table(by_part[part])))
    if over_tasks := [row for row in by_part["forms"] if row.cell.average != "micro"]:
        print(f"\n{power_line(over_tasks)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="a part of the cells; may be repeated")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--out", type=Path, help="add each cell's results to this file, and skip those it has")
    parser.add_argument("--read", type=Path, help="print the tables of a file, and simulate nothing")
    parser.add_argument("--students", type=Path, help="a .npy file, float (students, items): split it into 5 and 5")
    arguments = parser.parse_args()
    if arguments.students:
        print(split(np.load(arguments.students)))
        return
    if arguments.read:
        report(read(arguments.read))
        return
    rows = read(arguments.out) if arguments.out else []
    done, started = {row.cell for row in rows}, time.process_time()
    for part in arguments.only or PARTS:
        for cell in PARTS[part]():
            if cell in done:
                continue
            found = run(cell, arguments.studies)
            rows += found
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                with arguments.out.open("a") as file:
                    file.writelines(to_line(row) + "\n" for row in found)
        print(f"{part}: {time.process_time() - started:,.0f} CPU seconds", file=sys.stderr, flush=True)
    report(rows)


if __name__ == "__main__":
    main()
