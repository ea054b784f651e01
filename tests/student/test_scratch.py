"""Tests of orcac/student/scratch.py."""

import pytest
import tiny

from orcac.errors import InputError
from orcac.student.recipe import StudentRecipe
from orcac.student.run import run


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return tiny.write_examples(tmp_path_factory.mktemp("kept") / "kept", [tiny.response(n) for n in range(50)])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_student_from_scratch_has_the_requested_shape_and_the_same_bytes_again(tmp_path, examples):
    job = tiny.job(tmp_path, StudentRecipe(seed=0, scratch=tiny.SHAPE), {"texts": [examples]})
    scratch = tiny.make_student(tmp_path / "same", examples) / "model"
    embeddings, attention, mlp, norms = 2 * 300 * 16, 16 * 16 * 2 + 16 * 8 * 2, 3 * 16 * 24, 3 * 16
    assert run(job).as_json() == {"parameters": embeddings + attention + mlp + norms, "vocabulary": 300}
    assert contents(job.out / "model") == contents(scratch)
    other = tiny.make_student(tmp_path / "other", examples, seed=1) / "model"
    differ = {name for name, content in contents(other).items() if content != contents(scratch)[name]}
    assert differ == {"model.safetensors"}


def test_a_tokenizer_needs_texts(tmp_path):
    empty = tiny.write_examples(tmp_path / "kept", [])
    with pytest.raises(InputError, match="no text"):
        tiny.make_student(tmp_path / "student", empty)


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"hidden": 18}, {"hidden": 6, "kv_heads": 2}, {"kv_heads": 3}])
def test_a_shape_that_a_llama_cannot_have_is_refused(tmp_path, examples, wrong):
    with pytest.raises(InputError, match="heads"):
        tiny.make_student(tmp_path, examples, shape=tiny.SHAPE.model_copy(update=wrong))


def test_a_shape_too_large_for_the_machine_is_refused(tmp_path, examples):
    huge = tiny.SHAPE.model_copy(update={"intermediate": 10**14})
    with pytest.raises(InputError, match="cannot make"):
        tiny.make_student(tmp_path, examples, shape=huge)


def test_a_replicate_is_the_student_of_its_seed_with_the_tokenizer_taken_over(tmp_path, examples):
    first = tiny.make_student(tmp_path / "first", examples)
    job = tiny.job(tmp_path / "replicate", StudentRecipe(seed=1, scratch=tiny.SHAPE), {"tokenizer": [first]})
    run(job)
    assert contents(job.out / "model") == contents(tiny.make_student(tmp_path / "alone", examples, seed=1) / "model")
