"""Tests of orcac/chat/claims.py."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from faults import FaultServer
from jobs import IN_FLIGHT, collect_job, read_responses, write_prompts
from patience import PATIENCE_S

from orcac.chat.claims import Claims
from orcac.collect.run import run


def test_a_claim_keeps_other_jobs_from_its_questions_alone(tmp_path: Path) -> None:
    ours, theirs, apart = (np.array(keys, "S16") for keys in ([b"a", b"b"], [b"b", b"c"], [b"d"]))
    with Claims(tmp_path, print) as second, Claims(tmp_path, print) as third:
        with Claims(tmp_path, print) as first:
            assert first.take(ours) and not second.take(theirs) and third.take(apart)
        assert second.take(theirs)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("is_killed", [False, True])
def test_two_jobs_at_once_pay_for_a_common_question_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    count = 600
    write_prompts(tmp_path, count)
    child = Path(__file__).with_name("child.py")
    with FaultServer(latency_s=0.02) as server:
        other = subprocess.Popen([sys.executable, child, tmp_path, server.base_url], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not server.billed.total():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if is_killed:
            server.is_held = True  # so that the other job cannot end before

            def kill() -> None:
                other.kill()
                server.is_held = False

            threading.Timer(0.1, kill).start()
        run(collect_job(tmp_path, server.base_url))
        assert (other.wait() != 0) == is_killed
        assert server.billed.total() <= count + (IN_FLIGHT if is_killed else 0)
    assert len(read_responses(tmp_path)) == count
