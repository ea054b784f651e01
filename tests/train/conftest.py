import pytest
import tiny
import train_child


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return the folders of a tokenize node (about 16 rows) and of a student node."""
    root = tmp_path_factory.mktemp("inputs")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(45)])
    student = tiny.make_student(root / "student", examples)
    return tiny.make_rows(root / "rows", examples, student), student


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, inputs):
    """Return the job of a stage that was trained without a stop, and its summary."""
    from orcac.train.run import run

    job = train_child.job(tmp_path_factory.mktemp("uninterrupted"), *inputs)
    return job, run(job)
