"""Tests of orcac/model/endings.py, and of answers that end by it: stop strings and limits of reasoning."""

import pytest
import tiny
from tiny import answer_all

from orcac.model.chat_format import load_tokenizer
from orcac.model.endings import ReasoningLimit
from orcac.model.generation import LocalModel
from orcac.reasoning import CLOSE

PROMPTS = [("", "What is 3 and one?"), ("Think first.", "What?"), ("", "What is 12 and one? " * 3), ("", "Why?")]
SAMPLED = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 24, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("endings")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(50)])
    return tiny.make_student(root / "student", examples) / "model"


@pytest.fixture(scope="module")
def model(folder):
    return LocalModel.load(folder, threads=1, gpus=0)


def with_template(folder, template):
    """Load the folder's model with another chat template."""
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    return LocalModel(AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer)


def test_an_answer_ends_before_the_first_stop_string_in_any_batch(folder, model):
    plain = answer_all(model, PROMPTS, **SAMPLED)
    tokenizer = load_tokenizer(folder)
    stops = []
    for answer in plain[:2]:  # from the middle of one token to the middle of a later one
        ids = tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        middle = len(tokenizer.decode(ids[: len(ids) // 2]))
        stops.append(answer.text[middle - 1 : middle + 2])
    together = answer_all(model, PROMPTS, **SAMPLED, stop=stops)
    assert together == [one for prompt in PROMPTS for one in answer_all(model, [prompt], **SAMPLED, stop=stops)]
    for before, after in zip(plain, together, strict=True):
        places = [place for stop in stops if (place := before.text.find(stop)) >= 0]
        assert after.text == before.text[: min(places, default=None)]
        if places:
            assert after.finish_reason == "stop"
            assert after.output_tokens < before.output_tokens
    assert sum(after != before for before, after in zip(plain, together, strict=True)) >= 2


TEMPLATE = (
    "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>"
    "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
)
OPENING = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|><think>\n"


@pytest.mark.parametrize("template", [TEMPLATE, OPENING])
def test_reasoning_is_limited_or_turned_off(folder, template):
    model = with_template(folder, template)
    prompts = [("", user) for _, user in PROMPTS]

    def ask(some, reasoning):
        return answer_all(model, some, **SAMPLED, reasoning=reasoning)

    assert all(answer.opened for answer in ask(prompts, None) + ask(prompts, "on"))
    limited = ask(prompts, 6)
    for own, answer in zip(ask(prompts, "on"), limited, strict=True):
        thought = answer.text.partition(f"\n{CLOSE}")[0].rstrip("\ufffd")  # the limit may cut a character
        assert own.text.startswith(thought)
        assert answer.text.count(CLOSE) == 1
        assert answer.finish_reason == "stop" or answer.output_tokens == 24
    assert limited == [one for prompt in prompts for one in ask([prompt], 6)]
    off = ask(prompts, "off")
    assert not any(answer.opened for answer in off)
    assert {answer.input_tokens for answer in off} != {answer.input_tokens for answer in limited}


def test_reasoning_that_an_answer_opens_itself_is_limited():
    text = "<think>a b c d e f"
    limit = ReasoningLimit(3, [-1, -2], lambda ids: text[: len(ids)])
    ids: list[int] = []
    taken = []
    for place in range(len(text)):
        taken.append(limit.force(0, ids))
        ids.append(place)
        assert limit.force(1, [0] * 99) is None
    # 7 tokens are the mark, 3 are reasoning; then it is closed, once
    assert [place for place, token in enumerate(taken) if token is not None] == [10, 11]
    assert taken[10:12] == [-1, -2]
