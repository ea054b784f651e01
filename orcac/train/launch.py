"""The command lines that start a stage's training processes: one process per GPU, or the requested number on CPUs.

`build_commands` is a pure function from a stage to command lines and environments. On one machine it returns one
command per rank; on several machines one `srun`, which starts, labels, signals and ends the ranks itself. Each rank
finds in its environment the variables that `torchrun` and `accelerate launch` would set, so accelerate, DeepSpeed and
torch see nothing unusual.

Neither `accelerate launch` nor `torchrun` is used. Without GPUs the first silently starts a single process, so no test
without GPUs could cover the command line that GPUs get. The second gives its ranks half a minute after SIGTERM by
default, too short for a large model's checkpoint, and reports their failures in a traceback of its own.
`processes.py` does the little that is left: start, pass SIGTERM on, end all ranks when one fails.

A command line is a list of arguments, so no shell reads it. It names our module and one file; keys and other secrets
are inherited through the environment and are part of no command line.
"""

from __future__ import annotations

import dataclasses
import random
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from orcac.errors import InputError, OrcacError
from orcac.train.stage import StageJob

# The usual systems assign no outgoing connection a port of this range, so a free port stays free for the seconds
# until rank 0 listens on it.
_PORTS = range(15_000, 30_000)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to start."""

    line: list[str]
    environment: dict[str, str]  # added to ours
    rank: int | None = None  # None for an srun, which starts all ranks and labels their output


def build_commands(stage: StageJob, stage_file: Path, *, port: int, environ: Mapping[str, str]) -> list[Command]:
    """Return the commands that train `stage`, which `stage_file` holds as JSON; `environ` is our own environment.

    Raises InputError if the stage needs several machines and this is not a Slurm job.
    """
    worker = [sys.executable, "-P", "-m", "orcac.train.worker", str(stage_file)]
    shared = _build_shared_environment(stage, port)
    if stage.execution.nodes > 1:
        if "SLURM_JOB_ID" not in environ:
            raise InputError(
                f"the stage needs {stage.execution.nodes} machines, and this is not a Slurm job",
                fix="run it with --profile slurm, or set hardware.train.nodes to 1",
            )
        return [Command(line=[*_build_srun(stage), *worker], environment=shared)]
    shared["MASTER_ADDR"] = "127.0.0.1"
    return [
        Command(line=worker, environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, rank=rank)
        for rank in range(stage.world_size)
    ]


def _build_shared_environment(stage: StageJob, port: int) -> dict[str, str]:
    """Return the variables that are the same for every rank."""
    environment = {
        "WORLD_SIZE": str(stage.world_size),
        "LOCAL_WORLD_SIZE": str(stage.local_size),
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(stage.threads),
    }
    if stage.execution.zero and not stage.execution.gpus:
        environment["DS_ACCELERATOR"] = "cpu"
    return environment


def _build_srun(stage: StageJob) -> list[str]:
    """Return the `srun` prefix, with the full geometry: Snakemake hides nearly all of Slurm's variables from a job that
    it submits."""
    execution = stage.execution
    line = ["srun", f"--nodes={execution.nodes}", f"--ntasks={stage.world_size}"]
    line += [f"--ntasks-per-node={stage.local_size}", f"--cpus-per-task={stage.threads}"]
    if execution.gpus:
        line.append(f"--gres=gpu:{execution.gpus}")
    return [*line, "--mpi=none", "--kill-on-bad-exit=1", "--label", "--unbuffered"]


def read_slurm_rank(environ: Mapping[str, str], host: str) -> dict[str, str]:
    """Return RANK, LOCAL_RANK and MASTER_ADDR of a rank on `host` that srun started, from Slurm's variables.

    Rank 0 runs on a job's first machine. The job's script, and so srun, runs there as well; all tasks can reach srun's
    address, since they report to it. Raises OrcacError if rank 0 runs on another machine than srun.
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


def find_free_port() -> int:
    """Return a random free port, so that two stages which start at the same time take different ports."""
    while True:
        port = random.SystemRandom().choice(_PORTS)  # a seeded generator would draw the same port in both
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
        return port


def build_deepspeed_config(stage: StageJob) -> dict[str, object]:
    """Return DeepSpeed's whole configuration, since the values that Trainer and accelerate would fill in must agree.

    Gradients are summed in float32 whatever the dtype of the weights, as they are without DeepSpeed. The optimizer is
    torch's fused AdamW even if `offload` puts it on the CPU, because DeepSpeed's own would have to be compiled on each
    machine.
    """
    execution, recipe = stage.execution, stage.recipe
    zero: dict[str, object] = {
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
