"""What a rank asks of torch.distributed, accelerate and DeepSpeed, and holds them to.

Each of the three goes on quietly with less than it was asked for: accelerate without a backend on a CPU believes that
each rank is alone, with ACCELERATE_USE_CPU it leaves DeepSpeed out, a launcher starts one process where two were
wanted, a GPU that is not there becomes a CPU. Every rank would train on, alone or at a fraction of the speed. So
`join` forms the group itself, whatever accelerate's variables in the environment say (one of them would change the
precision, and so what is made), and `check_group` and `check_engine` compare what came of it with the stage.

Weights and AdamW's state leave a stage as safetensors, gathered one parameter at a time: ZeRO's pieces and a whole
copy are never in memory together. With DeepSpeed what is saved is the float32 master copy, as without it; and a stage
starts from the float32 weights too (`master_weights`), where DeepSpeed would begin with those that it rounded to bf16.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open

from orcac.errors import InputError, OrcacError
from orcac.train.stage import Stage
from orcac.train.tensorfile import TensorFile

_MOMENTS = ("exp_avg", "exp_avg_sq")
_SHARD = 5 << 30  # bytes a file of weights


class Group(NamedTuple):
    """What the processes of a stage are to each other; values as accelerate and torch name them."""

    kind: str  # NO, MULTI_CPU, MULTI_GPU, DEEPSPEED
    world_size: int
    backend: str  # "" for a process alone
    device: str  # cpu, cuda


def wanted(stage: Stage) -> Group:
    """The group that a stage asks for."""
    device = "cuda" if stage.execution.gpus else "cpu"
    backend = "nccl" if stage.execution.gpus else "gloo"
    if stage.in_place:
        return Group("NO", 1, "", device)
    if stage.execution.zero:
        return Group("DEEPSPEED", stage.world_size, backend, device)
    return Group("MULTI_GPU" if stage.execution.gpus else "MULTI_CPU", stage.world_size, backend, device)


def join(stage: Stage) -> None:
    """Find the other ranks of the stage; RANK and the like are in the environment. A stage in one process is alone.

    Raises InputError where GPUs are missing, OrcacError where another group comes of it than was asked for.
    """
    check_gpus(stage, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]
    if stage.in_place:
        return
    from accelerate import PartialState

    group = wanted(stage)
    if stage.execution.zero:
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        _compile_nothing()
        _unpickle_nothing()
    check_group(stage, group_of(PartialState(cpu=group.kind == "MULTI_CPU", backend=group.backend)))


def _compile_nothing() -> None:
    """On a CPU DeepSpeed compiles an all-reduce through shared memory, for a minute, which inference alone uses."""
    import deepspeed

    deepspeed.ops.__compatible_ops__ = {}


def _unpickle_nothing() -> None:
    """DeepSpeed would let its checkpoints run what they say; torch is told to build data and these types alone."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # stronger than what a caller asks for
    torch.serialization.add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])


def check_gpus(stage: Stage, found: int) -> None:
    """Raise InputError where this machine has fewer GPUs than the stage asks it for."""
    if found < stage.execution.gpus:
        raise InputError(
            f"hardware.train asks for {stage.execution.gpus} GPU(s) a machine, and torch finds {found} here",
            fix="run on a machine that has them, with a torch that can use them, or lower hardware.train.gpus",
        )


def group_of(state: Any) -> Group:
    """What this process is part of, as accelerate has it: its PartialState, or a Trainer's accelerator."""
    return Group(
        str(state.distributed_type).removeprefix("DistributedType."),
        state.num_processes,
        torch.distributed.get_backend() if torch.distributed.is_initialized() else "",
        state.device.type,
    )


def check_group(stage: Stage, found: Group) -> None:
    """Raise OrcacError where the processes do not form the group that the stage asks for."""
    asked = wanted(stage)
    if found != asked:
        differs = ", ".join(
            f"{name} {is_now or 'none'} where {should_be or 'none'} was asked for"
            for name, is_now, should_be in zip(Group._fields, found, asked, strict=True)
            if is_now != should_be
        )
        raise OrcacError(
            f"training would not run as the stage says: {differs}",
            fix="unset RANK, LOCAL_RANK and WORLD_SIZE in the environment, and let orcac start the processes",
        )


def check_engine(stage: Stage, model: Any) -> None:
    """Raise OrcacError where the model, as wrapped for training, is not sharded and averaged as the stage says."""
    found = zero_stage(model)
    spread = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    averaged = found > 0 or isinstance(model, spread)
    if found != stage.execution.zero or averaged != (not stage.in_place):
        raise OrcacError(
            f"the model is trained by a {type(model).__name__} of ZeRO stage {found} "
            f"where {stage.world_size} processes and ZeRO stage {stage.execution.zero} were asked for",
            fix="report this as a bug, with the versions of torch, accelerate and deepspeed",
        )


def zero_stage(model: Any) -> int:
    """DeepSpeed's ZeRO stage of a model as it is wrapped for training; 0 without DeepSpeed."""
    return int(model.zero_optimization_stage()) if hasattr(model, "zero_optimization_stage") else 0


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def barrier() -> None:
    """Return once all processes are here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def any_of(flag: bool) -> bool:
    """Whether `flag` is true in any process; all of them must ask."""
    if not torch.distributed.is_initialized():
        return flag
    device = torch.device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    found = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return bool(found.item())


def save_weights(trainer: Any, folder: Path) -> None:
    """The whole model's weights, as a Hugging Face model directory has them, in float32. All ranks call this."""
    model = trainer.model
    if not zero_stage(trainer.model_wrapped):
        if is_first():
            model.save_pretrained(folder)
        return
    parameters, buffers = _parameters(model), _buffers(model)
    shards: list[dict[str, tuple[torch.dtype, tuple[int, ...]]]] = [{}]
    sizes = [0]
    for name, tensor in (parameters | buffers).items():
        entry = (torch.float32 if name in parameters else tensor.dtype, _shape(tensor))
        size = torch.Size(entry[1]).numel() * entry[0].itemsize
        if sizes[-1] and sizes[-1] + size > _SHARD:
            shards.append({})
            sizes.append(0)
        shards[-1][name] = entry
        sizes[-1] += size
    names = ["model.safetensors"]
    if len(shards) > 1:
        names = [f"model-{index:05d}-of-{len(shards):05d}.safetensors" for index in range(1, len(shards) + 1)]
        if is_first():
            weight_map = {tensor: file for file, shard in zip(names, shards, strict=True) for tensor in shard}
            index = {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for name, shard in zip(names, shards, strict=True):
        tensors = ((key, _whole(parameters[key]) if key in parameters else buffers[key]) for key in shard)
        _write(folder / name, shard, tensors)


def save_optimizer(trainer: Any, path: Path) -> None:
    """AdamW's state as safetensors, for a stage that carries it on, with any number of processes: for each parameter by
    its name, NAME.exp_avg and NAME.exp_avg_sq (float32, shaped as the parameter) and NAME.step (float32, no dimension).
    All ranks call this."""
    _link(trainer)
    parameters = _parameters(trainer.model)

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for name, parameter in parameters.items():
            for moment in _MOMENTS:
                yield f"{name}.{moment}", _moment(trainer, parameter, moment)
            yield f"{name}.step", _step(trainer, parameter)

    _write(path, _layout(parameters), tensors())


def load_optimizer(trainer: Any, path: Path) -> None:
    """Take over the AdamW state that `save_optimizer` wrote, whatever number of processes wrote it.

    Called in all ranks before the first step, once the Trainer has made the optimizer (and DeepSpeed its engine).
    Raises InputError where the state is of another model.
    """
    parameters = _parameters(trainer.model)
    with safe_open(path, framework="pt") as file:
        held = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (it is no dict)
        for name, (_, shape) in _layout(parameters).items():
            if held.get(name) != shape:
                raise InputError(
                    f"optimizer: carry: the stage before left no state {name} of shape {shape}",
                    fix="start this stage with a fresh optimizer",
                )
        _begin(trainer, file.get_tensor(f"{next(iter(parameters))}.step"))
        for name, parameter in parameters.items():
            for moment in _MOMENTS:
                _set_moment(trainer, parameter, moment, file.get_tensor(f"{name}.{moment}"))


def _layout(parameters: dict[str, torch.nn.Parameter]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """What `optimizer.safetensors` holds, in its order."""
    return {
        f"{name}.{part}": (torch.float32, () if part == "step" else _shape(parameter))
        for name, parameter in parameters.items()
        for part in (*_MOMENTS, "step")
    }


def master_weights(trainer: Any, folder: Path) -> None:
    """Put the float32 weights of a model directory into DeepSpeed's master copy, which it made from bf16 ones.

    Called in all ranks before the first step, once DeepSpeed has made its engine.
    """
    from deepspeed.utils import safe_set_full_fp32_param

    parameters = _parameters(trainer.model)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                if name in parameters:
                    safe_set_full_fp32_param(parameters[name], file.get_tensor(name).float())


def _parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """What is trained, by name, tied ones once: so in the same order in every rank."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _buffers(model: Any) -> dict[str, torch.Tensor]:
    """What else belongs to a saved model."""
    own = {name for name, _ in model.named_buffers()}
    return {name: tensor for name, tensor in model.state_dict().items() if name in own}


def _shape(tensor: Any) -> tuple[int, ...]:
    """The whole's, of a parameter that ZeRO-3 holds in pieces too."""
    return tuple(getattr(tensor, "ds_shape", tensor.shape))


def _whole(parameter: torch.nn.Parameter) -> torch.Tensor:
    from deepspeed.utils import safe_get_full_fp32_param

    return safe_get_full_fp32_param(parameter)


def _write(
    path: Path, shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]], tensors: Iterator[tuple[str, torch.Tensor]]
) -> None:
    """Rank 0 writes; the others take part in gathering, and in rank 0's failure."""
    file = TensorFile(path, shapes) if is_first() else None
    for name, tensor in tensors:
        if file:
            file.add(name, tensor)
        del tensor  # before the next one is gathered
    if file:
        file.close()
    barrier()


def _inner(trainer: Any) -> Any:
    """torch's own optimizer, below those that accelerate and DeepSpeed put around it."""
    optimizer = trainer.optimizer
    while not isinstance(optimizer, torch.optim.Optimizer) or hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _moment(trainer: Any, parameter: torch.nn.Parameter, name: str) -> torch.Tensor:
    if not zero_stage(trainer.model_wrapped):
        return _inner(trainer).state[parameter][name]
    from deepspeed.utils import safe_get_full_optimizer_state

    return safe_get_full_optimizer_state(parameter, name)


def _step(trainer: Any, parameter: torch.nn.Parameter) -> torch.Tensor:
    """How many steps AdamW has made; one number for all, where DeepSpeed keeps many parameters as one tensor."""
    state = _inner(trainer).state
    found = state[parameter] if parameter in state else next(iter(state.values()))
    return torch.as_tensor(found["step"]).float()


def _set_moment(trainer: Any, parameter: torch.nn.Parameter, name: str, value: torch.Tensor) -> None:
    if not zero_stage(trainer.model_wrapped):
        _inner(trainer).state[parameter][name].copy_(value)
        return
    from deepspeed.utils import safe_set_full_optimizer_state

    safe_set_full_optimizer_state(parameter, value, name)


def _begin(trainer: Any, step: torch.Tensor) -> None:
    """The state that AdamW makes at its first step, with zeros for moments, so that it can be set before."""
    optimizer, stage = _inner(trainer), zero_stage(trainer.model_wrapped)
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    if stage == 3:  # it lends them to the optimizer for a step only
        tensors = trainer.model_wrapped.optimizer.fp32_partitioned_groups_flat
    for tensor in tensors:
        moments = {moment: torch.zeros_like(tensor) for moment in _MOMENTS}
        optimizer.state[tensor] = {"step": step.clone().to(tensor.device), **moments}
    _link(trainer)


def _link(trainer: Any) -> None:
    """Let ZeRO 1 and 2 find each parameter's part of AdamW's state. By itself it does so at the first step of the first
    group of parameters, when the other group has none yet."""
    if zero_stage(trainer.model_wrapped) in (1, 2):
        optimizer = trainer.model_wrapped.optimizer
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()
