"""The time, CPU and memory of a `collect` node without its server.

    python benchmarks/ledger.py                    10,000 and 100,000 requests; about a minute
    python benchmarks/ledger.py 1000000            this number of requests; a million takes 3 GB of disk

The endpoint is a stub in the client's process, which answers 256 requests at a time after 10 ms, so the figures are all
ours. Prompts and answers have about 200 tokens. Each step is a process of its own:

    ask and join   a whole node, none of whose questions has been answered
    seal           the first read of a log whose writer has ended, which seals it
    decide         a rerun that finds every answer in the ledger: it makes keys, reads the index and asks nothing
    join           the whole rerun: decide, and write the rows

`asking` is the peak of memory until all questions are answered, `peak` that of the whole step. Both include imports,
which for `ask and join` include the packages of the transport. CPU is that of the process without its imports.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import ask_clients  # noqa: E402
from child import measure_child  # noqa: E402

if TYPE_CHECKING:
    from orcac.chat.ledger.index import EntryNumbers
    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.messages import ChatRequest, ChatResponse

ANSWER = " and so on" * 80


class Figures(TypedDict, total=False):
    """The figures of one step."""

    imports_mb: float
    asking_mb: float  # absent if the step writes no rows
    mb: float
    wall_s: float
    cpu_s: float
    answered: int


class Stub:
    """An endpoint that answers every request after 10 ms."""

    label = "a stub"

    async def complete(self, request: ChatRequest) -> ChatResponse:
        from orcac.chat.messages import ChatResponse

        await asyncio.sleep(0.01)
        text = f"answer to {request.messages[-1].content[:20]}{ANSWER}"
        return ChatResponse(text=text, finish_reason="stop", input_tokens=200, output_tokens=200, latency_s=0.01)


@asynccontextmanager
async def connect(*_: object, **__: object) -> AsyncIterator[Stub]:
    yield Stub()


def child(step: str, folder: Path) -> None:
    """Run a step, and print its figures as a line of JSON."""
    if step == "ask and join":  # the others send no request
        import aiohttp  # noqa: F401
        import openai.resources.chat.completions  # noqa: F401

    from orcac.chat import ask
    from orcac.chat.settings import EndpointSettings
    from orcac.collect import run as collect

    figures: Figures = {"imports_mb": ask_clients.peak_mb()}
    ask.connect = connect
    join = ask.in_order

    def in_order(ledger: Ledger, numbers: EntryNumbers, folder: Path) -> Iterator[ChatResponse | None]:
        figures["asking_mb"] = ask_clients.peak_mb()
        return join(ledger, numbers, folder)

    ask.in_order = in_order  # type: ignore[assignment]
    job = ask_clients.job(folder, EndpointSettings(kind="openai", base_url="http://x", concurrency=256))
    cpu, start = time.process_time(), time.perf_counter()
    summary = collect.run_shard(job, 0, 1) if step in ("seal", "decide") else collect.run(job)
    assert summary.answered is not None
    figures["answered"] = summary.answered
    figures["cpu_s"], figures["wall_s"] = time.process_time() - cpu, time.perf_counter() - start
    figures["mb"] = ask_clients.peak_mb()
    print(json.dumps(figures))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], Path(sys.argv[3]))
    print("| requests | step | wall s | CPU s/1,000 | imports MB | asking MB | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for count in [int(word) for word in sys.argv[1:]] or [10_000, 100_000]:
        with tempfile.TemporaryDirectory() as place:
            folder = ask_clients.write_prompts(Path(place) / "node", count)
            for step in ("ask and join", "seal", "decide", "join"):
                figures: Figures = measure_child(sys.executable, __file__, step, str(folder))
                assert figures["answered"] == count, f"{figures['answered']:,} of {count:,}"
                asking = f"{figures['asking_mb']:.0f}" if "asking_mb" in figures else ""
                print(
                    f"| {count:,} | {step} | {figures['wall_s']:.1f} | {figures['cpu_s'] * 1000 / count:.3f} "
                    f"| {figures['imports_mb']:.0f} | {asking} | {figures['mb']:.0f} |"
                )
                for log in (folder / "answers").glob("*.jsonl"):
                    os.utime(log, (0, 0))  # as if its writer had ended long ago


if __name__ == "__main__":
    main()
