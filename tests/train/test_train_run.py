import errno
import json
import shutil
import signal
import subprocess
import sys

import pytest
import tiny
import train_child

from orcac.errors import InputError, OrcacError
from orcac.tokenize import rowfile
from orcac.train.recipe import TrainRecipe
from orcac.train.run import run
from orcac.train.worker import load_model


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The folders of a tokenize node (16 rows or so) and of a student node."""
    root = tmp_path_factory.mktemp("inputs")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(45)])
    student = tiny.make_student(root / "student", examples)
    return tiny.make_rows(root / "rows", examples, student), student


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, inputs):
    job = train_child.job(tmp_path_factory.mktemp("uninterrupted"), *inputs)
    return job, run(job)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def metrics(job):
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def test_a_stage_learns_and_says_what_it_did(uninterrupted, inputs):
    job, summary = uninterrupted
    counts = json.loads((inputs[0] / "counts.json").read_text())
    lines = metrics(job)
    assert summary["steps"] == 40 * -(-counts["rows"] // 4)
    assert [line["step"] for line in lines] == list(range(1, summary["steps"] + 1))
    assert lines[-1]["tokens"] == summary["tokens"] == 40 * counts["tokens"]
    assert summary["supervised_tokens"] == 40 * counts["supervised_tokens"]
    assert (summary["first_loss"], summary["final_loss"]) == (lines[0]["loss"], lines[-1]["loss"])
    assert summary["final_loss"] < summary["first_loss"] / 3
    assert max(line["learning_rate"] for line in lines) == 1e-2
    assert lines[0]["learning_rate"] < 1e-2 and lines[-1]["learning_rate"] < 1e-4
    start, model = contents(inputs[1] / "model"), contents(job.out / "model")
    assert start.keys() == model.keys()
    assert {name for name in start if start[name] != model[name]} == {"model.safetensors"}
    assert len(list(job.work.glob("checkpoint-*"))) <= 2


def test_killed_and_resumed_ends_with_the_same_bits(tmp_path, inputs, uninterrupted):
    command = [sys.executable, train_child.__file__, "150", *map(str, (tmp_path, *inputs))]
    child = subprocess.run(command, capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert list(tmp_path.glob("work/checkpoint-*/complete"))
    torn = tmp_path / "work" / "checkpoint-9999"  # as a kill in the middle of saving leaves one
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    done = len((tmp_path / "work" / "metrics.jsonl").read_text().splitlines())
    job = train_child.job(tmp_path, *inputs)
    summary = run(job)
    assert 60 < done < summary["steps"]
    assert summary == uninterrupted[1]
    assert contents(job.out) == contents(uninterrupted[0].out)


def test_terminated_saves_and_resumes_with_the_same_bits(tmp_path, inputs, uninterrupted, monkeypatch):
    from orcac.train.data import Rows

    monkeypatch.setattr(Rows, "collate", Rows.collate)  # put back at the end
    train_child.at_batch(50, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run(train_child.job(tmp_path, *inputs))
    assert stopped.value.code == 143
    done = len((tmp_path / "work" / "metrics.jsonl").read_text().splitlines())
    assert (tmp_path / "work" / f"checkpoint-{done}" / "complete").exists()
    job = train_child.job(tmp_path, *inputs)
    assert run(job) == uninterrupted[1]
    assert contents(job.out) == contents(uninterrupted[0].out)
    assert done < 30 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_micro_batches_do_not_change_the_loss(tmp_path, inputs):
    recipe = TrainRecipe(seed=0, epochs=2, learning_rate=1e-3, batch_rows=4)
    jobs = [train_child.job(tmp_path / str(micro), *inputs, recipe=recipe, micro=micro) for micro in (1, 4)]
    for job in jobs:
        run(job)
    for one, four in zip(*map(metrics, jobs), strict=True):
        assert one == pytest.approx(four, rel=1e-4)


def test_bf16_and_a_constant_rate(tmp_path, inputs):
    recipe = TrainRecipe(
        seed=0, epochs=5, learning_rate=1e-2, batch_rows=4, precision="bf16", schedule="constant", warmup=0.0
    )
    job = train_child.job(tmp_path, *inputs, recipe=recipe)
    summary = run(job)
    assert summary["final_loss"] < summary["first_loss"]
    assert {line["learning_rate"] for line in metrics(job)} == {1e-2}


def test_what_cannot_be_trained_is_refused(tmp_path, inputs):
    with pytest.raises(InputError, match="does not divide"):
        run(train_child.job(tmp_path / "micro", *inputs, micro=3))
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


def test_isolation_is_checked_on_the_model(inputs):
    from orcac.train.checks import check_isolation

    file = rowfile.read(inputs[0] / "rows.safetensors")
    model = load_model(inputs[1] / "model")
    check_isolation(model, file)
    model.config.use_cache = True  # the library's default, and a silent leak
    with pytest.raises(OrcacError, match="see each other"):
        check_isolation(model, file)


def test_the_loaders_steps_are_those_planned():
    from types import SimpleNamespace

    from orcac.train.checks import check_steps

    args = SimpleNamespace(num_train_epochs=3, gradient_accumulation_steps=4)
    trainer = SimpleNamespace(args=args, get_train_dataloader=lambda: range(9))
    check_steps(trainer, 9)
    with pytest.raises(OrcacError, match="9 steps where 8"):
        check_steps(trainer, 8)
