"""Tests of orcac/train/checkpoints.py: stages that are killed, terminated or refused by the disk."""

import dataclasses
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import train_child
from train_child import read_contents

from orcac.errors import InputError
from orcac.train.checkpoints import check_resumable, delete_unusable, read_step
from orcac.train.data import PackedRows
from orcac.train.run import describe_stage, run
from orcac.train.worker import train


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


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, inputs, uninterrupted, capsys):
    job = train_child.job(tmp_path, *inputs)
    train(describe_stage(job), max_saving_share=1.0)  # a checkpoint after every step
    shutil.rmtree(job.out)
    newest, before = sorted((tmp_path / "work").glob("checkpoint-*"), key=read_step, reverse=True)
    content = bytearray((newest / "optimizer.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "optimizer.pt").write_bytes(content)
    job = train_child.job(tmp_path, *inputs)
    run(job)
    words = (
        f"{newest.name} is damaged (optimizer.pt has changed): it is deleted, and the stage goes on from {before.name}"
    )
    assert words in capsys.readouterr().err
    assert read_contents(job.out) == read_contents(uninterrupted[0].out)


@pytest.mark.parametrize(
    "marker, reason",
    [
        ('{"world_size": 1, "zero": 0}', ""),  # of a version that wrote no digests
        ('{"world_size": 1, "zero": 0, "files": {"weights": "%s"}}', ""),
        ('{"world_size": 1, "zero": 0, "files": {"weights": "abc"}}', "weights has changed"),
        ('{"world_size": 1, "zero": 0, "files": {"gone": "abc"}}', "gone is missing"),
        ('{"world_size": 1', "complete is not JSON"),
        ("7", "complete is not JSON"),
    ],
)
def test_a_checkpoint_is_used_if_its_files_are_those_of_its_marker(tmp_path, capsys, marker, reason):
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    (folder / "weights").write_text("w")
    (folder / "complete").write_text(marker.replace("%s", hashlib.sha256(b"w").hexdigest()))
    delete_unusable(tmp_path, label="train a")
    assert folder.exists() == (not reason)
    words = f"train a  checkpoint-3 is damaged ({reason}): it is deleted, and the stage begins anew\n"
    assert capsys.readouterr().err == (words if reason else "")
    if not reason:
        check_resumable(folder, train_child.stage())


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
