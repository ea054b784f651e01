"""Tests of orcac/train/gpus.py."""

import pytest

from orcac.train.gpus import DEFAULT_GPU, GPUS, find_gpu, peak_flops


@pytest.mark.parametrize(
    ("device", "entry"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("Tesla V100-SXM2-32GB", "v100-32gb"),
        ("NVIDIA GeForce RTX 4090", "rtx4090-24gb"),
        ("NVIDIA L40S", "l40s-48gb"),
        ("NVIDIA GeForce RTX 2080", None),
    ],
)
def test_a_gpu_is_found_by_its_drivers_name(device, entry):
    assert find_gpu(device) == entry


def test_the_peak_depends_on_the_precision():
    assert peak_flops("h100-80gb", "bf16") == 989e12 > peak_flops("h100-80gb", "fp32")
    assert peak_flops(None, "bf16") == GPUS[DEFAULT_GPU].bf16
