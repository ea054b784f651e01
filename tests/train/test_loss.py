"""Tests of orcac/train/loss.py."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from orcac.tokenize.rowfile import MASKED
from orcac.train.loss import SupervisedLoss, sum_cross_entropy, sum_cross_entropy_in_chunks

SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


def targets(*shape, share=0.5):
    torch.manual_seed(1)
    return torch.randint(50, shape).masked_fill(torch.rand(shape) > share, MASKED)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_give_the_loss_of_whole_logits_and_its_gradients(bias, dtype):
    torch.manual_seed(0)
    head, expected = torch.nn.Linear(16, 50, bias=bias), targets(3, 20)
    max_logits = 7 * 50  # 7 positions at once; the last chunk is smaller
    results = []
    for chunked in (True, False):
        hidden = torch.randn(3, 20, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
        head.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            if chunked:
                total = sum_cross_entropy_in_chunks(hidden, head.weight, head.bias, expected, max_logits=max_logits)
            else:
                total = sum_cross_entropy(head(hidden), expected)
        (total / 30).backward()
        results.append([total.detach(), hidden.grad, *(part.grad for part in head.parameters())])
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() <= (1e-6 if dtype == torch.float32 else 1e-2) * other.abs().max()


def test_a_model_with_tied_weights_learns_the_same_from_either():
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True, use_cache=False))
    ids = torch.arange(24).reshape(2, 12)
    inputs = {"input_ids": ids, "position_ids": torch.arange(12).repeat(2, 1), "labels": targets(2, 12)}
    logits = model(input_ids=ids).logits
    own = model(**inputs).loss
    own.backward()
    expected = {name: part.grad.clone() for name, part in model.named_parameters()}
    ours = SupervisedLoss(model, max_logits=5 * 50)
    for ours.chunked in (True, False):
        model.zero_grad()
        found = model(**inputs).loss
        found.backward()
        torch.testing.assert_close(found, own)
        for name, part in model.named_parameters():
            torch.testing.assert_close(part.grad, expected[name])
    assert torch.equal(model(input_ids=ids, position_ids=inputs["position_ids"]).logits, logits)


def test_rows_without_labels_still_reach_every_parameter():
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, use_cache=False))
    SupervisedLoss(model)
    ids = torch.zeros(2, 6, dtype=torch.int64)
    found = model(input_ids=ids, position_ids=ids, labels=torch.full_like(ids, MASKED), num_items_in_batch=3).loss
    found.backward()
    assert found == 0
    assert all(part.grad is not None and not part.grad.any() for part in model.parameters())
