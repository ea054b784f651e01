"""Measures asking models: speed, the answers kept through kills and faults, limits, budgets, batches and memory.

    python benchmarks/ask.py                 all parts but the last two: about half an hour
    python benchmarks/ask.py speed           or: kills, terms, cut, limits, faults, dollars, batch, memory, known
    python benchmarks/ask.py million         memory again, with a million requests
    ORCAC_BEFORE=CHECKOUT python benchmarks/ask.py turns     this version and that of another checkout, in turns

A server in a process of its own counts requests and answers (`tests/faults`): chat completions on loopback, with a
latency of 50 ms unless stated otherwise, answers of 200 tokens and prompts of about 200. Each client is a new process,
and clients take turns; ratios are of one run. `ours` is a whole `collect` node: it reads prompts from Parquet, makes
answers durable in the ledger and writes rows. Rates are counted by the server, from its first answer to its last; CPU
is the client's, from before the first request to the end, without imports.

In `speed` a run lasts about ten seconds, so that one-time costs (slow start, connections, reading the prompts) do not
dominate it. With 20 ms of latency and 256 requests in flight a client is bound by its core. The rate is that of asking;
the CPU is that of the whole node, and the last line gives the part of the join. bespokelabs-curator takes part if it is
installed, or if CURATOR_PYTHON names an interpreter that has it; counting words replaces its tokenizer, which it would
download.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from ask_clients import finish, start, write_prompts  # noqa: E402
from faults import Child, FaultServer  # noqa: E402
from faults.batches import Batches, Call, Trouble  # noqa: E402
from faults.child import Counters  # noqa: E402

from orcac.chat.ledger.files import read_records  # noqa: E402

ANSWER_TOKENS = 200


def start_server(*arguments: str, latency: float = 0.05) -> Child:
    """Start a server that answers after `latency` seconds, with further arguments of `tests/faults`."""
    return Child("--latency", str(latency), "--answer-tokens", str(ANSWER_TOKENS), *arguments)


def durable_questions(folder: Path) -> set[str]:
    """Return the questions whose answers are in the ledger."""
    return {record["request"]["messages"][-1][1] for record in read_records(folder / "answers")}


def report(line: str) -> None:
    print(line, flush=True)


def measure(
    name: str, serving: Child, count: int, in_flight: int, place: Path, *, root: Path = ROOT
) -> tuple[float, float, float, float]:
    """Return (answers/s, MB, CPU s/1,000, CPU s/1,000 of the join) of one run of a client."""
    serving.reset()
    if name == "ours":
        write_prompts(place, count)
    figures = finish(start(name, serving.base_url, count, in_flight, place, root=root))
    counters = serving.counters()
    assert counters.billed == count, f"{name}: {counters.billed} of {count}"
    cpu_s, join_cpu_s = figures["cpu_s"], figures.get("join_cpu_s", 0.0)
    return count / counters.span_s, figures["mb"], cpu_s * 1000 / count, join_cpu_s * 1000 / count


# --- the parts ---------------------------------------------------------------------------------------------------


def speed(folder: Path) -> None:
    """Measure the rate, CPU and memory of each client at three loads."""
    names = ["aiohttp", "ours", "openai+aiohttp", "openai"]
    if importlib.util.find_spec("bespokelabs") or "CURATOR_PYTHON" in os.environ:
        names.append("curator")
    report("| client | latency, ms | in flight | answers/s | of aiohttp | CPU s/1,000 | times aiohttp | MB |")
    report("|---|---|---|---|---|---|---|---|")
    joins = []
    for latency_ms, in_flight, many in ((50, 64, 12_000), (50, 256, 40_000), (20, 256, 80_000)):
        with start_server(latency=latency_ms / 1000) as serving:
            runs: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
            for turn in range(3):
                for name in names:
                    slow = name not in ("aiohttp", "ours")
                    if slow and turn:  # their rates differ by factors, so one run is enough
                        continue
                    count = 2_000 if slow else many
                    place = folder / f"speed-{latency_ms}-{in_flight}-{turn}-{name}"
                    runs[name].append(measure(name, serving, count, in_flight, place))
        medians = {name: [statistics.median(part) for part in zip(*of, strict=True)] for name, of in runs.items()}
        base_rate, _, base_cpu, _ = medians["aiohttp"]
        for name, (rate, mb, cpu, _) in medians.items():
            report(
                f"| {name} | {latency_ms} | {in_flight} | {rate:,.0f} | {rate / base_rate:.2f} | {cpu:.3f} "
                f"| {cpu / base_cpu:.1f} | {mb:.0f} |"
            )
        joins.append(f"{medians['ours'][3]:.3f}")
    report(f"(the join takes {', '.join(joins)} s/1,000 of our CPU)")


def turns(folder: Path, times: int = 20) -> None:
    """Let this version and that of the checkout ORCAC_BEFORE take turns, and report the ratios of neighbouring turns.

    Other work on the machine slows both turns of a pair, so the ratios vary less than the rates, above all if turns are
    short. The interval of a median is that of the order statistics.
    """
    versions = {"before": Path(os.environ["ORCAC_BEFORE"]).resolve(), "now": ROOT}
    count = 6_000
    for in_flight in (64, 256):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in versions}  # answers/s, CPU s/1,000
        with start_server() as serving:
            for turn in range(times):
                for name in sorted(versions, reverse=turn % 2 == 1):
                    place = folder / f"turns-{in_flight}-{turn}-{name}"
                    rate, _, cpu, _ = measure("ours", serving, count, in_flight, place, root=versions[name])
                    found[name].append((rate, cpu))
                    shutil.rmtree(place)
        for number, unit in enumerate(("answers/s", "CPU s/1,000")):
            before, now = ([run[number] for run in of] for of in found.values())
            ratios = sorted(after / first for first, after in zip(before, now, strict=True))
            end = max(0, int((times - 1.96 * times**0.5) / 2))
            report(
                f"{in_flight} in flight, {unit}: {statistics.median(before):,.3f} before and "
                f"{statistics.median(now):,.3f} now; now / before {statistics.median(ratios):.3f} (95 %: "
                f"{ratios[end]:.3f} to {ratios[-1 - end]:.3f}, {times} pairs)"
            )


def kills(folder: Path, *, number: signal.Signals = signal.SIGKILL, count: int = 10_000, times: int = 20) -> None:
    """Send a signal to a run at random moments, and count the answers that are lost or asked again."""
    in_flight, slowest_exit = 64, 0.0
    made_when_kept: dict[str, int] = {}  # a question whose answer is kept -> how often it had been answered by then
    write_prompts(folder, count)
    with start_server() as serving:
        for _ in range(times):
            client = start("ours", serving.base_url, count, in_flight, folder)
            goal = min(count - 200, serving.counters().billed + random.randint(50, max(51, count // times)))
            while serving.counters().billed < goal and client.poll() is None:
                time.sleep(0.02)
            signalled_at = time.perf_counter()
            client.send_signal(number)
            finish(client, may_fail=True)
            slowest_exit = max(slowest_exit, time.perf_counter() - signalled_at)
            kept = durable_questions(folder)
            time.sleep(0.2)  # the server answers and bills the requests that the dead client had sent
            billed = serving.billed()
            for text in kept - made_when_kept.keys():
                made_when_kept[text] = billed[text]  # from now on it may not be asked again
        finish(start("ours", serving.base_url, count, in_flight, folder))
        after = serving.billed()
        again = sum(after[text] != made for text, made in made_when_kept.items())
        counters = serving.counters()
        answered = len(durable_questions(folder))
    report(
        f"{times} {number.name} in {count:,} requests, {in_flight} in flight: {again} of {len(made_when_kept):,} "
        f"kept answers asked again, {count - answered} lost, {counters.billed_again} requests answered twice "
        f"({counters.billed_again / times:.1f} per signal, window {in_flight}); slowest exit {slowest_exit:.1f} s"
    )


def terms(folder: Path) -> None:
    """Do as `kills`, with SIGTERM."""
    kills(folder, number=signal.SIGTERM)


def cut(folder: Path) -> None:
    """Cut a log at every byte of its last three records, and count the cuts that lose more than the torn record."""
    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.messages import ChatRequest, ChatResponse, conversation
    from orcac.chat.settings import Sampling

    requests = [
        ChatRequest(model="m", messages=conversation(system="", user=f"q{n}"), sampling=Sampling(), origin="api")
        for n in range(5)
    ]

    async def write() -> None:
        async with Ledger(folder / "whole") as ledger:
            for request in requests:
                await ledger.append(request, ChatResponse(text="ä" * 20, finish_reason="stop", output_tokens=3))

    async def read(place: Path) -> list[bool]:
        async with Ledger(place) as ledger:
            return [ledger.get(request) is not None for request in requests]

    asyncio.run(write())
    (log,) = (path for path in (folder / "whole").rglob("*.jsonl"))
    data = log.read_bytes()
    ends = [match.end() for match in re.finditer(b"\n", data)]
    wrong = 0
    for length in range(ends[1], len(data) + 1):
        place = folder / f"cut-{length}"
        path = place / log.relative_to(folder / "whole")
        path.parent.mkdir(parents=True)
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        wrong += asyncio.run(read(place)) != [True] * whole + [False] * (5 - whole)
    report(f"log cut at each of {len(data) - ends[1] + 1} bytes: {wrong} cuts lost more than the torn record")


def limits(folder: Path) -> None:
    """Ask an account that allows 6,000 requests per minute, after 45 s half, while the spec declares 600,000."""
    for headers in (True, False):
        place = write_prompts(folder / f"limits-{headers}", 9_000)
        extra = [] if headers else ["--no-rate-headers"]
        with start_server("--requests-per-minute", "6000", "--burst", "1", *extra, latency=0.2) as serving:
            client = start("ours", serving.base_url, 0, 256, place, requests_per_minute=600_000)
            while not serving.counters().billed:
                time.sleep(0.05)
            first = serving.counters().now
            time.sleep(45)
            half_at = serving.counters().now
            serving.limit(requests_per_minute=3000)
            time.sleep(75)
            end = serving.counters()
            client.send_signal(signal.SIGTERM)
            finish(client, may_fail=True)
            counters = serving.counters()

        def rate(start: float, stop: float, counters: Counters = counters) -> float:
            return sum(counters.answered_at.get(str(at), 0) for at in range(int(start), int(stop))) / (
                int(stop) - int(start)
            )

        refused = counters.statuses.get("429", 0)
        report(
            f"declared limit 100 times too high, {'with' if headers else 'without'} rate headers: "
            f"{rate(first + 30, half_at - 1) / 100:.1%} of the allowed rate after 30 s; limit halved: "
            f"{rate(half_at + 30, end.now - 1) / 50:.1%} after 30 s; {refused / counters.asked:.1%} of all "
            f"requests were 429; {len(durable_questions(place)):,} of {counters.billed:,} billed answers kept"
        )


def faults(folder: Path) -> None:
    """Measure the time that failing requests add, and count the rows without a result."""
    count, in_flight = 6_000, 64
    walls = {}
    mixed = ["--fault", "malformed=0.02", "--fault", "dropped=0.02", "--fault", "500=0.02"]
    for name, arguments in (("fault-free", []), ("6 % mixed", mixed)):
        place = write_prompts(folder / name, count)
        with start_server(*arguments) as serving:
            figures = finish(start("ours", serving.base_url, count, in_flight, place, attempts=6))
            walls[name], summary = serving.counters().span_s, figures["summary"]
        settled = summary["answered"] + sum(summary["failed"].values())
        report(f"{name}: {walls[name]:.1f} s; {settled:,} of {count:,} rows are an answer or a typed failure")
    report(f"6 % mixed faults: {walls['6 % mixed'] / walls['fault-free']:.2f} times the fault-free run")
    count, ratios = 1_920, []
    for seed in range(3):  # of the failures: a run ends when the request that fails last is answered
        place = write_prompts(folder / f"500s-{seed}", count)
        with start_server("--fault", "500=0.2", "--seed", str(seed), latency=1.0) as serving:
            figures = finish(start("ours", serving.base_url, count, in_flight, place, attempts=10))
            counters, summary = serving.counters(), figures["summary"]
        ratios.append(counters.span_s * in_flight / counters.asked)
        report(f"20 % 500s at 1 s: {counters.asked:,} attempts, {summary['answered']:,} of {count:,} answered")
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    report(
        f"20 % 500s at 1 s: {statistics.median(ratios):.2f} times the ideal of {in_flight} attempts per second ({each})"
    )


def dollars(folder: Path) -> None:
    """Compare a budget, and the estimate of the rest at its stop, with the bill of the server."""
    count, price, cap = 4_000, {"input": 10.0, "output": 1000.0}, 400.0  # an answer is about 0.20 USD, its bound 1.02
    write_prompts(folder, count)
    with start_server("--fault", "dropped=0.01") as serving:

        def billed() -> float:
            counters = serving.counters()
            return (counters.input_tokens * price["input"] + counters.output_tokens * price["output"]) / 1e6

        figures = finish(start("ours", serving.base_url, count, 64, folder, price=price, budget_usd=cap))
        at_stop = billed()
        report(figures.get("error", "(the budget did not stop it)"))
        report(f"dollar cap {cap:.2f}: the server billed {at_stop:.2f}, overshoot {max(0.0, at_stop - cap):.2f}")
        estimate = re.search(r"by about ([\d,.]+)", figures.get("error", ""))
        figures = finish(start("ours", serving.base_url, count, 64, folder, price=price))
        rest, every = billed() - at_stop, billed()
        if estimate:
            usd = float(estimate[1].replace(",", "").rstrip("."))
            report(f"estimated cost of the rest: {usd:.2f} USD; {rest:.2f} were billed ({usd / rest - 1:+.1%})")
        usd = figures["summary"]["usd"]
        report(f"cost of all in the summary: {usd:.2f} USD; {every:.2f} were billed ({usd / every - 1:+.1%})")


def _stuck_at(call: Call, number: int, trouble: Trouble) -> Callable[[Call, int], Trouble]:
    """Return a plan of faults: the call of this name and number has `trouble`, the others have none."""
    return lambda name, before: trouble if (name, before) == (call, number) else ""


def batch(folder: Path) -> None:
    """Kill a run while each call hangs, before the server has received it and after it is done; and at any moment."""
    tries, count = 5, 200
    calls: tuple[Call, ...] = ("upload", "create", "content")
    for call in calls:
        made_again = lost = paid_again = 0
        for number in range(2 * tries):
            place = write_prompts(folder / f"{call}-{number}", count, filler=False)
            trouble: Trouble = "hangs" if number % 2 else "mute"
            hit = random.randrange(4)  # of the four batches
            made = Batches(_stuck_at(call, hit, trouble))
            with FaultServer(mount=made.mount) as serving:
                client = start("batches", serving.base_url, count // 4, 0, place)
                assert made.stuck.wait(60)
                client.kill()
                finish(client, may_fail=True)
                finish(start("batches", serving.base_url, count // 4, 0, place))
            made_again += len(made.created) - 4
            lost += count - len(durable_questions(place))
            paid_again += made.billed.total() - len(made.billed)
        report(
            f"{2 * tries} SIGKILLs while {call!r} hangs, half of them before it was received: {made_again} batches "
            f"made twice, {lost} answers lost, {paid_again} paid twice"
        )
    kills, count, each = 20, 10_000, 250
    place, dead = write_prompts(folder / "any", count, filler=False), 0
    made = Batches(hours_each=0.01)
    with FaultServer(mount=made.mount) as serving:
        while dead < kills:
            goal = made.calls.total() + random.randint(1, 12)
            client = start("batches", serving.base_url, each, 0, place)
            while made.calls.total() < goal and client.poll() is None:
                time.sleep(0.001)
            time.sleep(random.uniform(0.0, 0.05))
            if client.poll() is not None:
                break  # it has finished
            client.kill()
            finish(client, may_fail=True)
            dead += 1
        finish(start("batches", serving.base_url, each, 0, place))
    report(
        f"{dead} SIGKILLs at any moment of {count:,} requests in {count // each} batches: "
        f"{len(made.created) - count // each} batches made twice, "
        f"{count - len(durable_questions(place))} answers lost, "
        f"{made.billed.total() - len(made.billed)} paid twice; {made.calls.total():,} calls in all"
    )


def memory(folder: Path, counts: tuple[int, ...] = (10_000, 100_000)) -> None:
    """Measure the peak of memory of whole nodes."""
    for count in counts:
        place = write_prompts(folder / f"memory-{count}", count)
        with start_server(latency=0.02) as serving:
            figures = finish(start("ours", serving.base_url, count, 256, place))
        report(f"{count:,} requests: at most {figures['mb']:.0f} MB, {figures['wall_s']:.0f} s")


def million(folder: Path) -> None:
    """Do as `memory`, with a million requests."""
    memory(folder, (1_000_000,))


def known(folder: Path, count: int = 1_000_000) -> None:
    """Measure a run whose questions are all answered in a ledger of a million answers."""
    from orcac.chat.ledger.ledger import Ledger
    from orcac.chat.messages import ChatRequest, ChatResponse, conversation
    from orcac.chat.settings import Sampling

    sampling = Sampling()

    async def fill() -> None:
        async with Ledger(folder / "answers") as ledger:
            for begin in range(0, count, 20_000):
                await asyncio.gather(
                    *(
                        ledger.append(
                            ChatRequest(
                                model="m",
                                messages=conversation(system="", user=f"Question {number}."),
                                sampling=sampling,
                                origin="api",
                            ),
                            ChatResponse(text="An answer.", finish_reason="stop", input_tokens=7, output_tokens=11),
                        )
                        for number in range(begin, begin + 20_000)
                    )
                )

    write_prompts(folder, count, filler=False)
    asyncio.run(fill())
    for name in ("first run, which seals the log", "rerun"):
        figures = finish(start("ours", "http://127.0.0.1:9/v1", count, 64, folder))
        report(f"{count:,} answers kept, {name}: {figures['wall_s']:.1f} s for the whole node, {figures['mb']:.0f} MB")


PARTS: dict[str, Callable[[Path], None]] = {
    part.__name__: part
    for part in (speed, kills, terms, cut, limits, faults, dollars, batch, memory, known, million, turns)
}


def main() -> None:
    chosen = sys.argv[1:] or [name for name in PARTS if name not in ("million", "turns")]
    if unknown := [name for name in chosen if name not in PARTS]:
        sys.exit(f"unknown part {unknown[0]}; the parts are {', '.join(PARTS)}")
    load = os.getloadavg()[0]
    report(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load:.1f}")
    for name in chosen:
        report(f"\n## {name}")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
