"""A student from a Hugging Face model folder, here or on a hub, or from a GGUF file (gguf.py): its files unchanged,
except for the additions that fine-tuning needs. A student that is only measured gets none of these: it is asked in its
own chat format, as a `local` baseline of the same files is.

- A pad token: `[[PAD]]` if there is none, as the paper adds to LLaMA (§4.1: 32,000 entries become 32,001).
- A chat template of ours, if its own cannot be trained on (`model.chat_format`): ChatML for a model that has its
  tokens, otherwise plain words. The summary holds the reason.
- The learnt end token among the tokens that end generation.

In either case a template with a date shows that of the recipe, and with `system_role: none` it begins the user's turn
with the system message. Both are written into the template, so that every server sends the same prompts.

Weights must be safetensors: unpickling a `.bin` file may run code. They are copied, not linked, so that a later change
of the original cannot reach the artifact; they are written anew only if the embedding grows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from orcac import hub
from orcac.errors import InputError, as_input_error
from orcac.model.chat_format import ChatFormat, load_tokenizer, read_end_tokens
from orcac.model.chat_template import (
    CHATML_TEMPLATE,
    TEXT_MARKS,
    chat_template,
    fold_system,
    has_marks,
    pin_date,
    read_template,
)
from orcac.model.isolation import check_isolates
from orcac.model.positions import check_positions
from orcac.model.sizes import check_size
from orcac.model.weights import check_weights, load_model
from orcac.progress import print_line
from orcac.recipe import Execution, resolve_file
from orcac.student import gguf
from orcac.student.recipe import Pretrained, StudentExecution

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

PAD = "[[PAD]]"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


class ModelFiles(NamedTuple):
    """The files of a model."""

    paths: dict[str, Path]  # by their names in the model's folder
    commits: dict[str, str]  # from REPO@REVISION to the commit, if the model is on a hub


def find_files(recipe: Pretrained, *, execution: Execution, label: str) -> ModelFiles:
    """Return the student's files; those on a hub are downloaded.

    Raises InputError for files that are unsafe or missing, and the errors of `hub.fetch`.
    """
    assert (recipe.hub is None) != (not recipe.files), "exactly one of files and hub"
    if recipe.hub is None:
        check_files([file.name for file in recipe.files])
        return ModelFiles({file.name: resolve_file(file, execution) for file in recipe.files}, {})
    fetched = hub.fetch(recipe.hub, kind="model", label=label)
    paths = {PurePosixPath(name).name: path for path, name in fetched.files}
    check_files(list(paths))
    return ModelFiles(paths, {f"{recipe.hub.repo}@{recipe.hub.revision}": fetched.commit})


def build(
    model: Path,
    files: dict[str, Path],
    recipe: Pretrained,
    *,
    work: Path,
    seed: int,
    execution: StudentExecution,
) -> str | None:
    """Write the student to `model`, and return why its chat template was replaced, if it was.

    Raises InputError for files that are damaged or not a model, for a model whose positions do not hold the rows of the
    execution, and for a chat template that has no place for a text or cannot be trained on.
    """
    source = work / "source"
    shutil.rmtree(source, ignore_errors=True)
    if from_gguf := is_gguf(list(files)):
        alone = work / "gguf"
        shutil.rmtree(alone, ignore_errors=True)
        link_files(files, alone)
        gguf.convert(alone / next(iter(files)), source)
    else:
        link_files(files, source)
    for length in execution.lengths:
        check_positions(source, length)
    check_weights(source)
    move = shutil.move if from_gguf else shutil.copyfile
    if not recipe.is_trained:
        load_model(source, subject="the student", device_map="meta")
        tokenizer = load_tokenizer(source)
        changed = change_template(tokenizer, recipe)
        if read_template(tokenizer) and execution.has_system:
            ChatFormat(tokenizer, for_training=False).check_system_role()
        shutil.copytree(source, model, dirs_exist_ok=True, copy_function=move)
        if changed:
            (model / "chat_template.jinja").write_text(read_template(tokenizer), encoding="utf-8")
        return None
    check_trainable(source, is_packed=execution.is_packed)

    tokenizer = load_tokenizer(source)
    ends = read_end_tokens(source, tokenizer)
    replaced = prepare_tokenizer(tokenizer, recipe, ends=ends, has_system=execution.has_system)
    if replaced:
        print_line(f"the chat template is replaced by one of orcac: {replaced}")
    chat = ChatFormat(tokenizer, ends=ends)
    check_reasoning(chat, execution.reasoning)
    if max(tokenizer.get_vocab().values()) >= count_embedding_rows(source):
        grow_embedding(source, model, tokenizer, seed=seed)
    else:
        shutil.copytree(source, model, dirs_exist_ok=True, copy_function=move)
    set_end_tokens(model, tokenizer, end_id=chat.end_id)
    tokenizer.save_pretrained(model)
    return replaced


def check_reasoning(chat: ChatFormat, reasoning: str) -> None:
    """Raise InputError if the student certainly learns reasoning, and its chat template leaves no place for it.

    If the examples may have reasoning (`perhaps`), print a line.
    """
    refusal = chat.find_refusal()
    if refusal and reasoning == "certain":
        raise refusal
    if refusal and reasoning == "perhaps":
        print_line(f"the student cannot learn reasoning, if the answers have any: {refusal.message}; {refusal.fix}")


def is_gguf(names: list[str]) -> bool:
    """Return whether the student is a single GGUF file; beside other files one is only a second copy of the weights."""
    return len(names) == 1 and names[0].endswith(".gguf")


def link_files(files: dict[str, Path], folder: Path) -> None:
    """Create symbolic links in `folder` to `files`, by their names; the files may come from different folders."""
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file.resolve())


def check_files(names: list[str]) -> None:
    """Raise InputError for pickled weights, for missing weights, and for a path that leaves the folder."""
    for name in names:
        path = PurePosixPath(name)
        if path.suffix in _PICKLES:
            raise InputError(
                f"{name}: pickled weights can run code when they are read",
                fix="convert them to safetensors and leave this file out",
            )
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{name}: is outside the model's folder", fix="give paths relative to the folder")
    if not is_gguf(names) and not any(name.endswith(".safetensors") for name in names):
        raise InputError("the student has no weights", fix="give its .safetensors files")


def prepare_tokenizer(
    tokenizer: PreTrainedTokenizerBase, recipe: Pretrained, *, ends: Sequence[str] = (), has_system: bool = False
) -> str | None:
    """Add a missing pad token, replace a template that cannot be trained on, and return the reason of the replacement.

    ends: the tokens that are known to end an answer
    has_system: whether there are system messages
    Raises InputError if there is no end token, if a system message would be lost, or if the template cannot be trained
    on although the recipe keeps it, or although it marks the learnt part.
    """
    if tokenizer.eos_token is None:
        raise InputError("the student's tokenizer has no end token", fix="set eos_token in tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    own, replaced = str(tokenizer.chat_template or ""), None
    try:
        change_template(tokenizer, recipe)
        chat = ChatFormat(tokenizer, ends=ends)
    except InputError as error:
        if recipe.keeps_template or has_marks(own):
            raise
        is_chatml = "<|im_start|>" in own and tokenizer.eos_token == "<|im_end|>"
        tokenizer.chat_template = CHATML_TEMPLATE if is_chatml else chat_template(TEXT_MARKS)
        change_template(tokenizer, recipe)
        chat = ChatFormat(tokenizer, ends=ends)
        replaced = error.message if own else "the model has none of its own"
    if has_system:
        chat.check_system_role()
    return replaced


def change_template(tokenizer: PreTrainedTokenizerBase, recipe: Pretrained) -> bool:
    """Give a tokenizer's chat template the date and the system role of the recipe; return whether that changed it.

    Raises InputError if it shows the time of the clock in another way than as a date.
    """
    own = read_template(tokenizer)
    if not own:
        return False
    template = pin_date(own, recipe.date)
    if recipe.system_role == "none":
        template = fold_system(template)
    if template == own:
        return False
    others = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {}
    tokenizer.chat_template = others | {"default": template} if others else template
    return True


def check_trainable(folder: Path, *, is_packed: bool) -> None:
    """Raise InputError if the model is not a causal language model, is quantized, lacks weights, or cannot separate
    examples of one row although rows hold several (`is_packed`).

    Without packing, only names and shapes of weights are read. With it they are read in the precision in which they are
    stored, so that the system can drop those of a large model from memory again.
    """
    config = load_config(folder)
    if getattr(config, "quantization_config", None):
        raise InputError(
            "the student's weights are quantized, and cannot be trained as they are",
            fix="give the model that was quantized",
        )
    if is_packed:
        check_isolates(load_model(folder, subject="the student", dtype="auto"))
    else:
        load_model(folder, subject="the student", device_map="meta")


def load_config(folder: Path) -> PreTrainedConfig:
    """Return the model's configuration. Raises InputError if transformers does not have its type."""
    from transformers import AutoConfig

    check_size(folder, "the student")
    fix = "give a model of a type that transformers has; code that a model brings is never run"
    with as_input_error("the student's config.json cannot be used", fix=fix):
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False)


def count_embedding_rows(folder: Path) -> int:
    """Return the number of rows of the model's embedding; often more than its tokenizer has entries."""
    rows: int = load_config(folder).get_text_config().vocab_size
    return rows


def grow_embedding(source: Path, model: Path, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> None:
    """Write the model of `source` to `model` with one embedding row per token; new rows are drawn around the mean of
    the old ones."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # with more, the bits of the old rows' covariance would depend on the number of threads
    student = AutoModelForCausalLM.from_pretrained(
        str(source), dtype="auto", trust_remote_code=False, local_files_only=True, use_safetensors=True
    )
    student.resize_token_embeddings(max(tokenizer.get_vocab().values()) + 1)
    student.save_pretrained(model)


def set_end_tokens(model: Path, tokenizer: PreTrainedTokenizerBase, *, end_id: int) -> None:
    """Set the pad token in the saved model's configuration, and add the learnt end token (`end_id`) and the tokenizer's
    own to those that end generation; the rest of the configuration stays unchanged."""
    config, generation = model / "config.json", model / "generation_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    generation_values = {"bos_token_id": values.get("bos_token_id")}
    with as_input_error("the student's generation_config.json cannot be used", fix="correct it, or leave it out"):
        if generation.exists():
            generation_values = dict(json.loads(generation.read_text(encoding="utf-8")))
        before = generation_values.get("eos_token_id", values.get("eos_token_id"))
        ends = {*(before if isinstance(before, list) else [before]), tokenizer.eos_token_id, end_id} - {None}
    values["pad_token_id"] = generation_values["pad_token_id"] = tokenizer.pad_token_id
    generation_values["eos_token_id"] = sorted(ends) if len(ends) > 1 else tokenizer.eos_token_id
    for path, content in ((config, values), (generation, generation_values)):
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
