"""The data path at the size of the paper, with a kill in the middle of each part: the mode `--long` of data.py.

    ORCAC_DATA=DATA python benchmarks/data.py --long [PART ...] [--scale 0.01] [--folder FOLDER] [--generator FILE]

    sample      30 M generated rows in 30 files, of which 2.5 M are drawn by task; two processes
    filter      5 M answers with everything on, against the items of BIG-Bench Hard and AGIEval
    tokenize    1 M examples, tokenized and packed into rows of 1,024; two processes

Each part makes its inputs, unless an earlier call has, and runs its node twice: it kills the first try (SIGKILL, the
whole process group) as soon as its progress is past the middle, and starts the second in what the first one left, as
`orcac make` does: with an empty `out` and the `work` of the first. The figures are those of the second try. The results
are added to `results.json` in FOLDER, and the table of all parts is printed at the end. A part of fewer than 500,000
rows also runs once in another folder without a kill: its files must have the same bytes, and the kill comes after half
of its time.

`--generator` is a script with a function `groups(rows, seed, data, answers)` that yields FLAN-like tables.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import data as short

ROWS = {"sample": 30_000_000, "filter": 5_000_000, "tokenize": 1_000_000}
# seconds per million rows on a machine with two free cores: inputs, and one whole run of the node
PACE = {"sample": (25, 8), "filter": (75, 600), "tokenize": (75, 650)}
BYTES = {"sample": 470, "filter": 2_600, "tokenize": 2_600}  # of disk, for each row of the inputs and results
FILES, PROCESSES, TAKE = 30, 2, 12
SMALL = 500_000  # rows of a part that also runs without a kill
LOOK_EVERY = 0.05  # seconds


class Try(NamedTuple):
    """One run of a node's process, with those that it starts."""

    is_killed: bool
    wall_s: float
    cpu_s: float
    peak_mb: float  # of the largest process
    at: float | None  # share of the work that was done at the kill, as `progress.json` has it


def run_long(parts: list[str], *, scale: float, folder: Path, generator: Path) -> None:
    """Run the parts one after another, and print their table."""
    for name in parts:
        if name not in ROWS:
            raise SystemExit(f"{name} is no part of the long form: take some of {', '.join(ROWS)}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = {name: max(FILES * TAKE, int(ROWS[name] * scale)) for name in parts}
    seconds = sum(count / 1e6 * (PACE[name][0] + 1.5 * PACE[name][1]) for name, count in rows.items())
    needed = sum(count * BYTES[name] for name, count in rows.items()) / 1e9
    free = shutil.disk_usage(folder).free / 1e9
    _log(f"{', '.join(parts)}: about {seconds / 60:,.0f} minutes on two free cores, {needed:,.1f} GB in {folder}")
    if needed > free:
        raise SystemExit(f"{folder} has {free:,.1f} GB free: give another --folder")
    for name, count in rows.items():
        place = folder / f"{name}-{count}"
        _prepare(name, place, count, generator)
        result: dict[str, Any] = {"part": name, "rows": count, "load": os.getloadavg()[0]}
        if count < SMALL:
            twin, digest = _run_twin(name, place, count)
            result |= _kill_and_resume(name, place, count, after=twin.wall_s / 2)
            result["same bytes"] = result["digest"] == digest
        else:
            after = count / 1e6 * PACE[name][1] / 2 if name == "tokenize" else None  # which shows no progress
            result |= _kill_and_resume(name, place, count, after=after)
        _add_result(folder / "results.json", result)
    _print_table(folder / "results.json")


def _prepare(name: str, place: Path, rows: int, generator: Path) -> None:
    """Make the inputs of a part in `place`, unless they are there."""
    if (place / "ready").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    start = time.perf_counter()
    jobs = range(FILES if name == "sample" else 1)

    def make(number: int) -> None:
        command = [sys.executable, __file__, "inputs", name, str(place), str(rows), str(number), str(generator)]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(make, jobs))
    (place / "ready").touch()
    _log(f"{name}: {rows:,} rows of inputs made in {time.perf_counter() - start:,.0f} s")


def _make_inputs(name: str, place: Path, rows: int, number: int, generator: Path) -> None:
    """Make one file of a part's inputs, and what else its node reads."""
    if name == "sample":
        import pyarrow.parquet as pq

        tables = _generate(generator, rows // FILES, seed=1 + number, answers=False)
        first = next(tables)
        with pq.ParquetWriter(place / f"{number:02}.parquet", first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        return
    role, file = ("responses", "responses") if name == "filter" else ("examples", "kept")
    _write_responses(place / role / f"{file}.parquet", _generate(generator, rows, seed=100, answers=True))
    if name == "filter":
        short.write_benchmarks(place)
    else:
        short.write_student(place / "student" / "model")


def _generate(generator: Path, rows: int, *, seed: int, answers: bool) -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("generator", generator)
    assert spec and spec.loader, generator
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tables: Iterator[Any] = module.groups(rows, seed, short.DATA, answers)
    return tables


def _write_responses(path: Path, tables: Iterator[Any]) -> None:
    """Write the rows that `data.write_responses` writes, as columns; a text of a hundred repeats an earlier one."""
    import pyarrow as pa

    from orcac import rows as rows_

    def batches() -> Iterator[Any]:
        number = 0
        for table in tables:
            for batch in table.to_batches(max_chunksize=2_000):
                columns = batch.to_pydict()
                at = range(number, number + len(batch))
                number += len(batch)
                queries, tasks, answers = (columns[key] for key in ("inputs", "_task_name", "answer"))
                queries = [queries[i - 1] if i % 100 == 99 else query for i, query in enumerate(queries)]
                answers = [answers[i - 1] if i % 100 == 99 else answer for i, answer in enumerate(answers)]
                systems = [short.LOREM if i % 3 else "" for i in at]
                references = [str(i % 90) if i % 2 else "(B)" for i in at]
                values: dict[str, list[Any]] = {
                    "id": [rows_.prompt_id("flan", *texts) for texts in zip(tasks, queries, systems, strict=True)],
                    "source": ["flan"] * len(at),
                    "task": tasks,
                    "query": queries,
                    "system_id": [1 + bool(system) for system in systems],
                    "system": systems,
                    "reference": references,
                    "options": [[] if i % 2 else ["(A)", "(B)", "(C)", "(D)"] for i in at],
                    "teacher": ["t"] * len(at),
                    "response": [f"{a} The answer is {r}." for a, r in zip(answers, references, strict=True)],
                    "finish_reason": ["stop"] * len(at),
                    "error": [""] * len(at),
                    "input_tokens": [0] * len(at),
                    "output_tokens": [0] * len(at),
                }
                shape = rows_.schema(rows_.Response)
                yield pa.RecordBatch.from_arrays([pa.array(values[f.name], f.type) for f in shape], schema=shape)

    path.parent.mkdir(parents=True)
    rows_.write_tables(path, rows_.Response, batches())


def _run_node(name: str, place: Path, rows: int) -> None:
    """Run the node of a part in `place`: `work` is what the last try left, `out` is empty."""
    from orcac.filter.recipe import RENSA, Bounds, FilterExecution, FilterRecipe
    from orcac.job import save_memory
    from orcac.recipe import FileRef
    from orcac.sample.recipe import Draw, Message, SampleExecution, SampleRecipe, Source
    from orcac.tokenize.recipe import TokenizeExecution, TokenizeRecipe

    save_memory()
    shutil.rmtree(place / "out", ignore_errors=True)
    if name == "sample":
        from orcac.sample import run as sample

        sample.resolve_file = lambda ref, execution: place / ref.name
        refs = tuple(FileRef(name=path.name, sha256=path.name) for path in sorted(place.glob("*.parquet")))
        messages = tuple(Message(id=number, text=f"{short.LOREM}{number}") for number in range(1, 17))
        source = Source(format="parquet", files=refs, fields=short.FIELDS, take=rows // TAKE)
        recipe = SampleRecipe(name="flan", seed=1, source=source, draw=Draw(always=messages))
        sample.run(short.make_job(place, recipe, SampleExecution(threads=PROCESSES)))
    elif name == "filter":
        from orcac.filter import run as filter_

        rules = FilterRecipe(
            tokens={"both": Bounds(min=1, max=4096)},
            drop_refusals=True,
            agree_with_reference=True,
            checker="auto",
            near=0.8,
            sketches=RENSA,
            contamination_ngram=13,
            contaminated_answers=True,
        )
        benchmarks = [place / "bbh", place / "agieval"]
        inputs = {"responses": [place / "responses"], "benchmarks": benchmarks}
        filter_.run(short.make_job(place, rules, FilterExecution(), **inputs))
    else:
        from orcac.tokenize import run as tokenize

        packing = TokenizeRecipe(seed=1, max_length=1024)
        inputs = {"examples": [place / "examples"], "student": [place / "student"]}
        tokenize.run(short.make_job(place, packing, TokenizeExecution(threads=PROCESSES), **inputs))


def _kill_and_resume(name: str, place: Path, rows: int, *, after: float | None) -> dict[str, Any]:
    """Run a node's process, kill it in the middle, run it again, and return the figures of both tries."""
    for left in ("work", "out"):
        shutil.rmtree(place / left, ignore_errors=True)
    first = _try(name, place, rows, kill=True, after=after)
    found = sorted(path.name for path in (place / "work").glob("*") if path.name != "progress.json")
    _log(f"{name}: {'killed' if first.is_killed else 'ended before a kill'} after {first.wall_s:,.1f} s")
    second = _try(name, place, rows, kill=False)
    _log(f"{name}: the second try took {second.wall_s:,.1f} s, {second.cpu_s:,.1f} CPU seconds")
    tries = {"first": first._asdict(), "second": second._asdict(), "left in work": found}
    return tries | {"digest": _digest(place / "out")}


def _run_twin(name: str, place: Path, rows: int) -> tuple[Try, str]:
    """Run a node in another folder with the same inputs, without a kill. Return its figures and its files' digest."""
    twin = place.with_name(f"{place.name}-twin")
    shutil.rmtree(twin, ignore_errors=True)
    twin.mkdir()
    for path in place.iterdir():
        if path.name not in ("out", "work", "answers", "log"):
            (twin / path.name).symlink_to(path.resolve())
    found = _try(name, twin, rows, kill=False)
    digest = _digest(twin / "out")
    shutil.rmtree(twin)
    return found, digest


def _try(name: str, place: Path, rows: int, *, kill: bool, after: float | None = None) -> Try:
    """Run a node's process to its end or, with `kill`, until half of its work is done or `after` seconds have passed.

    Raises CalledProcessError if it fails.
    """
    command = [sys.executable, __file__, "node", name, str(place), str(rows)]
    start, share = time.perf_counter(), None
    with (place / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        share = _read_share(place / "work" / "progress.json")
        waited = time.perf_counter() - start
        if kill and ((share is not None and share >= 0.5) or (after is not None and waited >= after)):
            os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            break
        time.sleep(LOOK_EVERY)
    process.returncode = os.waitstatus_to_exitcode(status)
    is_killed = kill and process.returncode == -signal.SIGKILL
    if process.returncode and not is_killed:
        raise SystemExit(f"{name}: the node failed; {place / 'log'} has its output")
    wall = time.perf_counter() - start
    return Try(is_killed, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, share if is_killed else None)


def _read_share(progress: Path) -> float | None:
    try:
        record = json.loads(progress.read_text(encoding="utf-8"))
        return float(record["done"] / record["total"])
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return None


def _digest(folder: Path) -> str:
    """Return the digest of a folder's files and their names."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def _add_result(path: Path, result: dict[str, Any]) -> None:
    """Add a part's result to those of earlier calls; a part of the same size takes the place of an earlier one."""
    others = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    others = [one for one in others if (one["part"], one["rows"]) != (result["part"], result["rows"])]
    part = path.with_suffix(".part")
    part.write_text(json.dumps([*others, result], indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _print_table(path: Path) -> None:
    print("| part | rows | killed at | second try, s | CPU s | µs CPU/row | peak MB | left by the first | same bytes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in json.loads(path.read_text(encoding="utf-8")):
        first, second = one["first"], one["second"]
        share = f" ({first['at']:.0%})" if first["at"] is not None else ""
        killed = f"{first['wall_s']:,.1f} s{share}" if first["is_killed"] else "ended before"
        same = {None: "not compared", True: "yes", False: "NO"}[one.get("same bytes")]
        print(
            f"| {one['part']} | {one['rows']:,} | {killed} | {second['wall_s']:,.1f} | {second['cpu_s']:,.1f} "
            f"| {second['cpu_s'] * 1e6 / one['rows']:,.1f} | {second['peak_mb']:,.0f} "
            f"| {', '.join(one['left in work']) or 'nothing'} | {same} |",
            flush=True,
        )


def _log(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


if __name__ == "__main__":  # a process of its own, started by `run_long`
    step, name, place, rows, *rest = sys.argv[1:]
    if step == "inputs":
        _make_inputs(name, Path(place), int(rows), int(rest[0]), Path(rest[1]))
    else:
        _run_node(name, Path(place), int(rows))
