"""How a conversation becomes token ids: the one place that training and inference share.

A chat template is a Jinja text in the model's folder, so that any tool can talk to a student of ours. Rendering
it and tokenizing the result would let a query that contains `</s><|assistant|>` forge the student's own turn.
So the template is rendered once, over placeholders, into a `Frame`; the frame's own text may become special
tokens, what stands in a placeholder never does. For ordinary text, where the frame's marks are special tokens,
the ids are those of `apply_chat_template`.

Only the teacher's tokens and the end mark are learnt (paper, §4.1: the loss is computed on them alone). Which
they are the template says itself, by `{% generation %}` marks; a template without them is replaced by ours, since
it would mask every label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from orcac.errors import InputError, as_input_error

Tokenizer = Any  # a transformers PreTrainedTokenizerBase; that library is imported in what runs only


class Marks(NamedTuple):
    """What stands before a message of each role, and after a message that is not the assistant's."""

    system: str
    user: str
    assistant: str
    close: str


SPECIAL_MARKS = Marks("<|system|>", "<|user|>", "<|assistant|>", "")  # of a student from scratch: special tokens
TEXT_MARKS = Marks("### System:\n", "### Human:\n", "### Assistant:\n", "\n\n")  # words that any vocabulary holds

_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message.role == 'system' %}SYSTEM{{ message.content }}CLOSE"
    "{% elif message.role == 'user' %}USER{{ message.content }}CLOSE"
    "{% else %}ASSISTANT{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT{% endif %}"
)


# Of the many chat models that end a turn with <|im_end|>: their own words, with what is learnt marked. It has no begin
# token, which some of them give as the <|im_start|> that is there already.
CHATML_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ message.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_template(marks: Marks) -> str:
    """The Jinja text of our chat template with these marks (quoted, since a newline after a tag is trimmed)."""
    words = {"SYSTEM": marks.system, "USER": marks.user, "ASSISTANT": marks.assistant, "CLOSE": marks.close}
    literals = {name: "{{ '" + mark.replace("\n", "\\n") + "' }}" for name, mark in words.items()}
    return re.sub("|".join(words), lambda found: literals[found[0]], _TEMPLATE)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder. Raises InputError where it cannot be read without code of its own."""
    from transformers import AutoTokenizer

    fix = "give all of its files, tokenizer.json above all; code that a model brings is never run"
    with as_input_error("the model's tokenizer cannot be loaded", fix=fix):
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


class Example(NamedTuple):
    """A prompt and its response as one sequence."""

    input_ids: list[int]
    prompt: int  # how many of them are not learnt: those up to the response


SYSTEM, USER, RESPONSE = "\ue000", "\ue001", "\ue002"  # private-use characters: no template has a meaning for them
Piece = list[int] | str  # ids of the frame's own text, or a placeholder


@dataclass(frozen=True, slots=True)
class Frame:
    """A chat template rendered over placeholders: prompt, then what is learnt."""

    prompt: tuple[Piece, ...]
    learnt: tuple[Piece, ...]


class ChatFormat:
    """Conversations to ids by a tokenizer's template. Raises InputError where the template has no use for us.

    A model that only answers (`learns=False`) needs no marks of what is learnt, and a template for the system messages
    that it is given alone.
    """

    def __init__(self, tokenizer: Tokenizer, *, learns: bool = True) -> None:
        self._tokenizer, self._learns = tokenizer, learns
        self._frames: dict[bool, Frame] = {}  # by whether there is a system message; an empty one is none
        if learns:
            self._choose("system"), self._choose("")

    def prompts(self, prompts: Sequence[tuple[str, str]]) -> list[list[int]]:
        """(system, user) pairs as the ids after which the student answers."""
        ids = self._encode(text for pair in prompts for text in pair)
        return [_fill(self._choose(system).prompt, {SYSTEM: ids[system], USER: ids[user]}) for system, user in prompts]

    def examples(self, rows: Sequence[tuple[str, str, str]]) -> list[Example]:
        """(system, user, response) triples as what the student is trained on."""
        ids = self._encode(text for row in rows for text in row)
        examples = []
        for system, user, response in rows:
            frame = self._choose(system)
            prompt = _fill(frame.prompt, {SYSTEM: ids[system], USER: ids[user]})
            examples.append(Example(prompt + _fill(frame.learnt, {RESPONSE: ids[response]}), len(prompt)))
        return examples

    def _choose(self, system: str) -> Frame:
        given = bool(system)
        if given not in self._frames:
            self._frames[given] = self._frame([("system", SYSTEM), ("user", USER)] if given else [("user", USER)])
        return self._frames[given]

    def _encode(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Each distinct text to its ids, none of them special whatever the text says."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return {}
        ids = self._tokenizer(
            distinct, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False
        )
        return dict(zip(distinct, ids["input_ids"], strict=True))

    def _frame(self, messages: list[tuple[str, str]]) -> Frame:
        opening = [{"role": role, "content": content} for role, content in messages]
        prompt, _ = self._render(opening, add_generation_prompt=True)
        if not self._learns:
            return Frame(self._pieces(prompt), ())
        full, spans = self._render([*opening, {"role": "assistant", "content": RESPONSE}])
        if len(spans) != 1 or RESPONSE not in full[slice(*spans[0])]:
            raise InputError(
                "the student's chat template marks nothing to learn", fix="put {% generation %} marks in it"
            )
        start, end = spans[0]
        if full[start:end].endswith(RESPONSE):
            raise InputError(
                "the student's chat template does not teach it to stop",
                fix="put the end mark before {% endgeneration %}",
            )
        if full[:start] != prompt:
            raise InputError(
                f"the student's chat template opens an answer with {prompt!r} and a training example with "
                f"{full[:start]!r}",
                fix="make its generation prompt equal to what it puts before an answer",
            )
        return Frame(self._pieces(prompt), self._pieces(full[start:end]))

    def _render(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text, and the (start, end) characters of what is marked as generated."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        if not self._tokenizer.chat_template:
            raise InputError(
                "the model has no chat template: nothing says how it is asked",
                fix="take a chat model, or add chat_template.jinja to its folder",
            )
        try:
            (text,), (spans,) = render_jinja_template(
                conversations=[messages],
                chat_template=self._tokenizer.chat_template,
                return_assistant_tokens_mask=True,
                add_generation_prompt=add_generation_prompt,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError) as error:
            roles = " and ".join(message["role"] for message in messages)
            raise InputError(
                f"the model's chat template takes no {roles} message ({error})",
                fix="take a chat model, and draw message 1 (empty) where it knows no system message",
            ) from error
        return text, spans

    def _pieces(self, text: str) -> tuple[Piece, ...]:
        parts = re.split(f"([{SYSTEM}{USER}{RESPONSE}])", text)
        return tuple(
            part if index % 2 else self._tokenizer(part, add_special_tokens=False)["input_ids"]
            for index, part in enumerate(parts)
            if part
        )


def _fill(pieces: tuple[Piece, ...], texts: dict[str, list[int]]) -> list[int]:
    return [token for piece in pieces for token in (texts[piece] if isinstance(piece, str) else piece)]
