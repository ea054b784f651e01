"""A student from a Hugging Face model directory, here or on a hub, or from a GGUF file (gguf.py): its files as they
are, but for what fine-tuning needs.

- A pad token: `[[PAD]]` where there is none, as the paper adds to LLaMA (§4.1: 32,000 entries become 32,001).
- A chat template whose `{% generation %}` marks say what is learnt. Where its own has none it becomes ours: in the
  words of ChatML for a model that knows them, else in plain ones.
- The end that is learnt among the ends of generating.

Weights must be safetensors: unpickling a `.bin` file may run what it says. They are copied, not linked, so that
a later change of the original cannot reach the artifact; they are written anew only where the embedding grows.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from orcac import hub
from orcac.errors import InputError, as_input_error
from orcac.model import weights
from orcac.model.chat_format import CHATML_TEMPLATE, TEXT_MARKS, ChatFormat, Tokenizer, chat_template, load_tokenizer
from orcac.model.weights import load_model
from orcac.recipe import Execution, resolve_file
from orcac.student import gguf
from orcac.student.recipe import Pretrained

PAD = "[[PAD]]"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


class Files(NamedTuple):
    """Where a model's files lie, by their names in its folder; of a hub's, the revision and its commit."""

    paths: dict[str, Path]
    commits: dict[str, str]


def find(recipe: Pretrained, *, execution: Execution, label: str) -> Files:
    """The student's files; those on a hub are downloaded. Raises InputError for files that are unsafe or missing, and
    what `hub.fetch` raises."""
    assert (recipe.hub is None) != (not recipe.files), "exactly one of files and hub"
    if recipe.hub is None:
        refuse([file.name for file in recipe.files])
        return Files({file.name: resolve_file(file, execution) for file in recipe.files}, {})
    fetched = hub.fetch(recipe.hub, kind="model", label=label)
    paths = {PurePosixPath(name).name: path for path, name in fetched.files}
    refuse(list(paths))
    return Files(paths, {f"{recipe.hub.repo}@{recipe.hub.revision}": fetched.commit})


def build(model: Path, files: dict[str, Path], *, work: Path, seed: int) -> None:
    """Write the student to `model`. Raises InputError for files that are damaged or not a model."""
    source = work / "source"
    shutil.rmtree(source, ignore_errors=True)
    if packed := is_gguf(list(files)):
        alone = work / "gguf"
        shutil.rmtree(alone, ignore_errors=True)
        link(files, alone)
        gguf.convert(alone / next(iter(files)), source)
    else:
        link(files, source)
    weights.check(source)
    check_trainable(source)

    tokenizer = load_tokenizer(source)
    prepare(tokenizer)
    ChatFormat(tokenizer)  # raises where its template is of no use to learn from
    if max(tokenizer.get_vocab().values()) >= embedding_rows(source):
        grow(source, model, tokenizer, seed=seed)
    else:
        shutil.copytree(source, model, dirs_exist_ok=True, copy_function=shutil.move if packed else shutil.copyfile)
    set_ends(model, tokenizer)
    tokenizer.save_pretrained(model)


def is_gguf(names: list[str]) -> bool:
    """Whether the student is a GGUF file; one that lies in a model directory is a second copy of its weights."""
    return len(names) == 1 and names[0].endswith(".gguf")


def link(files: dict[str, Path], folder: Path) -> None:
    """Lay files out under their names, whatever folders they lie in."""
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file.resolve())


def refuse(names: list[str]) -> None:
    """Raise InputError for pickled weights, for no weights at all, and for a path that leaves the folder."""
    for name in names:
        path = PurePosixPath(name)
        if path.suffix in _PICKLES:
            raise InputError(
                f"{name}: pickled weights can run code when they are read",
                fix="convert them to safetensors and leave this file out",
            )
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{name}: lies outside the model's folder", fix="give paths relative to the folder")
    if not is_gguf(names) and not any(name.endswith(".safetensors") for name in names):
        raise InputError("the student has no weights", fix="give its .safetensors files")


def prepare(tokenizer: Tokenizer) -> None:
    """Give the tokenizer a pad token and a template to learn from, where it lacks them."""
    if tokenizer.eos_token is None:
        raise InputError("the student's tokenizer has no end token", fix="set eos_token in tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    own = tokenizer.chat_template or ""
    if "{% generation %}" not in str(own).replace("{%-", "{%").replace("-%}", "%}"):
        turns = "<|im_start|>" in str(own) and tokenizer.eos_token == "<|im_end|>"
        tokenizer.chat_template = CHATML_TEMPLATE if turns else chat_template(TEXT_MARKS)


def check_trainable(folder: Path) -> None:
    """Raise InputError where the model is no language model that generates, is quantized, or lacks weights.

    No weight is read for this.
    """
    config = load_config(folder)
    if getattr(config, "quantization_config", None):
        raise InputError(
            "the student's weights are quantized, and cannot be trained as they are",
            fix="give the model that they were made from",
        )
    load_model(folder, whose="the student", device_map="meta")


def load_config(folder: Path) -> Any:
    """The model's configuration. Raises InputError where it is of no type that transformers has."""
    from transformers import AutoConfig

    fix = "give a model of a type that transformers has; code that a model brings is never run"
    with as_input_error("the student's config.json cannot be used", fix=fix):
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False)


def embedding_rows(folder: Path) -> int:
    """How many tokens the model's embedding holds; often more than its tokenizer has."""
    rows: int = load_config(folder).get_text_config().vocab_size
    return rows


def grow(source: Path, model: Path, tokenizer: Tokenizer, *, seed: int) -> None:
    """Write the model with an embedding as long as the tokenizer; new rows are drawn about the mean of the old."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the covariance of the old rows must not depend on how the sum was split
    student = AutoModelForCausalLM.from_pretrained(
        str(source), dtype="auto", trust_remote_code=False, local_files_only=True, use_safetensors=True
    )
    student.resize_token_embeddings(max(tokenizer.get_vocab().values()) + 1)
    student.save_pretrained(model)


def set_ends(model: Path, tokenizer: Tokenizer) -> None:
    """Tell the saved model which token pads, and that the one it learns to end with ends what it generates, beside
    those that did before; the rest of its configuration stays as it came."""
    config, generation = model / "config.json", model / "generation_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    how: dict[str, Any] = {"bos_token_id": values.get("bos_token_id")}
    with as_input_error("the student's generation_config.json cannot be used", fix="mend it, or leave it out"):
        if generation.exists():
            how = dict(json.loads(generation.read_text(encoding="utf-8")))
        before = how.get("eos_token_id", values.get("eos_token_id"))
        ends = {*(before if isinstance(before, list) else [before]), tokenizer.eos_token_id} - {None}
    values["pad_token_id"] = how["pad_token_id"] = tokenizer.pad_token_id
    how["eos_token_id"] = sorted(ends) if len(ends) > 1 else tokenizer.eos_token_id
    for path, content in ((config, values), (generation, how)):
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
