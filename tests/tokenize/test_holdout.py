"""Tests of orcac/tokenize/holdout.py: the draw of the examples that a stage keeps apart, and their rows."""

import itertools
import json

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from orcac.errors import InputError
from orcac.model.chat_format import ChatFormat, load_tokenizer
from orcac.tokenize.holdout import ROWS, Apart, read_groups
from orcac.tokenize.recipe import ENOUGH, TokenizeExecution, TokenizeRecipe
from orcac.tokenize.run import run

EXAMPLES = st.lists(st.tuples(st.sampled_from("tu"), st.sampled_from("pq"), st.integers(0, 60).map(str)), max_size=200)


def draw(examples, share=0.1, seed=0):
    apart = Apart(seed, share)
    for example in examples:
        apart.add(*example)
    return apart.draw()


@given(EXAMPLES, st.floats(0.01, 0.5), st.integers(0, 3))
def test_no_question_is_on_both_sides_and_no_large_group_is_left_out(examples, share, seed):
    found = draw(examples, share, seed)
    apart = {index for members in found.values() for index in members.tolist()}
    assert sum(map(len, found.values())) == len(apart)
    asked = {examples[index][2] for index in apart}
    assert asked.isdisjoint(query for index, (*_, query) in enumerate(examples) if index not in apart)
    for name, members in found.items():
        assert {examples[index][:2] for index in members.tolist()} == {name}
    for name in {example[:2] for example in examples} - found.keys():
        assert len({query for *group, query in examples if tuple(group) == name}) < ENOUGH


@given(EXAMPLES, st.randoms())
def test_neither_the_order_nor_the_teacher_decides(examples, random):
    shuffled = random.sample(examples, len(examples))

    def questions(rows):
        return {name: {rows[index][2] for index in members.tolist()} for name, members in draw(rows).items()}

    assert questions(examples) == questions(shuffled)
    assert questions([("other", *rest) for _, *rest in examples if _ == "t"]) == {
        ("other", source): asked for (_, source), asked in questions([row for row in examples if row[0] == "t"]).items()
    }


def test_the_share_is_that_of_the_questions_and_a_larger_one_keeps_more_apart():
    examples = [("t", "p", f"question {number}") for number in range(20_000)]
    small, large = (set(draw(examples, share)["t", "p"].tolist()) for share in (0.01, 0.05))
    assert len(small) == pytest.approx(200, rel=0.25) and len(large) == pytest.approx(1000, rel=0.1)
    assert small < large != set(draw(examples, 0.05, seed=1)["t", "p"].tolist())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    rows = [tiny.response(n, source="few" if n < 5 else "many", teacher="abc"[n % 3]) for n in range(120)]
    examples = tiny.write_examples(root / "kept", rows)
    return rows, examples, tiny.make_student(root / "student", examples)


def tokenize(root, made, share):
    recipe = TokenizeRecipe(seed=0, max_length=64, holdout=share)
    return tiny.job(root, recipe, {"examples": [made[1]], "student": [made[2]]}, TokenizeExecution())


def list_examples(path):
    """Return the ids of each example of a file of rows, without padding, row by row."""
    arrays = tiny.read_arrays(path)
    found = []
    for ids, positions, labels in zip(*(arrays[k] for k in ("input_ids", "position_ids", "labels")), strict=True):
        starts = [*np.flatnonzero(positions == 0), 64]
        parts = [(ids[a:b], labels[a:b]) for a, b in itertools.pairwise(starts)]
        found.append([tuple(part.tolist()) for part, learnt in parts if (learnt != -100).any()])
    return found


def test_every_example_is_either_trained_on_or_kept_apart_in_the_rows_of_its_group(tmp_path, made, capsys):
    job = tokenize(tmp_path, made, 0.1)
    summary = run(job)
    assert f"{summary.held_out} of 120 examples kept apart" in capsys.readouterr().err
    rows = [example for row in list_examples(job.out / "rows.safetensors") for example in row]
    apart = list_examples(job.out / ROWS)
    assert (len(rows), summary.held_out) == (summary.packed, sum(map(len, apart)))
    chat = ChatFormat(load_tokenizer(made[2] / "model"))
    encoded = chat.encode_examples([(row.system, row.query, row.response) for row in made[0]])
    whose = {tuple(one.input_ids): (row.teacher, row.source) for one, row in zip(encoded, made[0], strict=True)}
    assert sorted([*rows, *(example for row in apart for example in row)]) == sorted(whose)
    groups = read_groups(job.out)
    assert {(group.teacher, group.source) for group in groups} >= {("a", "many"), ("b", "many"), ("c", "many")}
    for group in groups:
        own, apart = apart[: group.rows], apart[group.rows :]
        assert {whose[example] for row in own for example in row} == {(group.teacher, group.source)}
        assert sum(map(len, own)) == group.examples
    assert not apart
    labels = tiny.read_arrays(job.out / ROWS)["labels"]
    assert (labels != -100).sum() == sum(group.supervised_tokens for group in groups)
    assert json.loads((job.out / "counts.json").read_text())["held_out"] == summary.held_out


def test_a_holdout_without_an_example_is_an_error_with_a_fix(tmp_path, made):
    few = tiny.write_examples(tmp_path / "few", made[0][:4])
    with pytest.raises(InputError, match="`holdout` keeps no example apart") as caught:
        run(tokenize(tmp_path, (made[0], few, made[2]), 1e-6))
    assert "raise `holdout`" in caught.value.fix
