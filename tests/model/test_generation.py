"""Tests of orcac/model/generation.py, and of loading model folders: orcac/model/weights.py, orcac/model/offline.py."""

import functools
import itertools
import json
import shutil
from collections import Counter

import pytest
import tiny
from tiny import answer_all

from orcac.errors import InputError
from orcac.model import generation
from orcac.model.chat_format import ChatFormat, load_tokenizer
from orcac.model.decoding import decode
from orcac.model.generation import GumbelMax, LocalModel, count_rows, make_stream

PROMPTS = [("", "What is 3 and one?"), ("Think first.", "What?"), ("", "What is 12 and one? " * 3), ("", "Why?")]
GREEDY = {"temperature": 0.0, "top_p": 1.0, "seed": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    examples = tiny.write_examples(root / "kept", [tiny.response(n) for n in range(50)])
    return tiny.make_student(root / "student", examples) / "model"


@pytest.fixture(scope="module")
def model(folder):
    return LocalModel.load(folder, threads=1, gpus=0)


def copy_with(folder, target, **generation):
    """Copy a model folder, with changes to its generation_config.json."""
    shutil.copytree(folder, target)
    path = target / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | generation))
    return target


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_changes_no_answer(model, temperature):
    settings = {"temperature": temperature, "top_p": 0.9, "max_new_tokens": 12, "seed": 5}
    together = answer_all(model, PROMPTS, **settings)
    alone = [answer for prompt in PROMPTS for answer in answer_all(model, [prompt], **settings)]
    assert together == alone == answer_all(model, PROMPTS, batch_size=2, **settings)
    assert len({answer.text for answer in together}) > 1


def test_a_prompt_that_takes_the_place_of_an_ended_answer_changes_no_other(model):
    prompts = [("", f"What is {number} and one?" * (number % 3 + 1)) for number in range(20)]
    settings = {"temperature": 1.0, "top_p": 0.9, "max_new_tokens": 15, "seed": 5, "stop": ["a", "e"]}
    alone = answer_all(model, prompts, batch_size=1, **settings)
    assert len({answer.output_tokens for answer in alone}) > 5
    assert alone == answer_all(model, prompts, batch_size=3, **settings) == answer_all(model, prompts, **settings)


def test_the_seed_decides_what_is_sampled(model):
    def texts(seed):
        settings = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "seed": seed}
        return [answer.text for answer in answer_all(model, PROMPTS, **settings)]

    assert texts(1) == texts(1) != texts(2)


def test_an_answer_ends_at_an_end_token_or_is_cut(folder, model, tmp_path):
    (cut,) = answer_all(model, [("", "Why?")], max_new_tokens=5, **GREEDY)
    assert (cut.finish_reason, cut.output_tokens) == ("length", 5)
    third = load_tokenizer(folder)(cut.text, add_special_tokens=False)["input_ids"][2]
    other = LocalModel.load(copy_with(folder, tmp_path / "model", eos_token_id=[2, third]), threads=1, gpus=0)
    (stopped,) = answer_all(other, [("", "Why?")], max_new_tokens=5, **GREEDY)
    assert stopped.finish_reason == "stop" and stopped.output_tokens <= 3
    assert cut.text.startswith(stopped.text)


def test_positions_bound_the_answer(model):
    prompts = [("", "a " * 20), ("", "a " * 100), ("", "Why?")]  # their greedy answers reach no end token
    long, too_long, short = answer_all(model, prompts, max_new_tokens=50, **GREEDY)
    assert long.input_tokens + long.output_tokens == tiny.SHAPE.positions
    assert (too_long.text, too_long.finish_reason, too_long.output_tokens) == ("", "length", 0)
    assert short.output_tokens == 50


def test_prompts_come_by_length_and_in_a_batch_by_their_beginnings(model):
    same = ("", "What is 4 and one?")  # as long as the first
    assert model.sort([*PROMPTS, same], max_new_tokens=8, batch_size=1) == [2, 0, 4, 1, 3]
    order = model.sort([*PROMPTS, same] * 30, max_new_tokens=8)  # in batches of 128
    prompts = [[*PROMPTS, same][number % 5] for number in order]
    assert sorted(order) == list(range(150))
    assert sum(one != other for one, other in itertools.pairwise(prompts)) < 8


def test_a_small_model_on_a_cpu_reads_prompts_together_with_the_same_answers(model, monkeypatch):
    calls = []

    def spy(*args, one_by_one, **options):
        calls.append(one_by_one)
        return decode(*args, one_by_one=one_by_one, **options)

    monkeypatch.setattr(generation, "decode", spy)
    together = answer_all(model, PROMPTS, max_new_tokens=8, **GREEDY)
    monkeypatch.setattr(generation, "_SMALL", 0)
    alone = answer_all(LocalModel(model._model, model._tokenizer), PROMPTS, max_new_tokens=8, **GREEDY)
    assert (together, calls) == (alone, [False, True])


def test_the_rows_of_a_batch_on_a_gpu_follow_from_its_free_memory():
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008, vocab_size=32000
    )  # LLaMA 7B: keys and values of 512 KiB a token
    sizes = {"prompt_tokens": 1000, "tokens": 2048, "item_bytes": 2}
    rows = [count_rows(config, free=gib << 30, **sizes) for gib in (1, 8, 64, 4096)]
    assert rows == [1, 5, 46, 256]
    shared = LlamaConfig(**config.to_dict() | {"num_key_value_heads": 8})
    assert count_rows(shared, free=64 << 30, **sizes) > 3 * 46


def test_a_batch_that_does_not_fit_in_memory_is_halved(folder, model, capsys):
    import torch
    from transformers import AutoModelForCausalLM

    large = type(AutoModelForCausalLM.from_pretrained(folder))

    class Small(large):
        """A model whose memory holds `holds` rows."""

        holds = 1

        @functools.wraps(large.forward)
        def forward(self, input_ids, **settings):
            sizes.append(len(input_ids))
            if len(input_ids) > self.holds:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().forward(input_ids=input_ids, **settings)

    sizes = []
    small = LocalModel(Small.from_pretrained(folder).eval(), load_tokenizer(folder))
    settings = {"max_new_tokens": 6, **GREEDY}
    assert answer_all(small, PROMPTS, **settings) == answer_all(model, PROMPTS, **settings)
    assert [size for size in sizes if size > 1] == [4, 2]
    assert "a batch of 4 does not fit in memory: halved" in capsys.readouterr().err
    Small.holds = 0
    with pytest.raises(InputError, match=r"(?s)a single prompt.*lower max_tokens"):
        answer_all(small, PROMPTS[:1], **settings)


def test_gumbel_max_draws_from_the_nucleus_of_the_distribution():
    import torch

    shares = torch.tensor([[0.5, 0.3, 0.15, 0.05]] * 4000)
    sampler = GumbelMax(lambda number: make_stream(0, "", str(number)), temperature=1.0, top_p=0.75)
    drawn = Counter(sampler(range(4000), shares.log()).argmax(-1).tolist())
    assert drawn.keys() == {0, 1}
    assert drawn[0] / 4000 == pytest.approx(0.5 / 0.8, abs=0.03)


def test_sampling_options_in_the_folder_are_ignored(folder, model, tmp_path):
    sampling = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 9.0}
    target = copy_with(folder, tmp_path / "model", **sampling, max_new_tokens=1, min_new_tokens=6)
    other = LocalModel.load(target, threads=1, gpus=0)
    settings = {"max_new_tokens": 6, **GREEDY}
    assert answer_all(other, PROMPTS, **settings) == answer_all(model, PROMPTS, **settings)


def test_a_local_teacher_is_asked_like_any_other(folder, tmp_path):
    from orcac import rows
    from orcac.chat.settings import EndpointSettings, Sampling
    from orcac.collect.recipe import CollectExecution, CollectRecipe, Weights
    from orcac.collect.run import run
    from orcac.digest import file_digest
    from orcac.recipe import FileRef

    paths = [path for path in folder.rglob("*") if path.is_file()]
    refs = tuple(FileRef(name=str(path.relative_to(folder)), sha256=file_digest(path)) for path in paths)
    recipe = CollectRecipe(model="mine", sampling=Sampling(max_tokens=5), origin="local", weights=Weights(files=refs))
    execution = CollectExecution(
        endpoint=EndpointSettings(kind="local", batch=2),
        files={ref.sha256: str(path) for ref, path in zip(refs, paths, strict=True)},
    )
    prompts = [
        rows.Prompt(id=str(n), source="s", task="t", query=f"What is {n}?", system_id=1, system="") for n in range(5)
    ]
    (tmp_path / "prompts").mkdir()
    rows.write(tmp_path / "prompts" / "prompts.parquet", rows.Prompt, prompts)
    job = tiny.job(tmp_path / "node", recipe, {"prompts": [tmp_path / "prompts"]}, execution)
    assert run(job).answered == 5
    answers = list(rows.read(job.out / "responses.parquet", rows.Response))
    assert all(0 < answer.output_tokens <= 5 and answer.input_tokens for answer in answers)


def test_a_template_without_system_messages_encodes_prompts_without_one(folder):
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    chat = ChatFormat(tokenizer, for_training=False)
    assert tokenizer.decode(chat.encode_prompts([("", "Why?")])[0]) == "Why?>"
    with pytest.raises(InputError, match="accepts no system and user message"):
        chat.encode_prompts([("Think.", "Why?")])


def test_a_model_without_a_template_is_asked_in_plain_words(folder, tmp_path, capsys):
    bare = tmp_path / "model"
    shutil.copytree(folder, bare)
    (bare / "chat_template.jinja").unlink()
    (answer,) = answer_all(LocalModel.load(bare, threads=1, gpus=0), [("", "Why?")], max_new_tokens=3, **GREEDY)
    tokens = load_tokenizer(folder)("### Human:\nWhy?\n\n### Assistant:\n", add_special_tokens=False)["input_ids"]
    assert abs(answer.input_tokens - 1 - len(tokens)) <= 2  # the text is encoded in three parts
    assert "asked in plain words (### Human:)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("a weight is missing", "lacks weights: model.layers.0.mlp.down_proj.weight"),
        ("weights are cut short", "cannot be loaded as a causal language model: .*metadata"),
        ("config.json is cut short", "cannot be loaded as a causal language model: .*config"),
    ],
)
def test_a_damaged_folder_is_refused(folder, tmp_path, harm, message):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    stored = broken / "model.safetensors"
    if harm == "a weight is missing":
        tensors = load_file(stored)
        del tensors["model.layers.0.mlp.down_proj.weight"]
        save_file(tensors, stored, metadata={"format": "pt"})
    elif harm == "weights are cut short":
        stored.write_bytes(stored.read_bytes()[:5000])
    else:
        (broken / "config.json").write_text("{")
    with pytest.raises(InputError, match=message):
        LocalModel.load(broken, threads=1, gpus=0).sort(PROMPTS, max_new_tokens=8)


def test_a_gpu_that_was_not_granted_is_not_used(folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert LocalModel.load(folder, threads=1, gpus=0)._model.device.type == "cpu"
