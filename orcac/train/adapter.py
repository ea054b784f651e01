"""LoRA (Hu et al. 2021): a stage that trains two small matrices beside each frozen matrix of the student.

The adapter is injected into the model (`peft`), which stays a plain transformers model: packing, the loss, the checks
and ZeRO are the same as for full training, on the parameters that have a gradient. The next stage of a curriculum goes
on with the same adapter on the same base.

An artifact has both forms. `adapter/` is the trained matrices, as peft's own files. `model/` is the base with the
adapter merged in float32: evaluations, exports and other servers then read a student like any other, and no second way
of generating has to agree with the first.

In bf16 the frozen matrices are stored in bf16. Autocast would round them to bf16 for each product anyway, so no bit of
the result changes, and a model takes half the memory. With `quantize` they have 4 bits (quantized.py).
"""

from __future__ import annotations

import gc
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer

from orcac.devices import count_cores
from orcac.errors import InputError
from orcac.store import durable
from orcac.train import quantized, state
from orcac.train.distributed import is_first
from orcac.train.recipe import Lora

if TYPE_CHECKING:
    from peft import LoraConfig

FOLDER = "adapter"
_CHECKPOINT = "adapter.safetensors"  # in a checkpoint, with the model's own names
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"  # peft's names
_NAME = "default"
_ALL_LINEAR = "all-linear"


def attach(model: PreTrainedModel, lora: Lora, *, seed: int, start: Path | None, halves_frozen: bool) -> None:
    """Freeze the model and add the adapter's matrices, from the artifact of the stage before (`start`) or drawn anew.

    `halves_frozen`: store frozen matrices in bf16, those that are not quantized. Raises InputError if the model has no
    module of a name in `lora.targets`.
    """
    from peft import inject_adapter_in_model

    if lora.quantize:
        quantized.quantize(model, computes_in=torch.bfloat16 if halves_frozen else torch.float32)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            inject_adapter_in_model(_configure(lora), model, _NAME)
        except ValueError as error:
            names = sorted({name.rpartition(".")[2] for name, part in model.named_modules() if _is_linear(part)})
            raise InputError(
                f"student.adapter: the model has no module of `targets` {', '.join(lora.targets)}",
                fix=f"write `targets: all-linear`, or some of {', '.join(names)}",
            ) from error
    if start:
        _copy(
            load_file(start / FOLDER / _WEIGHTS),
            {_peft_name(name): part for name, part in state.trained_parameters(model).items()},
        )
    if halves_frozen:
        for module in model.modules():
            weight = module.weight if _is_linear(module) else None
            if weight is None or weight is _embeddings(model) or not weight.is_floating_point():
                continue
            if not weight.requires_grad:
                module.weight.data = module.weight.data.bfloat16()


def _configure(lora: Lora) -> LoraConfig:
    from peft import LoraConfig

    targets: str | list[str] = _ALL_LINEAR if lora.targets == (_ALL_LINEAR,) else list(lora.targets)
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)


def _embeddings(model: PreTrainedModel) -> torch.nn.Parameter:
    weight: torch.nn.Parameter = model.get_input_embeddings().weight
    return weight


def _peft_name(name: str) -> str:
    """Return the name of a matrix in peft's files."""
    return f"base_model.model.{name}".replace(f".{_NAME}.", ".")


def _copy(stored: dict[str, torch.Tensor], parameters: dict[str, torch.nn.Parameter]) -> None:
    """Set parameters to stored values. Raises InputError if these are another adapter's."""
    shapes = ({name: tuple(part.shape) for name, part in parts.items()} for parts in (stored, parameters))
    if next(shapes) != next(shapes):
        raise InputError(
            "the adapter to go on from has other matrices than the one of this stage",
            fix="train all stages of a curriculum with the same `student.adapter`",
        )
    for name, parameter in parameters.items():
        parameter.data.copy_(stored[name])


def save_checkpoint(model: PreTrainedModel, folder: Path) -> None:
    """Write the adapter into a checkpoint: the base does not change."""
    save_file(
        {name: part.detach().cpu().contiguous() for name, part in state.trained_parameters(model).items()},
        folder / _CHECKPOINT,
    )


def load_checkpoint(model: PreTrainedModel, folder: Path) -> None:
    """Set the adapter to that of a checkpoint."""
    _copy(load_file(folder / _CHECKPOINT), state.trained_parameters(model))


def save(trainer: Trainer, lora: Lora, folder: Path) -> None:
    """Write the adapter to `folder` as peft's files, in float32. All ranks call this together; rank 0 writes."""
    parameters = state.trained_parameters(trainer.model)
    layout = {_peft_name(name): (torch.float32, state.whole_shape(part)) for name, part in parameters.items()}

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for name, part in parameters.items():
            yield _peft_name(name), state.gather(trainer, part)

    if is_first():
        folder.mkdir(exist_ok=True)
        _configure(lora).save_pretrained(folder)
        values = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        modules = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in parameters}
        values |= {"target_modules": sorted(modules), "inference_mode": True}  # by name, so that any model loads it
        durable.write(folder / _CONFIG, json.dumps(values, indent=2, sort_keys=True) + "\n")
    state.write_gathered(folder / _WEIGHTS, layout, tensors())


def merge(base: Path, adapter: Path, out: Path, *, lora: Lora, threads: int) -> None:
    """Write the weights of the model folder `base`, with the adapter merged in float32, to the model folder `out`.

    If they were quantized in training, the rounded weights are those that the adapter belongs to.
    """
    from peft import PeftModel

    gc.collect()  # the trained model, if this process held one
    torch.set_num_threads(min(threads, count_cores()))
    logging.getLogger("peft").setLevel(logging.ERROR)
    model = AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.float32, trust_remote_code=False, local_files_only=True, use_safetensors=True
    )
    if lora.quantize:
        quantized.round_weights(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.save_pretrained(out)
