"""Tests of orcac/model/weights.py; loading a damaged model folder is tested in test_generation.py."""

import errno
import json

import pytest
import tiny

from orcac.errors import InputError
from orcac.model.weights import check_weights, load_model, order_by_columns, raising_os_errors


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return tiny.write_examples(tmp_path_factory.mktemp("kept") / "kept", [tiny.response(n) for n in range(50)])


@pytest.mark.parametrize("damage", ["cut", "junk", "empty"])
def test_weights_that_cannot_be_read_are_refused(tmp_path, examples, damage):
    model = tiny.make_student(tmp_path, examples) / "model"
    check_weights(model)
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-1], "junk": b"version https://" * 100, "empty": b""}[damage])
    with pytest.raises(InputError, match=r"model\.safetensors: the student's weights cannot be read"):
        check_weights(model)


def test_a_missing_shard_is_named(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    with pytest.raises(InputError, match=r"names model-2\.safetensors"):
        check_weights(tmp_path)


def test_a_write_that_the_system_refuses_raises_os_error(tmp_path, examples):
    import torch
    from safetensors.torch import save_file

    ones = {"ones": torch.ones(10_000)}
    with tiny.small_files(20_000):
        with pytest.raises(OSError) as student:
            tiny.make_student(tmp_path / "student", examples)
        with pytest.raises(OSError) as weights, raising_os_errors(tmp_path):
            save_file(ones, tmp_path / "weights")
        with pytest.raises(OSError) as state, raising_os_errors(tmp_path):
            torch.save(ones, tmp_path / "state")
    assert student.value.errno == weights.value.errno == state.value.errno == errno.EFBIG
    with pytest.raises(InputError), raising_os_errors(tmp_path):
        raise InputError("not the disk (os error 28)")


def test_ordering_by_columns_changes_no_value_and_no_shared_matrix(tmp_path, examples):
    import torch

    model = load_model(tiny.make_student(tmp_path, examples) / "model", subject="the student")
    model.lm_head.weight = model.model.embed_tokens.weight
    before = {name: value.clone() for name, value in model.state_dict().items()}
    order_by_columns(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.model.layers[0].mlp.up_proj.weight.t().is_contiguous()
    assert model.model.embed_tokens.weight.is_contiguous()
