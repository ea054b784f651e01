"""Tests of orcac/train/holdout.py and orcac/train/best.py: the loss on examples kept apart, by one process, by two, and
after a kill; and the model of the step at which it is the lowest."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
import train_child
from safetensors.torch import load_file
from train_child import read_contents, read_events

from orcac.tokenize import rowfile
from orcac.tokenize.holdout import ROWS, read_groups
from orcac.tokenize.recipe import TokenizeExecution, TokenizeRecipe
from orcac.train import distributed
from orcac.train.apart import Loss, describe_apart, read_apart
from orcac.train.best import Best
from orcac.train.checkpoints import find_newest, read_step
from orcac.train.data import PackedRows
from orcac.train.holdout import choose_steps
from orcac.train.metrics import name_curves
from orcac.train.recipe import PARTS, TrainRecipe
from orcac.train.run import describe_stage, run
from orcac.train.worker import load_trainable_model, train


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return the folders of a tokenize node that keeps examples of two teachers apart, and of a student node."""
    from orcac.tokenize.run import run

    root = tmp_path_factory.mktemp("apart")
    examples = tiny.write_examples(root / "kept", [tiny.response(n, teacher="ab"[n % 2]) for n in range(60)])
    student = tiny.make_student(root / "student", examples)
    recipe = TokenizeRecipe(seed=0, max_length=64, holdout=0.2)
    job = tiny.job(root / "rows", recipe, {"examples": [examples], "student": [student]}, TokenizeExecution())
    run(job)
    return job.out, student


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, inputs):
    job = train_child.job(tmp_path_factory.mktemp("uninterrupted"), *inputs)
    return job, run(job)


def read_losses(folder):
    return [json.loads(line) for line in (folder / "holdout.jsonl").read_text().splitlines()]


def compute_losses(rows, model):
    """Return the loss per supervised token of each group, from whole logits."""
    file, model, start, losses = rowfile.read(rows / ROWS), load_trainable_model(model), 0, {}
    for group in read_groups(rows):
        own = slice(start, start := start + group.rows)
        ids, positions, labels = (torch.tensor(array[own].astype("int64")) for array in file)
        with torch.no_grad():
            logits = model.eval()(input_ids=ids, position_ids=positions).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        losses[group.name] = float(loss)
    return losses


def test_the_loss_is_that_of_the_student_before_and_after_and_falls(uninterrupted, inputs, capfd):
    job, summary = uninterrupted
    lines = read_losses(job.out)
    assert [line["step"] for line in lines] == [0, *sorted(choose_steps(summary.steps, epoch=summary.steps))]
    assert lines[0]["groups"] == pytest.approx(compute_losses(inputs[0], inputs[1] / "model"), rel=1e-4)
    assert lines[-1]["groups"] == pytest.approx(compute_losses(inputs[0], job.out / "model"), rel=1e-4)
    tokens = {group.name: group.supervised_tokens for group in read_groups(inputs[0])}
    for line in lines:
        total = sum(loss * tokens[name] for name, loss in line["groups"].items())
        assert line["loss"] == pytest.approx(total / sum(tokens.values()))
    assert (summary.holdout_first_loss, summary.holdout_final_loss) == (lines[0]["loss"], lines[-1]["loss"])
    assert summary.holdout_final_loss < summary.holdout_first_loss
    shown = [(step, figures) for step, figures in read_events(job) if "holdout_loss" in figures]
    assert [step for step, _ in shown] == [line["step"] for line in lines]
    for (_, figures), line in zip(shown, lines, strict=True):
        assert figures == pytest.approx(name_curves(line["loss"], line["groups"]))


WANDB = """
import json, os, types
config, run = {}, None
class Config(dict):
    def update(self, values, **_): pass
def init(**given):
    global run
    run = types.SimpleNamespace(_label=lambda **_: None, summary={}, id="1", name="n", url="u")
    note({"init": given})
def log(values, **_): note(values)
def note(values):
    with open(os.environ["WANDB_NOTES"], "a") as file: print(json.dumps(values, default=str), file=file)
def define_metric(*_, **__): pass
def finish(*_, **__): pass
config = Config()
"""


def test_weights_and_biases_gets_the_curves_if_it_is_asked_for(tmp_path, inputs, monkeypatch):
    package = tmp_path / "packages" / "wandb" / "sdk" / "lib"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "config_util.py").write_text("class ConfigError(Exception): pass")
    (package.parents[1] / "__init__.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("WANDB_NOTES", str(tmp_path / "notes"))
    recipe = train_child.RECIPE.model_copy(update={"epochs": 2})
    run(train_child.job(tmp_path / "quiet", *inputs, recipe=recipe))
    assert not (tmp_path / "notes").exists()
    monkeypatch.setenv("WANDB_PROJECT", "study")
    job = train_child.job(tmp_path / "logged", *inputs, recipe=recipe)
    run(job)
    notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert notes[0]["init"] == {"project": "study", "name": "test"}
    steps = [note for note in notes if "train/loss" in note]
    assert [note["train/loss"] for note in steps] == [line["loss"] for line in train_child.read_metrics(job)]
    curves = [note for note in notes if "train/holdout_loss" in note]
    for note, line in zip(curves, read_losses(job.out), strict=True):
        expected = {f"train/{name}": loss for name, loss in name_curves(line["loss"], line["groups"]).items()}
        assert {name: note[name] for name in expected} == expected and note["train/global_step"] == line["step"]


def test_training_is_the_same_as_without_the_measurement(tmp_path, uninterrupted, inputs):
    rows = tmp_path / "rows"
    shutil.copytree(inputs[0], rows)
    (rows / "holdout.json").unlink()
    job = train_child.job(tmp_path, rows, inputs[1])
    summary = run(job)
    assert (job.out / "metrics.jsonl").read_bytes() == (uninterrupted[0].out / "metrics.jsonl").read_bytes()
    assert read_contents(job.out / "model") == read_contents(uninterrupted[0].out / "model")
    assert summary.holdout_first_loss is None and not (job.out / "holdout.jsonl").exists()


def test_a_killed_stage_ends_with_the_same_files(tmp_path, uninterrupted, inputs):
    places = ["log:9", "mark:5"]
    child = Path(__file__).with_name("train_child.py")
    subprocess.run([sys.executable, child, tmp_path, *inputs, *places], check=True)
    for place in places:
        assert read_contents(tmp_path / place / "out1") == read_contents(uninterrupted[0].out), place


@pytest.mark.parametrize("zero", [0, 3])
def test_two_processes_measure_the_same_loss(tmp_path, inputs, zero, capfd):
    recipe = TrainRecipe(seed=3, epochs=1, learning_rate=1e-2, batch_rows=4)
    found = []
    for name, ways in (("one", {}), ("two", {"micro_batch_rows": 1, "processes": 2, "zero": zero})):
        job = train_child.job(tmp_path / name, *inputs, recipe=recipe, **ways)
        run(job)
        found.append([line["groups"] for line in read_losses(job.out)])
    for one, two in zip(*found, strict=True):
        assert two == pytest.approx(one, rel=1e-3)
    count = sum(group.examples for group in read_groups(inputs[0]))
    shown = capfd.readouterr().err
    assert f"loss on {count} examples kept apart " in shown and re.search(r"kept apart \d\.\d{3} \(step \d\)", shown)


UNSTEADY = train_child.RECIPE.model_copy(
    update={"keep": "best", "learning_rate": 0.5, "schedule": "constant", "epochs": 5}
)


@pytest.fixture(scope="module")
def unsteady(tmp_path_factory, inputs):
    """Return the job of a stage whose best step is not its last, and its summary."""
    job = train_child.job(tmp_path_factory.mktemp("best"), *inputs, recipe=UNSTEADY, keep_optimizer=True)
    return job, run(job)


def test_the_best_step_leaves_its_weights_and_its_optimizer(unsteady, inputs):
    job, summary = unsteady
    lines = {line["step"]: line for line in read_losses(job.out)}
    epoch = summary.steps // 5
    assert {epoch * number for number in range(1, 6)} < lines.keys()
    best = min((step for step in lines if step), key=lambda step: lines[step]["loss"])
    assert summary.kept_step == best < summary.steps
    assert lines[best]["groups"] == pytest.approx(compute_losses(inputs[0], job.out / "model"), rel=1e-4)
    moments = load_file(job.out / "optimizer.safetensors")
    assert {float(value) for name, value in moments.items() if name.endswith(".step")} == {best}
    assert summary.holdout_final_loss == lines[summary.steps]["loss"]
    losses = read_apart(job.out)
    assert describe_apart(losses, best).endswith(f"after; the weights are those of step {best}")


def test_a_stage_that_resumes_after_its_best_step_leaves_the_same_model(tmp_path, unsteady, inputs, monkeypatch):
    job, summary = unsteady
    monkeypatch.setattr(PackedRows, "collate", PackedRows.collate)  # restores it at the end
    train_child.signal_at_call("fetch", 3 * (summary.kept_step + 1), signal.SIGTERM)
    ways = {"recipe": UNSTEADY, "keep_optimizer": True, "save_every_seconds": 1000}
    with pytest.raises(SystemExit):
        run(train_child.job(tmp_path, *inputs, **ways))
    resumed = train_child.job(tmp_path, *inputs, **ways)
    assert run(resumed).kept_step == summary.kept_step
    assert read_contents(resumed.out) == read_contents(job.out)


def test_a_rank_that_reads_no_losses_resumes_from_the_last_step(tmp_path, inputs, monkeypatch):
    recipe = UNSTEADY.model_copy(update={"epochs": 1})
    stage = describe_stage(train_child.job(tmp_path, *inputs, recipe=recipe))
    summary = train(stage, max_saving_share=1.0)
    assert summary.kept_step and read_step(find_newest(stage.work)) == summary.steps
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    assert train(stage).kept_step is None


def test_two_processes_leave_their_best_step(tmp_path, inputs):
    job = train_child.job(tmp_path, *inputs, recipe=UNSTEADY, micro_batch_rows=1, processes=2, zero=2)
    kept_step = run(job).kept_step
    lines = {line["step"]: line for line in read_losses(job.out)}
    assert kept_step == min((step for step in lines if step), key=lambda step: lines[step]["loss"])
    assert lines[kept_step]["groups"] == pytest.approx(compute_losses(inputs[0], job.out / "model"), rel=1e-4)


def test_the_best_models_of_checkpoints_and_of_now_are_kept(tmp_path):
    def save(folder):
        (folder / "model").write_text(folder.name)

    best = Best(tmp_path, [Loss(0, 1.0)], save)
    for step, loss in ((1, 5.0), (2, 4.0), (3, 6.0), (4, 3.0)):
        best.consider(Loss(step, loss))
        if step in (1, 3):
            (tmp_path / f"checkpoint-{step}").mkdir()
            (tmp_path / f"checkpoint-{step}" / "complete").touch()
    assert best.step == 4
    assert sorted(path.name for path in tmp_path.glob("best-*")) == ["best-1", "best-2", "best-4"]
    assert (best.folder / "model").read_text() == "best-4"


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 1000])
def test_the_last_step_is_measured_and_no_stage_is_measured_often(steps):
    chosen = choose_steps(steps, epoch=steps)
    assert max(chosen) == steps and min(chosen) >= 1 and len(chosen) == min(steps, PARTS)
