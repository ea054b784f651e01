"""How fast and how full: tokens a second, the share of the arithmetic that could be done (MFU), memory.

MFU after PaLM (Chowdhery et al. 2022, appendix B): 6 operations a parameter and token, and 12 · layers · width · row
length for attention, over the peak. Tokens are those that are no padding; work that padding, recomputation or a
mask costs is no model arithmetic. The peak of a GPU is its maker's (`orcac/gpus.py`). That of a CPU, or of a GPU that
is not in the table, is what a large matrix product reaches here and now on as many threads; a step can exceed it
where its matrices fit a cache.
"""

from __future__ import annotations

import functools
import resource
import time
from typing import Any

import torch

from orcac.train import gpus
from orcac.train.stage import Stage

_GIB = 1 << 30
_SIDE = 1024  # of the matrices that measure a peak
_MEASURE = 0.1  # seconds


class Meter:
    """Counts from the end of the first step, which also builds, compiles and allocates. Times are of this try."""

    def __init__(self, stage: Stage, model: Any, *, device: torch.device, length: int) -> None:
        parameters = sum(getattr(part, "ds_numel", part.numel()) for part in model.parameters())  # ZeRO-3 empties them
        config = model.config.get_text_config()
        attention = 12 * config.num_hidden_layers * config.hidden_size * length
        peak, self.peak_of = _peak(device, stage.recipe.precision)
        self._device = device
        self._operations = 6 * parameters + attention
        self._peak = peak * stage.world_size
        self.legend = f"MFU is the share of {self._peak / 1e9:,.0f} GFLOP/s"  # what the figures of a line mean
        self.legend += f" ({stage.world_size} × {self.peak_of})" if stage.world_size > 1 else f" ({self.peak_of})"
        self._usd = (stage.execution.usd_per_gpu_hour or 0.0) * stage.execution.nodes * stage.execution.gpus / 3600
        self._start = time.monotonic()
        self._begun: tuple[float, int] | None = None
        self.tokens_per_second = 0.0

    def update(self, tokens: int) -> None:
        """`tokens`: seen since the stage began."""
        now = time.monotonic()
        start, before = self._begun = self._begun or (now, tokens)
        self.tokens_per_second = (tokens - before) / max(now - start, 1e-9)

    @property
    def mfu(self) -> float:
        return self.tokens_per_second * self._operations / self._peak

    @property
    def peak_gib(self) -> float:
        """The most memory so far: of this process's GPU, or of this process."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / _GIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB

    @property
    def usd(self) -> float | None:
        """What the GPUs have cost in this try; None where no price is given."""
        return self._usd * (time.monotonic() - self._start) if self._usd else None

    def __str__(self) -> str:
        parts = [f"{self.tokens_per_second:,.0f} tokens/s", f"MFU {100 * self.mfu:.0f} %", f"{self.peak_gib:.1f} GiB"]
        return "  ".join([*parts, f"{self.usd:,.2f} USD"] if self.usd else parts)


def _peak(device: torch.device, precision: str) -> tuple[float, str]:
    """FLOP/s of one device, and whose figure that is."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if known := gpus.named(name):
            return gpus.peak(known, precision), known
        return _measured(device, precision, 1), f"matmul on {name}"
    threads = torch.get_num_threads()
    return _measured(device, precision, threads), f"matmul on {threads} CPU thread{'s' * (threads > 1)}"


@functools.cache
def _measured(device: torch.device, precision: str, threads: int) -> float:
    """FLOP/s of the best of several matrix products, on as many threads as torch is set to use.

    Of a CPU in CPU time, since others may be using it too.
    """
    clock = time.perf_counter if device.type == "cuda" else lambda: time.process_time() / threads
    left = torch.ones(_SIDE, _SIDE, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    best, until = float("inf"), time.perf_counter() + _MEASURE
    while time.perf_counter() < until or best == float("inf"):
        start = clock()
        product = left @ left
        float(product[0, 0])  # a GPU answers before it is done
        best = min(best, clock() - start)
    return 2 * _SIDE**3 / best
