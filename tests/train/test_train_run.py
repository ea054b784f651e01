import dataclasses
import errno
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
import train_child
from safetensors.torch import save_file

from orcac.errors import InputError, OrcacError, StoreError
from orcac.tokenize import rowfile
from orcac.train.recipe import TrainExecution, TrainRecipe
from orcac.train.run import run
from orcac.train.stage import Stage
from orcac.train.worker import load_model


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, inputs):
    job = train_child.job(tmp_path_factory.mktemp("uninterrupted"), *inputs)
    return job, run(job)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lasting(summary):
    """Return the summary without the figures in which two equal runs may differ."""
    return dataclasses.replace(summary, tokens_per_second=None, mfu=None, peak_gib=None)


def metrics(job):
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def test_a_stage_learns_and_says_what_it_did(uninterrupted, inputs):
    job, summary = uninterrupted
    counts = json.loads((inputs[0] / "counts.json").read_text())
    lines = metrics(job)
    assert counts["rows"] % 6  # so that the last batch of an epoch is filled up
    assert summary.steps == 8 * -(-counts["rows"] // 6)
    assert [line["step"] for line in lines] == list(range(1, summary.steps + 1))
    assert lines[-1]["tokens"] == summary.tokens == 8 * counts["tokens"]
    assert lines[-1]["epoch"] == 8
    assert summary.supervised_tokens == 8 * counts["supervised_tokens"]
    assert (summary.first_loss, summary.final_loss) == (lines[0]["loss"], lines[-1]["loss"])
    assert summary.final_loss < summary.first_loss / 2
    assert max(line["learning_rate"] for line in lines) == 3e-2
    assert lines[0]["learning_rate"] < 3e-2 and lines[-1]["learning_rate"] < 3e-3
    assert summary.tokens_per_second > 0 and 0 < summary.mfu < 1 and summary.peak_gib > 0
    assert (summary.mfu_of, summary.processes) == ("matmul on 1 CPU thread", 1)
    start, model = contents(inputs[1] / "model"), contents(job.out / "model")
    assert start.keys() == model.keys()
    assert {name for name in start if start[name] != model[name]} == {"model.safetensors"}
    assert len(list(job.work.glob("checkpoint-*"))) <= 2
    assert not list(job.work.glob("checkpoint-*/training_args.bin"))  # a pickle
    assert not (job.out / "optimizer.safetensors").exists()


def test_tensorboard_reads_the_same_figures(uninterrupted):
    from tensorboardX.proto.event_pb2 import Event

    data, events = (uninterrupted[0].out / "events.out.tfevents.0").read_bytes(), []
    while data:  # a length, its checksum, as many bytes, their checksum
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    shown = [{value.tag: value.simple_value for value in event.summary.value} for event in events[1:]]
    for event, figures, line in zip(events[1:], shown, metrics(uninterrupted[0]), strict=True):
        assert {"step": event.step, **figures} == pytest.approx(line)


def test_killed_anywhere_and_resumed_ends_with_the_same_bits(tmp_path, inputs, uninterrupted):
    epoch = uninterrupted[1].steps // 8
    # between an epoch's last step and its checkpoint, at an epoch's first row, in the middle of a checkpoint, before
    # its marker
    places = [f"log:{2 * epoch}", f"fetch:{3 * 3 * epoch + 1}", "save:10", "mark:2"]
    command = [sys.executable, train_child.__file__, *map(str, (tmp_path, *inputs)), *places]
    child = subprocess.run(command, capture_output=True, check=False)
    assert child.returncode == 0, child.stderr.decode()
    for place in places:
        assert contents(tmp_path / place / "out1") == contents(uninterrupted[0].out), place


def test_terminated_saves_and_resumes_with_the_same_bits(tmp_path, inputs, uninterrupted, monkeypatch):
    from orcac.train.data import Rows

    monkeypatch.setattr(Rows, "collate", Rows.collate)  # put back at the end
    train_child.at_call("fetch", 50, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run(train_child.job(tmp_path, *inputs))
    assert stopped.value.code == 143
    done = len((tmp_path / "work" / "metrics.jsonl").read_text().splitlines())
    assert (tmp_path / "work" / f"checkpoint-{done}" / "complete").exists()
    job = train_child.job(tmp_path, *inputs)
    assert lasting(run(job)) == lasting(uninterrupted[1])
    assert contents(job.out) == contents(uninterrupted[0].out)
    assert 10 < done < 20 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_micro_batches_recomputation_and_the_head_do_not_change_the_loss(tmp_path, inputs, monkeypatch):
    recipe = TrainRecipe(seed=0, epochs=2, learning_rate=1e-3, batch_rows=6)
    ways = {
        "1 x 6": {"micro_batch_rows": 1},
        "6 x 1": {"micro_batch_rows": 6},
        "recomputed": {"recompute": True},
        "plain": {},
    }
    found = {}
    for way, execution in ways.items():
        with monkeypatch.context() as patched:
            if way == "plain":
                patched.setattr("orcac.train.checks._is_plain_head", lambda *_: False)
            job = train_child.job(tmp_path / way, *inputs, recipe=recipe, **execution)
            run(job)
            found[way] = metrics(job)
    for way in ways:
        for line, other in zip(found[way], found["1 x 6"], strict=True):
            assert line == pytest.approx(other, rel=1e-4), way


def test_a_stage_of_tokens_ends_where_they_are_reached(tmp_path, inputs, uninterrupted):
    seen = [line["tokens"] for line in metrics(uninterrupted[0])]
    recipe = train_child.RECIPE.model_copy(update={"epochs": None, "tokens": seen[9] - 1})
    job = train_child.job(tmp_path, *inputs, recipe=recipe)
    summary = run(job)
    assert (summary.steps, summary.tokens) == (10, seen[9])
    assert [line["tokens"] for line in metrics(job)] == seen[:10]


def test_a_carried_optimizer_goes_on_as_if_the_stage_had_not_ended(tmp_path, inputs, monkeypatch):
    """Two stages of one epoch each, on the rows in the order of one stage of two."""
    rows, student = inputs
    monkeypatch.setattr("orcac.train.data.permutation", lambda seed, epoch, rows: np.arange(rows))
    recipe = TrainRecipe(
        seed=0, epochs=1, learning_rate=1e-2, schedule="constant", warmup=0.0, weight_decay=0.1, batch_rows=6
    )
    carry = recipe.model_copy(update={"optimizer": "carry"})
    whole = train_child.job(tmp_path / "whole", rows, student, recipe=recipe.model_copy(update={"epochs": 2}))
    first = train_child.job(tmp_path / "first", rows, student, recipe=recipe, keep_optimizer=True)
    second = train_child.job(tmp_path / "second", rows, first.out, recipe=carry)
    for job in (whole, first, second):
        run(job)
    assert contents(second.out / "model") == contents(whole.out / "model")
    with pytest.raises(InputError, match=r"left no optimizer\.safetensors"):
        run(train_child.job(tmp_path / "third", rows, second.out, recipe=carry))
    stranger = tmp_path / "stranger"
    shutil.copytree(student, stranger)
    save_file({"model.norm.weight.exp_avg": torch.zeros(3)}, stranger / "optimizer.safetensors")
    with pytest.raises(InputError, match=r"left no state model\.embed_tokens\.weight"):
        run(train_child.job(tmp_path / "fourth", rows, stranger, recipe=carry))


def test_bf16_and_a_constant_rate(tmp_path, inputs):
    recipe = TrainRecipe(
        seed=0, epochs=5, learning_rate=1e-2, batch_rows=4, precision="bf16", schedule="constant", warmup=0.0
    )
    job = train_child.job(tmp_path, *inputs, recipe=recipe)
    summary = run(job)
    assert summary.final_loss < summary.first_loss
    assert {line["learning_rate"] for line in metrics(job)} == {1e-2}


def test_what_cannot_be_trained_is_refused(tmp_path, inputs):
    with pytest.raises(InputError, match="does not divide"):
        run(train_child.job(tmp_path / "micro", *inputs, micro_batch_rows=4))
    wild = TrainRecipe(seed=0, epochs=3, learning_rate=1e30, batch_rows=4, warmup=0.0)
    with pytest.raises(OrcacError, match="the loss is"):
        run(train_child.job(tmp_path / "wild", *inputs, recipe=wild))
    masked = tmp_path / "masked"
    shutil.copytree(inputs[0], masked)
    labels = rowfile._map(masked / "rows.safetensors", "r+").labels
    labels[:] = rowfile.MASKED
    labels.flush()
    with pytest.raises(InputError, match="every label is masked"):
        run(train_child.job(tmp_path / "labels", masked, inputs[1]))


def test_a_checkpoint_that_the_disk_refuses_is_an_os_error(tmp_path, inputs):
    with tiny.small_files(50_000), pytest.raises(OSError) as refused:  # the weights fit, the optimizer does not
        run(train_child.job(tmp_path, *inputs))
    assert refused.value.errno == errno.EFBIG


def test_a_disk_without_room_is_refused_before_training(tmp_path, inputs, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr("orcac.train.checks.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"3 checkpoints of 0\.0 and an artifact"):
        run(train_child.job(tmp_path, *inputs))


def test_a_checkpoint_of_another_layout_is_refused(tmp_path):
    from orcac.train.checkpoints import check_fits

    def stage(**execution):
        places = dict.fromkeys(("rows", "start", "out", "work"), tmp_path)
        return Stage(label="", recipe=train_child.RECIPE, execution=TrainExecution(**execution), **places)

    (tmp_path / "complete").write_text('{"world_size": 2, "zero": 0}')
    check_fits(tmp_path, stage(processes=1))  # each process holds everything
    with pytest.raises(InputError, match="2 processes under ZeRO-0 cannot be resumed by 2 processes under ZeRO-2"):
        check_fits(tmp_path, stage(processes=2, zero=2))
    (tmp_path / "complete").write_text('{"world_size": 2, "zero": 2}')
    check_fits(tmp_path, stage(processes=2, zero=2))
    with pytest.raises(InputError, match="4 processes"):
        check_fits(tmp_path, stage(processes=4, zero=2))


def test_isolation_is_checked_on_the_model(inputs):
    from orcac.train.checks import check_isolation

    file = rowfile.read(inputs[0] / "rows.safetensors")
    model = load_model(inputs[1] / "model")
    check_isolation(model, file)
    model.config.use_cache = True  # the library's default, and a silent leak
    with pytest.raises(OrcacError, match="see each other"):
        check_isolation(model, file)


def broken_mean(monkeypatch):
    """Each micro-batch by its own tokens, as many trainers do it."""
    from orcac.train.trainer import PackedTrainer

    original = PackedTrainer.compute_loss
    monkeypatch.setattr(
        PackedTrainer,
        "compute_loss",
        lambda self, model, inputs, num_items_in_batch: original(self, model, inputs),
        raising=False,
    )


def broken_chunks(monkeypatch):
    monkeypatch.setattr("orcac.train.loss.summed", lambda hidden, *_: hidden.square().sum())


def broken_disk(monkeypatch):
    monkeypatch.setattr("orcac.train.checks.load_file", lambda _: {"weight": torch.zeros(1)})


def broken_loader(monkeypatch):
    from orcac.train.data import Share

    monkeypatch.setattr(Share, "__len__", lambda _: 3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (broken_mean, "1 × 4 and 4 × 1 rows differ"),
        (broken_chunks, "the chunked loss is not the plain one: its loss"),
        (broken_disk, "does not read back"),
        (broken_loader, "the loader gives 1 steps where"),
    ],
)
def test_a_fault_that_training_would_not_show_is_found_before_the_first_step(
    tmp_path, inputs, monkeypatch, fault, message
):
    fault(monkeypatch)
    job = train_child.job(tmp_path, *inputs)
    with pytest.raises(OrcacError, match=message):
        run(job)
    assert not list(job.work.glob("checkpoint-*")) and not (job.work / "metrics.jsonl").read_text()


def test_the_checks_move_no_weight_and_no_random_number(tmp_path, inputs, monkeypatch):
    recipe = train_child.RECIPE.model_copy(update={"epochs": 1})
    with_checks = train_child.job(tmp_path / "with", *inputs, recipe=recipe)
    run(with_checks)
    for check in ("check_checkpoint", "check_isolation", "choose_loss", "check_accumulation"):
        monkeypatch.setattr(f"orcac.train.checks.{check}", lambda *_: None)
    without = train_child.job(tmp_path / "without", *inputs, recipe=recipe)
    run(without)
    assert contents(with_checks.out) == contents(without.out)
    states = [next((job.work).glob("checkpoint-*/rng_state.pth")).read_bytes() for job in (with_checks, without)]
    assert states[0] == states[1]


def test_a_model_that_knows_no_positions_is_refused(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=50)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="MambaForCausalLM takes no position_ids"):
        load_model(tmp_path)
