"""Tests of orcac/model/isolation.py, on tiny random models of published families."""

import pytest

from orcac.errors import InputError
from orcac.model.isolation import check_isolates, compute_leak

WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "vocab_size": 300}
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1, "num_local_experts": 0}
LINEAR = {"linear_num_value_heads": 2, "linear_num_key_heads": 1, "linear_key_head_dim": 8, "linear_value_head_dim": 8}

MIXING = {  # hybrids, and gpt-oss, whose attention ignores that positions start again
    "Lfm2": ATTENTION | {"layer_types": ["conv", "full_attention"]},
    "GraniteMoeHybrid": ATTENTION | MAMBA | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 24},
    "Qwen3Next": ATTENTION | EXPERTS | LINEAR | {"head_dim": 8, "shared_expert_intermediate_size": 8}
    | {"layer_types": ["linear_attention", "full_attention"]},
    "Mamba": {"state_size": 4},
    "GptOss": ATTENTION | {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
}  # fmt: skip
OTHERS = {
    "Llama": ATTENTION,
    "Gemma3Text": ATTENTION | {"head_dim": 8},
    "Qwen3Moe": ATTENTION | EXPERTS | {"head_dim": 8},
}


def build(name, shape, dtype="float32"):
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**WIDTHS | shape)
    return getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM")(config).to(getattr(torch, dtype))


@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_examples_is_refused_with_the_setting_that_trains_it(name):
    with pytest.raises(InputError, match=f"{name}ForCausalLM (takes no position_ids|does not separate)") as refused:
        check_isolates(build(name, MIXING[name]))
    assert "packing: none" in refused.value.fix


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OTHERS)
def test_attention_and_experts_keep_examples_apart_to_the_last_bit(name, dtype):
    assert compute_leak(build(name, OTHERS[name], dtype)) == 0.0


def test_a_leak_that_a_tolerance_for_bf16_lets_pass_is_found():
    import torch

    model = build("Lfm2", MIXING["Lfm2"], "bfloat16")
    leak = compute_leak(model)
    rows = torch.arange(16)[None].repeat(2, 1)
    rows[1, :8] = 40
    with torch.inference_mode():
        one, other = model(input_ids=rows, position_ids=(torch.arange(16) % 8).repeat(2, 1)).logits[:, 8:]
    assert float((one - other).abs().max()) < 3e-2 * float(one.abs().max())
    assert leak > 0
