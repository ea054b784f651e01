"""Tests of orcac/model/decoding.py and the cache that it fills, orcac/model/cache.py."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from orcac.model.decoding import Prompt, Rules, decode, is_supported

SHAPE = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
FORMS = {
    "grouped heads": ("llama", {}),
    "a sliding window in some layers": (
        "gemma3_text",
        {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "no position ids": ("bloom", {"n_layer": 2, "n_head": 4}),
}
LENGTHS = [3, 17, 9, 1, 9, 17]


def make_model(form):
    kind, changes = FORMS[form]
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**SHAPE | changes)).eval()
    model.generation_config = GenerationConfig()  # as LocalModel does
    return model


def make_prompts():
    """Return prompts of LENGTHS: the last three begin alike, and the last is the second again."""
    numbers = random.Random(2)
    prompts = [[numbers.randrange(1, 90) for _ in range(length)] for length in LENGTHS]
    return [*prompts[:4], prompts[1][:5] + prompts[4][5:], prompts[1]]


def generate(model, prompt, limit, ends):
    """Return what transformers generates after one prompt."""
    settings = GenerationConfig(max_new_tokens=limit, do_sample=False, eos_token_id=ends or None, pad_token_id=0)
    ids = torch.tensor([prompt])
    return model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)[
        0, len(prompt) :
    ].tolist()


def decode_all(model, prompts, limits, *, rows=99, ends=(), sampler=None, one_by_one=True):
    """Return the ids that follow each prompt, in the order of the prompts."""
    asked = [Prompt(number, ids, limit) for number, (ids, limit) in enumerate(zip(prompts, limits, strict=True))]
    rules = Rules(ends=ends, pad=0, sampler=sampler)
    answers = {}
    for ended in decode(model, asked, rules, fits=lambda tokens: rows, one_by_one=one_by_one):
        assert not torch.is_inference_mode_enabled()  # it would remain in force in the caller
        answers |= dict(ended)
    return [answers[number] for number in range(len(prompts))]


@pytest.mark.parametrize("form", FORMS)
def test_ids_are_those_that_transformers_generates_for_each_prompt_alone(form):
    model, prompts = make_model(form), make_prompts()
    limits = [12, 12, 5, 12, 1, 12]
    free = [generate(model, prompt, limit, []) for prompt, limit in zip(prompts, limits, strict=True)]
    assert decode_all(model, prompts, limits) == free
    ends = [free[1][3], free[0][7]]
    expected = [generate(model, prompt, limit, ends) for prompt, limit in zip(prompts, limits, strict=True)]
    assert len(set(map(len, expected))) > 1
    for rows in (99, 2, 3):  # a place that becomes free is filled by the next prompt, which may be longer
        for one_by_one in (True, False):
            assert decode_all(model, prompts, limits, rows=rows, ends=ends, one_by_one=one_by_one) == expected


@pytest.mark.parametrize("form", list(FORMS)[:2])
def test_rows_that_come_and_go_at_any_time_do_not_touch_the_others(form):
    """Let the number of rows change at every step, over many more tokens than the first rows have room for."""
    model, numbers = make_model(form), random.Random(3)
    prompts = [[numbers.randrange(1, 90) for _ in range(numbers.randrange(1, 30))] for _ in range(40)]
    limits = [numbers.randrange(1, 20) for _ in prompts]
    alone = [generate(model, prompt, limit, []) for prompt, limit in zip(prompts, limits, strict=True)]
    asked = [Prompt(*one) for one in zip(range(40), prompts, limits, strict=True)]
    for one_by_one in (True, False):
        answers = {}
        for ended in decode(
            model, asked, Rules(ends=(), pad=0), fits=lambda tokens: numbers.randrange(1, 9), one_by_one=one_by_one
        ):
            answers |= dict(ended)
        assert [answers[number] for number in range(40)] == alone


def test_models_of_other_forms_are_generated_by_transformers():
    assert {form: is_supported(make_model(form)) for form in FORMS} == {
        "grouped heads": True,
        "a sliding window in some layers": True,
        "no position ids": False,
    }


def test_nothing_is_computed_twice_or_for_padding():
    """Count the tokens that pass through the model."""
    model, prompts = make_model("grouped heads"), make_prompts()
    sizes = []
    model.get_input_embeddings().register_forward_hook(lambda module, ids, found: sizes.append(ids[0].numel()))
    answers = decode_all(model, prompts, [4, 1, 2, 4, 4, 1])
    assert sum(sizes[:6]) == 3 + 17 + 9 + 1 + (9 - 5) + 1
    assert sizes[6:] == [4, 3, 3] and sum(map(len, answers)) == 16


def test_a_prompt_takes_the_place_of_an_ended_answer():
    """Count the rows of each step: there are three places, and six prompts."""
    model, prompts = make_model("grouped heads"), make_prompts()
    sizes = []
    model.get_input_embeddings().register_forward_hook(lambda module, ids, found: sizes.append(tuple(ids[0].shape)))
    decode_all(model, [prompt * 2 for prompt in prompts], [7, 2, 4, 3, 3, 3], rows=3)
    assert [rows for rows, tokens in sizes if tokens == 1] == [3, 3, 3, 3, 3, 1]


class Shift:
    """A sampler that adds noise of its own to each row."""

    def __init__(self):
        self.streams = [torch.Generator().manual_seed(number) for number in range(6)]

    def __call__(self, numbers, scores):
        return scores + torch.stack([torch.randn(scores.shape[-1], generator=self.streams[one]) for one in numbers])


def test_each_row_keeps_its_random_stream_when_others_end():
    model, prompts, limits = make_model("grouped heads"), make_prompts(), [6, 2, 6, 1, 6, 6]
    together = decode_all(model, prompts, limits, sampler=Shift())
    assert together == decode_all(model, prompts, limits, sampler=Shift(), rows=1)
    assert together == decode_all(model, prompts, limits, sampler=Shift(), rows=2, one_by_one=False)
