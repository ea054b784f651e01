"""Tests of orcac/train/tensorfile.py, and of writing gathered tensors with it (orcac/train/state.py)."""

import weakref

import pytest
import torch
from safetensors.torch import load_file

from orcac.train.state import write_gathered
from orcac.train.tensorfile import TensorFile

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,  # not contiguous
    "half": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
    "step": torch.tensor(7.0),
    "none": torch.zeros(0, 4),
}
LAYOUT = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()}


def test_a_file_that_is_written_tensor_by_tensor_reads_as_any_safetensors_file(tmp_path):
    file = TensorFile(tmp_path / "x.safetensors", LAYOUT)
    for name, tensor in TENSORS.items():
        file.add(name, tensor)
    assert not (tmp_path / "x.safetensors").exists()  # so a kill before the end leaves no torn file
    file.close()
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_a_tensor_that_is_not_the_next_of_the_layout_is_refused(tmp_path):
    file = TensorFile(tmp_path / "x.safetensors", LAYOUT)
    with pytest.raises(AssertionError):
        file.add("half", TENSORS["half"])
    with pytest.raises(AssertionError):
        TensorFile(tmp_path / "y.safetensors", LAYOUT).close()


def test_no_two_gathered_tensors_are_in_memory_at_once(tmp_path):
    alive = []

    def gathered():
        for name in "abc":
            assert not any(reference() is not None for reference in alive)
            tensor = torch.zeros(8)
            alive.append(weakref.ref(tensor))
            yield name, tensor
            del tensor

    write_gathered(tmp_path / "x.safetensors", dict.fromkeys("abc", (torch.float32, (8,))), gathered())
    assert len(alive) == 3 and len(load_file(tmp_path / "x.safetensors")) == 3
