"""A student from a Hugging Face model directory, here or on a hub: its files as they are, but for what fine-tuning
needs.

- A pad token: `[[PAD]]` where there is none, as the paper adds to LLaMA (§4.1: 32,000 entries become 32,001).
- A chat template whose `{% generation %}` marks say what is learnt: ours, in plain words, where there is none.

Weights must be safetensors: unpickling a `.bin` file may run what it says. They are copied, not linked, so that
a later change of the original cannot reach the artifact; they are written anew only where the embedding grows.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from orcac import hub
from orcac.chat.template import TEXT_MARKS, Tokenizer, chat_template, load_tokenizer
from orcac.errors import InputError
from orcac.recipe import Execution, open_ref
from orcac.student import weights
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
        return Files({file.name: open_ref(file, execution) for file in recipe.files}, {})
    fetched = hub.fetch(recipe.hub, kind="model", label=label)
    paths = {PurePosixPath(name).name: path for path, name in fetched.files}
    refuse(list(paths))
    return Files(paths, {f"{recipe.hub.repo}@{recipe.hub.revision}": fetched.commit})


def build(model: Path, files: dict[str, Path], *, work: Path, seed: int) -> None:
    """Write the student to `model`. Raises InputError for files that are damaged or not a model."""
    source = work / "source"
    shutil.rmtree(source, ignore_errors=True)
    for name, file in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file.resolve())
    weights.check(source)

    tokenizer = load_tokenizer(source)
    prepare(tokenizer)
    if len(tokenizer) > embedding_rows(source):
        grow(source, model, tokenizer, seed=seed)
    else:
        shutil.copytree(source, model, dirs_exist_ok=True, copy_function=shutil.copyfile)
    set_pad(model, tokenizer)
    tokenizer.save_pretrained(model)


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
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError("the student has no weights", fix="give its .safetensors files")


def prepare(tokenizer: Tokenizer) -> None:
    """Give the tokenizer a pad token and a template to learn from, where it lacks them."""
    if tokenizer.eos_token is None:
        raise InputError("the student's tokenizer has no end token", fix="set eos_token in tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    if "{% generation %}" not in (tokenizer.chat_template or "").replace("{%-", "{%").replace("-%}", "%}"):
        tokenizer.chat_template = chat_template(TEXT_MARKS)


def embedding_rows(folder: Path) -> int:
    """How many tokens the model's embedding holds; often more than its tokenizer has."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False).vocab_size
    except (ValueError, OSError) as error:
        raise InputError(
            f"the student's config.json cannot be used: {error}",
            fix="give a model of a type that transformers has; code that a model brings is never run",
        ) from error


def grow(source: Path, model: Path, tokenizer: Tokenizer, *, seed: int) -> None:
    """Write the model with an embedding as long as the tokenizer; new rows are drawn about the mean of the old."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the covariance of the old rows must not depend on how the sum was split
    student = AutoModelForCausalLM.from_pretrained(
        str(source), dtype="auto", trust_remote_code=False, local_files_only=True, use_safetensors=True
    )
    student.resize_token_embeddings(len(tokenizer))
    student.save_pretrained(model)


def set_pad(model: Path, tokenizer: Tokenizer) -> None:
    """Tell the saved model which token pads; the rest of its configuration stays as it came."""
    for name in ("config.json", "generation_config.json"):
        path = model / name
        if path.exists():
            values = json.loads(path.read_text(encoding="utf-8")) | {"pad_token_id": tokenizer.pad_token_id}
            path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
