"""Tests of orcac/train/attention.py."""

import pytest
import torch
import train_child

from orcac.errors import InputError, OrcacError
from orcac.train import trainer
from orcac.train.attention import FLASH, FLEX, check_attention, list_maskless, read_attention, set_attention
from orcac.train.gpus import needs_mask
from orcac.train.run import run
from orcac.train.worker import load_trainable_model


def test_only_long_rows_on_a_gpu_are_computed_without_a_mask():
    assert needs_mask(2_048, gpus=1) and needs_mask(32_768, gpus=0)
    assert not needs_mask(16_384, gpus=1) and not needs_mask(32_768, gpus=8)


def test_flash_attention_comes_first_where_it_isolates_the_examples_of_a_row():
    assert list_maskless(precision="bf16", micro_batch=1) == [FLASH, FLEX]
    assert list_maskless(precision="bf16", micro_batch=2) == list_maskless(precision="fp32", micro_batch=1) == [FLEX]


def test_flex_attention_gives_the_logits_of_sdpa_and_isolates(inputs):
    model = load_trainable_model(inputs[1] / "model").eval()
    tokens, positions = torch.arange(24)[None], torch.cat([torch.arange(10), torch.arange(14)])[None]
    other = torch.where(torch.arange(24) < 10, 40, tokens)
    with torch.inference_mode():
        expected = model(input_ids=tokens, position_ids=positions).logits
        assert set_attention(model, [FLEX]) == FLEX == read_attention(model)
        found, beside = (model(input_ids=ids, position_ids=positions).logits for ids in (tokens, other))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found[:, 10:], beside[:, 10:]) and not torch.equal(found[:, :10], beside[:, :10])


def test_an_attention_that_is_not_installed_is_skipped_and_one_that_was_replaced_is_an_error(inputs):
    model = load_trainable_model(inputs[1] / "model")
    assert set_attention(model, [FLASH, FLEX]) == FLEX  # this machine has no GPU, and so no FlashAttention
    model.set_attn_implementation("sdpa")
    with pytest.raises(OrcacError, match="uses sdpa attention instead of flex_attention"):
        check_attention(model, FLEX)
    model.config.attention_dropout = 0.1
    assert set_attention(model, [FLEX]) == "sdpa"


def test_a_gpu_without_room_for_the_rows_ends_the_stage_with_the_settings_that_save_memory(
    tmp_path, inputs, monkeypatch
):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    monkeypatch.setattr(trainer.PackedTrainer, "training_step", fail)
    with pytest.raises(InputError, match="too little memory for 2 rows of 64 tokens at once: CUDA out") as refused:
        run(train_child.job(tmp_path, *inputs, micro_batch_rows=2))
    assert "recompute: true" in refused.value.fix
