"""The clients of `ask.py`, each in a process of its own, and their prompts.

python benchmarks/ask_clients.py NAME BASE_URL COUNT IN_FLIGHT FOLDER SETTINGS
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from orcac.chat.ledger.index import EntryNumbers
    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.messages import ChatResponse
    from orcac.chat.settings import EndpointSettings
    from orcac.collect.run import CollectJob

ROOT = Path(__file__).resolve().parent.parent
FILLER = " ".join(["What follows from what was said before?"] * 22)  # about 200 tokens


class Summary(TypedDict):
    """The part of a `collect` node's summary that `ask.py` reads."""

    answered: int
    failed: dict[str, int]  # error class -> questions
    usd: float


class Figures(TypedDict, total=False):
    """The figures that a client printed; the last three only by a `collect` node."""

    exit: int
    cpu_s: float
    wall_s: float
    mb: float
    summary: Summary
    join_cpu_s: float
    error: str  # the message of an error that stopped it


def question(number: int) -> str:
    return f"Question {number}. {FILLER}"


def body(number: int) -> dict[str, object]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": question(number)}],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 1024,
    }


async def _spread(count: int, in_flight: int, ask: Callable[[int], Awaitable[None]]) -> None:
    """Ask `count` questions, `in_flight` at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def bare(base_url: str, count: int, in_flight: int) -> Callable[[], None]:
    """Return the smallest possible client, on bare aiohttp: no limits, no retries, no answer kept."""
    import aiohttp

    async def go() -> None:
        connector = aiohttp.TCPConnector(limit=in_flight)
        async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer x"}) as session:

            async def ask(number: int) -> None:
                async with session.post(f"{base_url}/chat/completions", json=body(number)) as response:
                    assert (await response.json())["choices"][0]["message"]["content"]

            await _spread(count, in_flight, ask)

    return lambda: asyncio.run(go())


def sdk(base_url: str, count: int, in_flight: int, *, transport: str = "") -> Callable[[], None]:
    """Return the `openai` package as a client, on httpx or with `transport` "aiohttp"."""
    import openai
    import openai.resources.chat.completions

    async def go() -> None:
        http = openai.DefaultAioHttpClient() if transport == "aiohttp" else None
        async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=2, http_client=http) as client:

            async def ask(number: int) -> None:
                assert (await client.chat.completions.create(**body(number))).choices[0].message.content

            await _spread(count, in_flight, ask)

    return lambda: asyncio.run(go())


class _Words:
    """A tokenizer that counts words, in place of the one that curator would download."""

    def encode(self, text: str, **_: object) -> list[str]:
        return text.split()


def curator(base_url: str, count: int, in_flight: int) -> Callable[[], None]:
    """Return bespokelabs-curator as a client."""
    os.environ |= {"OPENAI_API_KEY": "x", "CURATOR_VIEWER": "0", "TELEMETRY_ENABLED": "false"}
    os.environ["CURATOR_CACHE_DIR"] = tempfile.mkdtemp()
    import tiktoken  # type: ignore[import-not-found]

    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: _Words()
    from bespokelabs import curator as library  # type: ignore[import-not-found]

    limits = {"max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10, "max_concurrent_requests": in_flight}
    model = library.LLM(
        model_name="m", backend="openai", backend_params={"base_url": base_url, "max_retries": 10, **limits}
    )
    return lambda: model([question(number) for number in range(count)])


def ours(base_url: str, folder: Path, settings: dict[str, object]) -> Callable[[], None]:
    """Return a whole `collect` node as a client. It also prints the CPU time of the join."""
    import openai.resources.chat.completions  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from orcac.chat import ask
    from orcac.chat.settings import EndpointSettings, Price
    from orcac.collect.run import run

    if "price" in settings:
        settings = settings | {"price": Price.model_validate(settings["price"])}
    endpoint = EndpointSettings(kind="openai", base_url=base_url).model_copy(update=settings)
    asking, join, cpu = job(folder, endpoint), ask.in_order, [0.0]

    def in_order(ledger: Ledger, numbers: EntryNumbers, folder: Path) -> Iterator[ChatResponse | None]:
        cpu[0] = _cpu()
        return join(ledger, numbers, folder)

    def go() -> None:
        ask.in_order = in_order
        summary = run(asking).as_json()
        print(json.dumps({"summary": summary, "join_cpu_s": _cpu() - cpu[0]}))

    return go


def batches(base_url: str, each: int, folder: Path) -> Callable[[], None]:
    """Return a `collect` node in batches of `each` requests, whose provider needs seconds instead of a day."""
    from orcac.chat.ask import ChatExecution
    from orcac.chat.batch.tuning import Tuning
    from orcac.chat.settings import EndpointSettings, Price
    from orcac.collect import run as collect

    tuning = Tuning(poll_s=0.05, max_poll_s=0.05, settle_s=1.0, max_requests=each)
    collect.ChatExecution = functools.partial(ChatExecution, tuning=tuning)
    endpoint = EndpointSettings(kind="openai", base_url=base_url)
    endpoint = endpoint.model_copy(update={"mode": "batch", "price": Price(input=1.0, output=1.0), "budget_usd": 1e6})
    asking = job(folder, endpoint)
    return lambda: print(json.dumps({"summary": collect.run(asking).as_json()}))


def job(folder: Path, endpoint: EndpointSettings) -> CollectJob:
    """Return the job of a `collect` node that asks the prompts in `folder` at `endpoint`."""
    from orcac.chat.settings import Sampling
    from orcac.collect.recipe import CollectExecution, CollectRecipe
    from orcac.job import Job

    for name in ("out", "work"):
        (folder / name).mkdir(exist_ok=True)
    return Job(
        ref="collect/x",
        label="ask",
        recipe=CollectRecipe(model="m", sampling=Sampling(), origin="api"),
        execution=CollectExecution(endpoint=endpoint),
        inputs={"prompts": [folder / "prompts"]},
        by_ref={},
        out=folder / "out",
        work=folder / "work",
        answers=folder / "answers",
    )


def client() -> None:
    """Run one client, and print its figures as lines of JSON."""
    name, base_url, count, in_flight, folder, settings = sys.argv[1:]
    given = (base_url, int(count), int(in_flight))
    match name:
        case "aiohttp":
            go = bare(*given)
        case "openai":
            go = sdk(*given)
        case "openai+aiohttp":
            go = sdk(*given, transport="aiohttp")
        case "curator":
            go = curator(*given)
        case "batches":
            go = batches(base_url, int(count), Path(folder))
        case _:
            go = ours(base_url, Path(folder), {"concurrency": int(in_flight)} | json.loads(settings))
    before, start = _cpu(), time.perf_counter()
    try:
        go()
    except Exception as error:
        if not hasattr(error, "fix"):
            raise
        print(json.dumps({"error": str(error)}))
    print(json.dumps({"cpu_s": _cpu() - before, "wall_s": time.perf_counter() - start, "mb": peak_mb()}))


def peak_mb() -> float:
    """Return the peak memory of this program in MB. getrusage would include the process that forked it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def start(
    name: str, base_url: str, count: int, in_flight: int, folder: Path, *, root: Path = ROOT, **settings: object
) -> subprocess.Popen[str]:
    """Start a client of the checkout `root` in a process of its own."""
    python = os.environ.get("CURATOR_PYTHON", sys.executable) if name == "curator" else sys.executable
    script = root / "benchmarks" / "ask_clients.py"
    line = [python, str(script), name, base_url, str(count), str(in_flight), str(folder)]
    return subprocess.Popen(
        [*line, json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )


def finish(process: subprocess.Popen[str], *, may_fail: bool = False) -> Figures:
    """Wait for a client, and return the figures that it printed."""
    printed, _ = process.communicate()
    assert may_fail or process.returncode == 0, f"exit {process.returncode}; VERBOSE=1 shows why"
    figures: Figures = {"exit": process.returncode}
    for line in printed.splitlines():
        if line.startswith("{"):
            figures |= json.loads(line)
    return figures


def write_prompts(folder: Path, count: int, *, filler: bool = True) -> Path:
    """Write `count` prompts, of about 200 tokens with the filler, to a new `folder`, and return it."""
    from orcac import rows
    from orcac.rows import Prompt

    (folder / "prompts").mkdir(parents=True)
    prompts = (
        Prompt(
            id=f"{number:020x}",
            source="s",
            task="t",
            query=question(number) if filler else f"Question {number}.",
            system_id=1,
            system="",
        )
        for number in range(count)
    )
    rows.write(folder / "prompts" / "prompts.parquet", Prompt, prompts)
    return folder


if __name__ == "__main__":
    client()
