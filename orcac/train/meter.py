"""The speed of training and its use of the hardware: tokens per second, model FLOPs utilization (MFU), memory.

MFU after PaLM (Chowdhery et al. 2022, appendix B): 6 operations per parameter and token (4 if it is frozen, since it
has no gradient), and 12 · layers · width · row length for attention, over the peak. Padding tokens are not counted, and
neither is the work for padding, recomputation or masked positions. The peak of a GPU is its maker's (`gpus.py`). The
peak of a CPU, or of a GPU that is not in that table, is the speed of a large matrix product here and now on as many
threads; a step can exceed it if its matrices fit a cache.
"""

from __future__ import annotations

import functools
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from orcac.train import gpus
from orcac.train.quantized import count_weights
from orcac.train.stage import StageJob

_GIB = 1 << 30
_SIDE = 1024  # of the matrices that measure a peak
_MEASURE_S = 0.1


class Peak(NamedTuple):
    """The most arithmetic that one device can do."""

    flops: float  # FLOP/s
    source: str  # a name of GPUS, or the measurement in words


class Meter:
    """The counters of one try of a stage. They start at the end of the first step, which also builds, compiles and
    allocates."""

    def __init__(
        self,
        stage: StageJob,
        model: PreTrainedModel,
        *,
        device: torch.device,
        length: int,
        peak: Peak,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`length`: tokens per row. `peak`: of one process's device. `clock`: seconds."""
        sizes = [(count_weights(part), part.requires_grad) for part in model.parameters()]
        trained = sum(size for size, is_trained in sizes if is_trained)
        config = model.config.get_text_config()
        attention = 12 * config.num_hidden_layers * config.hidden_size * length
        self.peak_of = peak.source
        self._device, self._clock = device, clock
        self._operations = 4 * sum(size for size, _ in sizes) + 2 * trained + attention
        self._peak = peak.flops * stage.world_size
        self.legend = f"MFU is the fraction of {self._peak / 1e9:,.0f} GFLOP/s"  # explains the figures of a line
        self.legend += f" ({stage.world_size} × {peak.source})" if stage.world_size > 1 else f" ({peak.source})"
        self._usd = (stage.execution.usd_per_gpu_hour or 0.0) * stage.execution.nodes * stage.execution.gpus / 3600
        self._start = clock()
        self._counted_from: tuple[float, int] | None = None  # time and tokens at the end of the first step
        self.tokens_per_second = 0.0

    def update(self, tokens: int) -> None:
        """Record the end of a step; `tokens` are those since the stage began."""
        now = self._clock()
        start, before = self._counted_from = self._counted_from or (now, tokens)
        self.tokens_per_second = (tokens - before) / max(now - start, 1e-9)

    @property
    def mfu(self) -> float:
        return self.tokens_per_second * self._operations / self._peak

    @property
    def peak_gib(self) -> float:
        """The most memory used so far: of this process's GPU, or of this process if it has none."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / _GIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB

    @property
    def usd(self) -> float | None:
        """The price of the GPUs in this try so far; None if the spec gives no price."""
        return self._usd * (self._clock() - self._start) if self._usd else None

    def __str__(self) -> str:
        parts = [f"{self.tokens_per_second:,.0f} tokens/s", f"MFU {100 * self.mfu:.0f} %", f"{self.peak_gib:.1f} GiB"]
        return "  ".join([*parts, f"{self.usd:,.2f} USD"] if self.usd else parts)


def find_peak(device: torch.device, precision: str) -> Peak:
    """Return the peak of one device, from its maker if GPUS has it, otherwise measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if entry := gpus.find_gpu(name):
            return Peak(gpus.peak_flops(entry, precision), entry)
        return Peak(_measure_flops(device, precision, 1), f"matmul on {name}")
    threads = torch.get_num_threads()
    return Peak(_measure_flops(device, precision, threads), f"matmul on {threads} CPU thread{'s' * (threads > 1)}")


@functools.cache
def _measure_flops(device: torch.device, precision: str, threads: int) -> float:
    """Return the FLOP/s of the fastest of several matrix products, on as many threads as torch is set to use.

    On a CPU they are timed in CPU time, since other processes may be using it.
    """
    clock = time.perf_counter if device.type == "cuda" else lambda: time.process_time() / threads
    left = torch.ones(_SIDE, _SIDE, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    best, until = float("inf"), time.perf_counter() + _MEASURE_S
    while time.perf_counter() < until or best == float("inf"):
        start = clock()
        product = left @ left
        float(product[0, 0])  # waits for the product: a GPU call returns before it is done
        best = min(best, clock() - start)
    return 2 * _SIDE**3 / best
