"""Tests of orcac/train/adapter.py: stages that train LoRA matrices, in one process and in two, killed and resumed."""

import dataclasses
import functools
import json

import pytest
import torch
import train_child
from interrupted import check_same_bits
from safetensors.torch import load_file
from train_child import read_contents, read_metrics

from orcac.errors import InputError
from orcac.train import adapter
from orcac.train.checkpoints import find_newest
from orcac.train.recipe import Lora
from orcac.train.run import run

pytest.importorskip("peft")

LORA = Lora(rank=4, alpha=8, targets=("all-linear",))
RECIPE = train_child.RECIPE.model_copy(update={"adapter": LORA, "epochs": 4})
CARRY = RECIPE.model_copy(update={"optimizer": "carry", "epochs": 2, "seed": 4})


@pytest.fixture(scope="module")
def adapted(tmp_path_factory, inputs):
    """Return the job of a stage with an adapter, its summary, and the trained matrices by peft's names."""
    trained, save = {}, adapter.save

    def recording(trainer, lora, folder):
        for name, part in trainer.model.named_parameters():
            if part.requires_grad:
                trained[f"base_model.model.{name.replace('.default.', '.')}"] = part.detach().clone()
        save(trainer, lora, folder)

    job = train_child.job(tmp_path_factory.mktemp("adapted"), *inputs, recipe=RECIPE, keep_optimizer=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(adapter, "save", recording)
        return job, run(job), trained


def continue_(root, inputs, before, *, recipe=CARRY, **execution):
    """Return the job of a stage that goes on with the adapter of the artifact `before`."""
    job = train_child.job(root, inputs[0], before, recipe=recipe, **execution)
    return dataclasses.replace(job, inputs={**job.inputs, "base": [inputs[1]]})


def compute_logits(model):
    with torch.inference_mode():
        return model.eval()(torch.arange(3, 50)[None]).logits


def test_an_adapter_learns_and_is_stored_as_it_is_and_merged(adapted, inputs):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    job, summary, trained = adapted
    base = inputs[1] / "model"
    assert summary.final_loss < summary.first_loss - 1
    stored = load_file(job.out / "adapter" / "adapter_model.safetensors")
    assert summary.trained_parameters == sum(tensor.numel() for tensor in stored.values()) < 5000
    assert stored.keys() == trained.keys() and all(torch.equal(stored[name], trained[name]) for name in stored)
    newest = find_newest(job.work)
    assert (newest / "adapter.safetensors").exists() and not (newest / "model.safetensors").exists()
    assert read_contents(base).keys() == read_contents(job.out / "model").keys()
    attached = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), job.out / "adapter")
    for name, tensor in attached.state_dict().items():
        if "lora" in name:
            assert torch.equal(stored[name.replace(".default.", ".")], tensor), name
    logits = compute_logits(attached)
    merged = compute_logits(AutoModelForCausalLM.from_pretrained(job.out / "model"))
    assert torch.equal(merged.argmax(-1), logits.argmax(-1))
    assert float((merged - logits).abs().max()) < 1e-6 * float(logits.abs().max())
    assert float((merged - compute_logits(AutoModelForCausalLM.from_pretrained(base))).abs().max()) > 0.1


def test_an_adapter_that_was_killed_and_terminated_ends_with_the_same_bits(tmp_path, adapted, inputs, monkeypatch):
    check_same_bits(tmp_path, inputs, adapted[0], monkeypatch)


def test_a_next_stage_goes_on_with_the_adapter_and_its_optimizer(tmp_path, adapted, inputs):
    job = adapted[0]
    second = continue_(tmp_path / "second", inputs, job.out)
    summary = run(second)
    before, after = (load_file(out / "adapter" / "adapter_model.safetensors") for out in (job.out, second.out))
    assert before.keys() == after.keys() and summary.first_loss == pytest.approx(adapted[1].final_loss, abs=0.7)
    foreign = CARRY.model_copy(update={"adapter": LORA.model_copy(update={"rank": 2})})
    with pytest.raises(InputError, match="has other matrices than the one of this stage"):
        run(continue_(tmp_path / "foreign", inputs, job.out, recipe=foreign))


@pytest.mark.parametrize("zero", [0, 2, 3])
def test_two_processes_train_the_adapter_of_one(tmp_path, adapted, inputs, zero):
    """The second stage, so that an adapter, its optimizer and a base that is not the start are distributed."""
    alone = continue_(tmp_path / "alone", inputs, adapted[0].out)
    run(alone)
    job = continue_(tmp_path / "two", inputs, adapted[0].out, micro_batch_rows=1, processes=2, zero=zero)
    run(job)
    losses = [[line["loss"] for line in read_metrics(one)] for one in (alone, job)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    for name in ("adapter/adapter_model.safetensors", "model/model.safetensors"):
        one, two = load_file(alone.out / name), load_file(job.out / name)
        assert one.keys() == two.keys()
        assert all(float((one[key] - two[key]).abs().max()) < 1e-3 for key in one), name


def attach_with(attach, halves, *given, **more):
    attach(*given, **more | {"halves_frozen": halves})


def test_frozen_matrices_in_bf16_change_no_bit(tmp_path, inputs, monkeypatch):
    recipe = RECIPE.model_copy(update={"precision": "bf16", "epochs": 1})
    attach, made = adapter.attach, []
    for halves in (True, False):
        halving = functools.partial(attach_with, attach, halves)
        monkeypatch.setattr(adapter, "attach", halving)
        job = train_child.job(tmp_path / str(halves), *inputs, recipe=recipe)
        run(job)
        made.append(read_contents(job.out / "adapter"))
    assert "adapter_model.safetensors" in made[0] and made[0] == made[1]


def test_unknown_targets_are_named_with_those_of_the_model(tmp_path, inputs):
    recipe = RECIPE.model_copy(update={"adapter": LORA.model_copy(update={"targets": ("query",)})})
    with pytest.raises(InputError, match="no module of `targets` query") as refused:
        run(train_child.job(tmp_path, *inputs, recipe=recipe))
    assert "q_proj" in refused.value.fix
    some = RECIPE.model_copy(update={"adapter": LORA.model_copy(update={"targets": ("q_proj", "v_proj")}), "epochs": 1})
    job = train_child.job(tmp_path / "some", *inputs, recipe=some)
    run(job)
    assert json.loads((job.out / "adapter" / "adapter_config.json").read_text())["target_modules"] == [
        "q_proj",
        "v_proj",
    ]
