"""Tests of orcac/model/likelihood.py, and of the questions that orcac/model/generation.py scores by it."""

import pytest
import tiny

from orcac.errors import InputError
from orcac.model.chat_format import ChatFormat, load_tokenizer
from orcac.model.generation import LocalModel
from orcac.model.likelihood import score_continuations

QUESTIONS = [
    ("", "What is 3 and one?", ["4", "four of them", "(A)"]),
    ("Think first.", "Why?", ["yes", "no"]),
    ("", "What is 3 and two?", ["5", "4"]),  # begins as the first one
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 90}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("likelihood")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(50)])
    return tiny.make_student(root / "student", examples) / "model"


@pytest.fixture(scope="module")
def model(folder):
    return LocalModel.load(folder, threads=1, gpus=0)


def log_probability(model, prompt, continuation):
    """Return it as torch gives it for the whole sequence at once."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *continuation]])).logits[0].double()
    places = range(len(prompt) - 1, len(prompt) + len(continuation) - 1)
    return sum(float(logits[place].log_softmax(-1)[id_]) for place, id_ in zip(places, continuation, strict=True))


def make_model(kind):
    import torch
    import transformers

    torch.manual_seed(0)
    if kind == "mamba":  # its cache is not one of keys and values
        config = transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=90, state_size=4)
    else:
        window = {"sliding_window": 6} if kind == "Mistral" else {}
        config = getattr(transformers, f"{kind}Config")(**SIZES, num_key_value_heads=2, **window)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", ["Llama", "Mistral", "mamba"])  # the window of the second leaves the beginning behind
def test_a_likelihood_is_that_of_the_whole_sequence(kind):
    model = make_model(kind)
    prompts = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7], [5, 6, 7, 8, 9, 20]]
    continuations = [[[1], [2, 3, 4], [2, 3]], [[4, 4]], [[9], [8]]]
    found = score_continuations(model, prompts, continuations)
    for prompt, of_prompt, scores in zip(prompts, continuations, found, strict=True):
        assert scores == pytest.approx([log_probability(model, prompt, ids) for ids in of_prompt], abs=1e-4)


@pytest.mark.parametrize("kind", ["Llama", "Mistral", "mamba"])
def test_a_long_continuation_passes_in_pieces(kind):
    model = make_model(kind)
    prompts, continuations = [[5, 6, 7]], [[[*range(1, 21)], [4, 4]]]
    (whole,) = score_continuations(model, prompts, continuations)
    (pieces,) = score_continuations(model, prompts, continuations, piece=3)
    assert pieces == pytest.approx(whole, abs=1e-4)


def test_the_loss_of_a_text_is_that_of_a_training_example(folder, model):
    from transformers import AutoModelForCausalLM

    weights = AutoModelForCausalLM.from_pretrained(folder)
    chat = ChatFormat(load_tokenizer(folder))
    answered = [("", "What is 3 and one?", "It is 4."), ("Think first.", "Why?", "So it is."), ("", "a " * 100, "So.")]
    *short, long = model.score_texts(answered)
    for triple, scores in zip(answered, short, strict=False):
        (example,) = chat.encode_examples([triple])
        prompt, learnt = example.input_ids[: example.prompt_tokens], example.input_ids[example.prompt_tokens :]
        assert scores.log_likelihoods == pytest.approx([log_probability(weights, prompt, learnt)], abs=1e-4)
        assert (scores.input_tokens, scores.output_tokens) == (len(prompt), len(learnt))
        assert learnt[-1] == chat.end_id
    assert long.log_likelihoods == []


def test_a_batch_changes_no_likelihood(model):
    together = model.score_choices(QUESTIONS)
    for question, scores in zip(QUESTIONS, together, strict=True):
        (alone,) = model.score_choices([question])
        assert scores.log_likelihoods == pytest.approx(alone.log_likelihoods, abs=1e-4)
        assert scores.input_tokens == alone.input_tokens
        (first,) = model.score_choices([(*question[:2], question[2][:1])])
        assert first.log_likelihoods == pytest.approx(scores.log_likelihoods[:1], abs=1e-4)


def test_a_question_beyond_the_positions_has_no_likelihoods(model):
    long, short = model.score_choices([("", "a " * 100, ["yes", "no"]), ("", "Why?", ["yes", "no"])])
    assert long.log_likelihoods == []
    assert len(short.log_likelihoods) == 2


def test_a_model_without_numbers_is_refused(folder):
    import torch
    from transformers import AutoModelForCausalLM

    weights = AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.constant_(weights.get_input_embeddings().weight, float("nan"))
    with pytest.raises(InputError, match="logits are not numbers"):
        LocalModel(weights, load_tokenizer(folder)).score_choices(QUESTIONS)
