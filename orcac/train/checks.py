"""What must hold before the first step, checked on the real model, where and as it will be trained, and on the real
rows. Most of these fail silently in a run that nobody watches: the loss still falls.

Every process makes all of them, on the same rows, since a model that is spread over processes answers only when all
ask. They take a few forward passes over at most one row's worth of tokens, and no gradient beyond the head; neither
weights nor random numbers are touched.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from orcac.errors import InputError, OrcacError, StoreError
from orcac.tokenize.rowfile import MASKED, RowFile
from orcac.train import distributed
from orcac.train.checkpoints import KEPT
from orcac.train.data import Batch, Tokens
from orcac.train.loss import SupervisedLoss
from orcac.train.stage import Stage

# Relative to the largest figure compared. A leak moves logits by tenths; a loss normalised wrongly is off by half.
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2}
_GIB = 1 << 30
_SPLIT = 4  # micro-batches
_WIDTH = 512  # tokens of a row: whole logits of more are what the loss is there to avoid


def check_labels(tokens: Tokens, expected: int) -> None:
    """Raise InputError where there is no label to compute a loss on, or not as many as counted."""
    found = int(tokens.supervised.sum())
    if not found:
        raise InputError("every label is masked: there is nothing to learn", fix="check the chat template")
    if found != expected:
        raise InputError(
            f"{found} labels to learn where counts.json says {expected}", fix="delete the rows and make them again"
        )


def check_steps(trainer: Any, planned: int) -> None:
    """Raise OrcacError where the loader would give another number of optimizer steps than was planned."""
    found = len(trainer.get_train_dataloader()) / trainer.args.gradient_accumulation_steps
    if found != planned:
        raise OrcacError(f"the loader gives {found:g} steps where {planned} were planned", fix="report this as a bug")


def check_disk(stage: Stage, model: Any) -> None:
    """Raise StoreError where the disk has no room for the checkpoints and the artifact of this stage."""
    parameters = sum(getattr(part, "ds_numel", part.numel()) for part in model.parameters())
    weights, moments = 4 * parameters, 8 * parameters
    checkpoint = weights + moments + (weights if stage.execution.zero else 0)  # ZeRO keeps the weights a second time
    artifact = weights + (moments if stage.execution.keep_optimizer else 0)
    there = sum(file.stat().st_size for file in stage.work.glob("checkpoint-*/**/*") if file.is_file())
    needed = max((KEPT + 1) * checkpoint + artifact - there, 0)  # the oldest goes once the newest is there
    free = shutil.disk_usage(stage.work).free
    if free < needed:
        raise StoreError(
            f"{stage.work}: {free / _GIB:,.1f} GiB are free where this stage writes up to {needed / _GIB:,.1f} GiB: "
            f"{KEPT + 1} checkpoints of {checkpoint / _GIB:,.1f} and an artifact of {artifact / _GIB:,.1f}",
            fix="make room (orcac gc), or put the store on another disk (ORCAC_STORE)",
        )


def check_checkpoint(work: Path, model: Any) -> None:
    """Raise StoreError where what a checkpoint is made of, written to `work`, does not come back the same.

    One small parameter stands for all: the whole of a large model takes minutes. Raises OSError as the system does.
    """
    if not distributed.is_first():
        return
    weights = {"weight": min(model.parameters(), key=torch.Tensor.numel).detach().cpu().clone()}
    state = {"moments": weights["weight"], "random": torch.get_rng_state(), "step": 1}
    with tempfile.TemporaryDirectory(dir=work, prefix="probe-") as folder:
        one, other = Path(folder) / "model.safetensors", Path(folder) / "optimizer.pt"
        save_file(weights, one)
        torch.save(state, other)
        back, restored = load_file(one), torch.load(other, weights_only=True)
    pairs = [(back["weight"], weights["weight"]), *((restored[key], state[key]) for key in ("moments", "random"))]
    if restored["step"] != 1 or not all(torch.equal(*pair) for pair in pairs):
        raise StoreError(f"{work}: a checkpoint does not read back as it was written", fix="check that disk")


def check_isolation(model: Any, file: RowFile, precision: str = "fp32") -> None:
    """Raise OrcacError where two examples of one row see each other: packed or alone, logits must be equal."""
    pair = _first_pair(file)
    if pair is None:
        return
    row, middle, end = pair
    with torch.inference_mode(), _evaluating(model):
        packed = _logits(model, file, row, 0, end)
        alone = torch.cat([_logits(model, file, row, 0, middle), _logits(model, file, row, middle, end)])
    error = float((packed - alone).abs().max())
    if error > TOLERANCE[precision] * max(1.0, float(alone.abs().max())):
        raise OrcacError(
            f"examples that share a row see each other: their logits differ by {error:.2g} from those alone",
            fix="use a model whose attention tells packed examples apart by position_ids, without a mask or a cache",
        )


def choose_loss(trainer: Any, loss: SupervisedLoss, file: RowFile, precision: str) -> None:
    """Turn the chunked loss off, and say so, where the model's logits are more than its head's.

    Raises OrcacError where the chunked loss or its gradient is another than the plain one.
    """
    if loss.chunked and not _is_plain_head(trainer, loss, file):
        loss.chunked = False
    if not loss.chunked:
        if distributed.is_first():
            print("the model's logits are more than a linear head gives: whole rows of them are kept", file=sys.stderr)
        return
    batch = _batch(trainer.model, file, 1)
    results = []
    for chunked in (True, False):
        loss.chunked = chunked
        results.append(_loss_and_gradient(trainer, [batch]))
    loss.chunked = True
    _compare(results, precision, "the chunked loss is not the plain one")


def check_accumulation(trainer: Any, file: RowFile, precision: str) -> None:
    """Raise OrcacError where rows one by one give another loss or gradient than the same rows at once."""
    batch = _batch(trainer.model, file, _SPLIT)
    rows = len(batch["labels"])
    parts = [{name: tensor[row : row + 1] for name, tensor in batch.items()} for row in range(rows)]
    results = [_loss_and_gradient(trainer, batches) for batches in ([batch], parts)]
    _compare(results, precision, f"the loss depends on the micro-batch: 1 × {rows} and {rows} × 1 rows differ")


def _is_plain_head(trainer: Any, loss: SupervisedLoss, file: RowFile) -> bool:
    """Whether logits are, to the bit, what the head makes of the last hidden states."""
    model = trainer.model
    batch = _batch(model, file, 1)
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    seen: dict[str, torch.Tensor] = {}

    def keep(_: Any, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        seen.update(given=given[0], made=made)

    with torch.inference_mode(), _evaluating(model), trainer.accelerator.autocast():
        handle = model.get_output_embeddings().register_forward_hook(keep)
        try:
            logits = model(**inputs).logits
        finally:
            handle.remove()
        hidden = model.base_model(**inputs).last_hidden_state
    return torch.equal(seen["given"], hidden) and torch.equal(seen["made"].float(), logits.float())


def _loss_and_gradient(trainer: Any, batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of one step over `batches`, as the Trainer computes it, and its gradient for what goes into the head,
    one row after another: from there on a gradient is the chain rule's, whatever the loss."""
    model, seen = trainer.model, []
    total, gradients = torch.zeros((), device=model.device), []
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    count = trainer._get_num_items_in_batch(batches, model.device)
    try:
        with _evaluating(model), trainer.compute_loss_context_manager():
            for batch in batches:
                loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=count)
                (gradient,) = torch.autograd.grad(loss, seen[-1])
                total += loss.detach()
                gradients.append(gradient.float())
    finally:
        handle.remove()
    return total, torch.cat(gradients)


def _compare(results: list[tuple[torch.Tensor, torch.Tensor]], precision: str, what: str) -> None:
    """Raise OrcacError where two results of `_loss_and_gradient` are not equal to rounding."""
    for name, left, right in zip(("loss", "gradient"), *results, strict=True):
        error, size = float((left - right).abs().max()), float(right.abs().max())
        if not error <= TOLERANCE[precision] * max(size, 1e-30):
            raise OrcacError(
                f"{what}: its {name} is off by {error:.2g} of {size:.2g}",
                fix="report this as a bug, with the model's config.json",
            )


def _batch(model: Any, file: RowFile, rows: int) -> Batch:
    """The first `rows` rows that teach something, each cut to a `rows`-th of its length, from where it does."""
    width = max(min(file.labels.shape[1] // rows, _WIDTH), 2)
    parts = []
    for row in range(len(file.labels)):
        learnt = np.flatnonzero(file.labels[row, 1:] != MASKED)
        if len(learnt):
            start = min(int(learnt[0]), file.labels.shape[1] - width)
            parts.append([torch.from_numpy(array[row, start : start + width].astype(np.int64)) for array in file])
        if len(parts) == rows:
            break
    return {
        name: torch.stack(tensors).to(model.device)
        for name, tensors in zip(RowFile._fields, zip(*parts, strict=True), strict=True)
    }


def _first_pair(file: RowFile) -> tuple[int, int, int] | None:
    """A row that holds two examples, where its second one starts, and where that ends."""
    for row, (positions, labels) in enumerate(zip(file.position_ids, file.labels, strict=True)):
        length = int(np.flatnonzero(labels != MASKED).max(initial=-1)) + 1
        starts = [*np.flatnonzero(positions[:length] == 0).tolist(), length]
        if len(starts) > 2:
            return row, starts[1], starts[2]
    return None


def _logits(model: Any, file: RowFile, row: int, start: int, end: int) -> torch.Tensor:
    """float32 (tokens, vocabulary) for one stretch of a row."""
    tokens, positions = (
        torch.from_numpy(array[row, start:end].astype(np.int64))[None].to(model.device)
        for array in (file.input_ids, file.position_ids)
    )
    return model(input_ids=tokens, position_ids=positions).logits[0].float()


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout, and back."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
