"""The group that a stage's processes form, and checks that it is the one that the stage needs.

torch.distributed, accelerate and DeepSpeed each go on silently with less than they were asked for: accelerate without a
backend on a CPU takes each rank for a group of one, and leaves DeepSpeed out under ACCELERATE_USE_CPU; a launcher
starts one process instead of two; a missing GPU becomes a CPU. Every rank would train on, alone or at a fraction of the
speed. So `join_group` forms the group itself and ignores accelerate's variables in the environment (one of them would
change the precision, and so the trained weights), and `check_topology` and `check_engine` compare the result with the
stage.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import torch

from orcac.errors import MachineError, OrcacError
from orcac.train.stage import StageJob

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState


class Topology(NamedTuple):
    """The kind and size of a group of processes, in the terms of accelerate and torch."""

    kind: str  # NO, MULTI_CPU, MULTI_GPU, DEEPSPEED
    world_size: int
    backend: str  # gloo, nccl; "" for a single process
    device: str  # cpu, cuda


def plan_topology(stage: StageJob) -> Topology:
    """Return the topology that a stage needs."""
    device = "cuda" if stage.execution.gpus else "cpu"
    backend = "nccl" if stage.execution.gpus else "gloo"
    if stage.is_in_process:
        return Topology("NO", 1, "", device)
    if stage.execution.zero:
        return Topology("DEEPSPEED", stage.world_size, backend, device)
    return Topology("MULTI_GPU" if stage.execution.gpus else "MULTI_CPU", stage.world_size, backend, device)


def read_topology(state: PartialState | Accelerator) -> Topology:
    """Return the topology that accelerate formed; `state` is its PartialState, or a Trainer's accelerator."""
    return Topology(
        str(state.distributed_type).removeprefix("DistributedType."),
        state.num_processes,
        torch.distributed.get_backend() if torch.distributed.is_initialized() else "",
        state.device.type,
    )


def join_group(stage: StageJob) -> None:
    """Join the other ranks of the stage, which RANK and the like in the environment describe. A stage of one process
    joins no group.

    Raises MachineError if GPUs are missing, OrcacError if the group is not the one that the stage needs.
    """
    check_gpus(stage, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]
    if stage.is_in_process:
        return
    from accelerate import PartialState

    planned = plan_topology(stage)
    if stage.execution.zero:
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        _disable_compiled_ops()
        _forbid_pickles()
    check_topology(stage, read_topology(PartialState(cpu=planned.kind == "MULTI_CPU", backend=planned.backend)))


def _disable_compiled_ops() -> None:
    """Keep DeepSpeed from compiling, for a minute, an all-reduce in a CPU's shared memory that only inference uses."""
    import deepspeed

    deepspeed.ops.__compatible_ops__ = {}


def _forbid_pickles() -> None:
    """Restrict torch.load to data and the three types of DeepSpeed's checkpoints: unpickling them could run code."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # overrides the argument of a caller
    torch.serialization.add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])


def check_gpus(stage: StageJob, found: int) -> None:
    """Raise MachineError if `found`, the number of GPUs on this machine, is lower than the stage needs."""
    if found < stage.execution.gpus:
        raise MachineError(
            f"hardware.train asks for {stage.execution.gpus} GPU(s) per machine, and torch finds {found} here",
            fix="run on a machine that has them, with a torch that can use them, or lower hardware.train.gpus",
        )


def check_topology(stage: StageJob, found: Topology) -> None:
    """Raise OrcacError if the processes do not form the group that the stage needs."""
    planned = plan_topology(stage)
    if found != planned:
        differences = ", ".join(
            f"{name} is {actual or 'none'} instead of {needed or 'none'}"
            for name, actual, needed in zip(Topology._fields, found, planned, strict=True)
            if actual != needed
        )
        raise OrcacError(
            f"the processes do not form the group that the stage needs: {differences}",
            fix="unset RANK, LOCAL_RANK and WORLD_SIZE in the environment, and let orcac start the processes",
        )


def check_engine(stage: StageJob, model: torch.nn.Module) -> None:
    """Raise OrcacError if `model`, as wrapped for training, is not sharded and averaged as the stage needs."""
    found = read_zero_stage(model)
    averaging = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    is_averaged = found > 0 or isinstance(model, averaging)
    if found != stage.execution.zero or is_averaged != (not stage.is_in_process):
        raise OrcacError(
            f"the model is trained by a {type(model).__name__} of ZeRO stage {found}, "
            f"but the stage needs {stage.world_size} processes and ZeRO stage {stage.execution.zero}",
            fix="report this as a bug, with the versions of torch, accelerate and deepspeed",
        )


def read_zero_stage(model: torch.nn.Module) -> int:
    """Return DeepSpeed's ZeRO stage of a model as it is wrapped for training; 0 without DeepSpeed."""
    return int(model.zero_optimization_stage()) if hasattr(model, "zero_optimization_stage") else 0


def is_first() -> bool:
    """Return whether this is rank 0, the one that writes files and prints."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def barrier() -> None:
    """Return once all ranks have called this."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def any_rank(flag: bool) -> bool:
    """Return whether `flag` is true in at least one rank. All ranks call this together."""
    if not torch.distributed.is_initialized():
        return flag
    device = torch.device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    found = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return bool(found.item())


def add_up(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the sum of `values` over all ranks, on the CPU. All ranks call this together, from `device`."""
    if not torch.distributed.is_initialized():
        return values
    total = values.to(device)
    torch.distributed.all_reduce(total)
    return total.cpu()
