"""The figures that README.md and docs/demo.md show of a spec that has been run, and what its nodes took.

    orcac run specs/tiny.yaml && python benchmarks/demo.py [SPEC]

Reads the store and makes nothing. The first table has the figures of README.md's, from the report; the second sums what
the jobs of each kind recorded. Snakemake itself and the start of each job, about a CPU-second each, are not in it:
`time orcac run` has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]


def show_scores(results: Path) -> None:
    """Print each arm's score, its runs and its difference to the base, as Markdown."""
    from orcac.report.results import read_json
    from orcac.report.wording import interval, p_value, percent, points, points_interval

    for bench in read_json(results).benchmarks:
        print(f"| arm | correct, {bench.n:,} held-out items | each run | vs base, points | p (Holm) | verdict |")
        print("|---|---|---|---|---|---|")
        for score in bench.scores:
            cells = [score.arm, f"{percent(score.mean)} % ({interval(score.interval)})"]
            cells.append(", ".join(map(percent, score.runs)))
            if (found := score.difference) is not None:
                p_holm = "" if found.p_holm is None else p_value(found.p_holm)
                cells += [f"{points(found.points)} ({points_interval(found.interval)})", p_holm, found.verdict]
            print(f"| {' | '.join(cells)} |" + " | | |" * (found is None))
        print()


def show_times(records: list[Path]) -> None:
    """Print the number of nodes and their seconds, by kind."""
    made = defaultdict(list)
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        made[record["kind"]].append(record["made"])
    print("| kind | nodes | CPU seconds | seconds by the clock | longest |")
    print("|---|---|---|---|---|")
    made["in all"] = [node for of_kind in made.values() for node in of_kind]
    for kind, nodes in made.items():
        cpu, wall = ([node[name] for node in nodes] for name in ("cpu_seconds", "seconds"))
        print(f"| {kind} | {len(nodes)} | {sum(cpu):.0f} | {sum(wall):.0f} | {max(cpu):.0f} CPU s |")


def main() -> None:
    from orcac.plan.lower import lower
    from orcac.plan.plan import Plan
    from orcac.spec.load import load
    from orcac.study import find_study

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("spec", type=Path, nargs="?", default=ROOT / "specs" / "tiny.yaml")
    given = parser.parse_args()
    plan, store = Plan(), find_study([given.spec]).store
    lower(plan, load(given.spec))
    (experiment,) = plan.experiments.values()
    report = store.verify(experiment.report)
    show_scores(report / "results.json")
    show_times([store.folder(ref) / "artifact.json" for ref in plan.nodes if store.is_done(ref)])


if __name__ == "__main__":
    main()
