"""Tests of orcac/train/quantized.py: adapters on frozen matrices of 4 bits (QLoRA)."""

import dataclasses

import pytest
import torch
import train_child
from interrupted import check_same_bits
from safetensors.torch import load_file
from train_child import read_metrics

from orcac.errors import InputError
from orcac.train import quantized
from orcac.train.recipe import Lora
from orcac.train.run import run
from orcac.train.worker import load_trainable_model

pytest.importorskip("peft")
pytest.importorskip("bitsandbytes")

LORA = Lora(rank=4, alpha=8, targets=("all-linear",), quantize="nf4")
RECIPE = train_child.RECIPE.model_copy(update={"adapter": LORA, "epochs": 4})
CARRY = RECIPE.model_copy(update={"optimizer": "carry", "epochs": 2, "seed": 4})


@pytest.fixture(scope="module")
def trained(tmp_path_factory, inputs):
    """Return the job of a stage with a quantized base, and its summary."""
    job = train_child.job(tmp_path_factory.mktemp("quantized"), *inputs, recipe=RECIPE, keep_optimizer=True)
    return job, run(job)


def continue_(root, inputs, before, **execution):
    """Return the job of a stage that goes on with the adapter of the artifact `before`."""
    job = train_child.job(root, inputs[0], before, recipe=CARRY, **execution)
    return dataclasses.replace(job, inputs={**job.inputs, "base": [inputs[1]]})


def compute_logits(model):
    with torch.inference_mode():
        return model.eval()(torch.arange(3, 50)[None]).logits


def load_quantized(inputs, computes_in=torch.float32):
    model = load_trainable_model(inputs[1] / "model")
    quantized.quantize(model, computes_in=computes_in)
    return model


@pytest.mark.parametrize("width", [16, 256])
def test_a_quantized_layer_is_the_product_with_its_rounded_weights_in_training_and_evaluation(width):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "vocab_size": 300}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.2}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    rounded = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    rounded.load_state_dict(model.state_dict())
    quantized.quantize(model, computes_in=torch.float32)
    quantized.round_weights(rounded)
    ids = torch.arange(3, 50)[None]
    logits = compute_logits(rounded)
    assert torch.equal(compute_logits(model), logits)
    assert torch.equal(model.train()(ids).logits.detach(), logits), "after an evaluation, too"
    losses = []
    for one in (model, rounded):
        embedded = one.get_input_embeddings()(ids).detach().requires_grad_()
        one(inputs_embeds=embedded).logits.square().mean().backward()
        losses.append(embedded.grad)
    assert torch.equal(*losses) and losses[0].abs().max() > 0


def test_all_linear_layers_but_the_output_layer_have_4_bits(inputs):
    from bitsandbytes.nn import Linear4bit

    model, whole = load_quantized(inputs), load_trainable_model(inputs[1] / "model")
    found = [name for name, module in model.named_modules() if isinstance(module, Linear4bit)]
    assert len(found) == 7 * model.config.num_hidden_layers and "lm_head" not in found
    sizes = [sum(map(quantized.count_weights, one.parameters())) for one in (model, whole)]
    assert sizes[0] == sizes[1] > sum(part.numel() for part in model.parameters())
    assert 0.1 < quantized.find_share(model) < 0.9
    assert not any(part.requires_grad for name, part in model.named_parameters() if "_proj" in name)


def test_an_adapter_on_a_quantized_base_learns_and_is_merged_with_the_base_that_it_was_trained_on(trained, inputs):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    job, summary = trained
    assert summary.final_loss < summary.first_loss - 1
    assert job.packages.keys() >= {"peft", "bitsandbytes"}
    merged = compute_logits(AutoModelForCausalLM.from_pretrained(job.out / "model"))
    attached = compute_logits(PeftModel.from_pretrained(load_quantized(inputs), job.out / "adapter"))
    assert torch.equal(merged.argmax(-1), attached.argmax(-1))
    assert float((merged - attached).abs().max()) < 1e-6 * float(attached.abs().max())
    whole = PeftModel.from_pretrained(load_trainable_model(inputs[1] / "model"), job.out / "adapter")
    assert float((merged - compute_logits(whole)).abs().max()) > 1e-2, "the student's own weights are another base"


def test_a_quantized_stage_that_was_killed_and_terminated_ends_with_the_same_bits(
    tmp_path, trained, inputs, monkeypatch
):
    check_same_bits(tmp_path, inputs, trained[0], monkeypatch)


def test_a_next_stage_and_two_processes_go_on_with_the_adapter(tmp_path, trained, inputs):
    alone = continue_(tmp_path / "alone", inputs, trained[0].out)
    assert run(alone).first_loss == pytest.approx(trained[1].final_loss, abs=0.7)
    two = continue_(tmp_path / "two", inputs, trained[0].out, micro_batch_rows=1, processes=2)
    run(two)
    losses = [[line["loss"] for line in read_metrics(one)] for one in (alone, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    one, other = (load_file(job.out / "adapter" / "adapter_model.safetensors") for job in (alone, two))
    assert one.keys() == other.keys() and all(float((one[name] - other[name]).abs().max()) < 1e-3 for name in one)


def test_a_quantized_stage_is_trained_in_bf16(tmp_path, inputs):
    job = train_child.job(tmp_path, *inputs, recipe=RECIPE.model_copy(update={"precision": "bf16"}), recompute=True)
    summary = run(job)
    assert summary.final_loss < summary.first_loss - 1


def test_a_model_without_linear_layers_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=300, n_positions=32))
    with pytest.raises(InputError, match="GPT2LMHeadModel has no linear layers to quantize"):
        quantized.quantize(model, computes_in=torch.float32)
