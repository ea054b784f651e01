"""A stage with an adapter that is killed and stopped, for the tests of all kinds of adapters."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest
import train_child
from train_child import read_contents

from orcac.train.data import PackedRows
from orcac.train.run import run


def check_same_bits(tmp_path, inputs, job, monkeypatch):
    """Check that the stage of `job`, killed at two places or terminated once, ends with the files that `job` left."""
    places = ["log:5", "save:10"]
    command = [sys.executable, train_child.__file__, *map(str, (tmp_path, *inputs)), *places]
    environment = {"ORCAC_TEST_RECIPE": job.recipe.model_dump_json()}
    child = subprocess.run(command, capture_output=True, check=False, env=os.environ | environment)
    assert child.returncode == 0, child.stderr.decode()
    for place in places:
        made = read_contents(tmp_path / place / "out1")
        assert "adapter/adapter_model.safetensors" in made
        for name, content in made.items():
            assert content == (job.out / name).read_bytes(), (place, name)
    monkeypatch.setattr(PackedRows, "collate", PackedRows.collate)  # restores it at the end
    train_child.signal_at_call("fetch", 20, signal.SIGTERM)
    for stopped in (True, False):
        again = train_child.job(tmp_path / "term", *inputs, recipe=job.recipe, keep_optimizer=True)
        with pytest.raises(SystemExit) if stopped else contextlib.nullcontext():
            run(again)
    assert read_contents(again.out) == read_contents(job.out)
