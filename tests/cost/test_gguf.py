"""Tests of orcac/cost/gguf.py, of orcac/model/gguf_header.py and of the positions that orcac/spec/models.py reads.

The gguf package writes the file.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from orcac.cost.gguf import read_gguf
from orcac.cost.shape import student_model
from orcac.plan.node import Node
from orcac.recipe import FileRef
from orcac.spec.load import load
from orcac.spec.models import find_broken_models
from orcac.student.recipe import Pretrained, Scratch, StudentExecution, StudentRecipe

gguf = pytest.importorskip("gguf")
TENSORS = {"token_embd": (48, 32), "blk.0.attn_k": (16, 32), "blk.0.ffn_down": (32, 64), "output_norm": (32,)}
WEIGHTS = sum(map(math.prod, TENSORS.values()))
SHAPE = Scratch(
    vocabulary=48, hidden=32, layers=1, heads=4, kv_heads=2, intermediate=64, positions=1, tie_embeddings=True
)


def write(path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(32), writer.add_block_count(1), writer.add_feed_forward_length(64)
    (
        writer.add_context_length(64),
        writer.add_head_count(4),
        writer.add_head_count_kv(2),
        writer.add_layer_norm_rms_eps(1e-6),
    )
    writer.add_token_list([f"é{number}" for number in range(48)]), writer.add_token_scores([0.5] * 48)
    for name, dimensions in TENSORS.items():
        writer.add_tensor(
            f"{name}.weight",
            gguf.quants.quantize(np.ones(dimensions, np.float32), gguf.GGMLQuantizationType.Q8_0),
            raw_dtype=gguf.GGMLQuantizationType.Q8_0,
        )
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()
    return path


def test_counts_the_weights_of_a_quantized_file_that_no_run_has_read(tmp_path: Path) -> None:
    path = write(tmp_path / "small.gguf")
    assert read_gguf(path) == (WEIGHTS, SHAPE)
    ref = FileRef(name="small.gguf", sha256="0" * 64)
    recipe = StudentRecipe(seed=0, pretrained=Pretrained(files=(ref,)))
    execution = StudentExecution(files={ref.sha256: str(path)})
    node = Node(kind="student", label="student", recipe=recipe, inputs={}, execution=execution)
    model = student_model(node, None, None)
    assert (model.parameters.mid, model.shape, model.basis) == (WEIGHTS, SHAPE, ())


def test_a_damaged_header_counts_nothing_at_any_length(tmp_path: Path) -> None:
    content = write(tmp_path / "small.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(0, content.index(b"output_norm"), 37):
        path.write_bytes(content[:length])
        assert read_gguf(path) is None, length
    for number in range(100):
        noise = os.urandom(len(content) - 24)
        path.write_bytes(content[:24] + noise)
        assert read_gguf(path) is None, number
    assert read_gguf(tmp_path / "missing.gguf") is None


def test_rows_longer_than_the_file_states_are_an_error_of_the_spec(tmp_path: Path) -> None:
    write(tmp_path / "small.gguf")
    spec = (
        "orcac: 1\nname: long\n"
        "queries: {q: {format: puzzles, task: navigate, size: [3, 5], take: 100}}\n"
        "teachers: {t: {model: expert, endpoint: {kind: solver}}}\n"
        "datasets: {d: {teacher: t, queries: [q]}}\n"
        "student: {base: small.gguf, max_length: 64}\n"
        "stages: {s: {dataset: d, batch: 1 rows}}\n"
    )
    (tmp_path / "spec.yaml").write_text(spec)
    assert find_broken_models(load(tmp_path / "spec.yaml")) == []
    (tmp_path / "spec.yaml").write_text(spec.replace("64", "65"))
    (problem,) = find_broken_models(load(tmp_path / "spec.yaml"))
    assert str(problem.mark).endswith("spec.yaml:6:41")
    assert problem.message == "rows of 65 tokens, but the model reads 64; write `max_length: 64`"
