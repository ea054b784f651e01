"""Tiny models of the families that are tuned most, with chat templates in the form of theirs, and a table of them.

`python tests/model/families.py` writes the table into docs/students.md; a test compares the two.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "students.md"
BEGIN, END = "<!-- families: made by tests/model/families.py -->\n", "<!-- end of families -->\n"

TEXTS = [  # (system, question, answer, reasoning)
    ("Think first.", "What is 12 and one?", "It is 13.", "12 and one.\nIt is more."),
    ("  Be brief.\n", " Why?\n", " So it is.\n", "Why not?"),
    ("Zeig die Größe: α", "1. one\n\n2. two", "α is 1.", "β < α"),
    ("Think first.", "Why?", "\n\nSo.", "Hm."),
]


@dataclass(frozen=True, kw_only=True)
class Family:
    name: str
    model: str  # class of its configuration in transformers
    template: Any
    tokens: tuple[str, ...]  # special tokens, the begin and the end token first
    pieces: str = ""  # SentencePiece: where it begins a text with a space, "first" or "always"; "" for bytes
    plain: tuple[str, ...] = ()  # added tokens that are not special
    rstrip: tuple[str, ...] = ()  # special tokens that take in the white space after them
    ends: tuple[str, ...] = ()  # tokens that end generation by generation_config.json; none for no such file
    shape: dict[str, Any] = field(default_factory=dict)
    system_role: str = "system"  # that the spec has to give if there are system messages
    ending: str = ""  # how a prompt ends
    learnt: str = "A{end}"  # "A" is the answer
    reasoned: str = "<think>\nR\n</think>\n\nA{end}"  # "R" is the reasoning
    end: str = ""  # the token that ends an answer
    shows: bool = True  # the template renders a conversation as it is learnt without reasoning
    shows_reasoning: bool = False  # the same with reasoning


_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_THINKING = (  # reasoning is shown in the last turn alone
    "{% set asked = namespace(at=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set asked.at = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% if loop.index0 > asked.at %}{{ '<think>\n' + (m.reasoning_content or '').strip('\n') + '\n</think>\n\n' }}"
    "{% endif %}{{ m.content.lstrip('\n') }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set rules = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set rules = '' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + strftime_now('%d %b %Y') + '\n\n' + rules }}"
    "{{ '<|eot_id|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{{ (m.content | trim) + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (m.content | trim) }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set rules = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set rules = '' %}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (rules if loop.index0 == 0 else '') + m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
_PHI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_DISTILLED = (  # it opens reasoning, and leaves it out of a conversation
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
_CHANNELS = (
    "{{ '<|start|>system<|message|>Current date: ' + strftime_now(\"%Y-%m-%d\") + '<|end|>' }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ '<|start|>developer<|message|># Instructions\n\n' + m.content + '<|end|>' }}"
    "{% elif m.role == 'user' %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}{% else %}"
    "{% if m.thinking and loop.last %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}"
    "{% endif %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
    "{{ '<|return|>' if loop.last else '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
_LLAMA2 = (  # marks of plain words
    "{% if messages[0].role == 'system' %}{% set rules = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set rules = '' %}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (rules if loop.index0 == 0 else '') + (m.content | trim) + ' [/INST]' }}"
    "{% else %}{{ ' ' + (m.content | trim) + ' ' + eos_token }}{% endif %}{% endfor %}"
)

FAMILIES = [
    Family(
        name="Qwen2.5 (ChatML)",
        model="Qwen2",
        template=_CHATML,
        tokens=("", "<|im_end|>", "<|im_start|>", "<|endoftext|>"),
        ends=("<|im_end|>", "<|endoftext|>"),
        ending="<|im_start|>assistant\n",
        end="<|im_end|>",
    ),
    Family(
        name="Qwen3 (ChatML that thinks)",
        model="Qwen3",
        template={"default": _THINKING, "tool_use": "{{ tools }}"},
        tokens=("", "<|im_end|>", "<|im_start|>", "<|endoftext|>"),
        plain=("<think>", "</think>"),
        ends=("<|im_end|>", "<|endoftext|>"),
        ending="<|im_start|>assistant\n",
        learnt="<think>\n\n</think>\n\nA{end}",
        end="<|im_end|>",
        shows_reasoning=True,
    ),
    Family(
        name="Llama 3 (dated)",
        model="Llama",
        template=_LLAMA3,
        tokens=("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"),
        ends=("<|end_of_text|>", "<|eot_id|>"),
        ending="<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
    ),
    Family(
        name="Gemma",
        model="Gemma",
        template=_GEMMA,
        tokens=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        pieces="none",
        ends=("<eos>",),
        system_role="none",
        ending="<start_of_turn>model\n",
        end="<end_of_turn>",
    ),
    Family(
        name="Mistral",
        model="Mistral",
        template=_MISTRAL,
        tokens=("<s>", "</s>", "[INST]", "[/INST]"),
        pieces="first",
        ending="[/INST]",
        reasoned="<think>\nR\n</think>\n\n A{end}",
        end="</s>",
    ),
    Family(
        name="Phi-3",
        model="Phi3",
        template=_PHI,
        tokens=("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        rstrip=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        pieces="always",
        ends=("<|endoftext|>", "<|end|>"),
        shape={"pad_token_id": 0},
        ending="<|assistant|>",
        end="<|end|>",
    ),
    Family(
        name="DeepSeek-R1 distilled",
        model="Qwen2",
        template=_DISTILLED,
        tokens=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        plain=("<think>", "</think>"),
        ending="<｜Assistant｜><think>\n",
        learnt="\n</think>\n\nA{end}",
        reasoned="R\n</think>\n\nA{end}",
        end="<｜end▁of▁sentence｜>",
        shows=False,
    ),
    Family(
        name="gpt-oss (channels)",
        model="GptOss",
        template=_CHANNELS,
        tokens=("", "<|return|>", "<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>"),
        ends=("<|return|>", "<|call|>"),
        shape={"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8, "layer_types": ["full_attention"]},
        ending="<|start|>assistant",
        learnt="<|channel|>final<|message|>A{end}",
        reasoned="<|channel|>analysis<|message|>R<|end|><|start|>assistant<|channel|>final<|message|>A{end}",
        end="<|return|>",
        shows_reasoning=True,
    ),
    Family(
        name="LLaMA 2 (plain words)",
        model="Llama",
        template=_LLAMA2,
        tokens=("<s>", "</s>"),
        pieces="always",
        ending=" [/INST]",
        learnt="A {end}",
        reasoned="<think>\nR\n</think>\n\n A {end}",
        end="</s>",
    ),
]
OTHERS = [  # templates that cannot be trained on
    Family(
        name="no chat template",
        model="Llama",
        template=None,
        tokens=("<s>", "</s>"),
    ),
    Family(
        name="another opening in a conversation",
        model="Llama",
        template="{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}",
        tokens=("<s>", "</s>"),
    ),
    Family(
        name="no token that ends an answer",
        model="Llama",
        template="{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
        tokens=("<s>", "</s>"),
    ),
    Family(
        name="two begin tokens",
        model="Llama",
        template="{{ bos_token + bos_token }}" + _CHATML,
        tokens=("<s>", "</s>", "<|im_start|>", "<|im_end|>"),
    ),
]


def make_tokenizer(family: Family) -> Any:
    """Return a tokenizer of a family's kind, trained on a few texts, so that tokens reach across the ends of texts."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [f"{a}\n\n{b}" for text in TEXTS for a, b in itertools.pairwise(text)] + [" [/INST] ", ".\n"] * 9
    begin, end, *_ = family.tokens
    bpe = tokenizers.Tokenizer(models.BPE(byte_fallback=bool(family.pieces), fuse_unk=True))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if family.pieces == "always":
        bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif family.pieces == "none":
        bpe.normalizer = normalizers.Replace(" ", "▁")
    elif family.pieces:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=family.pieces, split=False)
    if family.pieces:
        ending = [decoders.Strip(" ", 1, 0)] if family.pieces != "none" else []
        bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ending])
        alphabet = []
    else:
        words = tokenizers.Regex(r"\s*[\r\n]+| ?[^\s\d]+|\d{1,3}|\s+(?!\S)|\s+")  # line breaks in a row are one token
        bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(words, behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        bpe.decoder = decoders.ByteLevel()
    bytes_ = [f"<0x{number:02X}>" for number in range(256)] if family.pieces else []
    special = [
        tokenizers.AddedToken(token, special=True, rstrip=token in family.rstrip) for token in family.tokens if token
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=[*special, *bytes_], show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    names = {"bos_token": begin, "eos_token": end}
    if bytes_:  # they are pieces of the vocabulary, and not added tokens
        content = json.loads(bpe.to_str())
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in bytes_]
        bpe = tokenizers.Tokenizer.from_str(json.dumps(content))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, **{name: value for name, value in names.items() if value})
    tokenizer.add_tokens([*family.plain])
    tokenizer.chat_template = family.template
    return tokenizer


def make_model(family: Family, tokenizer: Any) -> Any:
    """Return a tiny model of a family's kind, with random weights."""
    import torch
    import transformers

    size = max(tokenizer.get_vocab().values()) + 1
    shape = {"vocab_size": size, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 256}
    if family.model in ("Phi3", "Qwen2"):
        del shape["head_dim"]
    config = getattr(transformers, f"{family.model}Config")(**shape | family.shape)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config)


def write_model(family: Family, folder: Path) -> Path:
    """Write a tiny model with random weights, its tokenizer and its chat template to `folder`, and return it."""
    tokenizer = make_tokenizer(family)
    make_model(family, tokenizer).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if family.ends:
        ends = tokenizer.convert_tokens_to_ids([*family.ends])
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    tokenizer.save_pretrained(folder)
    return folder


def make_table() -> str:
    """Return the table of families in Markdown, from what is done with their templates."""
    from orcac.model.chat_format import ChatFormat
    from orcac.model.isolation import compute_leak
    from orcac.student.pretrained import prepare_tokenizer
    from orcac.student.recipe import Pretrained

    def code(text: str) -> str:
        return f"`{text}`".replace("\n", "\\n").replace("|", "\\|")

    rows = [
        "| chat template | in training | system message | an answer is learnt as | with reasoning | ends with "
        "| packing |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in (*FAMILIES, *OTHERS):
        tokenizer = make_tokenizer(family)
        recipe = Pretrained(system_role=family.system_role)
        replaced = prepare_tokenizer(tokenizer, recipe, ends=family.ends, has_system=True)
        chat = ChatFormat(tokenizer, ends=family.ends)
        plain, thought = chat.encode_examples([("S", "Q", "A"), ("S", "Q", "A", "R")])
        learnt, reasoned = (tokenizer.decode(one.input_ids[one.prompt_tokens : -1]) for one in (plain, thought))
        own = "kept" if not replaced else f"replaced: {replaced}"
        role = "accepted" if family.system_role == "system" else "`system_role: none`"
        end = tokenizer.convert_ids_to_tokens(chat.end_id)
        packing = "`packing: none`" if compute_leak(make_model(family, tokenizer)) else "any"
        rows.append(f"| {family.name} | {own} | {role} | {code(learnt)} | {code(reasoned)} | {code(end)} | {packing} |")
    return "\n".join(rows) + "\n"


def replace_table(page: str) -> str:
    """Return the text of docs/students.md with the table of today."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + make_table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    PAGE.write_text(replace_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
