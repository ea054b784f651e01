"""Tests of orcac/chat/engine.py with models of servers, in simulated time."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import simulated
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from orcac.chat.engine import ask
from orcac.chat.failures import ChatError
from orcac.chat.limits.account import Account
from orcac.chat.limits.budget import Budget
from orcac.chat.messages import ChatRequest, ChatResponse, RateHeaders, conversation, usd
from orcac.chat.settings import FREE, Azure, EndpointSettings, Price, Sampling
from orcac.chat.tally import Tally
from orcac.errors import EndpointError, StoreError
from orcac.text import dollars

ANSWER = ChatResponse(text="x", finish_reason="stop", input_tokens=10, output_tokens=20)
Serve = Callable[["Server", str], Awaitable[ChatResponse]]


def requests(count: int) -> list[ChatRequest]:
    return [
        ChatRequest(model="m", messages=conversation(system="", user=f"q{n}"), sampling=Sampling(), origin="api")
        for n in range(count)
    ]


def settings(**changes: object) -> EndpointSettings:
    return EndpointSettings(kind="openai").model_copy(update=changes)


class Memory(dict[str, ChatResponse]):
    """A ledger without a disk."""

    def append(self, request: ChatRequest, response: ChatResponse) -> asyncio.Future[None]:
        self[request.key] = response
        durable = asyncio.get_running_loop().create_future()
        durable.set_result(None)
        return durable

    def flush(self) -> None: ...


def surveyed(asked: list[ChatRequest], ledger: Memory, price: Price = FREE) -> Tally:
    """Return the tally with which a run over `asked` starts: the counts of those that `ledger` answers."""
    distinct = {request.key: request for request in asked}
    tally = Tally(total=len(distinct))
    for key in distinct.keys() & ledger.keys():
        tally.count(distinct[key], ledger[key], price)
    return tally


class Server:
    """An endpoint that answers with `serve(server, question)`, and keeps the time and the question of every attempt."""

    label = "http://mock/v1"

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.sent: list[tuple[float, str]] = []
        self.in_flight = self.peak = 0
        self.answered = 0

    async def complete(self, request: ChatRequest) -> ChatResponse:
        question = request.messages[-1].content
        self.sent.append((asyncio.get_running_loop().time(), question))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            response = await self._serve(self, question)
        finally:
            self.in_flight -= 1
        self.answered += 1
        return response

    @asynccontextmanager
    async def open(self):
        yield self

    def ask(
        self,
        asked: list[ChatRequest],
        ledger: Memory | None = None,
        *,
        account: Account | None = None,
        budget: Budget | None = None,
        on_progress: Callable[[Tally], None] = lambda tally: None,
        **changes: object,
    ) -> dict[str, ChatResponse]:
        """Ask, and return the final response to each request, by key."""
        random.seed(0)
        ledger = Memory() if ledger is None else ledger
        distinct = {request.key: request for request in asked}
        tally = simulated.run(
            ask(
                [request for key, request in distinct.items() if key not in ledger],
                label="these",
                endpoint=self.open(),
                ledger=ledger,
                tally=surveyed(asked, ledger, settings(**changes).price),
                settings=settings(**changes),
                account=account,
                budget=budget,
                on_progress=on_progress,
            )
        )
        final = {key: ChatResponse(error=error) for key, error in tally.failures.items()} | ledger
        assert tally.total == len({request.key for request in asked})
        assert tally.answered + tally.failed.total() == tally.total and not tally.in_flight
        return {request.key: final[request.key] for request in asked}


async def after_a_second(server: Server, question: str) -> ChatResponse:
    await asyncio.sleep(1)
    return ANSWER


def failing(error: str, *, first: int, retry_after: float | None = None) -> Serve:
    """Return a server that fails the first so many attempts of every question, then answers it."""
    seen: Counter[str] = Counter()

    async def serve(server: Server, question: str) -> ChatResponse:
        await asyncio.sleep(1)
        seen[question] += 1
        if seen[question] <= first:
            raise ChatError(error, "mock", retry_after=retry_after)
        return ANSWER

    return serve


def test_nothing_is_opened_if_no_request_is_left() -> None:
    ledger, asked = Memory(), requests(5)
    Server(after_a_second).ask(asked, ledger)
    known = surveyed(asked, ledger)
    unopened = ask([], label="these", endpoint=None, ledger=ledger, tally=known, settings=settings())  # type: ignore[arg-type]
    assert simulated.run(unopened).answered == 5


def test_the_window_is_bounded_and_reached() -> None:
    server = Server(after_a_second)
    server.ask(requests(500), concurrency=50)
    assert server.peak == 50


def test_a_kill_costs_at_most_one_window() -> None:
    """All but one window of the requests that were sent are in the log."""

    class Log(Memory):
        written = 0

        def flush(self) -> None:
            self.written = len(self)

    ledger, most = Log(), 0

    async def serve(server: Server, question: str) -> ChatResponse:
        nonlocal most
        most = max(most, len(server.sent) - ledger.written)
        return await after_a_second(server, question)

    Server(serve).ask(requests(500), ledger, concurrency=50)
    assert most == 50


def test_rates_are_paced() -> None:
    server = Server(after_a_second)
    server.ask(requests(240), requests_per_minute=120)
    times = [at for at, _ in server.sent]
    assert times[-1] == pytest.approx(240 / 2, rel=0.02)
    server = Server(after_a_second)
    server.ask(requests(600), tokens_per_minute=6_000)  # 200 answers of 30 tokens, once their length is known
    assert server.sent[-1][0] == pytest.approx(600 / 200 * 60, rel=0.06)


def test_retries_and_fresh_requests_are_sent_side_by_side() -> None:
    server = Server(failing("server", first=1))
    answers = server.ask(requests(200), concurrency=4)
    assert all(not answer.error for answer in answers.values())
    place = {question: n for n, (_, question) in enumerate(server.sent)}  # of the last attempt
    assert place["q0"] < len(server.sent) / 2, "the first retry waited for all fresh requests"


def test_a_push_back_costs_no_attempt_and_retry_after_pauses_all_requests() -> None:
    first = True

    async def serve(server: Server, question: str) -> ChatResponse:
        nonlocal first
        await asyncio.sleep(1)
        if first:
            first = False
            raise ChatError("rate_limit", "mock", retry_after=30)
        return ANSWER

    server = Server(serve)
    assert not any(answer.error for answer in server.ask(requests(100), attempts=1).values())
    assert not [at for at, _ in server.sent if 1 < at < 31]


def test_a_pause_is_reported_while_it_lasts() -> None:
    reported: list[float] = []
    server = Server(failing("rate_limit", first=1, retry_after=30))
    server.ask(requests(1), on_progress=lambda tally: reported.append(tally.paused_s))
    assert max(reported) > 29 and sum(5 < left < 25 for left in reported) > 10 and reported[-1] < 1


def test_no_fresh_request_is_sent_while_all_attempts_fail() -> None:
    first: dict[str, float] = {}

    async def serve(server: Server, question: str) -> ChatResponse:
        now = asyncio.get_running_loop().time()
        first.setdefault(question, now)
        await asyncio.sleep(0.01)
        if now < 3:
            raise ChatError("server", "mock")
        return ANSWER

    answers = Server(serve).ask(requests(2000), concurrency=64, attempts=30)
    assert len(answers) == 2000 and not any(answer.error for answer in answers.values())
    assert sum(at < 3 for at in first.values()) <= 16 + 16, "the failures in a row, and the first window"


def test_the_number_of_requests_that_wait_for_a_retry_is_bounded() -> None:
    waiting, most = set[str](), 0

    async def serve(server: Server, question: str) -> ChatResponse:
        nonlocal most
        await asyncio.sleep(0.01)
        if question in waiting or int(question[1:]) % 8 == 0:  # so that there are answers in between
            waiting.discard(question)
            return ANSWER
        waiting.add(question)
        most = max(most, len(waiting))
        raise ChatError("server", "mock")

    answers = Server(serve).ask(requests(3000), concurrency=16)
    assert len(answers) == 3000 and 64 < most <= 4 * 16 + 64 + 16


class Bucket:
    """A server's own limiter: a token bucket that refills at `rate` per second and holds `burst`."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self._credit, self._last = rate, burst, burst, 0.0

    def take(self, count: float = 1.0) -> bool:
        now = asyncio.get_running_loop().time()
        self._credit = min(self.burst, self._credit + self.rate * (now - self._last))
        self._last = now
        if self._credit < count:
            return False
        self._credit -= count
        return True


def test_a_server_that_is_slower_than_the_timeout_is_asked_less() -> None:
    """The server also works on requests that timed out, and bills them."""
    slots, begun, work = asyncio.Semaphore(4), Counter[str](), set[asyncio.Task[None]]()

    async def answer(question: str) -> None:
        async with slots:
            begun[question] += 1
            await asyncio.sleep(0.5)

    async def serve(server: Server, question: str) -> ChatResponse:
        task = asyncio.create_task(answer(question))
        work.add(task)
        try:
            await asyncio.wait_for(asyncio.shield(task), 4)
        except TimeoutError:
            raise ChatError("timeout", "mock") from None
        return ANSWER

    server = Server(serve)
    answers = server.ask(requests(600), concurrency=256, attempts=4)
    assert not any(answer.error for answer in answers.values())
    assert begun.total() < 1.3 * 600
    times = [at for at, _ in server.sent]
    assert times[-1] < 1.4 * 600 / 8, "but not less than it can answer"


@pytest.mark.parametrize(
    ("rate", "latency_s", "burst_s", "sends_retry_after"),
    [(10, 1, 1, False), (10, 3, 0.5, True), (100, 0.05, 0.1, False), (100, 0.05, 1, True), (100, 2, 60, False)],
)
def test_a_limit_below_the_declared_one_is_found(
    rate: float, latency_s: float, burst_s: float, sends_retry_after: bool
) -> None:
    """The limit is declared 100 times too high, and halved midway. No request fails, few are pushed back, and the
    limit is used in full.
    """
    bucket, taken = Bucket(rate, max(1.0, rate * burst_s)), list[float]()

    async def serve(server: Server, question: str) -> ChatResponse:
        now = asyncio.get_running_loop().time()
        bucket.rate = rate if now < 90 else rate / 2
        await asyncio.sleep(0.01)
        if not bucket.take():
            raise ChatError("rate_limit", "mock", retry_after=1 / bucket.rate if sends_retry_after else None)
        taken.append(now)
        await asyncio.sleep(latency_s)
        return ANSWER

    server = Server(serve)
    count = int(rate * (120 + burst_s))
    answers = server.ask(requests(count), concurrency=1024, requests_per_minute=int(rate * 6000))
    assert not any(answer.error for answer in answers.values())
    for start, end, allowed in ((30 + 3 * latency_s, 90, rate), (120, taken[-1], rate / 2)):
        lately = sum(start <= at < end for at in taken)
        assert lately >= 0.95 * allowed * (end - start), (start, lately / (allowed * (end - start)))
    pushed_back = len(server.sent) - count
    assert pushed_back <= (0.02 if rate >= 100 else 0.06) * len(server.sent), pushed_back


def test_tokens_are_charged_as_the_server_charges_them() -> None:
    """The server charges all of max_tokens, never corrects it, and sends 429 without Retry-After."""
    bucket, headers = Bucket(1000.0, 5000.0), RateHeaders(tokens_limit=60_000)

    async def serve(server: Server, question: str) -> ChatResponse:
        if not bucket.take(1024 + 5):
            raise ChatError("rate_limit", "mock")
        await asyncio.sleep(1)
        return dataclasses.replace(ANSWER, rates=headers)

    server = Server(serve)
    server.ask(requests(600), tokens_per_minute=6_000_000)
    assert len(server.sent) <= 1.05 * 600
    assert server.sent[-1][0] <= 1.1 * 600 * 1029 / 1000


def test_a_server_that_queues_is_not_asked_more_than_it_can_answer() -> None:
    """The server answers 40 requests at once, each in 0.1 s; further ones queue there and raise the latency."""

    crowd: list[int] = []

    async def serve(server: Server, question: str) -> ChatResponse:
        crowd.append(server.in_flight)
        await asyncio.sleep(max(0.1, server.in_flight / 400))
        return ANSWER

    server = Server(serve)
    server.ask(requests(20_000), concurrency=1000)
    assert max(crowd) < 600 and max(crowd[4000:]) < 200
    assert server.sent[-1][0] <= 1.1 * 20_000 / 400


def test_a_request_that_never_works_is_a_typed_failure_and_is_asked_again_next_time() -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        if question == "q7":
            raise ChatError("server", "mock")
        return ANSWER

    server, ledger = Server(serve), Memory()
    asked = requests(100)
    answers = server.ask(asked, ledger, attempts=3)
    assert Counter(answer.error for answer in answers.values()) == {"": 99, "server": 1}
    assert [question for _, question in server.sent].count("q7") == 3
    assert len(ledger) == 99 and asked[7].key not in ledger


def refusing(error: str, *, answered: int) -> Serve:
    """Return a server that answers the first questions and refuses the others for good."""

    async def serve(server: Server, question: str) -> ChatResponse:
        if int(question[1:]) < answered:
            return ANSWER
        await asyncio.sleep(1)
        raise ChatError(error, "mock says no")

    return serve


@pytest.mark.parametrize(
    ("error", "answered", "kept"),
    [("content_filter", 1, 30), ("context_overflow", 1, 30), ("context_overflow", 0, 0), ("bad_request", 1, 1)],
)
def test_a_refusal_is_recorded_if_the_request_is_its_cause(error: str, answered: int, kept: int) -> None:
    server, ledger = Server(refusing(error, answered=answered)), Memory()
    answers = server.ask(requests(30), ledger)
    assert [answer.error for answer in answers.values()].count(error) == 30 - answered
    assert len(server.sent) == 30 and len(ledger) == kept


def test_refusals_before_the_first_answer_are_recorded_after_it() -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        if question in ("q1", "q2", "q3"):
            raise ChatError("content_filter", "mock")
        return await after_a_second(server, question)

    server, ledger = Server(serve), Memory()
    server.ask(requests(20), ledger)
    assert len(ledger) == 20 and [ledger[key].error for key in list(ledger)].count("content_filter") == 3
    server.ask(requests(20), ledger)
    assert len(server.sent) == 20, "no request is sent again"


def test_requests_that_azure_filters_are_billed(tmp_path: Path) -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        await asyncio.sleep(1)
        if int(question[1:]) % 2:
            raise ChatError("content_filter", "mock")
        return ANSWER

    price, asked = Price(input=0.0, output=1e6 / 1024), requests(100)
    for azure, spent in ((None, 50 * 20 / 1024), (Azure(api_version="1"), 50 * 20 / 1024 + 50)):
        budget = Budget(tmp_path / str(azure), 1000.0)
        Server(serve).ask(asked, price=price, budget=budget, azure=azure)
        assert budget.spent() == pytest.approx(spent, abs=0.001)


def test_an_endpoint_that_calls_every_request_bad_ends_the_run_and_is_asked_again() -> None:
    server, ledger, asked = Server(refusing("bad_request", answered=0)), Memory(), requests(1000)
    with pytest.raises(EndpointError, match="model m: bad_request: mock says no"):
        server.ask(asked, ledger)
    assert len(server.sent) == 16 and not ledger
    mended = Server(after_a_second)
    assert not any(answer.error for answer in mended.ask(asked, ledger).values())


def test_a_run_outlasts_an_outage_and_no_request_fails() -> None:
    """The server restarts, or is down for a minute."""

    async def serve(server: Server, question: str) -> ChatResponse:
        await asyncio.sleep(0.1)
        if 3 < asyncio.get_running_loop().time() < 100:
            raise ChatError("server", "mock")
        return ANSWER

    answers = Server(serve).ask(requests(1000), concurrency=16)
    assert not any(answer.error for answer in answers.values())


@pytest.mark.parametrize(("error", "attempts"), [("unreachable", 3), ("server", 3), ("timeout", 3)])
def test_an_endpoint_that_is_down_ends_the_run(error: str, attempts: int) -> None:
    server, messages = Server(failing(error, first=10**9)), list[dict[str, str]]()
    with pytest.raises(EndpointError, match=rf"http://mock/v1, model m: {error}"):
        server.ask(requests(1000), attempts=attempts, on_progress=lambda tally: messages.append(dict(tally.messages)))
    assert len(server.sent) < 200
    assert messages[-1] == {}  # the error repeats the message


def test_a_server_that_is_not_up_yet_is_waited_for() -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        if asyncio.get_running_loop().time() < 600:
            raise ChatError("unreachable", "mock")
        return ANSWER

    assert all(not answer.error for answer in Server(serve).ask(requests(100), ready_within_seconds=700).values())
    server = Server(serve)
    with pytest.raises(EndpointError, match="unreachable"):
        server.ask(requests(100), ready_within_seconds=60)
    assert 60 < server.sent[-1][0] < 600


def test_answers_in_flight_are_kept_when_a_key_is_refused() -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        await asyncio.sleep(1 if question == "q3" else 5)
        if question == "q3":
            raise ChatError("auth", "mock")
        return ANSWER

    server, ledger = Server(serve), Memory()
    with pytest.raises(EndpointError, match="environment variable MY_KEY") as caught:
        server.ask(requests(100), ledger, api_key_env="MY_KEY")
    assert caught.value.exit_code == 4
    assert len(server.sent) == 16 and len(ledger) == 15


def test_a_limit_that_never_opens_ends_the_run() -> None:
    with pytest.raises(EndpointError, match="rate_limit"):
        Server(failing("rate_limit", first=10**9)).ask(requests(10))
    server = Server(failing("rate_limit", first=1, retry_after=86_400))
    with pytest.raises(EndpointError, match="rate_limit"):
        server.ask(requests(10))
    assert server.sent[-1][0] == 0


@examples(max_examples=30, deadline=None)
@given(budget=st.floats(0.001, 0.3), seed=st.integers(0, 9))
def test_the_budget_is_never_exceeded(budget: float, seed: int) -> None:
    """Answers have random sizes, and some are billed and then lost. The cap holds for the server's bills."""
    price, chance, billed = Price(input=2.0, output=10.0), random.Random(seed), 0.0

    async def serve(server: Server, question: str) -> ChatResponse:
        nonlocal billed
        await asyncio.sleep(chance.uniform(0.1, 3))
        answer = ChatResponse(text="x", finish_reason="stop", input_tokens=5, output_tokens=chance.randint(1, 1024))
        billed += usd(price, input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
        if chance.random() < 0.2:
            raise ChatError("dropped", "mock")
        return answer

    server, ledger, asked = Server(serve), Memory(), requests(40)
    with tempfile.TemporaryDirectory() as folder:
        try:
            server.ask(asked, ledger, price=price, budget=Budget(Path(folder), budget))
        except EndpointError as error:
            assert f"budget of {dollars(budget)}" in error.message and "run again" in error.fix
            assert billed + asked[0].usd_bound(price) * 40 > budget
        else:
            assert len(ledger) == 40
        assert billed <= Budget(Path(folder), budget).spent() + 1e-9 <= budget + 2e-9


@pytest.mark.parametrize(("usages", "alone"), [([True], 1), ([False, False, True], 3), ([], 5)])
def test_with_a_budget_requests_go_one_at_a_time_until_a_usage_or_five_answers(
    tmp_path: Path, usages: list[bool], alone: int
) -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        await asyncio.sleep(1)
        has_usage = server.answered < len(usages) and usages[server.answered]
        return ANSWER if has_usage else ChatResponse(text="x", finish_reason="stop")

    server = Server(serve)
    server.ask(requests(20), price=Price(input=0.0, output=1.0), budget=Budget(tmp_path, 100.0))
    times = [at for at, _ in server.sent]
    assert times[1:alone] == pytest.approx(range(1, alone), abs=0.1), "each waits for the one before it"
    assert times[alone + 1] - times[alone] < 0.9


def test_a_spent_budget_reports_the_answers_and_the_cost_of_the_rest(tmp_path: Path) -> None:
    price, ledger, asked = (
        Price(input=0.0, output=1e6 / 20),
        Memory(),
        requests(60),
    )  # an answer costs 1 USD, at most 51.2
    with pytest.raises(EndpointError) as caught:
        Server(after_a_second).ask(asked, ledger, price=price, budget=Budget(tmp_path, 71.0))
    assert len(ledger) == 20 and caught.value.exit_code == 4
    assert caught.value.message.endswith(
        "the budget of 71.00 USD holds no further request: 20.00 USD spent; one more may cost up to 51.2 USD, "
        "51 are left; of `these` 20 of 60 requests are answered, the other 40 would cost about 40.00 USD"
    )
    again = Server(after_a_second)
    with pytest.raises(EndpointError, match="budget"):
        again.ask(asked, ledger, price=price, budget=Budget(tmp_path, 71.0))
    assert not again.sent
    assert caught.value.fix.startswith("raise `budget` by about 40.20 USD for `these` alone (`orcac cost` ")
    Server(after_a_second).ask(asked, ledger, price=price, budget=Budget(tmp_path, 111.2))
    assert len(ledger) == 60


def test_waiting_for_the_reservation_of_another_job_is_reported(tmp_path: Path) -> None:
    price, reported = Price(input=0.0, output=1e6 / 20), list[str]()
    with Budget(tmp_path, 60.0) as other:
        assert other.reserve(50.0)

        def show(tally: Tally) -> None:
            if "budget" in tally.messages and not reported:
                reported.append(tally.messages["budget"])
                other.settle(50.0, 0.0)
                other.may_recover()  # it gives back its claim

        mine = Budget(tmp_path, 60.0)
        assert len(Server(after_a_second).ask(requests(2), price=price, budget=mine, on_progress=show)) == 2
    assert reported == ["another job has reserved the rest of it; waiting for that job"]


def test_answers_from_the_ledger_do_not_count_against_the_budget(tmp_path: Path) -> None:
    price, ledger, asked = Price(input=0.0, output=1e6 / 20), Memory(), requests(60)
    Server(after_a_second).ask(asked[:50], ledger, price=price)
    Server(after_a_second).ask(asked, ledger, price=price, budget=Budget(tmp_path, 62.0))
    assert Budget(tmp_path, 62.0).spent() == 10.0


def test_a_budget_that_cannot_be_kept_ends_the_run_and_answers_in_flight_are_kept(tmp_path: Path) -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        if question == "q9":
            (tmp_path / "b" / "log").rename(tmp_path / "gone")
        await asyncio.sleep(1)
        return ANSWER

    server, ledger = Server(serve), Memory()
    with pytest.raises(StoreError, match="record of the budget"):
        server.ask(requests(500), ledger, price=Price(input=0.0, output=1.0), budget=Budget(tmp_path / "b", 0.2))
    assert 9 < len(ledger) == len(server.sent) < 500


def test_retry_after_pauses_every_job_on_the_account(tmp_path: Path) -> None:
    server = Server(failing("rate_limit", first=1, retry_after=0.2))
    server.ask(requests(1), account=Account(tmp_path, "a"))
    assert Account(tmp_path, "a").paused_until() > time.time() - 30
    server = Server(failing("rate_limit", first=1, retry_after=86_400))
    with pytest.raises(EndpointError, match="rate_limit"):
        server.ask(requests(1), account=Account(tmp_path, "b"))
    assert Account(tmp_path, "b").paused_until() < 0, "a job that starts later asks, and reports why it stops"


def test_answers_in_flight_are_kept_if_the_ledger_or_the_progress_report_fails() -> None:
    class Full(Memory):
        def append(self, request: ChatRequest, response: ChatResponse) -> asyncio.Future[None]:
            durable = super().append(request, response)
            if len(self) == 10:
                durable = asyncio.get_running_loop().create_future()
                durable.set_exception(StoreError("the disk is full"))
            return durable

    server, ledger = Server(after_a_second), Full()
    with pytest.raises(StoreError, match="the disk is full"):
        server.ask(requests(500), ledger)
    assert 10 < len(ledger) == len(server.sent) < 500

    def broken(tally: Tally) -> None:
        if tally.answered:
            raise BrokenPipeError

    server, ledger = Server(after_a_second), Memory()
    with pytest.raises(BrokenPipeError):
        server.ask(requests(500), ledger, on_progress=broken)
    assert 0 < len(ledger) == len(server.sent) < 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_answers_in_flight(number: signal.Signals) -> None:
    async def serve(server: Server, question: str) -> ChatResponse:
        if question == "q40":
            os.kill(os.getpid(), number)
        await asyncio.sleep(5)
        return ANSWER

    server, ledger, before = Server(serve), Memory(), signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        server.ask(requests(1000), ledger)
    assert 40 < len(server.sent) == len(ledger) < 200
    assert signal.getsignal(number) is before


def test_progress_is_reported_while_no_answer_arrives() -> None:
    async def after_a_minute(server: Server, question: str) -> ChatResponse:
        await asyncio.sleep(60)
        return ANSWER

    in_flight: list[int] = []
    Server(after_a_minute).ask(requests(3), on_progress=lambda tally: in_flight.append(tally.in_flight))
    assert in_flight.count(3) > 60


def test_the_last_progress_report_is_complete() -> None:
    tallies: list[Tally] = []

    async def go() -> None:
        server = Server(failing("server", first=1))
        endpoint, price = server.open(), Price(input=1e5, output=1e5)
        await ask(
            requests(3),
            label="these",
            endpoint=endpoint,
            ledger=Memory(),
            tally=Tally(total=3),
            settings=settings(price=price),
            on_progress=tallies.append,
        )

    simulated.run(go())
    last = tallies[-1]
    assert (last.total, last.answered, last.retried, last.failed) == (3, 3, {"server": 3}, {})
    assert last.messages == {"server": "mock"}
    assert last.usd == pytest.approx(3 * 30 / 10)
