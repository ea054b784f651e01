"""Tests of orcac/cost/memory.py: torch's own memory, published figures, and the message if a stage does not fit."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orcac.cli import cli
from orcac.cost.memory import (
    CAUTION,
    Memory,
    SizedStage,
    activations,
    describe_changes,
    estimate_memory,
    gpu_memory,
    layer_bytes,
    nearest_setting,
)
from orcac.cost.shape import count_adapter, count_matrices, count_parameters
from orcac.spec.problems import SpecErrors
from orcac.spec.schema import SHAPES
from orcac.student.recipe import Scratch
from orcac.train.gpus import GIB, GPUS
from orcac.train.recipe import Lora, TrainExecution, TrainRecipe


def shape(size: str) -> Scratch:
    named = SHAPES[size].model_dump()  # type: ignore[index]
    kv_heads = named["kv_heads"] or named["heads"]
    return Scratch(**named | {"vocabulary": 32_001, "kv_heads": kv_heads, "positions": 2048})


# --- figures -------------------------------------------------------------------------------------------------------

LENGTH = 48
SMALL = Scratch(vocabulary=64, hidden=64, layers=1, heads=8, kv_heads=2, intermediate=96, positions=LENGTH)


ADAPTER = Lora(rank=4, alpha=8, targets=("all-linear",))
QUANTIZED = ADAPTER.model_copy(update={"quantize": "nf4"})


def kept(
    layers: int, precision: str, *, cast: bool = False, recompute: bool = False, adapter: Lora | None = None
) -> int:
    """Return the bytes that transformers' LLaMA keeps for its backward pass, without weights and their copies."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from orcac.train.adapter import attach

    config = LlamaConfig(
        hidden_size=SMALL.hidden, num_hidden_layers=layers, intermediate_size=SMALL.intermediate,
        num_attention_heads=SMALL.heads, num_key_value_heads=SMALL.kv_heads, vocab_size=SMALL.vocabulary,
        max_position_embeddings=LENGTH, use_cache=False, attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()
    if adapter:
        attach(model, adapter, seed=0, start=None, halves_frozen=precision == "bf16" and not cast)
    if cast:
        model.bfloat16()
    if recompute:
        model.activation_checkpointing_enable({"use_reentrant": False})  # as the Trainer calls it
    weights = {tuple(part.shape) for part in model.parameters() if part.dim() == 2}
    found: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() > 1 and not {tuple(tensor.shape), tuple(tensor.mT.shape)} & weights:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    positions = torch.cat([torch.arange(20), torch.arange(LENGTH - 20)])[None].expand(3, -1)  # two examples a row
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16" and not cast)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        states = model.model(input_ids=torch.zeros_like(positions), position_ids=positions)
    assert states
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize(
    ("precision", "cast", "adapter"),
    [
        *itertools.product(("fp32", "bf16"), (False,), (None, ADAPTER, QUANTIZED)),
        *itertools.product(("bf16",), (True,), (None, ADAPTER)),
    ],
)
def test_a_layer_keeps_the_bytes_that_were_counted(precision: str, cast: bool, adapter: Lora | None) -> None:
    if adapter:
        pytest.importorskip("bitsandbytes" if adapter.quantize else "peft")
    each = [kept(layers, precision, cast=cast, adapter=adapter) for layers in (2, 4)]
    counted = 3 * LENGTH * layer_bytes(SMALL, LENGTH, precision, zero=cast, adapter=adapter)
    assert (each[1] - each[0]) / 2 == counted


def test_a_recomputed_layer_keeps_its_input() -> None:
    each = [kept(layers, "bf16", recompute=True) for layers in (1, 3)]
    assert (each[1] - each[0]) / 2 == 3 * LENGTH * 4 * SMALL.hidden


def test_published_figures_are_reproduced() -> None:
    """ZeRO (Rajbhandari et al. 2020, figure 1): GB of a model of 7.5 B parameters on 64 GPUs, gradients of 2 bytes."""
    scale = 7.5 / count_parameters(shape("7B"))
    for zero, published in ((1, 31.4), (2, 16.6), (3, 1.9)):
        of = estimate_memory(shape("7B"), 2048, "bf16", TrainExecution(nodes=8, gpus=8, zero=zero))
        assert (of.weights + of.gradients / 2 + of.optimizer) * scale == pytest.approx(published, abs=0.05)


def test_an_adapter_trains_7b_on_one_gpu_of_24_gb() -> None:
    """The weights, their gradients and AdamW's state, counted by hand for rank 16 on all linear layers."""
    shape_7b, adapter = shape("7B"), Lora(rank=16, alpha=32, targets=("all-linear",))
    trained = 32 * 16 * (4 * 2 * 4096 + 3 * (4096 + 11008))
    assert count_adapter(shape_7b, adapter) == trained == 39_976_960
    how = TrainExecution(gpus=1, gpu="rtx4090-24gb")
    stage = SizedStage(None, TrainRecipe(**TRAINED, adapter=adapter), how, shape_7b, 2048)  # type: ignore[arg-type]
    of = stage.memory()
    halved = count_matrices(shape_7b)  # all but embeddings and norms
    whole = count_parameters(shape_7b) - halved
    assert (of.weights, of.gradients, of.optimizer) == (
        2 * halved + 4 * (whole + trained) + 2 * trained,
        4 * trained,
        8 * trained,
    )
    assert of.total > gpu_memory(how)  # type: ignore[operator]
    advised = nearest_setting(stage)
    assert advised and describe_changes(how, advised) == "recompute: true"
    quantized = adapter.model_copy(update={"quantize": "nf4"})
    stage = SizedStage(None, TrainRecipe(**TRAINED, adapter=quantized), how, shape_7b, 2048)  # type: ignore[arg-type]
    layers = 32 * (4 * 4096**2 + 3 * 4096 * 11008)  # 4 bits each, and a scale of 4 bytes for 64 of them
    assert stage.memory().weights == of.weights - 2 * layers + layers * 9 / 16
    assert nearest_setting(stage) == how, "without recompute"
    small = SizedStage(None, stage.recipe, how, shape("13B"), 2048)  # type: ignore[arg-type]
    advised_13b = nearest_setting(small)
    assert advised_13b and describe_changes(how, advised_13b) == "recompute: true"
    full = SizedStage(None, TrainRecipe(**TRAINED), how, shape_7b, 2048)  # type: ignore[arg-type]
    assert advised != nearest_setting(full)


TRAINED: dict[str, Any] = {"seed": 0, "epochs": 1, "learning_rate": 1, "batch_rows": 16, "precision": "bf16"}
TABLE = [  # size, precision, how; GiB: weights, gradients, optimizer, buffers
    ("13B", "bf16", {"gpus": 4, "nodes": 5, "zero": 3}, (1.2, 2.4, 7.3, 3.7)),
    ("13B", "bf16", {"gpus": 4, "nodes": 5, "zero": 2}, (24.2, 2.4, 7.3, 1.9)),
    ("13B", "bf16", {"gpus": 8, "zero": 2, "offload": True}, (24.2, 0, 0, 1.9)),
    ("7B", "fp32", {"gpus": 8, "zero": 3}, (3.1, 3.1, 6.3, 7.5)),
    ("1B", "bf16", {"gpus": 1}, (6.1, 4.1, 8.2, 0)),
    ("1B", "bf16", {"gpus": 1, "recompute": True}, (4.1, 4.1, 8.2, 0)),
    ("1B", "fp32", {"gpus": 2}, (4.1, 4.1, 8.2, 4.1)),
    ("160M", "fp32", {"processes": 2, "zero": 2}, (0.6, 0.3, 0.9, 0.6)),
]  # fmt: skip


@pytest.mark.parametrize(("size", "precision", "how", "wanted"), TABLE, ids=[f"{row[0]}-{row[2]}" for row in TABLE])
def test_the_bytes_of_a_parameter(size: str, precision: str, how: dict[str, Any], wanted: tuple[float, ...]) -> None:
    found = estimate_memory(shape(size), 2048, precision, TrainExecution(**how))
    assert [round(part / GIB, 1) for part in found[:4]] == list(wanted)
    assert found.total == pytest.approx(sum(found[:6]))


EXECUTIONS = st.builds(
    TrainExecution,
    nodes=st.integers(1, 8), gpus=st.integers(1, 8), zero=st.integers(0, 3), micro_batch_rows=st.integers(1, 8),
    recompute=st.booleans(), gpu=st.sampled_from(sorted(GPUS)),
).filter(lambda how: how.nodes * how.gpus > 1 or not how.zero)  # fmt: skip


@given(st.sampled_from(sorted(SHAPES)), st.sampled_from(["fp32", "bf16"]), EXECUTIONS)
def test_an_advised_setting_fits_and_its_description_names_all_changes(
    size: str, precision: str, how: TrainExecution
) -> None:
    rows = how.nodes * how.gpus * how.micro_batch_rows * 8
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1, batch_rows=rows, precision=precision)  # type: ignore[arg-type]
    stage = SizedStage(None, recipe, how, shape(size), 2048)  # type: ignore[arg-type]
    now, advised = stage.memory(), nearest_setting(stage)
    if advised:
        assert stage.memory(advised).total <= CAUTION * (gpu_memory(how) or 0)
        assert recipe.batch_rows % (advised.nodes * advised.gpus * advised.micro_batch_rows) == 0
        assert advised.nodes * advised.gpus > 1 or not advised.zero or advised.offload
        assert bool(describe_changes(how, advised)) == (advised != how)
    elif now.total <= CAUTION * (gpu_memory(how) or 0):
        raise AssertionError("the present setting fits, and is not advised")
    more = how.model_copy(update={"micro_batch_rows": how.micro_batch_rows + 1})
    assert stage.memory(more).total >= now.total
    assert stage.memory(how.model_copy(update={"recompute": True})).total <= now.total


ADVICE = [
    ("7B", {"gpus": 8, "gpu": "a100-80gb"}, "zero: 2"),
    ("13B", {"gpus": 4, "nodes": 5, "gpu": "a100-80gb", "zero": 3, "micro_batch_rows": 4}, "micro_batch: 2"),
    ("13B", {"gpus": 1, "gpu": "a100-80gb"}, "zero: 2, offload: true"),
    ("1B", {"gpus": 1, "gpu": "a100-80gb", "micro_batch_rows": 16}, "micro_batch: 8"),
    ("7B", {"gpus": 1, "gpu": "rtx4090-24gb"}, "zero: 2, offload: true, recompute: true"),
    ("13B", {"gpus": 1, "gpu": "rtx4090-24gb"}, "nodes: 4, gpus: 8, zero: 3, recompute: true"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "how", "wanted"), ADVICE, ids=[row[2] for row in ADVICE])
def test_the_nearest_setting_that_fits(size: str, how: dict[str, Any], wanted: str) -> None:
    recipe = TrainRecipe(seed=0, epochs=1, learning_rate=1, batch_rows=160, precision="bf16")
    stage = SizedStage(None, recipe, TrainExecution(**how), shape(size), 2048)  # type: ignore[arg-type]
    advised = nearest_setting(stage)
    assert advised and describe_changes(stage.execution, advised) == wanted


@pytest.mark.parametrize("length", [16_384, 32_768])
def test_long_rows_on_a_gpu_keep_no_mask(length: int) -> None:
    how = TrainExecution(gpus=1, gpu="a100-80gb", recompute=True)
    long, twice = (activations(shape("1B"), size, "bf16", how) for size in (length, 2 * length))
    assert twice < 2 * long  # linear in the length, with a constant for the head
    on_cpu = activations(shape("1B"), length, "bf16", how.model_copy(update={"gpus": 0}))
    assert on_cpu - long == 2 * 2 * length * length  # bytes; of the layer that is recomputed, and its gradients


# --- messages ------------------------------------------------------------------------------------------------------

SPEC = """\
orcac: 1
name: fit
queries: {q: {format: puzzles, task: navigate, size: [3, 5], take: 100}}
teachers: {t: {model: expert, endpoint: {kind: solver}}}
datasets: {d: {teacher: t, queries: [q]}}
student: {size: 7B, tokenizer: {vocabulary: 32_000, train_on: [d]}}
stages: {s: {dataset: d, batch: 16 rows}}
curriculum: [s]
hardware:
  train: {gpus: 8, gpu: a100-80gb, precision: bf16, zero: 2, memory: 400 GiB}
ablations:
  long: {student: {max_length: 32_768}}
"""


def orcac(folder: Path, spec: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    (folder / "spec.yaml").write_text(spec)
    monkeypatch.setenv("ORCAC_PLAN", str(folder / "plan.json"))
    monkeypatch.setenv("ORCAC_STORE", str(folder / "store"))
    return CliRunner().invoke(cli, [words[0], str(folder / "spec.yaml"), *words[1:]])


def test_a_stage_that_does_not_fit_is_refused_at_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = orcac(tmp_path, SPEC, "compile", monkeypatch=monkeypatch)
    assert isinstance(refused.exception, SpecErrors) and not (tmp_path / "plan.json").exists()
    text = str(refused.exception).replace(f"{tmp_path}/", "")
    place = "spec.yaml:10:3: in the arm `long`: the student does not fit: it takes"
    assert text.startswith(place) and "GiB of each a100-80gb, which has 79 (weights 13, " in text
    assert "with `recompute: true` it takes" in text and " 10 |   train: {gpus: 8" in text
    plain = orcac(tmp_path, SPEC.replace("zero: 2, ", ""), "compile", monkeypatch=monkeypatch)
    assert "10:3: the student does not fit: it takes 156 GiB" in str(plain.exception)
    assert "with `zero: 2` it takes 42" in str(plain.exception)
    longer = orcac(tmp_path, SPEC.replace("32_768", "4_194_304"), "compile", monkeypatch=monkeypatch)
    assert "no number of such GPUs holds one row of it: take a smaller student, shorter rows" in str(longer.exception)
    for sound in (SPEC.replace("32_768", "2_048"), SPEC.replace("gpu: a100-80gb, ", "")):
        assert orcac(tmp_path, sound, "compile", monkeypatch=monkeypatch).exit_code == 0


def test_the_memory_plan_is_shown_with_the_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = orcac(tmp_path, SPEC, "cost", monkeypatch=monkeypatch)
    assert shown.exit_code == 0  # a stage that does not fit still has a price
    assert "42 of 79" in shown.stdout and "+ long" in shown.stdout
    assert "does not fit; with `recompute: true` it takes" in shown.stdout
    assert max(map(len, shown.stdout.partition("of a stage, GiB")[2].splitlines())) <= 80
    printed = json.loads(orcac(tmp_path, SPEC, "cost", "--json", monkeypatch=monkeypatch).stdout)
    plans = [node["memory"] for node in printed["nodes"].values() if "memory" in node]
    assert sorted(of["total"] > of["has"] for of in plans) == [False, True]
    assert plans[0].keys() == {*Memory._fields, "total", "has"}
