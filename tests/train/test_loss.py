import pytest
import torch
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from orcac.tokenize.rowfile import MASKED
from orcac.train import loss
from orcac.train.loss import SupervisedLoss, plain, summed

SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


def targets(*shape, share=0.5):
    torch.manual_seed(1)
    return torch.randint(50, shape).masked_fill(torch.rand(shape) > share, MASKED)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_give_the_plain_loss_and_its_gradients(monkeypatch, bias, dtype):
    monkeypatch.setattr(loss, "CHUNK", 7 * 50)  # positions, the last chunk being smaller
    torch.manual_seed(0)
    head, wanted = torch.nn.Linear(16, 50, bias=bias), targets(3, 20)
    results = []
    for chunked in (True, False):
        hidden = torch.randn(3, 20, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
        head.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            total = summed(hidden, head.weight, head.bias, wanted) if chunked else plain(head(hidden), wanted)
        (total / 30).backward()
        results.append([total.detach(), hidden.grad, *(part.grad for part in head.parameters())])
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() <= (1e-6 if dtype == torch.float32 else 1e-2) * other.abs().max()


def test_a_model_with_tied_weights_learns_the_same_from_either(monkeypatch):
    monkeypatch.setattr(loss, "CHUNK", 5 * 50)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True, use_cache=False))
    ids = torch.arange(24).reshape(2, 12)
    inputs = {"input_ids": ids, "position_ids": torch.arange(12).repeat(2, 1), "labels": targets(2, 12)}
    logits = model(input_ids=ids).logits
    own = model(**inputs).loss
    own.backward()
    expected = {name: part.grad.clone() for name, part in model.named_parameters()}
    ours = SupervisedLoss(model)
    for ours.chunked in (True, False):
        model.zero_grad()
        found = model(**inputs).loss
        found.backward()
        torch.testing.assert_close(found, own)
        for name, part in model.named_parameters():
            torch.testing.assert_close(part.grad, expected[name])
    assert torch.equal(model(input_ids=ids, position_ids=inputs["position_ids"]).logits, logits)


def test_rows_that_teach_nothing_still_reach_every_parameter():
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, use_cache=False))
    SupervisedLoss(model)
    ids = torch.zeros(2, 6, dtype=torch.int64)
    found = model(input_ids=ids, position_ids=ids, labels=torch.full_like(ids, MASKED), num_items_in_batch=3).loss
    found.backward()
    assert found == 0
    assert all(part.grad is not None and not part.grad.any() for part in model.parameters())


@pytest.mark.parametrize(
    "model",
    [
        lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, num_key_value_heads=1)),  # caps its logits
        lambda: Cohere2ForCausalLM(Cohere2Config(**SHAPE, num_key_value_heads=1, logit_scale=0.5)),  # scales them
        lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    ],
)
def test_a_model_whose_logits_are_more_than_its_heads_keeps_them(model, capsys, tmp_path):
    import contextlib
    from types import SimpleNamespace

    from orcac.tokenize import rowfile
    from orcac.train.checks import choose_loss

    model = model()
    model.config.use_cache = False
    chunks = SupervisedLoss(model)
    file = rowfile.create(tmp_path / "rows", rows=1, max_length=8)
    file.labels[:] = file.input_ids[:] = range(8)
    file.position_ids[:] = range(8)
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
