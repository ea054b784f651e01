"""The peak arithmetic and the memory of GPUs, from their makers' data sheets: dense, without sparsity, and the SXM
variant if there are several.

The memory is the amount that torch reports in its messages, which is less than the data sheet's.
"""

from __future__ import annotations

from typing import NamedTuple

GIB = 2.0**30
LONG = 8_192  # tokens of a row from which a GPU computes attention without a mask


class Gpu(NamedTuple):
    """The figures of one type of GPU."""

    bf16: float  # FLOP/s, accumulated in fp32; fp16 for the V100, which has no bf16
    fp32: float  # FLOP/s, without TF32, which torch does not use by default
    memory: float  # bytes


GPUS = {
    "v100-32gb": Gpu(125e12, 15.7e12, 31.7 * GIB),
    "a100-40gb": Gpu(312e12, 19.5e12, 39.4 * GIB),
    "a100-80gb": Gpu(312e12, 19.5e12, 79.1 * GIB),
    "h100-80gb": Gpu(989e12, 67e12, 79.1 * GIB),
    "h200-141gb": Gpu(989e12, 67e12, 139.8 * GIB),
    "b200-192gb": Gpu(2250e12, 75e12, 178.3 * GIB),
    "l40s-48gb": Gpu(362e12, 91.6e12, 44.4 * GIB),
    "rtx4090-24gb": Gpu(165e12, 82.6e12, 23.6 * GIB),
}
DEFAULT_GPU = "a100-80gb"  # assumed if the spec names no type


def find_gpu(device: str) -> str | None:
    """Return the entry of GPUS for a device name of the driver ("NVIDIA H100 80GB HBM3"), or None for an unknown chip.

    Variants of one chip have the same peak, so any of them will do.
    """
    plain = device.lower().replace(" ", "")
    return next((name for name in GPUS if name.partition("-")[0] in plain), None)


def peak_flops(gpu: str | None, precision: str) -> float:
    """Return the peak FLOP/s of one GPU; `gpu` None stands for DEFAULT_GPU."""
    figures = GPUS[gpu or DEFAULT_GPU]
    return figures.bf16 if precision == "bf16" else figures.fp32


def needs_mask(length: int, *, gpus: int) -> bool:
    """Return whether rows of `length` tokens take an attention with a mask for each pair of tokens (see attention.py).

    gpus: those of a machine; 0 trains on a CPU
    """
    return gpus == 0 or length < LONG
