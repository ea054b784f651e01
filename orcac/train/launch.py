"""What is started to train a stage: one process a GPU (or as many as asked, on CPUs), each told its rank.

`commands` is a pure function from a stage to command lines and environments. On one machine it gives a line for each
rank; on several one `srun`, which starts, labels, signals and ends the ranks itself. A rank finds in its environment
what `torchrun` and `accelerate launch` would put there, so accelerate, DeepSpeed and torch see nothing unusual.

There is no `accelerate launch` or `torchrun` in between. The first starts a single process, silently, where there is
no GPU, so no test without GPUs could see the line that GPUs get; the second gives its ranks half a minute after
SIGTERM unless told otherwise, in which a large model's checkpoint does not fit, and tells what happened to them in a
traceback of its own. `processes.py` does the little that is left: start, hand SIGTERM on, end all when one ends badly.

A command line is a list of arguments and no shell reads it. It names our module and one file; keys and whatever else
the environment holds are inherited and stand in no line.
"""

from __future__ import annotations

import dataclasses
import random
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orcac.errors import InputError, OrcacError
from orcac.train.stage import Stage

# Ports that no outgoing connection is given on the usual systems, so that one which is free stays so for the seconds
# until rank 0 listens on it.
_PORTS = range(15_000, 30_000)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    line: list[str]
    environment: dict[str, str]  # besides ours
    rank: int | None = None  # None: all of them, whose lines srun labels


def commands(stage: Stage, told: Path, *, port: int, environ: Mapping[str, str]) -> list[Command]:
    """What to start for a stage that is written to `told`; `environ` is ours. Raises InputError without Slurm."""
    worker = [sys.executable, "-m", "orcac.train.worker", str(told)]
    shared = _shared(stage, port)
    if stage.execution.nodes > 1:
        if "SLURM_JOB_ID" not in environ:
            raise InputError(
                f"{stage.execution.nodes} machines are asked for, and this is no Slurm job",
                fix="run it with --profile slurm, or set hardware.train.nodes to 1",
            )
        return [Command(line=[*_srun(stage), *worker], environment=shared)]
    shared["MASTER_ADDR"] = "127.0.0.1"
    return [
        Command(line=worker, environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, rank=rank)
        for rank in range(stage.world_size)
    ]


def _shared(stage: Stage, port: int) -> dict[str, str]:
    """What every rank is told alike."""
    environment = {
        "WORLD_SIZE": str(stage.world_size),
        "LOCAL_WORLD_SIZE": str(stage.local_size),
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(stage.threads),
    }
    if stage.execution.zero and not stage.execution.gpus:
        environment["DS_ACCELERATOR"] = "cpu"
    return environment


def _srun(stage: Stage) -> list[str]:
    """The geometry is said in full: a job that Snakemake submitted hides nearly all of Slurm's variables from us."""
    execution = stage.execution
    line = ["srun", f"--nodes={execution.nodes}", f"--ntasks={stage.world_size}"]
    line += [f"--ntasks-per-node={stage.local_size}", f"--cpus-per-task={stage.threads}"]
    if execution.gpus:
        line.append(f"--gres=gpu:{execution.gpus}")
    return [*line, "--mpi=none", "--kill-on-bad-exit=1", "--label", "--unbuffered"]


def from_slurm(environ: Mapping[str, str], host: str) -> dict[str, str]:
    """What a rank that srun started lacks: its ranks, and where rank 0 is.

    Rank 0 runs on a job's first machine, where the job's script, and so srun, runs too; srun's address is one that
    all tasks can reach, since they report to it. Raises OrcacError where rank 0 (on `host`) is elsewhere.
    """
    if environ["SLURM_PROCID"] == "0" and environ.get("ORCAC_HOST", host) != host:
        raise OrcacError(
            f"rank 0 runs on {host}, and srun was called on {environ['ORCAC_HOST']}",
            fix="run `orcac make` in a batch job (sbatch), not beside the job",
        )
    return {
        "RANK": environ["SLURM_PROCID"],
        "LOCAL_RANK": environ["SLURM_LOCALID"],
        "MASTER_ADDR": environ["SLURM_LAUNCH_NODE_IPADDR"],
    }


def free_port() -> int:
    """A port that nobody listens on here, by chance, so that two stages which start at once take different ones."""
    while True:
        port = random.SystemRandom().choice(_PORTS)  # a seeded generator would draw alike in both
        with socket.socket() as one:
            try:
                one.bind(("", port))
            except OSError:
                continue
        return port


def deepspeed_config(stage: Stage) -> dict[str, Any]:
    """DeepSpeed's configuration, all of it said here: what Trainer and accelerate fill in by themselves must agree.

    Gradients are added up in float32 whatever the weights are, as they are without DeepSpeed. The optimizer is torch's
    AdamW, fused, also where `offload` puts it on the CPU: DeepSpeed's own would have to be compiled on each machine.
    """
    execution, recipe = stage.execution, stage.recipe
    zero: dict[str, Any] = {
        "stage": execution.zero,
        "overlap_comm": execution.gpus > 0,
        "contiguous_gradients": True,
    }
    if execution.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": execution.gpus > 0}
    return {
        "train_micro_batch_size_per_gpu": execution.micro_batch_rows,
        "gradient_accumulation_steps": stage.accumulation,
        "train_batch_size": recipe.batch_rows,
        "gradient_clipping": recipe.max_grad_norm,
        "bf16": {"enabled": recipe.precision == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
    }
