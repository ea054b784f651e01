"""What a GPU can do at most, from its maker's data sheets: dense, without sparsity, SXM where there are several."""

from __future__ import annotations

from typing import NamedTuple


class Gpu(NamedTuple):
    bf16: float  # FLOP/s, accumulated in fp32; of the V100, which has no bf16, its fp16
    fp32: float  # FLOP/s, without TF32, which torch does not use unless told to
    memory: float  # bytes


GPUS = {
    "v100-32gb": Gpu(125e12, 15.7e12, 32e9),
    "a100-40gb": Gpu(312e12, 19.5e12, 40e9),
    "a100-80gb": Gpu(312e12, 19.5e12, 80e9),
    "h100-80gb": Gpu(989e12, 67e12, 80e9),
    "h200-141gb": Gpu(989e12, 67e12, 141e9),
    "b200-192gb": Gpu(2250e12, 75e12, 192e9),
    "l40s-48gb": Gpu(362e12, 91.6e12, 48e9),
    "rtx4090-24gb": Gpu(165e12, 82.6e12, 24e9),
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


def memory_needed(parameters: float, *, zero: int, gpus: int) -> float:
    """Bytes on each GPU for weights, gradients and AdamW's moments in fp32, without activations."""
    split = {0: 0, 1: 8, 2: 12, 3: 16}[zero]  # bytes a parameter that this ZeRO stage spreads over the GPUs
    return parameters * (16 - split + split / max(gpus, 1))
