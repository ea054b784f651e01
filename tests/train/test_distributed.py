"""Tests of orcac/train/distributed.py and orcac/train/state.py: real training by two processes on a CPU, with DDP and
DeepSpeed ZeRO-2 and ZeRO-3, compared with one process."""

import dataclasses
import json
import signal
from pathlib import Path

import pytest
import torch
import train_child
from safetensors.torch import load_file

from orcac.errors import InputError, OrcacError
from orcac.train import distributed, launch
from orcac.train.checkpoints import find_newest, read_step
from orcac.train.distributed import Topology
from orcac.train.recipe import TrainRecipe
from orcac.train.run import run

RECIPE = TrainRecipe(seed=3, epochs=3, learning_rate=1e-2, schedule="cosine", batch_rows=4, weight_decay=0.1)
CARRY = RECIPE.model_copy(update={"optimizer": "carry", "epochs": 2, "seed": 4})
TWO = {"micro_batch_rows": 1, "processes": 2}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, inputs):
    """Return the artifact that one process makes of the stage."""
    job = train_child.job(tmp_path_factory.mktemp("alone"), *inputs, recipe=RECIPE, keep_optimizer=True)
    run(job)
    return job.out


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def steps_done(root):
    return len((root / "work" / "metrics.jsonl").read_text().splitlines())


def assert_close(out, other, name):
    one, two = load_file(out / name), load_file(other / name)
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        assert tensor.dtype == two[key].dtype and tensor.shape == two[key].shape
        assert float((tensor - two[key]).abs().max()) < 1e-4, key


def signal_rank(monkeypatch, *, rank, place, number):
    """Make the `rank` of the next stage send itself a signal at a place of its training."""
    child = [str(Path(__file__).with_name("rank_child.py")), str(rank), place, str(int(number))]

    def build_commands(*arguments, **options):
        found = launch.build_commands(*arguments, **options)
        return [dataclasses.replace(one, line=[one.line[0], *child, one.line[-1]]) for one in found]

    monkeypatch.setattr("orcac.train.run.build_commands", build_commands)


def test_zero_2_trains_as_one_process_does(tmp_path, inputs, alone):
    job = train_child.job(tmp_path, *inputs, recipe=RECIPE, **TWO, zero=2, keep_optimizer=True)
    assert run(job).processes == 2
    assert losses(job.out) == pytest.approx(losses(alone), abs=1e-4)
    assert losses(job.out)[-1] < losses(job.out)[0]
    assert_close(job.out, alone, "model/model.safetensors")
    assert_close(job.out, alone, "optimizer.safetensors")


def test_zero_3_killed_and_resumed_carries_on_the_state_of_one_process(tmp_path, inputs, alone, monkeypatch):
    reference = train_child.job(tmp_path / "alone", inputs[0], alone, recipe=CARRY)
    run(reference)
    with monkeypatch.context() as patched:
        signal_rank(patched, rank=1, place="fetch:8", number=signal.SIGKILL)
        with pytest.raises(OrcacError, match="rank 1 of 2 was ended by SIGKILL"):
            run(train_child.job(tmp_path, inputs[0], alone, recipe=CARRY, **TWO, zero=3))
    assert 0 < steps_done(tmp_path) < len(losses(reference.out)) and find_newest(tmp_path / "work")
    job = train_child.job(tmp_path, inputs[0], alone, recipe=CARRY, **TWO, zero=3)
    run(job)
    assert losses(job.out) == pytest.approx(losses(reference.out), abs=1e-4)
    assert_close(job.out, reference.out, "model/model.safetensors")


def test_ddp_saves_when_one_rank_gets_sigterm_and_one_process_goes_on(tmp_path, inputs, alone, monkeypatch):
    with monkeypatch.context() as patched:
        signal_rank(patched, rank=1, place="fetch:12", number=signal.SIGTERM)
        with pytest.raises(SystemExit) as stopped:
            run(train_child.job(tmp_path, *inputs, recipe=RECIPE, **TWO))
    assert stopped.value.code == 143
    assert 0 < steps_done(tmp_path) < len(losses(alone))
    assert read_step(find_newest(tmp_path / "work")) == steps_done(tmp_path)
    job = train_child.job(tmp_path, *inputs, recipe=RECIPE)
    run(job)
    assert losses(job.out) == pytest.approx(losses(alone), abs=1e-4)
    assert_close(job.out, alone, "model/model.safetensors")


@pytest.mark.parametrize(
    "execution, found, words",
    [
        # accelerate without a backend on a CPU: each rank is a group of one
        ({"processes": 2, "zero": 2}, Topology("DEEPSPEED", 1, "", "cpu"), "world_size is 1 instead of 2"),
        # ACCELERATE_USE_CPU in the environment: DeepSpeed is left out
        (
            {"processes": 2, "zero": 2},
            Topology("MULTI_CPU", 2, "gloo", "cpu"),
            "kind is MULTI_CPU instead of DEEPSPEED",
        ),
        # a launcher that starts one process
        ({"processes": 2}, Topology("NO", 1, "", "cpu"), "world_size is 1 instead of 2"),
        # torch that sees no GPU, and sharding that became averaging
        ({"gpus": 1}, Topology("NO", 1, "", "cpu"), "device is cpu instead of cuda"),
        ({"gpus": 2, "zero": 3}, Topology("MULTI_GPU", 2, "nccl", "cuda"), "kind is MULTI_GPU instead of DEEPSPEED"),
    ],
)
def test_a_group_that_is_less_than_the_stage_needs_is_refused(execution, found, words):
    stage = train_child.stage(**execution)
    distributed.check_topology(stage, distributed.plan_topology(stage))
    with pytest.raises(OrcacError, match=words):
        distributed.check_topology(stage, found)


def test_missing_gpus_and_a_model_that_is_not_sharded_are_refused():
    with pytest.raises(InputError, match=r"asks for 2 GPU\(s\) per machine, and torch finds 1"):
        distributed.check_gpus(train_child.stage(gpus=2), 1)
    plain = torch.nn.Linear(1, 1)
    distributed.check_engine(train_child.stage(), plain)
    with pytest.raises(OrcacError, match="trained by a DataParallel"):  # in a process that sees several GPUs
        distributed.check_engine(train_child.stage(), torch.nn.DataParallel(plain))
    for execution in ({"processes": 2}, {"processes": 2, "zero": 3}):
        with pytest.raises(OrcacError, match=f"ZeRO stage {execution.get('zero', 0)}\n"):
            distributed.check_engine(train_child.stage(**execution), plain)
