"""Tests of orcac/chat/limits/bounds.py and orcac/chat/survey.py: the server's bill stays within the budget."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from faults import FaultServer
from hypothesis import given
from hypothesis import strategies as st
from jobs import IN_FLIGHT, collect_job, write_prompts

from orcac.chat.limits.bounds import CostBounds
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import FREE, Price, Sampling
from orcac.collect.run import run
from orcac.errors import EndpointError

PRICE = Price(input=1.0, output=10.0)
REQUEST = ChatRequest(
    model="m", messages=conversation(system="", user="q"), sampling=Sampling(max_tokens=100), origin="api"
)


def bill(server: FaultServer) -> float:
    """Return the dollars that the server bills, by its own count."""
    bills = server.bills.values()
    return sum(one.input_tokens * PRICE.input + one.output_tokens * PRICE.output for one in bills) / 1e6


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2000)), max_size=6))
def test_a_bound_covers_twice_the_largest_excess_so_far(answers: list[tuple[int, int]]) -> None:
    bounds, fits = CostBounds(PRICE), REQUEST.usd_bound(PRICE)
    for read, written in answers:
        raised = bounds.learn(REQUEST, ChatResponse(text="x", input_tokens=read, output_tokens=written))
        assert bool(raised) == (bounds.usd(REQUEST) > fits + 1e-12)
        fits = bounds.usd(REQUEST)
    more_read = max([0, *(read - 17 for read, _ in answers)])
    more_written = max([0, *(written - 100 for _, written in answers)])
    expected = (17 + 2 * more_read) * 1.0 + (100 + 2 * more_written) * 10.0
    assert math.isclose(bounds.usd(REQUEST), expected / 1e6)
    assert bounds.is_known == (any(any(tokens) for tokens in answers) or len(answers) >= 5)


def test_a_server_without_usages_is_known_after_five_answers() -> None:
    bounds = CostBounds(PRICE)
    seen = [bounds.learn(REQUEST, ChatResponse(text="x")) or bounds.is_known for _ in range(6)]
    assert seen == [False] * 4 + [True] * 2


def test_a_failure_shows_nothing_and_a_free_model_needs_no_answer() -> None:
    bounds = CostBounds(PRICE)
    assert not bounds.learn(REQUEST, ChatResponse(error="context_overflow")) and not bounds.is_known
    assert CostBounds(FREE).is_known


@pytest.mark.parametrize("in_total", [False, True])
def test_hidden_reasoning_overshoots_a_budget_by_one_request_at_most(
    tmp_path: Path, in_total: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each answer has 900 to 1,800 tokens of reasoning beside its `max_tokens` of 1,024."""
    chance = random.Random(1)
    hidden = {f"q{n}": chance.randint(900, 1800) for n in range(60)}
    write_prompts(tmp_path, 60)
    with FaultServer(hidden_tokens=hidden.__getitem__, hidden_in_total=in_total) as server:
        job = collect_job(tmp_path, server.base_url, price=PRICE, budget_usd=0.3, budget_name="x")
        with pytest.raises(EndpointError, match=r"budget of 0\.3\S* USD"):
            run(job)
        assert 0.2 < bill(server) <= 0.3
    assert "more output tokens than `max_tokens`" in capsys.readouterr().err


def test_one_request_is_in_flight_until_the_first_answer_shows_how_the_server_counts(tmp_path: Path) -> None:
    """The first answer costs more than the whole budget."""
    write_prompts(tmp_path, 40)
    with FaultServer(hidden_tokens=lambda question: 9_000, hidden_in_total=False, latency_s=0.05) as server:
        with pytest.raises(EndpointError, match="holds no further request"):
            run(collect_job(tmp_path, server.base_url, price=PRICE, budget_usd=0.05, budget_name="x"))
        assert server.asked.total() == 1
        with pytest.raises(EndpointError, match="holds no further request"):
            run(collect_job(tmp_path, server.base_url, price=PRICE, budget_usd=0.3, budget_name="x"))
        assert server.asked.total() == 2, "the ledger shows it from the first request on"


def test_without_a_budget_no_request_waits_for_the_first_answer(tmp_path: Path) -> None:
    write_prompts(tmp_path, 40)
    with FaultServer(latency_s=0.1) as server:
        run(collect_job(tmp_path, server.base_url, price=PRICE))
        assert server.most_in_flight == IN_FLIGHT
