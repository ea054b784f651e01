"""The time of evaluations.

    python benchmarks/eval.py rescore       10,000 finished answers, scored by each of two checkers; a minute

`rescore`: a benchmark of 10,000 multiple-choice items, with answers that explain each step. An arm of the spec has
another checker, so a score node is all that is made for it. Each time is that of a whole `orcac make` process, with its
imports and the verification of its inputs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from orcac import rows  # noqa: E402
from orcac.make import make  # noqa: E402
from orcac.plan.lower import lower  # noqa: E402
from orcac.plan.plan import Plan  # noqa: E402
from orcac.puzzles import solve  # noqa: E402
from orcac.puzzles.wording import write_answer  # noqa: E402
from orcac.spec.load import load  # noqa: E402
from orcac.store.store import Store  # noqa: E402

ORCAC = str(Path(sys.executable).parent / "orcac")
ITEMS = 10_000
SPEC = {
    "orcac": 1,
    "name": "rescored",
    "queries": {"q": {"format": "puzzles", "task": "boolean_expressions", "size": [3, 5], "take": 9}},
    "teachers": {"t": {"model": "expert", "endpoint": {"kind": "solver"}}},
    "datasets": {"d": {"teacher": "t", "queries": ["q"]}},
    "student": {"size": "tiny", "tokenizer": {"vocabulary": 400, "train_on": ["d"]}},
    "stages": {"s": {"dataset": "d"}},
    "curriculum": ["s"],
    "benchmarks": {"b": {"format": "puzzles", "task": "logical_deduction", "size": [5, 7], "take": ITEMS}},
    "ablations": {"another": {"benchmarks": {"b": {"checker": "first-capital"}}}},
}


def rescore(folder: Path) -> None:
    """Measure the scoring of finished answers by two checkers, and check that nothing else is made for the second."""
    spec, environment = folder / "spec.yaml", {"ORCAC_STORE": str(folder / "store"), "ORCAC_PLAN": str(folder / "plan")}
    spec.write_text(json.dumps(SPEC))
    plan, store = Plan(), Store(folder / "store")
    lower(plan, load(spec))
    plan.write(folder / "plan")
    addresses = plan.experiments["rescored"].addresses
    base, another = addresses["base"], addresses["another"]
    make(plan, store, base["items/b"])
    items = list(rows.read(store.folder(base["items/b"]) / "prompts.parquet", rows.Prompt))
    write_answers(store, base["eval/b"], items)
    characters = sum(len(answer) for answer in map(answer_item, items)) / len(items)
    print(f"\n{len(items):,} answers of {characters:,.0f} characters on average\n")
    print("| checker | seconds | CPU seconds | peak MB | items a CPU second |\n|---|---|---|---|---|")
    for arm, checker in ((base, "auto"), (another, "first-capital")):
        run([ORCAC, "make", arm["score/b"]], environment, checker)
    printed = subprocess.run(
        [ORCAC, "diff", str(spec), f"{spec}:another", "--json"],
        stdout=subprocess.PIPE,
        check=False,  # it returns 1 if the two differ
        env=os.environ | environment,
    ).stdout
    (found,) = json.loads(printed)
    assert found["nodes"]["remade"] == [] and found["nodes"]["stored"] == [another["score/b"]]
    assert not any(store.answers.iterdir())  # no model was asked


def run(line: list[str], environment: Mapping[str, str], name: str) -> None:
    """Run a process and print its figures as a row."""
    start = time.perf_counter()
    child = subprocess.Popen(line, stderr=subprocess.DEVNULL, env=os.environ | environment)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, line
    cpu = usage.ru_utime + usage.ru_stime
    print(f"| {name} | {seconds:.2f} | {cpu:.2f} | {usage.ru_maxrss / 1024:.0f} | {ITEMS / cpu:,.0f} |")


def answer_item(item: rows.Prompt) -> str:
    """Return an explained answer to an item."""
    solution = solve(item.query)
    assert solution is not None
    return write_answer(solution, system="Explain each step.", skill="expert", error_rate=0, query=item.query, seed=1)


def write_answers(store: Store, ref: str, items: list[rows.Prompt]) -> None:
    """Publish an evaluation in which a student has answered the items."""
    out = store.folder(ref) / "work" / "out"
    out.mkdir(parents=True)
    answers = (rows.widen(item, rows.Answer, response=answer_item(item), finish_reason="stop") for item in items)
    rows.write(out / "answers.parquet", rows.Answer, answers)
    with store.lease(ref):
        store.publish(ref, out, {"ref": ref, "summary": {"n": len(items)}})


PARTS = {"rescore": rescore}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as temporary:
            PARTS[part](Path(temporary))
