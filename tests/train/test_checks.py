"""Tests of orcac/train/checks.py."""

import contextlib
import shutil
from types import SimpleNamespace

import pytest
import tiny
import torch
import train_child
from train_child import read_contents
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from orcac.errors import OrcacError, StoreError
from orcac.tokenize import rowfile
from orcac.train import checks
from orcac.train.checks import check_isolation, check_joined, choose_loss
from orcac.train.data import PackedRows, RankSampler, join_examples
from orcac.train.loss import SupervisedLoss
from orcac.train.run import run
from orcac.train.trainer import PackedTrainer
from orcac.train.worker import load_trainable_model


def test_a_disk_without_room_is_refused_before_training(tmp_path, inputs, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr("orcac.train.checks.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"3 checkpoints of 0\.0 and an artifact"):
        run(train_child.job(tmp_path, *inputs))


def test_isolation_is_checked_on_the_model(inputs):
    file = rowfile.read(inputs[0] / "rows.safetensors")
    model = load_trainable_model(inputs[1] / "model")
    check_isolation(model, file)
    model.config.use_cache = True  # the library's default, and a silent leak
    with pytest.raises(OrcacError, match="attend to each other"):
        check_isolation(model, file)


def test_a_leak_of_the_last_bits_is_found_by_another_neighbour(inputs):
    file = rowfile.read(inputs[0] / "rows.safetensors")
    model = load_trainable_model(inputs[1] / "model")
    model.model.embed_tokens.register_forward_hook(lambda _, __, output: output + 1e-5 * output[:, :1])
    with pytest.raises(OrcacError, match=r"an example's logits change by .* with the example before it"):
        check_isolation(model, file)


def test_an_example_without_isolation_attends_to_the_one_before_it(inputs):
    file = rowfile.read(inputs[0] / "rows.safetensors")
    for attention in ("eager", "sdpa"):
        model = load_trainable_model(inputs[1] / "model")
        model.set_attn_implementation(attention)
        check_joined(model, file)
        batch = PackedRows(join_examples(file)).collate([0])
        tokens = batch["input_ids"]
        changed = tokens.clone()
        changed[0, 40:] = 7
        with torch.inference_mode():
            logits, other = (
                model(input_ids=ids, position_ids=batch["position_ids"]).logits for ids in (tokens, changed)
            )
            plain = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        assert torch.allclose(logits, plain, atol=1e-4)  # that of a row as one text
        assert torch.allclose(logits[:, :40], other[:, :40], atol=1e-5)  # padding behind it changes nothing


def test_a_stage_without_isolation_whose_model_isolates_is_refused(inputs, monkeypatch):
    file = rowfile.read(inputs[0] / "rows.safetensors")
    monkeypatch.setattr(checks, "join_examples", lambda stored: stored)
    with pytest.raises(OrcacError, match="isolation: false, but an example's logits do not change"):
        check_joined(load_trainable_model(inputs[1] / "model"), file)


def break_mean(monkeypatch):
    """Divide the loss of each micro-batch by its own tokens, as many trainers do."""
    original = PackedTrainer.compute_loss
    monkeypatch.setattr(
        PackedTrainer,
        "compute_loss",
        lambda self, model, inputs, num_items_in_batch: original(self, model, inputs),
        raising=False,
    )


def break_chunks(monkeypatch):
    monkeypatch.setattr("orcac.train.loss.sum_cross_entropy_in_chunks", lambda hidden, *_, **__: hidden.square().sum())


def break_disk(monkeypatch):
    monkeypatch.setattr("orcac.train.checks.load_file", lambda _: {"weight": torch.zeros(1)})


def break_loader(monkeypatch):
    monkeypatch.setattr(RankSampler, "__len__", lambda _: 3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (break_mean, "1 × 4 and 4 × 1 rows differ"),
        (break_chunks, "the chunked loss differs from that of whole logits: its loss"),
        (break_disk, "does not read back"),
        (break_loader, "the loader gives 1 steps instead of"),
    ],
)
def test_a_silent_fault_is_found_before_the_first_step(tmp_path, inputs, monkeypatch, fault, message):
    fault(monkeypatch)
    job = train_child.job(tmp_path, *inputs)
    with pytest.raises(OrcacError, match=message):
        run(job)
    assert not list(job.work.glob("checkpoint-*")) and not (job.work / "metrics.jsonl").read_text()


def test_the_checks_change_neither_weights_nor_random_numbers(tmp_path, inputs, monkeypatch):
    recipe = train_child.RECIPE.model_copy(update={"epochs": 1})
    with_checks = train_child.job(tmp_path / "with", *inputs, recipe=recipe)
    run(with_checks)
    for check in ("check_checkpoint", "check_isolation", "choose_loss", "check_accumulation"):
        monkeypatch.setattr(f"orcac.train.checks.{check}", lambda *_: None)
    without = train_child.job(tmp_path / "without", *inputs, recipe=recipe)
    run(without)
    assert read_contents(with_checks.out) == read_contents(without.out)
    states = [next((job.work).glob("checkpoint-*/rng_state.pth")).read_bytes() for job in (with_checks, without)]
    assert states[0] == states[1]


SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


@pytest.mark.parametrize(
    "model",
    [
        lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, num_key_value_heads=1)),  # caps its logits
        lambda: Cohere2ForCausalLM(Cohere2Config(**SHAPE, num_key_value_heads=1, logit_scale=0.5)),  # scales them
        lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    ],
)
def test_a_model_that_changes_its_heads_logits_keeps_them_whole(model, capsys, tmp_path):
    model = model()
    model.config.use_cache = False
    chunks = SupervisedLoss(model)
    file = tiny.write_rows(tmp_path / "rows", [[([*range(8)], 0)]], max_length=8)
    trainer = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(autocast=contextlib.nullcontext),
        compute_loss_context_manager=contextlib.nullcontext,
        compute_loss=lambda model, inputs, num_items_in_batch: model(**inputs).loss,
        _get_num_items_in_batch=lambda *_: None,
    )
    choose_loss(trainer, chunks, file, "fp32")
    assert chunks.chunked == isinstance(model, LlamaForCausalLM)
    assert ("logits" in capsys.readouterr().err) != chunks.chunked


def test_the_rounding_of_bf16_is_no_other_gradient_and_another_normalisation_is():
    torch.manual_seed(0)
    gradient = torch.randn(4, 32, 64)
    gradient[0, 0, 0] = 8.0  # the largest
    rounded = gradient + 0.018 * torch.randn_like(gradient)
    rounded[1, 1, 1] += 0.29  # 3.6 % of the largest
    whole = checks.LossResult(torch.tensor(4.7), gradient)
    checks.check_equal([whole, checks.LossResult(torch.tensor(4.702), rounded)], "bf16", "")
    with pytest.raises(OrcacError, match="its gradient is off"):
        checks.check_equal([whole, checks.LossResult(torch.tensor(4.7), rounded)], "fp32", "")
    labels = torch.tensor([60, 80, 100, 120])  # of each row; a mean of the rows' means weighs them alike
    means = gradient * (labels.float().mean() / labels)[:, None, None]
    for loss, other in ((4.7, gradient * 4), (4.7, means), (4.7 * 4, gradient)):
        with pytest.raises(OrcacError, match=r"rows differ: its (loss|gradient) is off"):
            checks.check_equal([whole, checks.LossResult(torch.tensor(loss), other)], "bf16", "rows differ")
