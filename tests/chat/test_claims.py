"""Tests of orcac/chat/claims.py."""

from __future__ import annotations

import contextlib
import os
import shutil
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
from orcac.chat.ledger.keys import Keys
from orcac.chat.ledger.ledger import Ledger
from orcac.collect.run import run


def test_a_claim_keeps_other_jobs_from_its_questions_alone(tmp_path: Path) -> None:
    ours, theirs, apart = (np.array(keys, "S16") for keys in ([b"a", b"b"], [b"b", b"c"], [b"d"]))
    with Claims(tmp_path, print) as second, Claims(tmp_path, print) as third:
        with Claims(tmp_path, print) as first:
            assert first.take(ours) and not second.take(theirs) and third.take(apart)
        assert second.take(theirs)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_the_claim_of_a_job_that_was_killed_while_it_claimed_is_removed(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    with Claims(tmp_path, print) as claims:
        assert claims.take(np.array([b"a"], "S16"))
        assert not (tmp_path / "killed").exists()


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


def test_answers_recorded_while_a_job_compared_are_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with FaultServer() as server:
        jobs = []
        for name in ("other", "this"):
            (tmp_path / name).mkdir()
            write_prompts(tmp_path / name, 20)
            jobs.append(collect_job(tmp_path / name, server.base_url))
        other, this = jobs
        run(other)
        taken: list[int] = []

        def take(claims: Claims, keys: Keys) -> bool:
            """Refuse the first claim; before the second, the other job records its answers and ends."""
            taken.append(len(keys))
            if len(taken) == 2:
                shutil.copytree(other.answers, this.answers, dirs_exist_ok=True)
            return len(taken) > 1

        monkeypatch.setattr(Claims, "take", take)
        run(this)
        assert taken == [20, 20] and server.billed.total() == 20


def lag_listings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Show the first listing of `folder` again and again until this process makes a file there, as a NFS client may."""
    scan, open_file, shown = os.scandir, os.open, dict[str, set[str]]()

    class Listing(list[os.DirEntry[str]]):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def scandir(path: str | Path | int = ".") -> Listing:
        entries = list(scan(path))
        names = {entry.name for entry in entries}
        names = shown.setdefault("names", names) if str(path) == str(folder) else names
        return Listing(entry for entry in entries if entry.name in names)

    def open_and_note(path: str | Path, flags: int, *more: int, **options: int) -> int:
        if flags & os.O_CREAT and Path(path).parent == folder:
            shown.clear()
        return open_file(path, flags, *more, **options)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "open", open_and_note)


def test_answers_of_another_host_that_listings_show_late_are_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    write_prompts(tmp_path, 20)
    with FaultServer() as server:
        job = collect_job(tmp_path, server.base_url)
        job.answers.mkdir(parents=True)
        lag_listings(monkeypatch, job.answers)
        Ledger(job.answers).close()  # lists the folder while it is empty
        child = Path(__file__).with_name("child.py")
        subprocess.run([sys.executable, child, tmp_path, server.base_url], check=True, stderr=subprocess.DEVNULL)
        assert server.billed.total() == 20
        with contextlib.closing(Ledger(job.answers)) as ledger:
            assert not len(ledger.entries), "the listing lags"
        run(job)
        assert server.billed.total() == 20
