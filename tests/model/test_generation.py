import json
import shutil
from collections import Counter

import pytest
import tiny

from orcac.model.generation import GumbelMax, LocalModel, _stream

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


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_changes_no_answer(model, temperature):
    settings = {"temperature": temperature, "top_p": 0.9, "max_new_tokens": 12, "seed": 5}
    together = model.answer_batch(PROMPTS, **settings)
    alone = [answer for prompt in PROMPTS for answer in model.answer_batch([prompt], **settings)]
    assert together == alone
    assert len({answer.text for answer in together}) > 1


def test_the_seed_decides_what_is_sampled(model):
    def texts(seed):
        settings = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "seed": seed}
        return [answer.text for answer in model.answer_batch(PROMPTS, **settings)]

    assert texts(1) == texts(1) != texts(2)


def test_an_answer_ends_at_the_end_mark_or_is_cut(folder, model, monkeypatch):
    (cut,) = model.answer_batch([("", "Why?")], max_new_tokens=5, **GREEDY)
    assert (cut.finish_reason, cut.output_tokens) == ("length", 5)
    third = model._tokenizer(cut.text, add_special_tokens=False)["input_ids"][2]
    monkeypatch.setattr(model, "_ends", {third})
    (stopped,) = model.answer_batch([("", "Why?")], max_new_tokens=5, **GREEDY)
    assert stopped.finish_reason == "stop" and stopped.output_tokens <= 3
    assert cut.text.startswith(stopped.text)


def test_positions_bound_the_answer(model, monkeypatch):
    monkeypatch.setattr(model, "_ends", {-1})  # none
    prompts = [("", "a " * 20), ("", "a " * 100), ("", "a")]
    long, too_long, short = model.answer_batch(prompts, max_new_tokens=50, **GREEDY)
    assert long.input_tokens + long.output_tokens == tiny.SHAPE.positions
    assert (too_long.text, too_long.finish_reason, too_long.output_tokens) == ("", "length", 0)
    assert short.output_tokens == 50


def test_batches_hold_every_prompt_once_by_length(model):
    batches = model.batches(PROMPTS, batch_size=3)
    assert batches == [[2, 0, 1], [3]]


def test_gumbel_max_draws_from_the_nucleus_of_the_distribution():
    import torch

    shares = torch.tensor([[0.5, 0.3, 0.15, 0.05]] * 4000)
    processor = GumbelMax([_stream(0, "", str(n)) for n in range(4000)], temperature=1.0, top_p=0.75)
    drawn = Counter(processor(None, shares.log()).argmax(-1).tolist())
    assert drawn.keys() == {0, 1}
    assert drawn[0] / 4000 == pytest.approx(0.5 / 0.8, abs=0.03)


def test_what_the_folder_says_of_sampling_is_not_used(folder, model, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    values = json.loads(path.read_text()) | {"do_sample": True, "temperature": 5.0, "max_new_tokens": 1}
    values |= {"repetition_penalty": 9.0, "min_new_tokens": 6}
    path.write_text(json.dumps(values))
    other = LocalModel.load(tmp_path / "model", threads=1, gpus=0)
    settings = {"max_new_tokens": 6, **GREEDY}
    assert other.answer_batch(PROMPTS, **settings) == model.answer_batch(PROMPTS, **settings)


def test_a_teacher_is_loaded_and_asked_as_any_other(folder, tmp_path):
    from orcac import rows
    from orcac.chat.settings import EndpointSettings, Sampling
    from orcac.collect.recipe import CollectExecution, CollectRecipe, Weights
    from orcac.collect.run import run
    from orcac.recipe import FileRef, file_digest

    paths = [path for path in folder.rglob("*") if path.is_file()]
    refs = tuple(FileRef(name=str(path.relative_to(folder)), sha256=file_digest(path)) for path in paths)
    recipe = CollectRecipe(model="mine", sampling=Sampling(max_tokens=5), origin="local", weights=Weights(files=refs))
    execution = CollectExecution(
        endpoint=EndpointSettings(kind="local", batch=2, concurrency=8),
        files={ref.sha256: str(path) for ref, path in zip(refs, paths, strict=True)},
    )
    prompts = [
        rows.Prompt(id=str(n), source="s", task="t", query=f"What is {n}?", system_id=1, system="") for n in range(5)
    ]
    (tmp_path / "prompts").mkdir()
    rows.write(tmp_path / "prompts" / "prompts.parquet", rows.Prompt, prompts)
    job = tiny.job(tmp_path / "node", recipe, {"prompts": [tmp_path / "prompts"]}, execution)
    assert run(job)["answered"] == 5
    answers = list(rows.read(job.out / "responses.parquet", rows.Response))
    assert all(0 < answer.output_tokens <= 5 and answer.input_tokens for answer in answers)


def test_a_template_that_knows_no_system_message_serves_prompts_without(model, monkeypatch):
    from orcac.errors import InputError
    from orcac.model.chat_format import ChatFormat

    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    monkeypatch.setattr(model._tokenizer, "chat_template", template)
    chat = ChatFormat(model._tokenizer, learns=False)
    assert model._tokenizer.decode(chat.prompts([("", "Why?")])[0]) == "Why?>"
    with pytest.raises(InputError, match="takes no system and user message"):
        chat.prompts([("Think.", "Why?")])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("a weight is missing", "lacks weights: model.layers.0.mlp.down_proj.weight"),
        ("weights are cut short", "cannot be loaded as a causal language model: .*metadata"),
        ("config.json is cut short", "cannot be loaded as a causal language model: .*config"),
        ("there is no template", "no chat template"),
    ],
)
def test_a_damaged_folder_is_told_and_nothing_is_answered_at_random(folder, tmp_path, harm, said):
    from safetensors.torch import load_file, save_file

    from orcac.errors import InputError

    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    stored = broken / "model.safetensors"
    if harm == "a weight is missing":
        tensors = load_file(stored)
        del tensors["model.layers.0.mlp.down_proj.weight"]
        save_file(tensors, stored, metadata={"format": "pt"})
    elif harm == "weights are cut short":
        stored.write_bytes(stored.read_bytes()[:5000])
    elif harm == "config.json is cut short":
        (broken / "config.json").write_text("{")
    else:
        (broken / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match=said):
        LocalModel.load(broken, threads=1, gpus=0).batches(PROMPTS, batch_size=2)


def test_no_gpu_is_taken_that_was_not_granted(folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert LocalModel.load(folder, threads=1, gpus=0)._model.device.type == "cpu"
