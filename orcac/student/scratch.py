"""A student from nothing: a byte-level BPE tokenizer trained on the examples, and a LLaMA with random weights.

Like LLaMA's own, the tokenizer splits every number into its digits and falls back to bytes, so any text has ids. It
always has exactly the requested number of entries, so that a student's shape never depends on its texts: if they give
too few merges, reserved tokens fill the rest. If some text has reasoning, its two marks are tokens, and the template
renders it. They are not special tokens, which servers leave out of the text of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import TYPE_CHECKING

from orcac import rows
from orcac.errors import InputError
from orcac.model.chat_format import load_tokenizer
from orcac.model.chat_template import SPECIAL_MARKS, chat_template
from orcac.reasoning import CLOSE, OPEN
from orcac.student.recipe import Scratch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
_MARKS = [mark for mark in SPECIAL_MARKS if mark]
_MIN_VOCABULARY = 256 + len([PAD, BOS, EOS, *_MARKS, OPEN, CLOSE])


def build(model: Path, recipe: Scratch, *, texts: Sequence[Path], seed: int) -> None:
    """Write weights, tokenizer and template to `model`. `texts` are files of rows.Response, read in order.

    Raises InputError for a shape that a LLaMA cannot have, or that is too large for this machine.
    """
    check_shape(recipe)
    reasons = any(rows.has_column(path, "reasoning") for path in texts)
    tokenizer = train_tokenizer(_read_texts(texts), recipe.vocabulary, reasons=reasons)
    tokenizer.model_max_length = recipe.positions
    tokenizer.save_pretrained(model)
    save_model(model, recipe, tokenizer, seed=seed)


def build_replicate(model: Path, recipe: Scratch, *, like: Path, seed: int) -> None:
    """Write a student to `model` with weights of its own and the tokenizer of the model folder `like`."""
    copytree(like, model, dirs_exist_ok=True, ignore=ignore_patterns("*.safetensors"))
    save_model(model, recipe, load_tokenizer(like), seed=seed)


def check_shape(recipe: Scratch) -> None:
    """Raise InputError if attention cannot be divided among the heads; torch would fail in training, or not at all."""
    hidden, heads, kv_heads = recipe.hidden, recipe.heads, recipe.kv_heads
    if hidden % (2 * heads):
        raise InputError(
            f"a hidden size of {hidden} does not give each of {heads} heads an even share",
            fix=f"make hidden a multiple of {2 * heads}: rotary positions rotate pairs",
        )
    if heads % kv_heads:
        raise InputError(f"kv_heads {kv_heads} does not divide heads {heads}", fix=f"give a divisor of {heads}")


def train_tokenizer(texts: Iterator[str], vocabulary: int, *, reasons: bool = False) -> PreTrainedTokenizerFast:
    """Train and return a byte-level BPE tokenizer of exactly `vocabulary` entries, with its chat template.

    reasons: whether the texts have reasoning
    Raises InputError if `vocabulary` is too small.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocabulary < _MIN_VOCABULARY:
        raise InputError(
            f"a vocabulary of {vocabulary} is too small",
            fix=f"give at least {_MIN_VOCABULARY}: every byte and the special tokens",
        )
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    thought = [tokenizers.AddedToken(mark, normalized=False, special=False) for mark in (OPEN, CLOSE) if reasons]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(thought),
        special_tokens=[PAD, BOS, EOS, *_MARKS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_tokens(thought)
    missing = vocabulary - bpe.get_vocab_size()
    bpe.add_special_tokens([f"<|reserved_{number}|>" for number in range(missing)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, bos_token=BOS, eos_token=EOS, additional_special_tokens=_MARKS
    )
    tokenizer.chat_template = chat_template(SPECIAL_MARKS, reasons=reasons)
    assert len(tokenizer) == vocabulary
    return tokenizer


def save_model(model: Path, recipe: Scratch, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> None:
    """Write random weights drawn from `seed`, and a configuration that generates greedily up to the end token."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    special_ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        intermediate_size=recipe.intermediate,
        max_position_embeddings=recipe.positions,
        initializer_range=recipe.init_std,
        tie_word_embeddings=recipe.tie_embeddings,
        **special_ids,
    )
    torch.manual_seed(seed)
    try:
        llama = LlamaForCausalLM(config)
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"torch cannot make the student's weights: {error}", fix="give a shape that fits in memory"
        ) from error
    llama.generation_config = GenerationConfig(do_sample=False, **special_ids)
    llama.save_pretrained(model)


def _read_texts(files: Sequence[Path]) -> Iterator[str]:
    """Yield the texts of all rows. Raises InputError if there are no rows."""
    count = 0
    for path in files:
        for row in rows.read(path, rows.Response):
            count += 1
            yield row.system
            yield row.query
            yield row.response
            if row.reasoning:
                yield row.reasoning
    if not count:
        raise InputError("no text to train the student's tokenizer on", fix="let the filters keep some examples")
