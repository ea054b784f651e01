"""Tests of orcac/student/run.py, orcac/student/recipe.py and orcac/student/pretrained.py."""

import dataclasses
import json
import shutil

import hub_server
import pytest
import tiny

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.recipe import FileRef, HubRef
from orcac.student.recipe import Pretrained, StudentExecution, StudentRecipe
from orcac.student.run import run


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return tiny.write_examples(tmp_path_factory.mktemp("kept") / "kept", [tiny.response(n) for n in range(50)])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory, examples):
    return tiny.make_student(tmp_path_factory.mktemp("student"), examples) / "model"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pretrained(root, source, *, without=(), also=(), is_trained=True, lengths=(), is_packed=False):
    paths = [path for path in sorted(source.iterdir()) if path.name not in without] + list(also)
    refs = tuple(FileRef(name=path.name, sha256=file_digest(path)) for path in paths)
    files = {ref.sha256: str(path) for ref, path in zip(refs, paths, strict=True)}
    recipe = StudentRecipe(seed=0, pretrained=Pretrained(files=refs, is_trained=is_trained))
    return tiny.job(root, recipe, {}, StudentExecution(files=files, lengths=lengths, is_packed=is_packed))


def test_a_complete_pretrained_model_is_copied_unchanged(tmp_path, scratch):
    job = pretrained(tmp_path, scratch)
    run(job)
    for name in ("model.safetensors", "chat_template.jinja", "tokenizer.json"):
        assert contents(job.out / "model")[name] == contents(scratch)[name]
    assert not (job.out / "model" / "model.safetensors").is_symlink()


def test_a_student_that_is_only_measured_keeps_every_file(tmp_path, scratch):
    own = tmp_path / "chat_template.jinja"
    own.write_text("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}")
    job = pretrained(tmp_path / "job", scratch, without=(own.name,), also=[own], is_trained=False)
    assert run(job).vocabulary == 300
    assert contents(job.out / "model") == contents(scratch) | {own.name: own.read_bytes()}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads((scratch / "config.json").read_text()) | {"num_hidden_layers": 2}))
    with pytest.raises(InputError, match="lacks weights"):
        run(pretrained(tmp_path / "broken", scratch, without=(config.name,), also=[config], is_trained=False))


def test_rows_beyond_the_positions_are_refused_before_the_student_is_made(tmp_path, scratch):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=300, n_positions=32)).save_pretrained(
        tmp_path / "gpt2"
    )
    own = ("config.json", "model.safetensors", "generation_config.json")
    of_gpt2 = {"without": own, "also": [tmp_path / "gpt2" / name for name in own]}
    with pytest.raises(InputError, match="rows of 64 tokens, but the student has 32 positions"):
        run(pretrained(tmp_path / "long", scratch, **of_gpt2, lengths=(16, 64)))
    run(pretrained(tmp_path / "short", scratch, **of_gpt2, lengths=(16, 32)))


def of_model(folder):
    """Return the arguments of `pretrained` that take a model's own files in place of the scratch student's."""
    own = ("config.json", "model.safetensors", "generation_config.json")
    return {"without": own, "also": [folder / name for name in own]}


def test_a_model_that_cannot_separate_examples_is_refused_if_rows_are_packed(tmp_path, scratch):
    from transformers import MambaConfig, MambaForCausalLM

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, "vocab_size": 300, "pad_token_id": 0}
    MambaForCausalLM(MambaConfig(**shape)).save_pretrained(tmp_path / "mamba")
    of_mamba = of_model(tmp_path / "mamba")
    with pytest.raises(InputError, match="MambaForCausalLM takes no position_ids"):
        run(pretrained(tmp_path / "packed", scratch, **of_mamba, is_packed=True))
    run(pretrained(tmp_path / "alone", scratch, **of_mamba))


def test_a_hybrid_that_takes_positions_and_ignores_them_is_refused_if_rows_are_packed(tmp_path, scratch):
    from transformers import Lfm2Config, Lfm2ForCausalLM

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "vocab_size": 300}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "layer_types": ["conv", "full_attention"]}
    Lfm2ForCausalLM(Lfm2Config(**shape)).save_pretrained(tmp_path / "lfm2")
    of_lfm2 = of_model(tmp_path / "lfm2")
    with pytest.raises(InputError, match="Lfm2ForCausalLM does not separate examples"):
        run(pretrained(tmp_path / "packed", scratch, **of_lfm2, is_packed=True))
    run(pretrained(tmp_path / "alone", scratch, **of_lfm2))
    assert not list((tmp_path / "packed").rglob("out*/model/*.safetensors"))


def test_pretrained_gets_a_pad_token_and_a_template(tmp_path, scratch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bare = tmp_path / "tokenizer_config.json"
    values = json.loads((scratch / "tokenizer_config.json").read_text())
    del values["pad_token"]
    bare.write_text(json.dumps(values))
    job = pretrained(tmp_path, scratch, without=("tokenizer_config.json", "chat_template.jinja"), also=[bare])
    assert run(job).vocabulary == 301
    tokenizer = AutoTokenizer.from_pretrained(job.out / "model")
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[[PAD]]", 300)
    assert "{% generation %}" in tokenizer.chat_template
    before = AutoModelForCausalLM.from_pretrained(scratch)
    after = AutoModelForCausalLM.from_pretrained(job.out / "model")
    assert after.config.pad_token_id == 300
    assert after.get_input_embeddings().weight.shape == (301, 16)
    assert torch.equal(after.get_input_embeddings().weight[:300], before.get_input_embeddings().weight)
    again = pretrained(tmp_path, scratch, without=("tokenizer_config.json", "chat_template.jinja"), also=[bare])
    run(again)
    assert contents(again.out / "model") == contents(job.out / "model")


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_that_grows_keeps_its_rows_tied_or_not(tmp_path, examples, tied):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    shape = tiny.SHAPE.model_copy(update={"tie_embeddings": tied})
    base = tiny.make_student(tmp_path / "base", examples, shape=shape) / "model"
    shards = tmp_path / "shards"  # in bfloat16 and in several files, as models are published
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(shards, max_shard_size="4KB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    values = json.loads((base / "tokenizer_config.json").read_text())
    del values["pad_token"]
    (shards / "tokenizer_config.json").write_text(json.dumps(values))
    shutil.copy(base / "tokenizer.json", shards)
    run(job := pretrained(tmp_path, shards))
    (weights,) = (job.out / "model").glob("*.safetensors")
    before = {name: tensor for path in shards.glob("*.safetensors") for name, tensor in load_file(path).items()}
    after = load_file(weights)
    assert before.keys() == after.keys()
    assert ("lm_head.weight" in after) is not tied
    for name, tensor in before.items():
        assert after[name].dtype == torch.bfloat16
        assert torch.equal(after[name][: len(tensor)], tensor)
        assert len(after[name]) == len(tensor) + (name in ("model.embed_tokens.weight", "lm_head.weight"))
    model = AutoModelForCausalLM.from_pretrained(job.out / "model")
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied


def test_shards_are_copied_with_their_index(tmp_path, scratch):
    from transformers import AutoModelForCausalLM

    shards = tmp_path / "shards"
    shutil.copytree(scratch, shards, ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(scratch).save_pretrained(shards, max_shard_size="8KB")
    whole = pretrained(tmp_path / "whole", shards)
    assert run(whole) == run(pretrained(tmp_path / "one", scratch))
    made = contents(whole.out / "model")
    assert {name: made[name] for name in contents(shards) if "model" in name} == {
        name: content for name, content in contents(shards).items() if "model" in name
    }


def test_a_chat_model_keeps_its_format_and_all_its_end_tokens(tmp_path, scratch):
    from orcac.model.chat_format import ChatFormat, load_tokenizer

    tokenizer = load_tokenizer(scratch)
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 9], "temperature": 0.6}')
    also = [tmp_path / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")]
    also.append(tmp_path / "generation_config.json")
    run(job := pretrained(tmp_path / "job", scratch, without=[path.name for path in also], also=also))
    made = load_tokenizer(job.out / "model")
    turns = [{"role": role, "content": "Hi."} for role in ("system", "user", "assistant", "user")]
    rendered = made.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    (example,) = ChatFormat(made).encode_examples([("", "Hi.", "Ho.")])
    assert made.decode(example.input_ids[example.prompt_tokens :]) == "Ho.<|im_end|>"
    configuration = json.loads((job.out / "model" / "generation_config.json").read_text())
    assert configuration["eos_token_id"] == [2, 9, made.eos_token_id]
    assert (configuration["temperature"], configuration["pad_token_id"]) == (0.6, made.pad_token_id)


def test_a_template_without_marks_is_kept_or_replaced_for_a_reason(tmp_path, scratch):
    from orcac.model.chat_format import ChatFormat, load_tokenizer, read_end_tokens
    from orcac.model.chat_template import TEXT_MARKS, chat_template

    tokenizer = load_tokenizer(scratch)
    tokenizer.add_tokens(["<turn>", "<end_of_turn>", "<think>", "</think>"], special_tokens=True)
    tokenizer.chat_template = (  # an answer ends with another token than the tokenizer's end token
        "{% for m in messages %}{{ '<turn>' + m.role + '\n' }}"
        "{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}"
        "{{ m.content + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<turn>assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path)
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, end]}))
    also = [tmp_path / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")]
    also.append(tmp_path / "generation_config.json")
    without = [path.name for path in also]

    def make(name, **fields):
        job = pretrained(tmp_path / name, scratch, without=without, also=also)
        parts = job.recipe.pretrained.model_copy(update=fields)
        return dataclasses.replace(job, recipe=job.recipe.model_copy(update={"pretrained": parts}))

    kept = make("kept")
    assert run(kept).replaced is None
    made = load_tokenizer(kept.out / "model")
    assert made.chat_template == tokenizer.chat_template
    chat = ChatFormat(made, ends=read_end_tokens(kept.out / "model", made))
    (example,) = chat.encode_examples([("", "Hi.", "Ho.", "Hm.")])
    assert made.decode(example.input_ids) == (
        "<turn>user\nHi.<end_of_turn>\n<turn>assistant\n<think>Hm.</think>Ho.<end_of_turn>"
    )
    configuration = json.loads((kept.out / "model" / "generation_config.json").read_text())
    assert configuration["eos_token_id"] == [2, end]

    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    reason = "the chat template does not teach the student to stop"
    replaced = make("replaced")
    assert run(replaced).replaced == reason
    assert load_tokenizer(replaced.out / "model").chat_template == chat_template(TEXT_MARKS)
    with pytest.raises(InputError, match=reason):
        run(make("broken", keeps_template=True))


def test_the_learnt_end_token_ends_generation(tmp_path, scratch):
    run(job := pretrained(tmp_path, scratch, without=("generation_config.json",)))
    configuration = json.loads((job.out / "model" / "generation_config.json").read_text())
    assert configuration == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 2}, r"lacks weights: model\.layers\.1.* and 6 more"),
        ({"hidden_size": 32}, "cannot be loaded as a causal language model"),
        ({"model_type": "t5"}, "cannot be loaded as a causal language model"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantized"),
        ({"num_attention_heads": 0}, r"config\.json cannot be used"),
        ({"hidden_act": "x"}, "cannot be loaded as a causal language model"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(tmp_path, scratch, change, message):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads((scratch / "config.json").read_text()) | change))
    with pytest.raises(InputError, match=message):
        run(pretrained(tmp_path / "job", scratch, without=("config.json",), also=[config]))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_cut_short_is_named(tmp_path, scratch, name):
    cut = tmp_path / name
    cut.write_bytes((scratch / name).read_bytes()[:-4])
    with pytest.raises(InputError, match=r"config\.json|tokenizer"):
        run(pretrained(tmp_path / "job", scratch, without=(name,), also=[cut]))


def test_files_that_are_unsafe_or_missing_are_refused(tmp_path, scratch):
    pickle = tmp_path / "pytorch_model.bin"
    pickle.write_bytes(b"")
    with pytest.raises(InputError, match="safetensors"):
        run(pretrained(tmp_path / "pickle", scratch, also=[pickle]))
    with pytest.raises(InputError, match="no weights"):
        run(pretrained(tmp_path / "none", scratch, without=("model.safetensors",)))
    outside = Pretrained(files=(FileRef(name="../x.safetensors", sha256="0"),))
    with pytest.raises(InputError, match="outside"):
        run(tiny.job(tmp_path / "outside", StudentRecipe(seed=0, pretrained=outside), {}, StudentExecution()))


def test_a_model_with_code_of_its_own_is_refused(tmp_path, scratch):
    config = tmp_path / "config.json"
    values = json.loads((scratch / "config.json").read_text())
    config.write_text(json.dumps(values | {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))
    job = pretrained(tmp_path / "own", scratch, without=("config.json",), also=[config])
    with pytest.raises(InputError, match="code"):
        run(job)


def test_a_student_from_a_hub_equals_the_one_from_its_folder(tmp_path, monkeypatch, scratch):
    from huggingface_hub import constants

    here = pretrained(tmp_path / "here", scratch)
    summary = run(here)
    files = {f"m/{name}": content for name, content in contents(scratch).items()}
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as server:
        commit = server.add("models/o/m", files | {"m/pytorch_model.bin": b"no", "m/own.py": b"no"})
        source = Pretrained(hub=HubRef(repo="o/m", revision=commit, path="m"))
        there = tiny.job(tmp_path / "there", StudentRecipe(seed=0, pretrained=source), {}, StudentExecution())
        assert run(there).as_json() == summary.as_json() | {"hub": {f"o/m@{commit}": commit}}
        assert constants.HF_HUB_OFFLINE  # so the libraries that read the student next cannot download
        asked = [path for _, path, _ in server.log]
    assert contents(there.out / "model") == contents(here.out / "model")
    assert not any(path.endswith((".bin", ".py")) for path in asked)
    assert not any(path.is_symlink() for path in there.out.rglob("*"))


def test_a_student_from_a_hub_with_code_of_its_own_is_refused(tmp_path, monkeypatch, scratch):
    own = json.loads((scratch / "config.json").read_text()) | {"model_type": "own", "auto_map": {"AutoConfig": "own.C"}}
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as server:
        server.add("models/o/m", contents(scratch) | {"config.json": json.dumps(own).encode(), "own.py": b"1 / 0"})
        source = Pretrained(hub=HubRef(repo="o/m"))
        with pytest.raises(InputError, match="code"):
            run(tiny.job(tmp_path / "own", StudentRecipe(seed=0, pretrained=source), {}, StudentExecution()))


def test_damaged_weights_are_refused(tmp_path, scratch):
    path = tmp_path / "model.safetensors"
    path.write_bytes((scratch / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model\.safetensors: the student's weights cannot be read"):
        run(pretrained(tmp_path / "job", scratch, without=(path.name,), also=[path]))
