"""Tests of orcac/collect/failed_groups.py and orcac/collect/unanswered.py: no condition is lost in silence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from faults import FaultServer
from hypothesis import given
from hypothesis import strategies as st
from jobs import collect_job, read_responses, write_prompts

from orcac.collect.failed_groups import GroupedFailures, _chance
from orcac.collect.run import run
from orcac.errors import EndpointError


def count(rows: list[tuple[int, str, str]]) -> GroupedFailures:
    """Count prompts given as (number of the system message, task, error); number 1 is the empty one."""
    failures = GroupedFailures()
    failures.add(
        systems=["" if number == 1 else f"message {number}" for number, _, _ in rows],
        numbers=[number for number, _, _ in rows],
        tasks=[task for _, task, _ in rows],
        errors=[error for _, _, error in rows],
    )
    return failures


def test_failures_that_go_with_a_group_name_it() -> None:
    refused = count([(2 + n % 2, "t", "bad_request") for n in range(14)] + [(1, "t", "")] * 26)
    assert [*map(str, refused.find(recorded=False))] == [
        "14 of 14 prompts with a system message failed, and of the others none"
    ]
    assert not refused.find(recorded=True)
    one = count([(3, "t", "server")] * 10 + [(2, "t", "")] * 10 + [(2, "t", "server")] + [(1, "t", "")] * 30)
    assert [*map(str, one.find(recorded=False))] == [
        "10 of 10 prompts of system message 3 failed, and of the others 1 of 41"
    ]
    slow = count([(1, "long", "timeout")] * 20 + [(1, "long", "")] * 80 + [(1, "short", "")] * 400)
    assert [group.is_grave for group in slow.find(recorded=False)] == [False], "it is printed, and ends no run"
    tasks = count([(1, "long", "context_overflow")] * 5 + [(1, "short", "")] * 20)
    assert str(tasks.find(recorded=True)[0]) == "5 of 5 prompts of task long failed, and of the others none"


def test_failures_that_chance_spreads_name_no_group() -> None:
    spread = count([(1 + n % 4, f"task {n % 7}", "server" if n % 10 == 0 else "") for n in range(400)])
    assert not spread.find(recorded=False)
    assert not count([(1, "a", "server"), (1, "b", "")]).find(recorded=False), "one failure goes with nothing"
    assert not count([(1, "t", "server")] * 3).find(recorded=False), "there is no other group"


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_the_chance_is_that_of_fishers_exact_test(prompts: int, others: int, data: st.DataObject) -> None:
    all_failed = data.draw(st.integers(0, prompts + others))
    failed = data.draw(st.integers(max(0, all_failed - others), min(prompts, all_failed)))
    ways = sum(
        math.comb(prompts, k) * math.comb(others, all_failed - k) for k in range(failed, min(prompts, all_failed) + 1)
    )
    right = ways / math.comb(prompts + others, all_failed)
    given_chance = _chance(prompts, failed, others, all_failed - failed)
    assert given_chance == pytest.approx(right, rel=1e-6)


def test_a_run_that_loses_all_prompts_with_a_system_message_fails_and_names_them(tmp_path: Path) -> None:
    """The server refuses them in words that no rule knows, and answers the others."""
    write_prompts(tmp_path, 40, systems=("", "Think first.", ""))
    with FaultServer(lambda question, before: "no system") as server:
        with pytest.raises(
            EndpointError, match="13 of 13 prompts with a system message failed, and of the oth"
        ) as caught:
            run(collect_job(tmp_path, server.base_url))
        assert "13 bad_request (HTTP 422: Extra" in caught.value.message and "`system_role`" in caught.value.fix
        assert server.billed.total() == 27 and not (tmp_path / "out" / "responses.parquet").exists()
    with FaultServer() as server:
        assert run(collect_job(tmp_path, server.base_url)).answered == 40
        assert server.asked.total() == 13, "the answers were kept"


def test_a_run_that_loses_a_task_for_good_names_it_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prompts(tmp_path, 20, tasks=("short", "long"))
    with FaultServer(lambda question, before: "400" if int(question[1:]) % 2 else "") as server:
        assert run(collect_job(tmp_path, server.base_url)).failed == {"context_overflow": 10}
    assert "child  10 of 10 prompts of task long failed, and of the others none\n" in capsys.readouterr().err
    assert sum(not row.error for row in read_responses(tmp_path)) == 10
