"""CPU and memory of the data path: sampling, filtering, replaying, tokenizing, packing and naming local files.

    ORCAC_DATA=DATA python benchmarks/data.py ROWS.parquet [--tree FOLDER] [MEASURE ...]
    ORCAC_DATA=DATA python benchmarks/data.py --long [PART ...] [--scale 0.01]

ROWS.parquet is a table of FLAN-like rows: `inputs`, `targets`, `_task_name` and, for all measures but `sample`,
`answer`. DATA holds BIG-Bench Hard, AGIEval and the tokenizer of GPT-2. `--tree` measures another copy of orcac, for a
comparison of two versions. The measures are the functions `measure_*` below. THREADS in the environment is the number
of processes of `sample` and `tokenize`. `--long` measures the parts of data_long.py, at the size of the paper.

Each measure is a process of its own. CPU seconds are those of the operating system, of the process and its children,
without imports. `slope` and `B/row` are the differences of CPU time and of peak memory of two sizes, divided by the
difference of their rows; of several processes the peaks are added, which is an upper bound. RULES in the environment
are further rules of `filter`: everything on is {"near": 0.8, "sketches": "0.5.0", "contaminated_answers": true}.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ORCAC_DATA", ""))
FIELDS = {"query": "inputs", "reference": "targets", "task": "_task_name"}
LOREM = "It is plain that the weight of the load is twice that of the cart, so both of them are needed here. "


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mb() -> float:
    """Return the peak memory of this process, and of its largest child."""
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def head(table: Path, rows: int, columns: list[str]) -> Iterator[Any]:
    """Yield the first rows of a table as batches."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(table, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=1_000, columns=columns, use_threads=False):
            yield batch.slice(0, rows)
            rows -= len(batch)
            if rows <= 0:
                return


def write_table(path: Path, batches: Iterator[Any]) -> Path:
    """Write batches as Parquet, in row groups of 50,000 rows as published files have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_batches(batches)
    pq.write_table(table, path, row_group_size=50_000)
    return path


def write_responses(path: Path, table: Path, rows: int) -> Path:
    """Write `rows.Response` with the questions and answers of a table; one in 50 is a copy of an earlier row."""
    from orcac.rows import Response, prompt_id, write

    def responses() -> Iterator[Response]:
        number = 0
        for batch in head(table, rows, ["inputs", "targets", "_task_name", "answer"]):
            for row in batch.to_pylist():
                number += 1
                system = LOREM if number % 3 else ""
                yield Response(
                    id=prompt_id("flan", row["_task_name"], row["inputs"], system),
                    source="flan",
                    task=row["_task_name"],
                    query=row["inputs"],
                    system_id=1 + bool(system),
                    system=system,
                    reference=str(number % 90) if number % 2 else "(B)",
                    options=[] if number % 2 else ["(A)", "(B)", "(C)", "(D)"],
                    teacher="t",
                    response=f"{row['answer']} The answer is {number % 90 if number % 2 else '(B)'}.",
                    finish_reason="stop",
                )

    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, Response, responses())
    return path


def make_job(folder: Path, recipe: Any, execution: Any, **inputs: list[Path]) -> Any:
    from orcac.job import Job

    for name in ("out", "work"):
        (folder / name).mkdir(exist_ok=True)
    return Job(
        ref="kind/0",
        label="measured",
        recipe=recipe,
        execution=execution,
        inputs=inputs,
        by_ref={},
        out=folder / "out",
        work=folder / "work",
        answers=folder / "answers",
    )


def measure_sample(folder: Path, table: Path, rows: int, run: bool) -> int:
    """A draw of a twelfth of the rows by task, as of 30 M rows to 2.5 M; two files."""
    from orcac.digest import file_digest
    from orcac.recipe import FileRef
    from orcac.sample import run as sample
    from orcac.sample.recipe import Draw, Message, SampleExecution, SampleRecipe, Source

    files = [folder / name for name in ("a.parquet", "b.parquet")]
    if not run:
        batches = list(head(table, rows, [*FIELDS.values()]))
        middle = len(batches) // 2
        write_table(files[0], iter(batches[:middle])), write_table(files[1], iter(batches[middle:]))
        return 0
    refs = tuple(FileRef(name=path.name, sha256=path.name) for path in files)
    sample.resolve_file = lambda ref, execution: folder / ref.name  # the digests are a measure of their own
    draw = Draw(always=tuple(Message(id=number, text=f"{LOREM}{number}") for number in range(1, 17)))
    recipe = SampleRecipe(
        name="flan", seed=1, source=Source(format="parquet", files=refs, fields=FIELDS, take=rows // 12), draw=draw
    )
    assert callable(file_digest)
    return sample.run(make_job(folder, recipe, SampleExecution(threads=int(os.environ.get("THREADS", "1"))))).read


def measure_filter(folder: Path, table: Path, rows: int, run: bool) -> int:
    """A filter with everything on: lengths, refusals, agreement, duplicates, 13-grams of BBH and AGIEval."""
    from orcac.filter import run as filter_run
    from orcac.filter.recipe import Bounds, FilterExecution, FilterRecipe

    if not run:
        write_responses(folder / "responses" / "responses.parquet", table, rows)
        return 0
    rules: dict[str, Any] = {"tokens": {"both": Bounds(min=1, max=4096)}, "drop_refusals": True, "checker": "auto"}
    rules |= {"agree_with_reference": True, "contamination_ngram": 13}
    recipe = FilterRecipe(**(rules | json.loads(os.environ.get("RULES", "{}"))))
    job = make_job(
        folder, recipe, FilterExecution(), responses=[folder / "responses"], benchmarks=write_benchmarks(folder)
    )
    return filter_run.run(job).read


def write_benchmarks(folder: Path) -> list[Path]:
    """Write the items of BIG-Bench Hard and AGIEval as samples, and return their folders."""
    from orcac import rows
    from orcac.sample.formats import FORMATS
    from orcac.sample.recipe import Source

    folders = []
    for name, pattern in (("bbh", "bbh/**/*.json"), ("agieval", "agieval/**/*.jsonl")):
        items = [
            rows.Prompt(id="", source=name, task=item.task, query=item.query, system_id=1, system="")
            for path in sorted(DATA.glob(pattern))
            for item in FORMATS[name](path, path.name, Source(format=name))
            if hasattr(item, "query")
        ]
        folders.append(folder / name)
        folders[-1].mkdir(exist_ok=True)
        rows.write(folders[-1] / "prompts.parquet", rows.Prompt, items)
    return folders


def measure_contamination(folder: Path, table: Path, rows: int, run: bool) -> int:
    """The check of the questions alone."""
    from orcac.filter import run as filter_run
    from orcac.filter.recipe import FilterExecution, FilterRecipe
    from orcac.rows import read_columns

    if not run:
        return measure_filter(folder, table, rows, run=False)
    recipe = FilterRecipe(contamination_ngram=13)
    job = make_job(folder, recipe, FilterExecution(), benchmarks=write_benchmarks(folder))
    queries = [query for (query,) in read_columns(folder / "responses" / "responses.parquet", ["query"])]
    indexes = filter_run._index_benchmarks(job)
    start = cpu_seconds()
    if hasattr(indexes, "find_overlaps"):
        found = sum(len(indexes.find_overlaps(query, is_query=True)) for query in queries)
    else:  # an older version
        from orcac.collect.contamination import find_overlaps

        found = sum(len(find_overlaps(query, indexes, 13, is_query=True)) for query in queries)
    print(json.dumps({"found": found}))
    os.environ["CPU"] = str(cpu_seconds() - start)
    return rows


def measure_answer(folder: Path, table: Path, rows: int, run: bool) -> int:
    """`final_answer` on texts of 1,500 characters that state one of five long options at the end."""
    from orcac.checkers import final_answer

    if not run:
        return 0
    words = LOREM.split()
    for number in range(2_000):
        options = [" ".join(words[at : at + 12]) + f" {number} {at}" for at in range(5)]
        response = LOREM * 14 + f"So the answer is {options[number % 5]}."
        assert final_answer(response, options) == options[number % 5]
    return 2_000


def measure_replay(folder: Path, table: Path, rows: int, run: bool) -> int:
    """The join of recorded answers with as many prompts."""
    from orcac import rows as rows_
    from orcac.chat.settings import EndpointSettings, Sampling
    from orcac.collect import run as collect
    from orcac.collect.recipe import CollectExecution, CollectRecipe, Recording
    from orcac.recipe import FileRef

    recorded = folder / "recorded.parquet"
    if not run:
        responses = write_responses(folder / "all" / "responses.parquet", table, rows)
        (folder / "prompts").mkdir(exist_ok=True)
        rows_.write(folder / "prompts" / "prompts.parquet", rows_.Prompt, rows_.read(responses, rows_.Prompt))
        write_table(recorded, rows_.read_tables(responses, ["system", "query", "response"]))
        return 0
    from orcac.digest import file_digest

    digest = file_digest(recorded)
    fields = {"question": "query", "system": "system", "answer": "response"}
    recording = Recording(answers=(FileRef(name=recorded.name, sha256=digest),), fields=fields)
    recipe = CollectRecipe(model="m", sampling=Sampling(), origin="replay", recording=recording)
    execution = CollectExecution(endpoint=EndpointSettings(kind="replay"), files={digest: str(recorded)})
    os.environ["CPU_FROM"] = str(cpu_seconds())
    return collect.run(make_job(folder, recipe, execution, prompts=[folder / "prompts"])).answered or 0


def measure_pack(folder: Path, table: Path, rows: int, run: bool) -> int:
    """Best-fit-decreasing of lengths around 300 tokens in rows of 2,048."""
    import numpy as np

    from orcac.tokenize.pack import best_fit_decreasing

    if not run:
        return 0
    lengths = np.clip(np.random.default_rng(1).lognormal(5.5, 0.7, rows), 8, 2048).astype(np.int64)
    os.environ["CPU_FROM"], os.environ["MB_FROM"] = str(cpu_seconds()), str(peak_mb())
    packed = best_fit_decreasing(lengths, 2048)
    print(json.dumps({"fill": float(lengths.sum() / (len(packed) * 2048))}))
    return rows


def measure_tokenize(folder: Path, table: Path, rows: int, run: bool) -> int:
    """The ids of examples, spilled, and packed into rows; GPT-2's tokenizer with a chat template of its own."""
    from orcac.tokenize import run as tokenize
    from orcac.tokenize.recipe import TokenizeExecution, TokenizeRecipe

    if not run:
        write_responses(folder / "examples" / "kept.parquet", table, rows)
        write_student(folder / "student" / "model")
        return 0
    execution = TokenizeExecution(threads=int(os.environ.get("THREADS", "1")))
    from orcac.model.chat_format import ChatFormat, load_tokenizer
    from orcac.model.offline import go_offline

    go_offline(threads=execution.threads)
    ChatFormat(load_tokenizer(folder / "student" / "model"))
    os.environ["CPU_FROM"], os.environ["WALL_FROM"] = str(cpu_seconds()), str(time.perf_counter())
    recipe = TokenizeRecipe(seed=1, max_length=1024)
    job = make_job(folder, recipe, execution, examples=[folder / "examples"], student=[folder / "student"])
    summary = tokenize.run(job)
    size = sum(path.stat().st_size for path in (folder / "out").glob("*.safetensors"))
    print(json.dumps({"disk B/token": round(size / summary.tokens, 2)}))
    return summary.examples


def measure_map(folder: Path, table: Path, rows: int, run: bool) -> int:
    """The same examples through `datasets.map` with `apply_chat_template`, the peer of `tokenize`."""
    if not run:
        return measure_tokenize(folder, table, rows, run=False)
    from datasets import Dataset, disable_caching, disable_progress_bars
    from transformers import AutoTokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    disable_caching(), disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "student" / "model"))
    data = Dataset.from_parquet(str(folder / "examples" / "kept.parquet"), cache_dir=str(folder / "cache"))

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        chats = [
            [{"role": "system", "content": system}] * bool(system)
            + [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
            for system, query, response in zip(batch["system"], batch["query"], batch["response"], strict=True)
        ]
        texts = tokenizer.apply_chat_template(chats, tokenize=False)
        return {"input_ids": tokenizer(texts, add_special_tokens=False)["input_ids"]}

    os.environ["CPU_FROM"], os.environ["WALL_FROM"] = str(cpu_seconds()), str(time.perf_counter())
    return len(data.map(encode, batched=True, remove_columns=data.column_names, keep_in_memory=False))


def write_student(folder: Path) -> None:
    """Write a tokenizer of GPT-2 with a chat template of three roles."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    source = DATA / "tokenizers" / "gpt2"
    bpe = ByteLevelBPETokenizer.from_file(str(source / "encoder.json"), str(source / "vocab.bpe"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(str(folder))
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 2048}')


def measure_compile(folder: Path, table: Path, rows: int, run: bool) -> int:
    """`orcac plan` of a spec with 2 GB of local data, the second time."""
    spec = folder / "spec.yaml"
    if not run:
        with (folder / "big.jsonl").open("wb") as file:
            line = json.dumps({"q": LOREM * 8, "a": LOREM}).encode() + b"\n"
            for _ in range(2_000_000_000 // (len(line) * 1000)):
                file.write(line * 1000)
        spec.write_text(
            "queries:\n  big: {format: jsonl, path: big.jsonl, fields: {query: q, reference: a}, take: 10}\n"
            "teachers:\n  t: {model: m, endpoint: {kind: references}}\n"
            "datasets:\n  d: {teacher: t, queries: [big]}\n"
        )
    # pathlib's own process: imports are part of the command
    command = [sys.executable, "-m", "orcac", "plan", str(spec)]
    os.environ["CPU_FROM"] = str(cpu_seconds())
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return 1


MEASURES = {name.removeprefix("measure_"): value for name, value in globals().items() if name.startswith("measure_")}
SIZES = {"sample": 200_000, "filter": 40_000, "contamination": 20_000, "replay": 100_000, "pack": 5_000_000,
         "tokenize": 20_000, "map": 20_000}  # fmt: skip


def child(name: str, folder: Path, table: Path, rows: int, step: str) -> None:
    """Prepare or run a measure in this process, and print its figures as a line of JSON."""
    run = step == "run"
    import orcac.rows  # noqa: F401  # imports are not measured
    from orcac.collect import run as _collect  # noqa: F401
    from orcac.filter import run as _filter  # noqa: F401
    from orcac.sample import run as _sample  # noqa: F401

    cpu, wall = cpu_seconds(), time.perf_counter()
    count = MEASURES[name](folder, table, rows, run)
    used = cpu_seconds() - float(os.environ.get("CPU_FROM", cpu))
    figures = {
        "rows": count,
        "cpu_s": float(os.environ.get("CPU", used)),
        "wall_s": time.perf_counter() - float(os.environ.get("WALL_FROM", wall)),
        "mb": peak_mb(),
        "own_mb": peak_mb() - float(os.environ.get("MB_FROM", "0")),
    }
    print(json.dumps(figures))


def measure(name: str, table: Path, rows: int, tree: Path) -> dict[str, Any]:
    """Run one measure with one number of rows, and return its figures."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        shutil.copy(__file__, Path(place) / "data_child.py")  # beside no other orcac
        for step in ("prepare", "run"):
            command = [sys.executable, str(Path(place) / "data_child.py"), "--child", name, place, str(table),
                       str(rows), step]  # fmt: skip
            text = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
                text=True, check=True, env=os.environ | {"PYTHONPATH": str(tree)},
            ).stdout  # fmt: skip
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {key: value for line in lines for key, value in line.items()}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+" if "--long" not in sys.argv else "*", help="ROWS.parquet, MEASURE, PART")
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--long", action="store_true", help="the long form: sample, filter and tokenize, or some")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the long form's rows")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "orcac-long")
    parser.add_argument("--generator", type=Path, default=ROOT.parent / "shared" / "tools" / "flanlike.py")
    options = parser.parse_intermixed_args()
    if options.long:
        from data_long import ROWS, run_long

        return run_long(
            options.words or [*ROWS], scale=options.scale, folder=options.folder, generator=options.generator
        )
    table = Path(options.words[0])
    print(
        "| measure | rows | µs CPU/row | slope | CPU s | wall s | peak MB | B/row | others |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for word in options.words[1:] or MEASURES:
        name, _, size = word.partition("=")
        rows = int(size or SIZES.get(name, 1))
        small = measure(name, table, rows // 4, options.tree) if rows > 1 and name != "answer" else None
        found = measure(name, table, rows, options.tree)
        more = found["rows"] - small["rows"] if small else 0
        octets = (found["own_mb"] - small["own_mb"]) * 2**20 / more if small and more else 0
        slope = f"{(found['cpu_s'] - small['cpu_s']) * 1e6 / more:,.1f}" if small and more else ""
        known = ("rows", "cpu_s", "wall_s", "mb", "own_mb")
        others = ", ".join(f"{key} {value:,}" for key, value in found.items() if key not in known)
        print(
            f"| {name} | {found['rows']:,} | {found['cpu_s'] * 1e6 / found['rows']:,.1f} | {slope} "
            f"| {found['cpu_s']:.2f} | {found['wall_s']:.1f} | {found['mb']:,.0f} | {octets:,.0f} | {others} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
