"""Tests of orcac/train/checkpoints.py: stages that are killed, terminated or refused by the disk."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import train_child
from train_child import read_contents

from orcac.errors import InputError
from orcac.train.checkpoints import check_resumable
from orcac.train.data import PackedRows
from orcac.train.run import run


def drop_measurements(summary):
    """Return the summary without the figures in which two equal runs may differ."""
    return dataclasses.replace(summary, tokens_per_second=None, mfu=None, peak_gib=None)


def test_killed_anywhere_and_resumed_ends_with_the_same_bits(tmp_path, inputs, uninterrupted):
    epoch = uninterrupted[1].steps // 8
    # between an epoch's last step and its checkpoint, at an epoch's first row, in the middle of a checkpoint, before
    # its marker
    places = [f"log:{2 * epoch}", f"fetch:{3 * 3 * epoch + 1}", "save:10", "mark:2"]
    command = [sys.executable, train_child.__file__, *map(str, (tmp_path, *inputs)), *places]
    child = subprocess.run(command, capture_output=True, check=False)
    assert child.returncode == 0, child.stderr.decode()
    for place in places:
        assert read_contents(tmp_path / place / "out1") == read_contents(uninterrupted[0].out), place


def test_terminated_saves_and_resumes_with_the_same_bits(tmp_path, inputs, uninterrupted, monkeypatch):
    monkeypatch.setattr(PackedRows, "collate", PackedRows.collate)  # restores it at the end
    synced, sync = [], os.fsync

    def fsync(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    train_child.signal_at_call("fetch", 50, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run(train_child.job(tmp_path, *inputs))
    assert stopped.value.code == 143
    done = len((tmp_path / "work" / "metrics.jsonl").read_text().splitlines())
    checkpoint = tmp_path / "work" / f"checkpoint-{done}"
    assert (checkpoint / "complete").exists()
    (marked,) = [index for index, path in enumerate(synced) if path.match(f"{checkpoint}/complete.*")]
    files = {path for path in checkpoint.iterdir() if path.name != "complete"}
    assert {tmp_path / "work" / "metrics.jsonl", *files} <= set(synced[:marked])
    job = train_child.job(tmp_path, *inputs)
    assert drop_measurements(run(job)) == drop_measurements(uninterrupted[1])
    assert read_contents(job.out) == read_contents(uninterrupted[0].out)
    assert 10 < done < 20 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_checkpoint_beyond_the_disks_limit_raises_os_error(tmp_path, inputs):
    with tiny.small_files(50_000), pytest.raises(OSError) as refused:  # the weights fit, the optimizer does not
        run(train_child.job(tmp_path, *inputs))
    assert refused.value.errno == errno.EFBIG


def test_a_checkpoint_of_another_layout_is_refused(tmp_path):
    (tmp_path / "complete").write_text('{"world_size": 2, "zero": 0}')
    check_resumable(tmp_path, train_child.stage(processes=1))  # each process has the whole model
    with pytest.raises(InputError, match="2 processes under ZeRO-0 cannot be resumed by 2 processes under ZeRO-2"):
        check_resumable(tmp_path, train_child.stage(processes=2, zero=2))
    (tmp_path / "complete").write_text('{"world_size": 2, "zero": 2}')
    check_resumable(tmp_path, train_child.stage(processes=2, zero=2))
    with pytest.raises(InputError, match="4 processes"):
        check_resumable(tmp_path, train_child.stage(processes=4, zero=2))
