"""What a GPU can do at most, from its maker's data sheets: dense, without sparsity, SXM where there are several.

Its memory is what a process finds there, which is less than the sheet says: what torch reports in its own messages.
"""

from __future__ import annotations

from typing import NamedTuple

GIB = 2.0**30


class Gpu(NamedTuple):
    bf16: float  # FLOP/s, accumulated in fp32; of the V100, which has no bf16, its fp16
    fp32: float  # FLOP/s, without TF32, which torch does not use unless told to
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
ASSUMED = "a100-80gb"  # where the spec says no type


def named(device: str) -> str | None:
    """The entry of a device as its driver names it ("NVIDIA H100 80GB HBM3"); variants of one chip have one peak."""
    plain = device.lower().replace(" ", "")
    return next((name for name in GPUS if name.partition("-")[0] in plain), None)


def peak(gpu: str | None, precision: str) -> float:
    """FLOP/s of one GPU."""
    found = GPUS[gpu or ASSUMED]
    return found.bf16 if precision == "bf16" else found.fp32
