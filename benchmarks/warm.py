"""The CPU time of a node in a local run beyond its work, warm and cold (orcac/warm).

    python benchmarks/warm.py leaf            # `orcac make` of a node that is finished
    python benchmarks/warm.py nodes           # the price of one more small node, and Snakemake's share of it
    python benchmarks/warm.py run [SPEC]      # a whole run, cold and warm, and whether their artifacts are equal

All figures are CPU seconds of a process and its children, as the system counts them, so that they depend less on other
load; `leaf` takes the least of 20 calls.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORCAC = Path(sys.executable).parent / "orcac"
FEW, MANY = 4, 28  # nodes of the two runs whose difference is the price of a node

SPEC = """
orcac: 1
name: nodes
seed: 1
queries: {{boolean: {{format: puzzles, task: boolean_expressions, size: [3, 5], take: 2}}}}
teachers: {{teacher: {{model: assistant, endpoint: {{kind: solver}}}}}}
datasets: {{answers: {{teacher: teacher, queries: [boolean]}}}}
sweep: {{queries.boolean.take: {takes}}}
"""
RULES = """
rule all:
    input: expand("out/{{number}}", number=range({count}))
rule node:
    output: "out/{{number}}"
    log: "log/{{number}}"
    resources: mem_mb=1000, runtime=60
    shell: "touch {{output}}"
"""


def measure(line: Sequence[str | Path], **environment: str) -> tuple[float, float]:
    """Run a command; return its CPU seconds and its seconds by the clock. Raises SystemExit if it fails."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(line, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - start


def run(folder: Path, spec: Path, *further: str, warm: bool) -> tuple[float, float]:
    """Run a spec into a new store in `folder`; return the CPU seconds and the seconds by the clock."""
    environment = {"ORCAC_STORE": str(folder / "store"), "ORCAC_PLAN": str(folder / "plan.json")}
    return measure([ORCAC, "run", spec, *further], **environment, ORCAC_WARM="" if warm else "0")


def read_records(folder: Path) -> dict[str, Mapping[str, object]]:
    """Return KIND/ID -> record of each artifact in a store."""
    records = map(json.loads, (path.read_bytes() for path in (folder / "store").glob("*/*/artifact.json")))
    return {record["ref"]: record for record in records}


def show_leaf(folder: Path) -> None:
    spec = ROOT / "specs" / "smoke.yaml"
    environment = {"ORCAC_STORE": str(folder / "store"), "ORCAC_PLAN": str(folder / "plan.json")}
    measure([ORCAC, "compile", spec], **environment)
    ref = next(iter(json.loads((folder / "plan.json").read_text())["nodes"]))
    (folder / "store" / ref).mkdir(parents=True)
    (folder / "store" / ref / "artifact.json").touch()
    lines = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "orcac --help": [ORCAC, "--help"],
        "orcac make of a finished node": [ORCAC, "make", ref],
    }
    print("| command | CPU seconds | seconds by the clock |\n|---|---|---|")
    for name, line in lines.items():
        times = [measure(line, **environment) for _ in range(20)]
        print(f"| `{name}` | {min(cpu for cpu, _ in times):.3f} | {min(wall for _, wall in times):.3f} |")


def show_nodes(folder: Path) -> None:
    def price(measured: Callable[[Path, int], tuple[float, float]]) -> tuple[float, float]:
        """Return the CPU seconds of one more node, and those of them that its artifact records as work."""
        few, many = (measured(folder / f"{len(list(folder.iterdir()))}", count) for count in (FEW, MANY))
        return (many[0] - few[0]) / (MANY - FEW), (many[1] - few[1]) / (MANY - FEW)

    def orcac(place: Path, count: int, *, warm: bool) -> tuple[float, float]:
        place.mkdir()
        spec = place / "spec.yaml"
        spec.write_text(SPEC.format(takes=[*range(3, count + 2)]))
        cpu, _ = run(place, spec, "--until", "sample", "--cores", "1", warm=warm)
        made = [record["made"] for record in read_records(place).values()]
        assert len(made) == count
        return cpu, sum(float(each["cpu_seconds"]) for each in made)  # type: ignore[index]

    def snakemake(place: Path, count: int) -> tuple[float, float]:
        place.mkdir()
        (place / "Snakefile").write_text(RULES.format(count=count))
        line = [sys.executable, "-P", "-m", "snakemake", "-s", place / "Snakefile", "-d", place, "--cores", "1"]
        return measure([*line, "--quiet", "all"])[0], 0.0

    print("| one more `sample` node | CPU seconds | of them its work | beyond its work |\n|---|---|---|---|")
    for name, measured in (
        ("cold", lambda place, count: orcac(place, count, warm=False)),
        ("warm", lambda place, count: orcac(place, count, warm=True)),
        ("Snakemake's share: a rule that calls `touch`", snakemake),
    ):
        whole, work = price(measured)
        print(f"| {name} | {whole:.3f} | {work:.3f} | {whole - work:.3f} |", flush=True)


def show_run(folder: Path, spec: Path) -> None:
    records = {}
    print("| run | nodes | CPU seconds | seconds by the clock |\n|---|---|---|---|")
    for name in ("cold", "warm"):
        place = folder / name
        cpu, wall = run(place, spec, warm=name == "warm")
        records[name] = read_records(place)
        print(f"| {name} | {len(records[name])} | {cpu:.1f} | {wall:.0f} |", flush=True)
    cold, warm = records.values()
    unequal = sorted(ref for ref in cold.keys() | warm.keys() if cold[ref]["files"] != warm[ref]["files"])
    print(f"\nartifacts that differ: {', '.join(unequal) or 'none'}")
    packages = [{ref: record["made"]["packages"] for ref, record in each.items()} for each in (cold, warm)]  # type: ignore[index]
    print(f"recorded packages: {'equal' if packages[0] == packages[1] else 'they differ'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["leaf", "nodes", "run"])
    parser.add_argument("spec", type=Path, nargs="?", default=ROOT / "specs" / "tiny.yaml")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.part == "run":
            show_run(folder, given.spec.absolute())
        else:
            (show_leaf if given.part == "leaf" else show_nodes)(folder)


if __name__ == "__main__":
    main()
