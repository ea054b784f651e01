"""`python -m tests.faults`: the server as a process. It prints its address as JSON and ends when its input ends."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time

from aiohttp import web

from .batches import Batches
from .limits import Limits
from .server import FAULTS, Fault, FaultServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--slow", type=float, default=1.0, metavar="SECONDS", help="extra time until a slow first byte")
    parser.add_argument("--answer-tokens", type=int, default=11)
    parser.add_argument("--slots", type=int, help="requests worked on at once")
    parser.add_argument("--requests-per-minute", type=float)
    parser.add_argument("--tokens-per-minute", type=float)
    parser.add_argument("--burst", type=float, default=60.0, metavar="SECONDS", help="how long a limit can be saved up")
    parser.add_argument("--charge", choices=("max_tokens", "used"), default="max_tokens")
    parser.add_argument("--no-rate-headers", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME=SHARE", help=f"one of: {', '.join(FAULTS[1:])}"
    )
    given = parser.parse_args()
    faults: list[tuple[Fault, float]] = []
    for one in given.fault:
        name, _, share = one.rpartition("=")
        if name not in FAULTS:
            parser.error(f"unknown fault: {name!r}")
        faults.append((name, float(share)))
    draw = random.Random(given.seed)

    def behaviour(question: str, before: int) -> Fault:
        at = draw.random() if faults else 1.0
        for name, share in faults:
            at -= share
            if at < 0:
                return name
        return ""

    limits = None
    if given.requests_per_minute or given.tokens_per_minute:
        limits = Limits(
            given.requests_per_minute,
            given.tokens_per_minute,
            burst_s=given.burst,
            charge=given.charge,
            headers=not given.no_rate_headers,
        )

    def mount(app: web.Application) -> None:
        _add_controls(app, server)
        Batches().mount(app)

    server = FaultServer(
        behaviour,
        latency_s=given.latency,
        slow_s=given.slow,
        answer_tokens=given.answer_tokens,
        slots=given.slots,
        limits=limits,
        mount=mount,
    )
    asyncio.run(_serve(server, given.port))


async def _serve(server: FaultServer, port: int) -> None:
    runner, base_url = await server.start(port)
    print(json.dumps({"base_url": base_url}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def _add_controls(app: web.Application, server: FaultServer) -> None:
    begun = time.monotonic()

    async def counters(_: web.Request) -> web.Response:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return web.json_response(
            {
                "asked": server.asked.total(),
                "questions": len(server.asked),
                "billed": server.billed.total(),
                "bills": len(server.bills),
                "billed_again": sum(bill.answers - 1 for bill in server.bills.values()),
                "input_tokens": sum(bill.input_tokens for bill in server.bills.values()),
                "output_tokens": sum(bill.output_tokens for bill in server.bills.values()),
                "statuses": {str(status): count for status, count in server.statuses.items()},
                "answered_at": {str(at): count for at, count in server.answered_at.items()},
                "pushed_back_at": {str(at): count for at, count in server.pushed_back_at.items()},
                "most_in_flight": server.most_in_flight,
                "span_s": server.span[1] - server.span[0],
                "now": time.monotonic() - begun,
                "cpu_s": usage.ru_utime + usage.ru_stime,
            }
        )

    async def billed(_: web.Request) -> web.Response:
        return web.json_response(server.billed)

    async def reset(_: web.Request) -> web.Response:
        for counted in (server.asked, server.billed, server.bills, server.statuses):
            counted.clear()
        server.answered_at.clear()
        server.pushed_back_at.clear()
        server.most_in_flight, server.span = 0, (0.0, 0.0)
        return web.json_response({})

    async def limits(request: web.Request) -> web.Response:
        assert server.limits, "the server has no limits to change: start it with one"
        server.limits.set(**(await request.json()))
        return web.json_response({})

    app.router.add_get("/control/counters", counters)
    app.router.add_get("/control/billed", billed)
    app.router.add_post("/control/reset", reset)
    app.router.add_post("/control/limits", limits)


if __name__ == "__main__":
    main()
