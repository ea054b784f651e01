"""Tests of orcac/model/positions.py and orcac/model/config_file.py: the limit of a length, under any name and in any
part of a configuration."""

import json
import shutil

import pytest
import tiny

from orcac.errors import InputError
from orcac.model.config_file import read_positions
from orcac.model.generation import LocalModel
from orcac.model.positions import check_positions, count_positions


@pytest.mark.parametrize(
    "values, positions",
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 512}, 512),  # GPT-2
        ({"text_config": {"max_position_embeddings": 32}, "vision_config": {"max_position_embeddings": 8}}, 32),
        ({"text_config": {}, "max_position_embeddings": 8}, None),
        ({"max_position_embeddings": None, "n_positions": "many"}, None),
        ({}, None),
        ({"text_config": None}, None),
    ],
)
def test_a_config_file_states_its_positions_or_none(values, positions):
    assert read_positions(values) == positions


def test_a_model_of_any_type_has_its_positions(tmp_path):
    from transformers import BloomConfig, Gemma3Config, GPT2Config

    assert count_positions(GPT2Config(n_positions=512)) == 512
    assert count_positions(BloomConfig()) is None
    # published files leave the limit out, which is then the type's own
    Gemma3Config(text_config={"max_position_embeddings": 131_072}).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["text_config"]["max_position_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert read_positions(values) is None
    check_positions(tmp_path, 131_072)
    with pytest.raises(InputError, match="rows of 131073 tokens, but the student has 131072 positions"):
        check_positions(tmp_path, 131_073)


def test_a_model_for_texts_and_images_answers_within_its_positions(tmp_path):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    examples = tiny.write_examples(tmp_path / "kept", [tiny.response(n) for n in range(50)])
    folder = tmp_path / "gemma"
    shutil.copytree(tiny.make_student(tmp_path / "student", examples) / "model", folder)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    text |= {"intermediate_size": 24, "head_dim": 8, "vocab_size": 300, "max_position_embeddings": 48}
    vision = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    model = LocalModel.load(folder, threads=1, gpus=0)
    (answer,) = tiny.answer_all(model, [("", "2 + 2?")], temperature=0, top_p=1, max_new_tokens=100, seed=0)
    assert answer.input_tokens + answer.output_tokens == 48 or answer.finish_reason == "stop"


def test_a_model_without_attention_and_without_a_limit_answers(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    examples = tiny.write_examples(tmp_path / "kept", [tiny.response(n) for n in range(50)])
    folder = tiny.make_student(tmp_path / "student", examples) / "model"
    config = MambaConfig(hidden_size=16, num_hidden_layers=1, state_size=4, vocab_size=300, pad_token_id=0)
    MambaForCausalLM(config).save_pretrained(folder)
    model = LocalModel.load(folder, threads=1, gpus=0)
    (answer,) = tiny.answer_all(model, [("", "2 + 2?")], temperature=0, top_p=1, max_new_tokens=5, seed=0)
    assert answer.output_tokens == 5 or answer.finish_reason == "stop"
    (scores,) = model.score_choices([("", "2 + 2?", ["4", "5"])])
    assert len(scores.log_likelihoods) == 2
