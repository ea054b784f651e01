import pytest
import tiny


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The folders of a tokenize node (16 rows or so) and of a student node."""
    root = tmp_path_factory.mktemp("inputs")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(45)])
    student = tiny.make_student(root / "student", examples)
    return tiny.make_rows(root / "rows", examples, student), student
