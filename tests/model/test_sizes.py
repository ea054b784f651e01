"""Tests of orcac/model/sizes.py: a config.json that would take all memory is refused before a model is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.model.positions import check_positions
from orcac.model.sizes import check_size
from orcac.model.weights import load_model

LARGEST = {"num_hidden_layers": 126, "vocab_size": 256_000, "hidden_size": 16_384, "n_routed_experts": 256}


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10**7},
        {"n_layer": 1e7},
        {"text_config": {"num_hidden_layers": 10**7}},
        {"num_local_experts": 10**7},
        {"vocab_size": 10**12},
    ],
)
def test_an_impossible_size_is_refused_with_its_field(tmp_path: Path, config: dict[str, object]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **LARGEST, **config}))
    for check in (
        lambda: check_size(tmp_path, "the student"),
        lambda: load_model(tmp_path, subject="the student"),
        lambda: check_positions(tmp_path, 9),
    ):
        with pytest.raises(InputError, match=r"impossible config\.json: `\w+` is [\d,.]+"):
            check()


def test_the_largest_models_pass(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LARGEST | {"layer_types": ["full"] * 126, "rms_norm_eps": 1e-6}))
    check_size(tmp_path, "the student")
    (tmp_path / "config.json").write_text("[" * 100_000)
    check_size(tmp_path, "the student")
