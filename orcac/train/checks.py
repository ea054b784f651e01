"""Checks that run before the first step, on the real model, on the device where it will be trained, and on the real
rows. Without them most of these faults pass unnoticed: the loss still falls.

Every process runs all of them on the same rows, since a model that is spread over processes computes only if all of
them call it. They take a few forward passes over at most one row's worth of tokens, and no gradient beyond the head;
they change neither weights nor random numbers.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, Trainer

from orcac.errors import InputError, OrcacError, StoreError
from orcac.store.durable import share
from orcac.tokenize.rowfile import MASKED, RowFile, TokenCounts
from orcac.train import distributed
from orcac.train.checkpoints import MAX_CHECKPOINTS
from orcac.train.data import RowTensors, join_examples
from orcac.train.loss import SupervisedLoss
from orcac.train.quantized import count_weights
from orcac.train.recipe import TrainRecipe
from orcac.train.schedule import never_leaves_warmup
from orcac.train.stage import StageJob

# Relative to the largest logit compared. A leak moves logits by tenths.
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2}
DIFFERENCE = {"fp32": 1e-4, "bf16": 6e-2}  # of norms. A wrongly normalised loss is off by half
_GIB = 1 << 30
_SPLIT = 4  # micro-batches
_MAX_WIDTH = 512  # tokens of a row: the whole logits of longer rows may not fit, hence the chunked loss


class LossResult(NamedTuple):
    """The loss of one step, and its gradient."""

    loss: torch.Tensor  # no dimension
    gradient: torch.Tensor  # float32 (rows, length, width): with respect to the head's input


def check_labels(tokens: TokenCounts, expected: int) -> None:
    """Raise InputError if all labels are masked, or if their number is not `expected`, the one in counts.json."""
    found = int(tokens.supervised.sum())
    if not found:
        raise InputError(
            "every label is masked: there is nothing to learn",
            fix="put {% generation %} around the answer in the student's chat template",
        )
    if found != expected:
        raise InputError(
            f"rows.safetensors has {found} labels to learn, and counts.json {expected}",
            fix="delete the rows and make them again",
        )


def check_warmup(recipe: TrainRecipe, steps: int) -> None:
    """Raise InputError if the warmup takes all steps: only the last one then has the stage's learning rate."""
    if never_leaves_warmup(recipe.warmup, steps):
        raise InputError(
            f"the warmup takes all {steps} steps, so that only the last has the learning rate {recipe.learning_rate:g}",
            fix="write a smaller `warmup` in the stage, or train for more steps: a smaller batch, more epochs",
        )


def check_steps(trainer: Trainer, planned: int) -> None:
    """Raise OrcacError if the loader gives another number of optimizer steps than `planned`."""
    found = len(trainer.get_train_dataloader()) / trainer.args.gradient_accumulation_steps
    if found != planned:
        raise OrcacError(f"the loader gives {found:g} steps instead of {planned}", fix="report this as a bug")


def check_disk(stage: StageJob, model: PreTrainedModel) -> None:
    """Raise StoreError if the disk has no room for the checkpoints and the artifact of this stage."""
    sizes = [(count_weights(part), part.requires_grad) for part in model.parameters()]
    whole, trained = 4 * sum(size for size, _ in sizes), 4 * sum(size for size, is_trained in sizes if is_trained)
    checkpoint = 3 * trained + (whole if stage.execution.zero else 0)  # ZeRO stores the weights a second time
    artifact = whole + (trained if stage.recipe.adapter else 0) + (2 * trained if stage.execution.keep_optimizer else 0)
    written = sum(file.stat().st_size for file in stage.work.glob("checkpoint-*/**/*") if file.is_file())
    # one checkpoint more than are kept, because the oldest is deleted after the newest is complete
    needed = max((MAX_CHECKPOINTS + 1) * checkpoint + artifact - written, 0)
    if stage.recipe.keep == "best":
        needed += (MAX_CHECKPOINTS + 1) * artifact  # the best model at each checkpoint, and that of now
    free = shutil.disk_usage(stage.work).free
    if free < needed:
        raise StoreError(
            f"{stage.work}: {free / _GIB:,.1f} GiB are free, and this stage writes up to {needed / _GIB:,.1f} GiB: "
            f"{MAX_CHECKPOINTS + 1} checkpoints of {checkpoint / _GIB:,.1f} and an artifact of {artifact / _GIB:,.1f}",
            fix="make room (orcac gc), or put the store on another disk (ORCAC_STORE)",
        )


def check_checkpoint(work: Path, model: PreTrainedModel) -> None:
    """Raise StoreError if the contents of a checkpoint, written to `work`, do not read back equal.

    Only the smallest parameter is written: the whole of a large model takes minutes. Raises OSError if the system
    refuses the write.
    """
    if not distributed.is_first():
        return
    weights = {"weight": min(model.parameters(), key=torch.Tensor.numel).detach().cpu().clone()}
    state = {"moments": weights["weight"], "random": torch.get_rng_state(), "step": 1}
    with tempfile.TemporaryDirectory(dir=work, prefix="probe-") as folder:
        share(Path(folder))  # another member of the group removes it if this process is killed
        weights_file, state_file = Path(folder) / "model.safetensors", Path(folder) / "optimizer.pt"
        save_file(weights, weights_file)
        torch.save(state, state_file)
        read_weights, read_state = load_file(weights_file), torch.load(state_file, weights_only=True)
    pairs = [
        (read_weights["weight"], weights["weight"]),
        *((read_state[key], state[key]) for key in ("moments", "random")),
    ]
    if read_state["step"] != 1 or not all(torch.equal(*pair) for pair in pairs):
        raise StoreError(f"{work}: a checkpoint does not read back as it was written", fix="check that disk")


def check_isolation(model: PreTrainedModel, file: RowFile, precision: str = "fp32") -> None:
    """Raise OrcacError if two examples of one row attend to each other: their logits must be equal to those of each
    example alone, and those of the second must keep every bit if the first one has other tokens.

    The tolerance of the first comparison allows for other shapes, and so for a small leak in bf16. The second has no
    tolerance. A mixture of experts is excluded from it: which tokens an expert gets together may change their rounding.
    """
    pair = _find_packed_pair(file)
    if pair is None:
        return
    row, middle, end = pair
    with torch.inference_mode(), eval_mode(model):
        packed = _compute_logits(model, file, row, 0, end)
        alone = torch.cat(
            [_compute_logits(model, file, row, 0, middle), _compute_logits(model, file, row, middle, end)]
        )
        beside_another = _compute_logits(model, file, row, 0, end, replaced=middle)
    error = float((packed - alone).abs().max())
    if error > TOLERANCE[precision] * max(1.0, float(alone.abs().max())):
        raise OrcacError(
            f"examples that share a row attend to each other: their logits are {error:.2g} off those of each alone",
            fix="write `packing: none` in `student`, or use a model that separates packed examples by position_ids",
        )
    if not torch.equal(packed[middle:], beside_another[middle:]) and not _has_experts(model):
        error = float((packed[middle:] - beside_another[middle:]).abs().max())
        raise OrcacError(
            f"an example's logits change by {error:.2g} with the example before it in the row",
            fix="write `packing: none` in `student`, or use a model that separates packed examples by position_ids",
        )


def check_joined(model: PreTrainedModel, file: RowFile) -> None:
    """Raise OrcacError if an example's logits do not change with the example before it, although a stage without
    isolation lets it attend to that one.

    `file`: the rows as they are stored, whose positions restart with every example
    """
    pair = _find_packed_pair(file)
    if pair is None:
        return
    row, middle, end = pair
    joined = join_examples(file)
    with torch.inference_mode(), eval_mode(model):
        packed = _compute_logits(model, joined, row, 0, end)[middle:]
        beside_another = _compute_logits(model, joined, row, 0, end, replaced=middle)[middle:]
    if torch.equal(packed, beside_another):
        raise OrcacError(
            "isolation: false, but an example's logits do not change with the example before it in the row",
            fix="remove `isolation: false` from `student`, or report this as a bug, with the model's config.json",
        )


def _has_experts(model: PreTrainedModel) -> bool:
    config = model.config.get_text_config()
    return any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))


def choose_loss(trainer: Trainer, loss: SupervisedLoss, file: RowFile, precision: str) -> None:
    """Turn the chunked loss off, and print a line about it, if the model's logits are more than its head's output.

    Raises OrcacError if the chunked loss or its gradient differs from that of whole logits.
    """
    if loss.chunked and not _has_linear_head(trainer, loss, file):
        loss.chunked = False
    if not loss.chunked:
        if distributed.is_first():
            print("the model's logits are more than a linear head's output: they are kept whole", file=sys.stderr)
        return
    inputs = _cut_rows(trainer.model, file, 1)
    results = []
    for chunked in (True, False):
        loss.chunked = chunked
        results.append(_compute_loss(trainer, [inputs]))
    loss.chunked = True
    check_equal(results, precision, "the chunked loss differs from that of whole logits")


def check_accumulation(trainer: Trainer, file: RowFile, precision: str) -> None:
    """Raise OrcacError if rows one by one give another loss or gradient than the same rows at once."""
    inputs = _cut_rows(trainer.model, file, _SPLIT)
    rows = len(inputs["labels"])
    parts = [{name: tensor[row : row + 1] for name, tensor in inputs.items()} for row in range(rows)]
    results = [_compute_loss(trainer, micro_batches) for micro_batches in ([inputs], parts)]
    check_equal(results, precision, f"the loss depends on the micro-batch: 1 × {rows} and {rows} × 1 rows differ")


def _has_linear_head(trainer: Trainer, loss: SupervisedLoss, file: RowFile) -> bool:
    """Return whether the head's input equals the last hidden state, and its output the logits, bit for bit."""
    model = trainer.model
    tensors = _cut_rows(model, file, 1)
    inputs = {name: tensors[name] for name in ("input_ids", "position_ids")}
    seen: dict[str, torch.Tensor] = {}

    def record(_: torch.nn.Module, head_inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.update(input=head_inputs[0], output=output)

    with torch.inference_mode(), eval_mode(model), trainer.accelerator.autocast():
        handle = model.get_output_embeddings().register_forward_hook(record)
        try:
            logits = model(**inputs).logits
        finally:
            handle.remove()
        hidden = model.base_model(**inputs).last_hidden_state
    return torch.equal(seen["input"], hidden) and torch.equal(seen["output"].float(), logits.float())


def _compute_loss(trainer: Trainer, micro_batches: list[RowTensors]) -> LossResult:
    """Return the loss of one step over `micro_batches`, as the Trainer computes it, and its gradient with respect to
    the head's input, one row after another. All other gradients below the head follow from that one."""
    model, seen = trainer.model, []
    total, gradients = torch.zeros((), device=model.device), []
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    count = trainer._get_num_items_in_batch(micro_batches, model.device)
    try:
        with eval_mode(model), trainer.compute_loss_context_manager():
            for micro_batch in micro_batches:
                loss = trainer.compute_loss(model, dict(micro_batch), num_items_in_batch=count)
                (gradient,) = torch.autograd.grad(loss, seen[-1])
                total += loss.detach()
                gradients.append(gradient.float())
    finally:
        handle.remove()
    return LossResult(total, torch.cat(gradients))


def check_equal(results: list[LossResult], precision: str, message: str) -> None:
    """Raise OrcacError, which begins with `message`, if the two results differ by more than rounding.

    Gradients are compared by the norm of their difference. The rounding of bf16 differs with the shape of a batch: on
    rows of SmolLM2-135M the norm was off by 1.8 %, and the largest number by 2.9 % of the largest.
    """
    for name, one, other in zip(LossResult._fields, *results, strict=True):
        error, size = float((one - other).norm()), float(other.norm())
        if not error <= DIFFERENCE[precision] * max(size, 1e-30):
            raise OrcacError(
                f"{message}: its {name} is off by {error:.2g} of {size:.2g}",
                fix="report this as a bug, with the model's config.json",
            )


def _cut_rows(model: PreTrainedModel, file: RowFile, rows: int) -> RowTensors:
    """Return the first `rows` rows that have labels, each cut to a `rows`-th of its length, from its first label on."""
    width = max(min(file.labels.shape[1] // rows, _MAX_WIDTH), 2)
    parts = []
    for row in range(len(file.labels)):
        supervised = np.flatnonzero(file.labels[row, 1:] != MASKED)
        if len(supervised):
            start = min(int(supervised[0]), file.labels.shape[1] - width)
            parts.append([torch.from_numpy(array[row, start : start + width].astype(np.int64)) for array in file])
        if len(parts) == rows:
            break
    return {
        name: torch.stack(tensors).to(model.device)
        for name, tensors in zip(RowFile._fields, zip(*parts, strict=True), strict=True)
    }


def _find_packed_pair(file: RowFile) -> tuple[int, int, int] | None:
    """Return the first row with two examples, and the columns at which its second example starts and ends."""
    for row, (positions, labels) in enumerate(zip(file.position_ids, file.labels, strict=True)):
        length = int(np.flatnonzero(labels != MASKED).max(initial=-1)) + 1
        starts = [*np.flatnonzero(positions[:length] == 0).tolist(), length]
        if len(starts) > 2:
            return row, starts[1], starts[2]
    return None


def _compute_logits(
    model: PreTrainedModel, file: RowFile, row: int, start: int, end: int, *, replaced: int = 0
) -> torch.Tensor:
    """Return the logits, float32 (tokens, vocabulary), of the columns from `start` to `end` of a row.

    The first `replaced` tokens are replaced by the token before the last of the row.
    """
    tokens, positions = (
        torch.from_numpy(array[row, start:end].astype(np.int64))[None].to(model.device)
        for array in (file.input_ids, file.position_ids)
    )
    tokens[0, :replaced] = tokens[0, -2]
    return model(input_ids=tokens, position_ids=positions).logits[0].float()


@contextlib.contextmanager
def eval_mode(model: PreTrainedModel) -> Iterator[None]:
    """Turn dropout off inside the block."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
