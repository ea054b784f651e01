"""What a `collect` node takes beside its server: memory, CPU and the time to decide what is missing.

    python benchmarks/ledger.py                    10,000 and 100,000 requests; about a minute
    python benchmarks/ledger.py 1000000            or so many; a million takes 3 GB of disk

The endpoint is a stub in the client's process, which answers 256 requests at a time after 10 ms: so all that is
measured is ours. Prompts and answers are of about 200 tokens. Each line is a process of its own:

    ask and join   a node that nobody has answered yet: all it does
    seal           the first look at a log whose writer is gone, which seals it
    decide         a rerun that finds every answer on record: keys are made, the index is read, nothing is asked
    join           the whole rerun: decided, and the rows written

`asking` is the peak of memory until everything is answered, `peak` that of the whole, both with what is imported: for
`ask and join` that is the packages of the transport, too. CPU is the process's, imports left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import ask_clients  # noqa: E402
from child import measured  # noqa: E402

ANSWER = " and so on" * 80


class Stub:
    where = "a stub"

    async def complete(self, request: Any) -> Any:
        from orcac.chat.messages import ChatResponse

        await asyncio.sleep(0.01)
        text = f"answer to {request.messages[-1].content[:20]}{ANSWER}"
        return ChatResponse(text=text, finish_reason="stop", input_tokens=200, output_tokens=200, latency_s=0.01)


@asynccontextmanager
async def connect(*_: Any, **__: Any) -> AsyncIterator[Stub]:
    yield Stub()


def child(what: str, folder: Path) -> None:
    if what == "ask and join":  # the others ask nobody
        import aiohttp  # noqa: F401
        import openai.resources.chat.completions  # noqa: F401

    from orcac.chat import ask
    from orcac.chat.settings import EndpointSettings
    from orcac.collect import run as collect

    told: dict[str, Any] = {"imports_mb": ask_clients.peak_mb()}
    ask.connect = connect  # type: ignore[assignment]
    join = ask.in_order

    def in_order(*given: Any) -> Any:
        told["asking_mb"] = ask_clients.peak_mb()
        return join(*given)

    ask.in_order = in_order
    job = ask_clients.job(folder, EndpointSettings(kind="openai", base_url="http://x", concurrency=256))
    cpu, start = time.process_time(), time.perf_counter()
    summary = collect.run_shard(job, 0, 1) if what in ("seal", "decide") else collect.run(job)
    told["summary"] = summary.as_json()
    told |= {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - start, "mb": ask_clients.peak_mb()}
    print(json.dumps(told))


def measure(what: str, folder: Path) -> dict[str, Any]:
    return measured(sys.executable, __file__, what, str(folder))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], Path(sys.argv[3]))
    print("| requests | what | wall s | CPU s/1,000 | imports MB | asking MB | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for count in [int(word) for word in sys.argv[1:]] or [10_000, 100_000]:
        with tempfile.TemporaryDirectory() as place:
            folder = ask_clients.write_prompts(Path(place) / "node", count)
            for what in ("ask and join", "seal", "decide", "join"):
                told = measure(what, folder)
                answered = told["summary"]["answered"]
                assert answered == count, f"{answered:,} of {count:,}"
                asking = f"{told['asking_mb']:.0f}" if "asking_mb" in told else ""
                print(
                    f"| {count:,} | {what} | {told['wall_s']:.1f} | {told['cpu_s'] * 1000 / count:.3f} "
                    f"| {told['imports_mb']:.0f} | {asking} | {told['mb']:.0f} |"
                )
                for log in (folder / "answers").glob("*.jsonl"):
                    os.utime(log, (0, 0))  # as if its writer had been gone for long


if __name__ == "__main__":
    main()
