"""Tests of orcac/train/launch.py and orcac/train/stage.py as a table of command lines; no process is started."""

import sys
from pathlib import Path

import pytest
import train_child

from orcac.errors import InputError, OrcacError
from orcac.train.launch import build_commands, build_deepspeed_config, find_free_port, read_slurm_rank
from orcac.train.recipe import TrainRecipe

WORKER = [sys.executable, "-P", "-m", "orcac.train.worker", "/w/stage.json"]
SRUN = ["srun", "--mpi=none", "--kill-on-bad-exit=1", "--label", "--unbuffered"]


def stage(*, precision="fp32", **execution):
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1e-3, batch_rows=64, precision=precision)
    label = "$(reboot); `x`"  # any text of a spec
    return train_child.stage(recipe=recipe, label=label, **({"threads": 8} | execution))


def commands(stage, **environ):
    return build_commands(stage, Path("/w/stage.json"), port=20_001, environ=environ)


@pytest.mark.parametrize(
    "execution, in_process, ranks, threads",
    [
        ({}, True, 1, 8),
        ({"gpus": 1}, True, 1, 8),
        ({"gpus": 1, "zero": 2, "offload": True}, False, 1, 8),
        ({"processes": 2}, False, 2, 4),
        ({"processes": 16}, False, 16, 1),
        ({"gpus": 8, "zero": 3}, False, 8, 1),
    ],
)
def test_one_machine(execution, in_process, ranks, threads):
    trained = stage(**execution)
    assert (trained.is_in_process, trained.world_size) == (in_process, ranks)
    found = commands(trained)
    assert [command.rank for command in found] == list(range(ranks))
    for rank, command in enumerate(found):
        assert command.line == WORKER
        assert command.environment == {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "20001",
            "OMP_NUM_THREADS": str(threads),
        }


def test_deepspeed_on_cpus_gets_its_accelerator():
    (one, _) = commands(stage(processes=2, zero=2))
    assert one.environment["DS_ACCELERATOR"] == "cpu"


@pytest.mark.parametrize(
    "execution, geometry",
    [
        ({"nodes": 2}, ["--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8"]),
        ({"nodes": 2, "processes": 4}, ["--nodes=2", "--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=2"]),
        (
            {"nodes": 5, "gpus": 4, "zero": 3, "threads": 32},
            ["--nodes=5", "--ntasks=20", "--ntasks-per-node=4", "--cpus-per-task=8", "--gres=gpu:4"],
        ),
    ],
)
def test_several_machines(execution, geometry):
    (command,) = commands(stage(**execution), SLURM_JOB_ID="7")
    assert command.line == [*SRUN[:1], *geometry, *SRUN[1:], *WORKER]
    assert command.rank is None
    assert command.environment.keys().isdisjoint(
        {"RANK", "LOCAL_RANK", "MASTER_ADDR"}
    )  # these differ between srun's tasks
    with pytest.raises(InputError, match="this is not a Slurm job"):
        commands(stage(**execution))


def test_no_secret_and_no_text_of_a_spec_is_in_a_command():
    for trained in (stage(processes=2, gpu="$(reboot)"), stage(nodes=2)):
        for command in commands(trained, SLURM_JOB_ID="7", OPENAI_API_KEY="sk-secret"):
            words = [*command.line, *command.environment.values()]
            assert not any("reboot" in word or "secret" in word for word in words)


def test_a_rank_that_srun_started_reads_its_rank_read_slurm_rank():
    task = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.3", "ORCAC_HOST": "n1"}
    assert read_slurm_rank(task, "n2") == {"RANK": "5", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.3"}
    first = task | {"SLURM_PROCID": "0"}
    assert read_slurm_rank(first, "n1")["RANK"] == "0"
    with pytest.raises(OrcacError, match="rank 0 runs on n2, and srun was called on n1"):
        read_slurm_rank(first, "n2")


def test_the_configuration_of_deepspeed_agrees_with_the_stage():
    config = build_deepspeed_config(stage(gpus=4, nodes=2, zero=3, micro_batch_rows=2, precision="bf16"))
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]) == (2, 4)
    assert config["train_batch_size"] == 64
    assert config["bf16"]["enabled"] and config["data_types"]["grad_accum_dtype"] == "fp32"
    assert config["zero_optimization"]["stage"] == 3
    assert "offload_optimizer" not in config["zero_optimization"]
    offloaded = build_deepspeed_config(stage(gpus=1, zero=2, offload=True))["zero_optimization"]
    assert offloaded["offload_optimizer"] == {"device": "cpu", "pin_memory": True}


def test_ports_are_drawn_at_random():
    assert len({find_free_port() for _ in range(8)}) > 1
