from types import SimpleNamespace

import pytest
import torch

from orcac.train import gpus, meter
from orcac.train.meter import Meter
from orcac.train.recipe import TrainExecution, TrainRecipe
from orcac.train.stage import Stage


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
def test_a_gpu_is_known_by_its_drivers_name(device, entry):
    assert gpus.named(device) == entry


def test_mfu_is_the_models_arithmetic_over_the_peak_of_all_processes(monkeypatch, tmp_path):
    now = [100.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(meter, "_peak", lambda *_: (1e6, "h100-80gb"))
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1.0, batch_rows=8)
    execution = TrainExecution(nodes=2, gpus=2, usd_per_gpu_hour=3.6)
    stage = Stage(label="", recipe=recipe, execution=execution, **dict.fromkeys(("rows", "start", "out", "work"), "."))
    config = SimpleNamespace(num_hidden_layers=2, hidden_size=10)
    model = SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: config), parameters=lambda: [torch.zeros(20, 5)]
    )
    found = Meter(stage, model, device=torch.device("cpu"), length=50)
    found.update(1000)  # the first step says nothing
    now[0] += 10
    found.update(3000)
    assert found.tokens_per_second == 200
    assert found.mfu == pytest.approx(200 * (6 * 100 + 12 * 2 * 10 * 50) / 4e6)
    assert found.usd == pytest.approx(4 * 10 * 3.6 / 3600)
    assert str(found).startswith("200 tokens/s  MFU 63 %  ") and str(found).endswith("0.04 USD")
    assert "4 × h100-80gb" in found.legend
