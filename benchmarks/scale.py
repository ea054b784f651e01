"""The load that a plan puts on Snakemake, Slurm, the file system and the ledger: the paper's run, and one 100 x larger.

    python benchmarks/scale.py              all parts; some minutes
    python benchmarks/scale.py plan         or: dag, limits, ledger

`plan` counts jobs, files and bytes of two plans. The larger one asks 100 times as many questions, in 100 shards, and
answers its benchmarks in 10. `dag` is the CPU time of `snakemake -n`, with nothing made and with finished nodes that
have the markers which the store looks for. `limits` counts the file operations with which N live jobs share one
account. `ledger` writes, seals and opens a ledger. docs/scale.md has the results and their reading.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.sealing import seal
from orcac.chat.limits.account import Account
from orcac.chat.messages import ChatRequest, ChatResponse, Message
from orcac.chat.settings import Sampling
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.store.store import Store

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WORDS = " ".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))).split()
ARMS_OF_5000_NODES = "specs/openthoughts.yaml"
FILES_A_NODE, FILES_A_SHARD, FOLDERS_A_NODE = 6, 3, 1  # counted in the store of a study of 33 nodes and 16 shards
POLL_S = 40  # of snakemake-executor-plugin-slurm, one `squeue` for all jobs


def paper_spec(folder: Path, *, times: int) -> Path:
    """Write the paper's spec, without its ablations, at `times` its size, and return its path."""
    text = (ROOT / "specs/orca-13b.yaml").read_text().partition("ablations:")[0]
    text = text.replace("system_messages/", f"{ROOT}/specs/system_messages/")
    if times > 1:
        for count in ("440_000", "2_500_000", "2_000_000", "5_000_000", "28_900_000", "85_700_000", "1_000_000"):
            text = text.replace(f"take: {count}", f"take: {count}@").replace(f"queries: {count}", f"queries: {count}@")
        text = text.replace("queries: 150_000", "queries: 150_000@").replace("@", "00" if times == 100 else "")
        text = text.replace("t0]}\n  flan-1m", f"t0], shards: {times}}}\n  flan-1m")
        text = text.replace("take: 1_000_00000}}", f"take: 1_000_00000}}, shards: {times}}}")
        text = text.replace("eval:  {gpus: 1", "eval:  {gpus: 1, shards: 10")
    path = folder / f"paper-{times}.yaml"
    path.write_text(text)
    return path


def plan(folder: Path) -> None:
    """Count the jobs, files and bytes of the paper's run and of one 100 times as large."""
    print("\n| | nodes | jobs | files | squeue calls an hour | Snakemake starts |\n|---|---|---|---|---|---|")
    for name, times in (("the paper's run", 1), ("100 x larger", 100)):
        made = Plan()
        lower(made, load(paper_spec(folder, times=times)))
        shards = [int(getattr(node.execution, "shards", 1)) for node in made.nodes.values()]
        parts = sum(count for count in shards if count > 1)
        jobs = len(made.nodes) + parts
        files = FILES_A_NODE * len(made.nodes) + FILES_A_SHARD * parts
        print(f"| {name} | {len(made.nodes)} | {jobs} | {files:,} | {3600 // POLL_S} | {jobs} |")


def dag(folder: Path) -> None:
    """Measure the CPU time of `snakemake -n` on 5,126 nodes, with none, all but the last kinds, and all finished."""
    environment = {"ORCAC_PLAN": str(folder / "plan.json"), "ORCAC_STORE": str(folder / "store")}
    _cpu([str(BIN / "orcac"), "compile", ARMS_OF_5000_NODES], environment)
    bare = min(_cpu([str(BIN / "snakemake"), "-n", "-q", "-s", os.devnull, "--cores", "2"], {}) for _ in range(2))
    made, store = Plan.read(folder / "plan.json"), Store(folder / "store")
    print("\n| finished nodes | left | `snakemake -n`, CPU s |\n|---|---|---|")
    print(f"| Snakemake alone, without a plan | | {bare:.1f} |")
    kinds = {node.kind for node in made.nodes.values()}
    for left in (kinds, {"eval", "score", "report"}, {"score", "report"}, {"report"}, set[str]()):
        for ref, node in made.nodes.items():
            marker = store.marker(ref)
            if node.kind not in left and not marker.exists():
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.write_text('{"files": {}}\n')
        finished = sum(store.is_done(ref) for ref in made.nodes)
        seconds = min(_cpu([str(BIN / "snakemake"), "-n", "-q", "--cores", "2"], environment) for _ in range(2))
        print(f"| {finished:,} | {len(made.nodes) - finished:,} | {seconds:.1f} |", flush=True)


def _cpu(line: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def limits(folder: Path) -> None:
    """Count the files that one look at an account opens, touches and lists, by the number of live jobs."""
    counted: collections.Counter[str] = collections.Counter()
    sys.addaudithook(lambda event, _: counted.update([event] if event in ("open", "os.listdir", "os.utime") else []))
    print("\n| live jobs | opened, touched, listed a look | by all jobs a second | CPU ms a look |\n|---|---|---|---|")
    for jobs in (1, 8, 64, 256):

        async def look(jobs: int = jobs) -> tuple[int, float]:
            accounts = [Account(folder / str(jobs), "a", refresh_s=0.0) for _ in range(jobs)]
            for account in accounts:
                await account.__aenter__()
            accounts[0].live_jobs()
            counted.clear()
            cpu = time.process_time()
            assert accounts[0].live_jobs() == jobs
            found = counted.total(), time.process_time() - cpu
            for account in accounts:
                await account.__aexit__(None, None, None)
            return found

        operations, cpu = asyncio.run(look())
        print(f"| {jobs} | {operations:,} | {operations * jobs:,} | {cpu * 1000:.1f} |", flush=True)


def ledger(folder: Path) -> None:
    """Measure the size of recorded answers and the CPU time of a job that opens the ledger and finds its own."""
    print(
        "\n| answers | log, bytes each | sealed, bytes each | open and look up 1 % of them, CPU s |\n|---|---|---|---|"
    )
    for count in (20_000, 100_000):
        place = folder / f"ledger-{count}"
        requests = [_request(number) for number in range(count)]

        async def fill(place: Path = place, requests: list[ChatRequest] = requests) -> None:
            async with Ledger(place) as ledger:
                for start in range(0, len(requests), 1000):
                    some = requests[start : start + 1000]
                    await asyncio.gather(*{ledger.append(one, _answer(one)) for one in some})

        asyncio.run(fill())
        (log,) = place.glob("*.jsonl")
        in_log = log.stat().st_size
        os.utime(log, (0, 0))
        seal(place, min_logs=1)
        (sealed,) = place.glob("*.parquet")
        wanted = np.sort(pack_keys(request.key for request in requests[::100]))
        cpu = time.process_time()
        opened = Ledger(place, wanted)
        assert (opened.find(wanted, 1024) >= 0).all()
        opened.close()
        cpu = time.process_time() - cpu
        print(f"| {count:,} | {in_log / count:.0f} | {sealed.stat().st_size / count:.0f} | {cpu:.2f} |", flush=True)


def _request(number: int) -> ChatRequest:
    messages = (Message("system", "You are helpful."), Message("user", f"{number} {_words(number, 150)}"))
    return ChatRequest(model="m", messages=messages, sampling=Sampling(max_tokens=1024), origin="api")


def _answer(request: ChatRequest) -> ChatResponse:
    text = _words(int(request.key[:8], 16), 220)
    return ChatResponse(text=text, finish_reason="stop", input_tokens=200, output_tokens=290, latency_s=1.0)


def _words(seed: int, count: int) -> str:
    """Return words of this project's documentation in a random order, as often as they are there."""
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def main() -> None:
    parts: dict[str, Callable[[Path], None]] = {"plan": plan, "dag": dag, "limits": limits, "ledger": ledger}
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or list(parts):
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
