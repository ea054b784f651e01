"""The time and memory of the compiler: commands that should be instant, specs of 10 to 5,000 arms, and plans of 10 to
5,000 jobs under Snakemake, with static rules and, as the peer, with one generated rule per job.

    python benchmarks/compile.py            all parts: some minutes, most of them for the peer
    python benchmarks/compile.py commands   or: arms, jobs

Times are those of whole processes, and peaks of memory come from the system's accounting. All files are written to a
temporary folder. Commands take turns, so that noise of the machine affects all alike. Figures are medians, and ratios
are of one run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 7
SIZES = (10, 100, 1000, 5000)
ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ORCAC, SNAKEMAKE = str(BIN / "orcac"), str(BIN / "snakemake")


@dataclass(frozen=True, slots=True)
class Run:
    """The time and the peak of memory of one process."""

    seconds: float
    megabytes: float  # the largest single process


def run(line: Sequence[str], environment: dict[str, str]) -> Run:
    start = time.perf_counter()
    child = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment, cwd=ROOT
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, 1), f"{line}: exit {child.returncode}"  # `diff` returns 1 if the sides differ
    return Run(seconds, usage.ru_maxrss / 1024)


def median(runs: Sequence[Run]) -> Run:
    return Run(statistics.median(one.seconds for one in runs), max(one.megabytes for one in runs))


def commands(folder: Path) -> None:
    """Measure commands on the paper's spec, beside bare Python and Snakemake."""
    paper = "specs/orca-13b.yaml"
    environment = {"ORCAC_PLAN": str(folder / "plan.json"), "ORCAC_STORE": str(folder / "store")}
    lines = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "orcac --help": [ORCAC, "--help"],
        "orcac compile specs/orca-13b.yaml": [ORCAC, "compile", paper],
        "orcac diff of two of its arms": [ORCAC, "diff", paper, f"{paper}:no-assistant"],
        "orcac diff of all its arms": [ORCAC, "diff", paper],
        "orcac plan specs/orca-13b.yaml": [ORCAC, "plan", paper],
        "snakemake --version": [SNAKEMAKE, "--version"],
    }
    runs: dict[str, list[Run]] = {name: [] for name in lines}
    for _ in range(ROUNDS + 1):
        for name, line in lines.items():
            runs[name].append(run(line, environment))
    found = {
        name: median(values[1:]) for name, values in runs.items()
    }  # the first round reads the files into the cache
    bare = found["python -c pass"].seconds
    print("\n| command | seconds | times bare Python | peak MB |\n|---|---|---|---|")
    for name, one in found.items():
        print(f"| `{name}` | {one.seconds:.3f} | {one.seconds / bare:.1f} | {one.megabytes:.0f} |")


def arms(folder: Path) -> None:
    """Measure `compile` on a spec of the paper's size, whose arms each train one stage and answer five benchmarks."""
    environment = {"ORCAC_PLAN": str(folder / "plan.json"), "ORCAC_STORE": str(folder / "store")}
    text = (ROOT / "specs/orca-13b.yaml").read_text().partition("ablations:")[0]
    text = text.replace("system_messages/", f"{ROOT}/specs/system_messages/")
    print("\n| arms | nodes | `orcac compile`, s | ms per arm | peak MB |\n|---|---|---|---|---|")
    for size in SIZES:
        spec = folder / "arms.yaml"
        patches = (f"  a{n}: {{stages: {{expert: {{weight_decay: {n / size:.6f}}}}}}}\n" for n in range(1, size))
        spec.write_text(text + "ablations:\n" + "".join(patches))
        one = median([run([ORCAC, "compile", str(spec)], environment) for _ in range(3)])
        nodes = len(json.loads((folder / "plan.json").read_text())["nodes"])
        per_arm = 1000 * one.seconds / size
        print(f"| {size:,} | {nodes:,} | {one.seconds:.2f} | {per_arm:.2f} | {one.megabytes:.0f} |")


def jobs(folder: Path) -> None:
    """Measure Snakemake on a small spec whose sweep gives about SIZES jobs, and on the same DAG with a rule per job.

    `-n -q` plans and counts the jobs, as Snakemake recommends for large plans; `-n` also describes each.
    """
    environment = {"ORCAC_PLAN": str(folder / "plan.json"), "ORCAC_STORE": str(folder / "store")}
    text = (ROOT / "specs/smoke.yaml").read_text().partition("ablations:")[0]
    print("\n| jobs | `snakemake -n -q`, s | generated rules, s | ratio | `snakemake -n`, s | peak MB |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        spec = folder / "jobs.yaml"
        rates = [round(2e-3 * (1 + n / size), 9) for n in range(1, max(size - 13, 0) // 4 + 1)]
        spec.write_text(text + (f"sweep: {{stages.first.learning_rate: {rates}}}\n" if rates else ""))
        run([ORCAC, "compile", str(spec)], environment)
        nodes = json.loads((folder / "plan.json").read_text())["nodes"]
        generated = folder / "Snakefile"
        generated.write_text(_snakefile_without_static_rules(nodes))
        line = [SNAKEMAKE, "-n", "-q", "--cores", "2"]
        theirs = [*line, "-s", str(generated), "-d", str(folder)]
        ours = median([run(line, environment) for _ in range(3)])
        peer = median([run(theirs, environment) for _ in range(1 if size > 1000 else 3)])
        described = median([run([SNAKEMAKE, "-n", "--cores", "2"], environment) for _ in range(3)])
        ratio = ours.seconds / peer.seconds
        print(
            f"| {len(nodes):,} | {ours.seconds:.2f} | {peer.seconds:.2f} | {ratio:.2f} | {described.seconds:.2f} "
            f"| {ours.megabytes:.0f} |"
        )


def _snakefile_without_static_rules(nodes: dict[str, dict[str, dict[str, list[str]]]]) -> str:
    """Return a Snakefile with a rule for every node, as a compiler without static rules would write it."""

    def marker(ref: str) -> str:
        return f"store/{ref}/artifact.json"

    reports = [marker(ref) for ref in nodes if ref.startswith("report/")]
    text = [f"rule all:\n    input: {reports!r}\n"]
    for ref, node in nodes.items():
        needs = [marker(need) for refs in node["inputs"].values() for need in refs]
        name = ref.replace("/", "_")
        text.append(f"rule {name}:\n    input: {needs!r}\n    output: {marker(ref)!r}\n    shell: 'orcac make {ref}'\n")
    return "\n".join(text)


def main() -> None:
    parts: dict[str, Callable[[Path], None]] = {"commands": commands, "arms": arms, "jobs": jobs}
    wanted = sys.argv[1:] or list(parts)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}")
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
