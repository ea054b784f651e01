"""Tests of orcac/devices.py: jobs side by side hold different GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orcac.devices import count_cores, find_gpus, hold_gpus

VISIBLE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)


def test_the_gpus_are_those_of_the_environment_or_the_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert find_gpus(tmp_path) == ["0", "1"]
    monkeypatch.setenv(VISIBLE, "2, GPU-ab/cd")
    assert find_gpus(tmp_path) == ["2", "GPU-ab/cd"]
    monkeypatch.setenv(VISIBLE, "")
    assert find_gpus(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_only_the_cores_that_this_process_may_use_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_each_job_sees_only_the_gpus_that_no_other_job_holds(tmp_path: Path) -> None:
    with hold_gpus(1, gpus=["0", "1", "MIG/2"], folder=tmp_path / "locks"):
        assert os.environ[VISIBLE] == "0"
        with hold_gpus(2, gpus=["0", "1", "MIG/2"], folder=tmp_path / "locks"):
            assert os.environ[VISIBLE] == "1,MIG/2"
        assert os.environ[VISIBLE] == "0"
    assert VISIBLE not in os.environ


@pytest.mark.parametrize(("count", "gpus"), [(0, ["0", "1"]), (2, ["4", "5"]), (1, []), (3, ["0"])])
def test_a_job_that_needs_none_or_all_sees_what_it_saw(tmp_path: Path, count: int, gpus: list[str]) -> None:
    with hold_gpus(count, gpus=gpus, folder=tmp_path / "locks"):
        assert VISIBLE not in os.environ
    assert not (tmp_path / "locks").exists()


HOLDER = """
import sys
from pathlib import Path
from orcac.devices import hold_gpus
with hold_gpus(1, gpus=["0", "1"], folder=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_job_waits_for_a_gpu_and_gets_it_when_its_holder_is_killed(tmp_path: Path) -> None:
    line = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with hold_gpus(1, gpus=["0", "1"], folder=tmp_path):
            assert os.environ[VISIBLE] == "1"
            with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
                assert waiting.stdout
                os.set_blocking(waiting.stdout.fileno(), False)
                time.sleep(1)
                assert waiting.stdout.read() is None, "it holds a GPU that another job holds"
                holder.kill()
                os.set_blocking(waiting.stdout.fileno(), True)
                assert waiting.stdout.readline() == b"held\n"
                waiting.kill()
