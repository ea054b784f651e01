"""Tests of orcac/tokenize/run.py, orcac/tokenize/encode.py, orcac/tokenize/rowfile.py and orcac/tokenize/recipe.py."""

import dataclasses
import errno
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import save_file

from orcac.errors import InputError, StoreError
from orcac.model.chat_format import ChatFormat, load_tokenizer
from orcac.tokenize import encode, rowfile
from orcac.tokenize.recipe import TokenizeExecution, TokenizeRecipe
from orcac.tokenize.rowfile import count_tokens
from orcac.tokenize.run import run, spill_ids
from orcac.tokenize.steps import Schedule

ROWS = [tiny.response(n) for n in range(40)] + [tiny.response(40, response="so " * 200)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    examples = tiny.write_examples(root / "kept", ROWS)
    return examples, tiny.make_student(root / "student", examples)


def tokenize(root, made, *, threads=1, **fields):
    recipe = TokenizeRecipe(**({"seed": 0, "max_length": 64} | fields))
    return tiny.job(root, recipe, {"examples": [made[0]], "student": [made[1]]}, TokenizeExecution(threads=threads))


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path, made, monkeypatch):
    rows = [tiny.response(n) for n in range(5000)]  # three row groups
    examples = tiny.write_examples(tmp_path / "many", rows)
    monkeypatch.setattr(encode, "_MANY_ROWS", 0)
    monkeypatch.setattr(encode, "_PART_ROWS", 1)
    jobs = [tokenize(tmp_path / str(threads), (examples, made[1]), threads=threads, holdout=0.1) for threads in (1, 2)]
    summaries = [run(job) for job in jobs]
    assert summaries[0] == summaries[1] and summaries[0].examples == 5000 and summaries[0].held_out
    names = [sorted(path.name for path in job.out.iterdir()) for job in jobs]
    assert names[0] == names[1]
    for name in names[0]:
        assert (jobs[0].out / name).read_bytes() == (jobs[1].out / name).read_bytes()


def test_examples_that_forge_a_turn_are_left_out_and_counted(tmp_path, made, monkeypatch):
    examples = tiny.write_examples(tmp_path / "kept", [tiny.response(n, response=f"{n}") for n in range(9)])
    monkeypatch.setattr(ChatFormat, "forges_turn", lambda self, *texts: texts[2] in ("3", "4"))
    summary = run(tokenize(tmp_path, (examples, made[1])))
    assert (summary.examples, summary.packed, summary.forged) == (9, 7, 2)


@pytest.mark.parametrize("packing", ["best-fit", "shuffle", "none"])
def test_every_example_that_fits_is_in_the_rows_once(tmp_path, made, packing):
    job = tokenize(tmp_path, made, packing=packing)
    summary = run(job)
    assert json.loads((job.out / "counts.json").read_text()) == summary.as_json()
    assert (summary.examples, summary.packed, summary.too_long) == (41, 40, 1)
    arrays = tiny.read_arrays(job.out / "rows.safetensors")
    assert {array.shape for array in arrays.values()} == {(summary.rows, 64)}
    assert (summary.rows == 40, summary.packing) == ((True, "none") if packing == "none" else (False, None))

    chat = ChatFormat(load_tokenizer(made[1] / "model"))
    expected = chat.encode_examples([(row.system, row.query, row.response) for row in ROWS[:40]])
    found = []
    for ids, positions, labels in zip(*(arrays[k] for k in ("input_ids", "position_ids", "labels")), strict=True):
        starts = [*np.flatnonzero(positions == 0), 64]
        for start, end in itertools.pairwise(starts):
            assert positions[start:end].tolist() == list(range(end - start))
            learnt = np.flatnonzero(labels[start:end] != -100)
            if not len(learnt):
                assert set(ids[start:end]) == {0} and end == 64  # padding
                continue
            assert labels[start + learnt[0] : end].tolist() == ids[start + learnt[0] : end].tolist()
            found.append((ids[start:end].tolist(), int(learnt[0])))
    assert sorted(found) == sorted((example.input_ids, example.prompt_tokens) for example in expected)
    assert summary.tokens == sum(len(ids) for ids, _ in found)
    assert summary.supervised_tokens == (arrays["labels"] != -100).sum()
    assert summary.fill == summary.tokens / arrays["labels"].size


def test_stages_with_few_steps_are_warned_of_from_the_count_of_rows(tmp_path, made, capfd):
    job = tokenize(tmp_path, made)
    enough = Schedule(stage="long", batch_rows=1, epochs=50)
    execution = TokenizeExecution(stages=(Schedule(stage="short", batch_rows=1, epochs=1), enough))
    rows = run(dataclasses.replace(job, execution=execution)).rows
    printed = capfd.readouterr().err
    assert f"  stage `long`: {50 * rows:,} steps: {rows} rows, 1 row a step, 50 epochs\n" in printed
    (line,) = [line for line in printed.splitlines() if "warning" in line]
    assert f"stage `short` learns little: fewer than 50 optimizer steps ({rows} steps" in line


def test_the_seed_decides_the_bytes(tmp_path, made):
    jobs = [tokenize(tmp_path / str(n), made, seed=seed) for n, seed in enumerate((0, 0, 1))]
    for job in jobs:
        run(job)
    one, same, other = ((job.out / "rows.safetensors").read_bytes() for job in jobs)
    assert one == same != other


def decoded(job):
    """Return the text of each row without its padding, and the texts of its learnt parts."""
    tokenizer = load_tokenizer(job.input("student") / "model")
    arrays = tiny.read_arrays(job.out / "rows.safetensors")
    texts = [tokenizer.decode(ids).rstrip("<pad>") + ">" for ids in arrays["input_ids"]]
    return texts, [tokenizer.decode(ids[ids != -100]) for ids in arrays["labels"]]


def test_reasoning_is_learnt_unless_only_answers_are(tmp_path):
    traced = tiny.response(1, reasoning="1 and 1 is 2.")
    examples = tiny.write_examples(tmp_path / "kept", [traced])
    made = examples, tiny.make_student(tmp_path / "student", examples)
    both, alone = tokenize(tmp_path / "both", made), tokenize(tmp_path / "alone", made, learns_reasoning=False)
    assert run(both).reasoned == 1
    assert run(alone).reasoned is None
    prompt = "<s><|system|>Think first.<|user|>What is 1 and one?<|assistant|>"
    for job, learnt in ((both, "<think>\n1 and 1 is 2.\n</think>\n\nIt is 2.</s>"), (alone, "It is 2.</s>")):
        assert decoded(job) == ([prompt + learnt], [learnt])
    tokenizer = load_tokenizer(made[1] / "model")
    assert {"<think>", "</think>"} <= {*tokenizer.get_vocab()} and not {"<think>"} & {*tokenizer.all_special_tokens}
    assert len(tokenizer) == tiny.SHAPE.vocabulary


def test_rows_of_an_older_filter_have_their_reasoning_in_the_text(tmp_path):
    traced = tiny.response(1, response="<think>1 and 1</think> It is 2.")
    examples = tiny.write_examples(tmp_path / "kept", [traced])
    made = examples, tiny.make_student(tmp_path / "student", examples)
    both, alone = tokenize(tmp_path / "both", made), tokenize(tmp_path / "alone", made, learns_reasoning=False)
    run(both), run(alone)
    assert decoded(both)[1] == ["<think>1 and 1</think> It is 2.</s>"]
    assert decoded(alone)[1] == ["It is 2.</s>"]


def test_a_dataset_without_rows_and_a_student_with_too_few_positions_are_refused(tmp_path, made):
    with pytest.raises(InputError, match="no example is left: 41"):
        run(tokenize(tmp_path / "short", made, max_length=8))
    with pytest.raises(InputError, match="64 positions"):
        run(tokenize(tmp_path / "long", made, max_length=65))


def test_a_full_disk_raises_os_error(tmp_path, made, monkeypatch):
    recipe = TokenizeRecipe(seed=0, max_length=64)
    with pytest.raises(OSError) as spilled:
        spill_ids(made[0] / "kept.parquet", recipe, 0, made[1] / "model", Path("/dev/full"), np.int32, threads=1)

    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError) as allocated:
        run(tokenize(tmp_path, made))
    assert spilled.value.errno == allocated.value.errno == errno.ENOSPC


def test_a_row_file_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "rows.safetensors"
    tiny.write_rows(path, [[([1, 2, 3], 1)]], max_length=8)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match="cut short"):
        rowfile.read(path)


@pytest.mark.parametrize("largest", [1 << 16, 1 << 20])
def test_rows_are_read_as_they_were_packed(tmp_path, largest):
    rng, path = np.random.default_rng(0), tmp_path / "rows.safetensors"
    sizes = [[3, 4], [8], [2], [1, 2, 5], []]
    packed = [[(rng.integers(0, largest, size).tolist(), int(rng.integers(size))) for size in row] for row in sizes]
    packed[1][0][0][0] = largest - 1
    tiny.write_rows(path, packed, max_length=8, pad=7)
    file = rowfile.read(path)
    ids, positions, labels = (np.stack([*array]) for array in file)
    for row, members in enumerate(packed):
        filled = 0
        for tokens, prompt in members:
            here = slice(filled, filled + len(tokens))
            assert ids[row, here].tolist() == tokens
            assert positions[row, here].tolist() == [*range(len(tokens))]
            assert labels[row, here].tolist() == [rowfile.MASKED] * prompt + tokens[prompt:]
            filled = here.stop
        assert set(ids[row, filled:]) <= {7} and set(labels[row, filled:]) <= {rowfile.MASKED}
        assert positions[row, filled:].tolist() == [*range(8 - filled)]
    assert (file.labels[1:3, 2:] == labels[1:3, 2:]).all() and (file.input_ids[-2, 1:4] == ids[-2, 1:4]).all()
    save_file(dict(zip(rowfile.RowFile._fields, (ids, positions, labels), strict=True)), tmp_path / "old")
    old = rowfile.read(tmp_path / "old")
    assert all((np.asarray(one) == other).all() for one, other in zip(old, (ids, positions, labels), strict=True))
    assert all((one == other).all() for one, other in zip(count_tokens(file), count_tokens(old), strict=True))
    with pytest.raises(InputError, match="1,048,576"):
        tiny.write_rows(path, [[([1 << 20, 1], 1)]], max_length=8)


def test_a_token_takes_two_bytes_and_a_half_at_most(tmp_path):
    for largest, most in ((1 << 16, 2.1), (1 << 18, 2.6)):
        ids = np.full(10_000, largest - 1)
        lengths = np.full(100, 100)
        rowfile.write(
            tmp_path / "rows",
            [[2 * n, 2 * n + 1] for n in range(50)],
            ids=ids,
            lengths=lengths,
            prompt_lengths=lengths // 2,
            pad=0,
            max_length=1_000,
        )
        assert (tmp_path / "rows").stat().st_size < 10_000 * most + 1_000
