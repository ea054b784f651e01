"""Tests of orcac/train/meter.py."""

from types import SimpleNamespace

import pytest
import torch
import train_child

from orcac.train.meter import Meter, Peak, find_peak


def test_mfu_is_the_models_arithmetic_over_the_peak_of_all_processes():
    now = [100.0]
    stage = train_child.stage(nodes=2, gpus=2, usd_per_gpu_hour=3.6)
    config = SimpleNamespace(num_hidden_layers=2, hidden_size=10)
    weights = [torch.zeros(20, 5, requires_grad=True)]
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config), parameters=lambda: weights)
    peak = Peak(1e6, "h100-80gb")
    found = Meter(stage, model, device=torch.device("cpu"), length=50, peak=peak, clock=lambda: now[0])
    found.update(1000)  # the first step is not timed
    now[0] += 10
    found.update(3000)
    assert found.tokens_per_second == 200
    assert found.mfu == pytest.approx(200 * (6 * 100 + 12 * 2 * 10 * 50) / 4e6)
    assert found.usd == pytest.approx(4 * 10 * 3.6 / 3600)
    assert str(found).startswith("200 tokens/s  MFU 63 %  ") and str(found).endswith("0.04 USD")
    assert "4 × h100-80gb" in found.legend


def test_the_peak_of_a_cpu_is_measured():
    peak = find_peak(torch.device("cpu"), "fp32")
    assert peak.flops > 0 and "CPU thread" in peak.source
