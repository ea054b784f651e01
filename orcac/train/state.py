"""The weights and AdamW's state of a stage, to and from safetensors files, with any number of processes.

Tensors are gathered one parameter at a time, so that ZeRO's shards and a whole copy of the model are never in memory
together. With DeepSpeed the float32 master copy is saved, so the file is the same as without it. A stage also starts
from float32 weights (`set_master_weights`), while DeepSpeed would start from the ones that it rounded to bf16.

All ranks call each function of this module together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel, Trainer

from orcac.errors import InputError
from orcac.train.distributed import barrier, is_first, read_zero_stage
from orcac.train.tensorfile import TensorFile

_MOMENTS = ("exp_avg", "exp_avg_sq")
_SHARD_BYTES = 5 << 30  # of a file of weights

Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]  # dtype and shape of each tensor of a file, in its order


def save_weights(trainer: Trainer, folder: Path) -> None:
    """Write the whole model's weights in float32 to `folder`, with the files of a Hugging Face model folder."""
    model = trainer.model
    if not read_zero_stage(trainer.model_wrapped):
        if is_first():
            model.save_pretrained(folder)
        return
    parameters, buffers = trained_parameters(model), _saved_buffers(model)
    shards: list[Layout] = [{}]
    sizes = [0]
    for name, tensor in (parameters | buffers).items():
        entry = (torch.float32 if name in parameters else tensor.dtype, whole_shape(tensor))
        size = torch.Size(entry[1]).numel() * entry[0].itemsize
        if sizes[-1] and sizes[-1] + size > _SHARD_BYTES:
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
        tensors = ((key, _gather(parameters[key]) if key in parameters else buffers[key]) for key in shard)
        write_gathered(folder / name, shard, tensors)


def save_optimizer(trainer: Trainer, path: Path) -> None:
    """Write AdamW's state to the safetensors file `path`, for a next stage that carries it on.

    For each parameter NAME it holds NAME.exp_avg and NAME.exp_avg_sq (float32, the parameter's shape) and NAME.step
    (float32, no dimension).
    """
    _link_state(trainer)
    parameters = trained_parameters(trainer.model)

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for name, parameter in parameters.items():
            for moment in _MOMENTS:
                yield f"{name}.{moment}", _get_moment(trainer, parameter, moment)
            yield f"{name}.step", _get_step(trainer, parameter)

    write_gathered(path, _plan_optimizer_layout(parameters), tensors())


def load_optimizer(trainer: Trainer, path: Path) -> None:
    """Set AdamW's state from a file of `save_optimizer`, whatever number of processes wrote it.

    Called before the first step, once the Trainer has made the optimizer (and DeepSpeed its engine). Raises InputError
    if the file belongs to another model.
    """
    parameters = trained_parameters(trainer.model)
    with safe_open(path, framework="pt") as file:
        stored_shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a dict)
        for name, (_, shape) in _plan_optimizer_layout(parameters).items():
            if stored_shapes.get(name) != shape:
                raise InputError(
                    f"optimizer: carry: the previous stage left no state {name} of shape {shape}",
                    fix="start this stage with a fresh optimizer",
                )
        _create_state(trainer, file.get_tensor(f"{next(iter(parameters))}.step"))
        for name, parameter in parameters.items():
            for moment in _MOMENTS:
                _set_moment(trainer, parameter, moment, file.get_tensor(f"{name}.{moment}"))


def set_master_weights(trainer: Trainer, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Copy float32 weights, by name, into DeepSpeed's master copy, which it made from bf16 ones.

    Called before the first step, once DeepSpeed has made its engine. Weights that are not trained are skipped.
    """
    from deepspeed.utils import safe_set_full_fp32_param

    parameters = trained_parameters(trainer.model)
    for name, tensor in tensors:
        if name in parameters:
            safe_set_full_fp32_param(parameters[name], tensor)


def read_weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights of a model folder in float32, by name."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                yield name, file.get_tensor(name).float()


def gather(trainer: Trainer, parameter: torch.nn.Parameter) -> torch.Tensor:
    """Return the whole float32 value of a trained parameter. All ranks call this together."""
    return _gather(parameter) if read_zero_stage(trainer.model_wrapped) else parameter


def write_gathered(path: Path, layout: Layout, tensors: Iterator[tuple[str, torch.Tensor]]) -> None:
    """Write the safetensors file `path` in rank 0. The other ranks only run `tensors`, which gathers each tensor from
    all of them, and wait for the end, so that a failed write in rank 0 stops them as well."""
    file = TensorFile(path, layout) if is_first() else None
    for name, tensor in tensors:
        if file:
            file.add(name, tensor)
        del tensor  # frees it before the next one is gathered
    if file:
        file.close()
    barrier()


def trained_parameters(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that have a gradient, by name, tied ones once: in the same order in every rank."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _saved_buffers(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the buffers that a saved model includes, by name."""
    names = {name for name, _ in model.named_buffers()}
    return {name: tensor for name, tensor in model.state_dict().items() if name in names}


def whole_shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of the whole tensor; ZeRO-3 leaves a parameter itself empty."""
    return tuple(getattr(tensor, "ds_shape", tensor.shape))


def _gather(parameter: torch.nn.Parameter) -> torch.Tensor:
    """Return the whole float32 value of a parameter that DeepSpeed shards."""
    from deepspeed.utils import safe_get_full_fp32_param

    return safe_get_full_fp32_param(parameter)


def _plan_optimizer_layout(parameters: dict[str, torch.nn.Parameter]) -> Layout:
    return {
        f"{name}.{part}": (torch.float32, () if part == "step" else whole_shape(parameter))
        for name, parameter in parameters.items()
        for part in (*_MOMENTS, "step")
    }


def _unwrap_optimizer(trainer: Trainer) -> torch.optim.Optimizer:
    """Return torch's own optimizer from inside the wrappers of accelerate and DeepSpeed."""
    optimizer = trainer.optimizer
    while not isinstance(optimizer, torch.optim.Optimizer) or hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _get_moment(trainer: Trainer, parameter: torch.nn.Parameter, moment: str) -> torch.Tensor:
    """Return a whole moment of AdamW: float32, the parameter's shape."""
    if not read_zero_stage(trainer.model_wrapped):
        return _unwrap_optimizer(trainer).state[parameter][moment]
    from deepspeed.utils import safe_get_full_optimizer_state

    return safe_get_full_optimizer_state(parameter, moment)


def _get_step(trainer: Trainer, parameter: torch.nn.Parameter) -> torch.Tensor:
    """Return the number of steps that AdamW has made: one number for all parameters if DeepSpeed keeps many of them as
    one tensor."""
    state = _unwrap_optimizer(trainer).state
    found = state[parameter] if parameter in state else next(iter(state.values()))
    return torch.as_tensor(found["step"]).float()


def _set_moment(trainer: Trainer, parameter: torch.nn.Parameter, moment: str, value: torch.Tensor) -> None:
    """Set a whole moment of AdamW to `value`, which has the parameter's shape."""
    if not read_zero_stage(trainer.model_wrapped):
        _unwrap_optimizer(trainer).state[parameter][moment].copy_(value)
        return
    from deepspeed.utils import safe_set_full_optimizer_state

    safe_set_full_optimizer_state(parameter, value, moment)


def _create_state(trainer: Trainer, step: torch.Tensor) -> None:
    """Create the state that AdamW would create at its first step, with zeros for moments, so that it can be set
    before that step."""
    optimizer, zero = _unwrap_optimizer(trainer), read_zero_stage(trainer.model_wrapped)
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    if zero == 3:  # it lends these to the optimizer during a step only
        tensors = trainer.model_wrapped.optimizer.fp32_partitioned_groups_flat
    for tensor in tensors:
        moments = {moment: torch.zeros_like(tensor) for moment in _MOMENTS}
        optimizer.state[tensor] = {"step": step.clone().to(tensor.device), **moments}
    _link_state(trainer)


def _link_state(trainer: Trainer) -> None:
    """Make ZeRO 1 and 2 map each parameter to its part of AdamW's state. DeepSpeed does so itself, but at the first
    step of the first group of parameters, when the other group has no state yet."""
    if read_zero_stage(trainer.model_wrapped) in (1, 2):
        optimizer = trainer.model_wrapped.optimizer
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()
