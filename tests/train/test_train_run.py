"""Tests of orcac/train/run.py, orcac/train/recipe.py, orcac/train/worker.py and orcac/train/trainer.py."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
import train_child
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from train_child import read_contents, read_metrics

from orcac.errors import InputError
from orcac.tokenize.rowfile import MASKED
from orcac.train import worker
from orcac.train.data import PackedRows
from orcac.train.recipe import Lora, TrainRecipe
from orcac.train.run import run
from orcac.train.schedule import count_warmup_steps
from orcac.train.worker import load_trainable_model


def test_a_stage_learns_and_summarizes_its_training(uninterrupted, inputs):
    job, summary = uninterrupted
    counts = json.loads((inputs[0] / "counts.json").read_text())
    lines = read_metrics(job)
    assert counts["rows"] % 6  # so that the last batch of an epoch is filled up
    assert summary.steps == 8 * -(-counts["rows"] // 6)
    assert [line["step"] for line in lines] == list(range(1, summary.steps + 1))
    assert lines[-1]["tokens"] == summary.tokens == 8 * counts["tokens"]
    assert lines[-1]["epoch"] == 8
    assert summary.supervised_tokens == 8 * counts["supervised_tokens"]
    assert (summary.first_loss, summary.final_loss) == (lines[0]["loss"], lines[-1]["loss"])
    assert summary.final_loss < summary.first_loss / 2
    assert max(line["learning_rate"] for line in lines) == 3e-2
    assert 0 < lines[-1]["learning_rate"] < 3e-3
    assert summary.tokens_per_second > 0 and 0 < summary.mfu < 1 and summary.peak_gib > 0
    assert (summary.mfu_of, summary.processes) == ("matmul on 1 CPU thread", 1)
    start, model = read_contents(inputs[1] / "model"), read_contents(job.out / "model")
    assert start.keys() == model.keys()
    assert {name for name in start if start[name] != model[name]} == {"model.safetensors"}
    assert len(list(job.work.glob("checkpoint-*"))) <= 2
    assert not list(job.work.glob("checkpoint-*/training_args.bin"))  # a pickle
    assert not (job.out / "optimizer.safetensors").exists()


def test_the_first_step_of_a_warmup_changes_the_weights_as_adamw_does_at_its_rate(tmp_path, inputs, monkeypatch):
    """AdamW's first step moves each weight by rate * g / (|g| + eps); a weight without gradient stays."""
    step, seen = torch.optim.AdamW.step, []

    def recording(optimizer, *arguments, **options):
        parts = [part for group in optimizer.param_groups for part in group["params"]]
        before = [(part.detach().clone(), part.grad.clone()) for part in parts]
        step(optimizer, *arguments, **options)
        seen.append([(*one, part.detach().clone()) for one, part in zip(before, parts, strict=True)])

    monkeypatch.setattr(torch.optim.AdamW, "step", recording)
    recipe = TrainRecipe(seed=0, epochs=2, learning_rate=1e-2, batch_rows=4, warmup=0.5)
    job = train_child.job(tmp_path, *inputs, recipe=recipe)
    rate = 1e-2 / count_warmup_steps(0.5, run(job).steps)
    assert read_metrics(job)[0]["learning_rate"] == rate < 1e-2
    for before, gradient, after in seen[0]:
        expected = before - rate * gradient / (gradient.abs() + 1e-8)
        assert torch.allclose(after, expected, rtol=0, atol=1e-6)
    assert sum(float((after - before).abs().max()) for before, _, after in seen[0]) > rate


class OwnHead(torch.nn.Linear):
    """A linear head of another type, whose logits are therefore kept whole."""


def load_with_own_head(folder, **options):
    model = load_trainable_model(folder, **options)
    model.lm_head.__class__ = OwnHead
    return model


def test_micro_batches_recomputation_and_the_head_do_not_change_the_loss(tmp_path, inputs, monkeypatch):
    recipe = TrainRecipe(seed=0, epochs=2, learning_rate=1e-3, batch_rows=6)
    ways = {
        "1 x 6": {"micro_batch_rows": 1},
        "6 x 1": {"micro_batch_rows": 6},
        "recomputed": {"recompute": True},
        "whole logits": {},
    }
    found = {}
    for way, execution in ways.items():
        with monkeypatch.context() as patched:
            if way == "whole logits":
                patched.setattr(worker, "load_trainable_model", load_with_own_head)
            job = train_child.job(tmp_path / way, *inputs, recipe=recipe, **execution)
            run(job)
            found[way] = read_metrics(job)
    for way in ways:
        for line, other in zip(found[way], found["1 x 6"], strict=True):
            assert line == pytest.approx(other, rel=1e-4), way


def test_a_stage_of_tokens_ends_where_they_are_reached(tmp_path, inputs, uninterrupted):
    seen = [line["tokens"] for line in read_metrics(uninterrupted[0])]
    recipe = train_child.RECIPE.model_copy(update={"epochs": None, "tokens": seen[9] - 1})
    job = train_child.job(tmp_path, *inputs, recipe=recipe)
    summary = run(job)
    assert (summary.steps, summary.tokens) == (10, seen[9])
    assert [line["tokens"] for line in read_metrics(job)] == seen[:10]


def test_a_carried_optimizer_goes_on_as_if_the_stage_had_not_ended(tmp_path, inputs, monkeypatch):
    """Two stages of one epoch each, on the rows in the order of one stage of two."""
    rows, student = inputs
    monkeypatch.setattr("orcac.train.data.order_rows", lambda seed, epoch, rows, is_shuffled: np.arange(rows))
    recipe = TrainRecipe(
        seed=0, epochs=1, learning_rate=1e-2, schedule="constant", warmup=0.0, weight_decay=0.1, batch_rows=6
    )
    carry = recipe.model_copy(update={"optimizer": "carry"})
    whole = train_child.job(tmp_path / "whole", rows, student, recipe=recipe.model_copy(update={"epochs": 2}))
    first = train_child.job(tmp_path / "first", rows, student, recipe=recipe, keep_optimizer=True)
    second = train_child.job(tmp_path / "second", rows, first.out, recipe=carry)
    for job in (whole, first, second):
        run(job)
    assert read_contents(second.out / "model") == read_contents(whole.out / "model")
    with pytest.raises(InputError, match=r"left no optimizer\.safetensors"):
        run(train_child.job(tmp_path / "third", rows, second.out, recipe=carry))
    foreign = tmp_path / "foreign"
    shutil.copytree(student, foreign)
    save_file({"model.norm.weight.exp_avg": torch.zeros(3)}, foreign / "optimizer.safetensors")
    with pytest.raises(InputError, match=r"left no state model\.embed_tokens\.weight"):
        run(train_child.job(tmp_path / "fourth", rows, foreign, recipe=carry))


def test_bf16_and_a_constant_rate(tmp_path, inputs):
    recipe = TrainRecipe(
        seed=0, epochs=5, learning_rate=1e-2, batch_rows=4, precision="bf16", schedule="constant", warmup=0.0
    )
    job = train_child.job(tmp_path, *inputs, recipe=recipe)
    summary = run(job)
    assert summary.final_loss < summary.first_loss
    assert {line["learning_rate"] for line in read_metrics(job)} == {1e-2}


def test_a_stage_that_cannot_be_trained_is_refused(tmp_path, inputs):
    with pytest.raises(InputError, match="does not divide"):
        run(train_child.job(tmp_path / "micro", *inputs, micro_batch_rows=4))
    brief = TrainRecipe(seed=0, epochs=2, learning_rate=1e-3, batch_rows=1000, warmup=0.9)
    with pytest.raises(InputError, match=r"the warmup takes all 2 steps, so that only the last .* rate 0\.001"):
        run(train_child.job(tmp_path / "brief", *inputs, recipe=brief))
    masked = tmp_path / "masked"
    shutil.copytree(inputs[0], masked)
    arrays = tiny.read_arrays(masked / "rows.safetensors")
    arrays["labels"] = np.full_like(arrays["labels"], MASKED)
    save_arrays(arrays, masked / "rows.safetensors")
    with pytest.raises(InputError, match="every label is masked"):
        run(train_child.job(tmp_path / "labels", masked, inputs[1]))


@pytest.mark.parametrize(
    "save_every_seconds, saved", [(1000, "no checkpoint was saved before it"), (0, "checkpoint-1")]
)
def test_a_loss_that_is_not_a_number_ends_the_stage_and_names_the_last_checkpoint(
    tmp_path, inputs, save_every_seconds, saved
):
    wild = TrainRecipe(seed=0, epochs=3, learning_rate=1e30, batch_rows=4, warmup=0.0)
    job = train_child.job(tmp_path, *inputs, recipe=wild, save_every_seconds=save_every_seconds)
    with pytest.raises(InputError, match=rf"the loss is nan .* at step 2; .*{saved}") as stopped:
        run(job)
    assert stopped.value.exit_code == 2 and len((job.work / "metrics.jsonl").read_text().splitlines()) == 1


def test_weights_that_are_not_numbers_are_neither_saved_nor_published(tmp_path, inputs, monkeypatch):
    """The update of the last step breaks them, after a loss that is finite."""
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1e-3, batch_rows=4, warmup=0.0)
    last = -(-json.loads((inputs[0] / "counts.json").read_text())["rows"] // 4)
    step, calls = torch.optim.AdamW.step, []

    def breaking(optimizer, *arguments, **options):
        calls.append(None)
        step(optimizer, *arguments, **options)
        if len(calls) == last:
            optimizer.param_groups[0]["params"][0].data[0] = float("inf")

    monkeypatch.setattr(torch.optim.AdamW, "step", breaking)
    for every in (0, 1000):
        calls.clear()
        job = train_child.job(tmp_path / str(every), *inputs, recipe=recipe, save_every_seconds=every)
        with pytest.raises(InputError, match=f"a weight is NaN or infinite after step {last}"):
            run(job)
        assert not (job.out / "model").exists() and not (job.work / f"checkpoint-{last}").exists()


def test_a_model_that_cannot_separate_examples_trains_on_rows_of_one(tmp_path):
    from transformers import AutoModelForCausalLM, MambaConfig, MambaForCausalLM

    examples = tiny.write_examples(tmp_path / "kept", [tiny.response(n) for n in range(20)])
    student = tiny.make_student(tmp_path / "student", examples)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, "vocab_size": 300, "pad_token_id": 0}
    MambaForCausalLM(MambaConfig(**shape)).save_pretrained(student / "model")
    rows = tiny.make_rows(tmp_path / "rows", examples, student, packing="none")
    recipe = train_child.RECIPE.model_copy(update={"batch_rows": 4, "epochs": 3})
    joined = tiny.make_rows(tmp_path / "packed", examples, student)
    run(train_child.job(tmp_path / "joined", joined, student, recipe=recipe.model_copy(update={"isolation": False})))
    widths, collate = [], PackedRows.collate

    def recording(self, rows):
        inputs = collate(self, rows)
        widths.append(inputs["labels"].shape[1])
        return inputs

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PackedRows, "collate", recording)
        job = train_child.job(tmp_path / "stage", rows, student, recipe=recipe)
        summary = run(job)
    assert summary.final_loss < summary.first_loss and max(widths) < 64
    assert isinstance(AutoModelForCausalLM.from_pretrained(job.out / "model"), MambaForCausalLM)


def test_a_stage_without_isolation_reads_each_row_as_one_text(tmp_path, inputs, monkeypatch):
    """It takes as many tokens and labels as a stage with isolation, and learns another model."""
    recipe = train_child.RECIPE.model_copy(update={"epochs": 2})
    positions, collate = [], PackedRows.collate

    def recording(self, rows):
        batch = collate(self, rows)
        positions.append(batch["position_ids"])
        return batch

    apart = run(train_child.job(tmp_path / "apart", *inputs, recipe=recipe))
    monkeypatch.setattr(PackedRows, "collate", recording)
    monkeypatch.setattr("orcac.train.checks.check_isolation", None)  # not called
    job = train_child.job(tmp_path / "joined", *inputs, recipe=recipe.model_copy(update={"isolation": False}))
    joined = run(job)
    assert positions and all((batch == torch.arange(64)).all() for batch in positions)
    assert (joined.tokens, joined.supervised_tokens) == (apart.tokens, apart.supervised_tokens)
    assert joined.final_loss < joined.first_loss and joined.first_loss != apart.first_loss


@pytest.mark.parametrize("adapter", [None, Lora(rank=2, alpha=4, targets=("all-linear",))])
def test_the_text_part_of_a_model_for_images_trains_and_hands_its_optimizer_on(tmp_path, inputs, adapter):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    if adapter:
        pytest.importorskip("peft")
    student = tmp_path / "student"
    shutil.copytree(inputs[1], student)
    (student / "model" / "model.safetensors").unlink()
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    text |= {"intermediate_size": 24, "head_dim": 8, "vocab_size": 300, "max_position_embeddings": 64}
    vision = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    Gemma3ForConditionalGeneration(config).save_pretrained(student / "model")
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1e-2, batch_rows=6, adapter=adapter)
    job = train_child.job(tmp_path / "stage", inputs[0], student, recipe=recipe, keep_optimizer=True)
    summary = run(job)
    assert summary.final_loss < summary.first_loss
    before, after = (load_arrays(folder / "model" / "model.safetensors") for folder in (student, job.out))
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and not any("vision" in name for name in changed)
    moments = load_arrays(job.out / "optimizer.safetensors")
    assert moments and not any("vision" in name for name in moments)


def test_a_model_without_position_ids_is_refused(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=50)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="MambaForCausalLM takes no position_ids") as refused:
        load_trainable_model(tmp_path)
    assert "packing: none" in refused.value.fix
