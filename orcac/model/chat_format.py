"""The encoding of conversations as token ids, which training and inference share.

A chat template is a Jinja text in the model's folder, so that any tool can talk to our students. Tokenizing the
rendered template would let a query that contains `</s><|assistant|>` forge the student's own turn. So the template is
rendered once, over placeholders, into a `Frame`; the frame's own text may become special tokens, the texts that replace
the placeholders never do, not even those that a tokenizer does not call special (`_find_closed`). For ordinary text in
a template whose marks are special tokens, the ids equal those of `apply_chat_template`. A template whose marks are
plain words ("### Assistant:") cannot be protected so: a text that holds such a mark forges a turn, and `forges_turn`
finds it.

An example may have reasoning. If the template has a place for it, as those of Qwen3 and gpt-oss have, it is rendered
there; otherwise it comes before the answer, between `<think>` and `</think>`. A template may open the reasoning itself
in its generation prompt: what is learnt begins after that, and an example without reasoning closes it at once. The text
of the template around reasoning is tokenized together with it, since a token may hold a full stop and a line break.

Only the teacher's tokens and the end token are learnt (paper, §4.1: the loss is computed on them alone). The template
marks them itself, with `{% generation %}`. In a template without these marks they are the text after its generation
prompt, up to the token that ends the answer.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orcac.errors import InputError, as_input_error
from orcac.reasoning import CLOSE, OPEN, is_open

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Marks(NamedTuple):
    """The texts before a message of each role, and the text after a system or user message."""

    system: str
    user: str
    assistant: str
    close: str


OPENING = f"{OPEN}\n"  # begins reasoning
CLOSING = f"\n{CLOSE}\n\n"  # ends reasoning

SPECIAL_MARKS = Marks("<|system|>", "<|user|>", "<|assistant|>", "")  # special tokens of a student from scratch
TEXT_MARKS = Marks("### System:\n", "### Human:\n", "### Assistant:\n", "\n\n")  # words that any vocabulary has

_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message.role == 'system' %}SYSTEM{{ message.content }}CLOSE"
    "{% elif message.role == 'user' %}USER{{ message.content }}CLOSE"
    "{% else %}ASSISTANT{% generation %}THOUGHT{{ message.content }}{{ eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT{% endif %}"
)
_THOUGHT = (
    "{% if message.reasoning_content %}{{ 'OPENING' + message.reasoning_content + 'CLOSING' }}{% endif %}".replace(
        "OPENING", OPENING
    )
    .replace("CLOSING", CLOSING)
    .replace("\n", "\\n")
)

# The format of the many chat models that end a turn with <|im_end|>, with the learnt part marked. It adds no begin
# token: some of these models define it as <|im_start|>, which is there already.
CHATML_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ message.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_template(marks: Marks, *, reasons: bool = False) -> str:
    """Return the Jinja text of our chat template with these marks (quoted, since Jinja trims a newline after a tag).

    reasons: whether it renders a message's `reasoning_content`
    """
    words = {"SYSTEM": marks.system, "USER": marks.user, "ASSISTANT": marks.assistant, "CLOSE": marks.close}
    literals = {name: "{{ '" + mark.replace("\n", "\\n") + "' }}" for name, mark in words.items()}
    literals["THOUGHT"] = _THOUGHT if reasons else ""
    return re.sub("|".join(literals), lambda found: literals[found[0]], _TEMPLATE)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder. Raises InputError if it cannot be read without running code of its own."""
    from transformers import AutoTokenizer

    fix = "give all of its files, tokenizer.json above all; code that a model brings is never run"
    with as_input_error("the model's tokenizer cannot be loaded", fix=fix):
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


def read_end_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the tokens that end an answer, by the `generation_config.json` of a model folder, if it has one.

    Raises InputError if it is damaged.
    """
    path = folder / "generation_config.json"
    with as_input_error("the student's generation_config.json cannot be used", fix="correct it, or leave it out"):
        ids = dict(json.loads(path.read_text(encoding="utf-8"))).get("eos_token_id") if path.exists() else None
        known = [id_ for id_ in (ids if isinstance(ids, list) else [ids]) if id_ in tokenizer.added_tokens_decoder]
    return [tokenizer.added_tokens_decoder[id_].content for id_ in known]


class Example(NamedTuple):
    """A prompt and its response as one sequence."""

    input_ids: list[int]
    prompt_tokens: int  # number of ids before the response: they are not learnt


SYSTEM, USER, RESPONSE, REASONING = "\ue000", "\ue001", "\ue002", "\ue003"  # private-use characters as placeholders
_PLACEHOLDER = re.compile(f"[{SYSTEM}{USER}{RESPONSE}{REASONING}]")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")  # of a message, by which templates know reasoning
_GENERATION = re.compile(r"{%-?\s*generation\s*-?%}")
_CLOCK = re.compile(r"strftime_now\((['\"])(.*?)\1\)")  # the date, on which no artifact may depend
_DAY = datetime.date(2026, 1, 1)  # in its place
_PIPED = re.compile(r"<[|｜].{1,60}[|｜]>")
_OPENED = re.compile(rf"{OPEN}\s*$")
_NO_REASONING = re.compile(rf"\s*(?:{OPEN})?\s*{CLOSE}\s*")
Piece = list[int] | str  # ids of the frame's own text, or a text with placeholders that is tokenized once it is filled


@dataclass(frozen=True, slots=True)
class Frame:
    """A chat template rendered over placeholders, in its parts."""

    prompt: tuple[Piece, ...]
    learnt: tuple[Piece, ...]  # the response with the end token; empty if the format is not for training
    reasoned: tuple[Piece, ...]  # the same with reasoning before the response
    ending: str  # the text of the last piece of the prompt; "" if that is a placeholder


class ChatFormat:
    """An encoder of conversations by a tokenizer's chat template. Raises InputError if the template cannot be used.

    With `for_training=False`, for a model that only answers, the template may reject system messages, as long as no
    prompt has one.

    ends: the tokens that end an answer, beside the tokenizer's own; a template without marks is learnt up to the first.
    thinking: whether the model reasons, for a template that has a variable for it (`enable_thinking` or `thinking`).
    If it does not, and the template opens reasoning all the same, the prompt closes it.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        for_training: bool = True,
        thinking: bool | None = None,
        ends: Iterable[str] = (),
    ) -> None:
        self._tokenizer, self._for_training, self._thinking = tokenizer, for_training, thinking
        self._ends = [*filter(None, {tokenizer.eos_token, *ends})]
        self._frames: dict[bool, Frame] = {}  # key: True with a system message; an empty text counts as no message
        self._closed = _find_closed(tokenizer, self._ends)
        self._of_texts = _close(tokenizer, self._closed)
        self._marks: dict[str, re.Pattern[str]] = {}  # those of plain words, by their text
        if for_training:
            self._get_frame("system"), self._get_frame("")

    @property
    def pad_id(self) -> int:
        """The id of padding."""
        return int(self._tokenizer.pad_token_id)

    def encode_prompts(self, prompts: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Return for each (system, user) pair the ids of the prompt, up to the first token of the student's answer."""
        return self._encode(
            [_fill(self._get_frame(system).prompt, {SYSTEM: system, USER: user}) for system, user in prompts]
        )

    def forges_turn(self, *texts: str) -> bool:
        """Return whether a text holds a mark of the template in plain words, by which it would begin another turn.

        Only a format for training knows this.
        """
        return any(mark.search(text) for mark in self._marks.values() for text in texts if text)

    def opens_reasoning(self, system: str) -> bool:
        """Return whether a prompt ends within the reasoning of the answer."""
        return is_open(self._get_frame(system).ending)

    def encode_choices(self, prompt: tuple[str, str], choices: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Return the ids of a (system, user) prompt, and for each choice the ids with which it continues the prompt.

        As in lm-evaluation-harness, white space at the end of the prompt counts as part of the continuation, and the
        text there is tokenized together with the choice, since a token may hold the end of the one and the beginning of
        the other. A choice that spells a special token is tokenized by itself, so that it stays text.
        """
        system, user = prompt
        frame, ids, texts = self._get_frame(system), self._encode_texts(choices), {SYSTEM: system, USER: user}
        (whole,) = self._encode([_fill(frame.prompt, texts)])
        if not frame.ending:
            return whole, [ids[choice] for choice in choices]
        start = self._tokenize_own(frame.ending.rstrip())
        before = self._encode([_fill(frame.prompt[:-1], texts)])[0] + start
        return before, [
            whole[len(before) :] + ids[choice]
            if any(token in choice for token in self._closed)
            else self._tokenize_own(frame.ending + choice)[len(start) :]
            for choice in choices
        ]

    def encode_examples(self, rows: Sequence[tuple[str, str, str] | tuple[str, str, str, str]]) -> list[Example]:
        """Return the training examples of (system, user, response) triples, or of (system, user, response, reasoning).

        Line breaks around reasoning, and before the answer after it, are the template's.
        """
        prompts, learnt = [], []
        for system, user, response, *more in rows:
            frame, reasoning = self._get_frame(system), more[0].strip("\n") if more else ""
            prompts.append(_fill(frame.prompt, {SYSTEM: system, USER: user}))
            if reasoning.strip():
                learnt.append(_fill(frame.reasoned, {REASONING: reasoning, RESPONSE: response.lstrip("\n")}))
            else:
                learnt.append(_fill(frame.learnt, {RESPONSE: response}))
        ids = self._encode([*prompts, *learnt])
        return [Example(a + b, len(a)) for a, b in zip(ids[: len(rows)], ids[len(rows) :], strict=True)]

    def cut(self, text: str, tokens: int) -> str:
        """Return the text of the first `tokens` tokens of a text, without the space at its end."""
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text[: found[tokens - 1][1]].rstrip() if len(found) > tokens else text

    def _get_frame(self, system: str) -> Frame:
        has_system = bool(system)
        if has_system not in self._frames:
            opening = [("system", SYSTEM), ("user", USER)] if has_system else [("user", USER)]
            self._frames[has_system] = self._render_frame(opening)
        return self._frames[has_system]

    def _encode(self, filled: Sequence[Sequence[Piece]]) -> list[list[int]]:
        """Return the ids of sequences of pieces whose placeholders are filled."""
        ids = self._encode_texts(piece for pieces in filled for piece in pieces if isinstance(piece, str))
        return [
            [token for piece in pieces for token in (ids[piece] if isinstance(piece, str) else piece)]
            for pieces in filled
        ]

    def _encode_texts(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Return the ids of each distinct text, without special tokens even if the text spells one."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return {}
        ids = self._of_texts(distinct, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False)
        return dict(zip(distinct, ids["input_ids"], strict=True))

    def _render_frame(self, messages: list[tuple[str, str]]) -> Frame:
        """Render the template over (role, placeholder) messages. Raises InputError if it cannot be trained on."""
        opening = [{"role": role, "content": content} for role, content in messages]
        prompt, _ = self._render(opening, add_generation_prompt=True)
        if self._thinking is False and is_open(_get_ending(prompt)):
            prompt += CLOSING
        ending = _get_ending(prompt)
        if not self._for_training:
            return Frame(self._tokenize(prompt), (), (), ending)
        self._marks |= dict(self._find_marks(prompt))
        learnt = self._render_learnt(opening, prompt, {"content": RESPONSE})
        reasoned = self._render_reasoned(opening, prompt, learnt)
        return Frame(self._tokenize(prompt), self._tokenize(learnt), self._split_own(reasoned), ending)

    def _render_learnt(self, opening: list[dict[str, str]], prompt: str, message: dict[str, str]) -> str:
        """Return the text that follows the prompt in a conversation that ends with the assistant's message.

        It is learnt up to the end of the marked part, or up to the token that ends the answer. Raises InputError if
        there is neither, or if the text does not follow the prompt.
        """
        full, spans = self._render([*opening, {"role": "assistant", **message}])
        before = (
            prompt if full.startswith(prompt) else _OPENED.sub("", prompt)
        )  # without reasoning, nothing may open it
        start, end = (spans[0][0], spans[-1][1]) if spans else (len(before), self._find_end(full))
        if RESPONSE not in full[start:end] or {SYSTEM, USER} & {*full[start:end]}:
            raise InputError(
                "the student's chat template marks nothing to learn", fix="add {% generation %} marks to it"
            )
        if full[start:end].endswith(RESPONSE):
            raise InputError(
                "the student's chat template does not teach it to stop",
                fix="end an answer with an end token of the model, inside {% generation %} marks if there are any",
            )
        if not full.startswith(before) or start > len(before):
            raise InputError(
                f"the student's chat template opens an answer with {prompt!r} and a training example with "
                f"{full[: min(start, full.index(RESPONSE))]!r}",
                fix="make its generation prompt equal to the text before an answer",
            )
        learnt = full[len(before) : end]
        return CLOSING + learnt if is_open(_get_ending(prompt)) and CLOSE not in learnt else learnt

    def _find_end(self, full: str) -> int:
        """Return the position behind the first end token that follows the answer, or behind the answer without one."""
        answer = full.rfind(RESPONSE) + 1
        ends = (re.search(re.escape(token), full[answer:]) for token in self._ends)
        return answer + min((found.end() for found in ends if found), default=0)

    def _render_reasoned(self, opening: list[dict[str, str]], prompt: str, learnt: str) -> str:
        """Return the text that follows the prompt in a training example with reasoning.

        learnt: the text of an example without reasoning
        """
        for name in _REASONING_FIELDS:
            with contextlib.suppress(InputError):
                text = self._render_learnt(opening, prompt, {"content": RESPONSE, name: REASONING})
                if _PLACEHOLDER.findall(text) == [REASONING, RESPONSE]:
                    return text
        answer = _NO_REASONING.sub("", learnt, count=1) if _NO_REASONING.match(learnt) else learnt
        if not is_open(_get_ending(prompt)):
            return OPENING + REASONING + CLOSING + answer
        return ("" if prompt.endswith("\n") else "\n") + REASONING + CLOSING + answer

    def _render(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the text, and the (start, end) characters of each part that is marked as generated."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        if not self._tokenizer.chat_template:
            raise InputError(
                "the model has no chat template, so there is no way to ask it",
                fix="take a chat model, or add chat_template.jinja to its folder",
            )
        names = () if self._thinking is None else ("enable_thinking", "thinking")
        switches: dict[str, Any] = dict.fromkeys(names, self._thinking)  # a template ignores those that it has not
        template = _CLOCK.sub(lambda found: repr(_DAY.strftime(found[2])), str(self._tokenizer.chat_template))
        try:
            (text,), spans = render_jinja_template(
                conversations=[messages],
                chat_template=template,
                return_assistant_tokens_mask=_GENERATION.search(template) is not None,
                add_generation_prompt=add_generation_prompt,
                **switches,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError) as error:
            roles = " and ".join(message["role"] for message in messages)
            raise InputError(
                f"the model's chat template accepts no {roles} message ({error})",
                fix="take a chat model; if its template has no system message, set the teacher's `system_role: none` "
                "or draw message 1 (empty)",
            ) from error
        return text, spans[0] if spans else []

    def _find_marks(self, prompt: str) -> Iterator[tuple[str, re.Pattern[str]]]:
        """Yield the marks before and between the texts of a prompt that no token protects, each with its pattern."""
        for number, piece in enumerate(_PLACEHOLDER.split(prompt.removeprefix(self._tokenizer.bos_token or ""))):
            mark = piece.strip()
            if not re.search(r"\w", mark) or any(token in piece for token in self._closed):
                continue
            begins_line = not number or "\n" in piece[: piece.index(mark)]
            yield mark, re.compile((r"(?:^|\n)[ \t]*" if begins_line else "") + re.escape(mark))

    def _tokenize(self, text: str) -> tuple[Piece, ...]:
        """Split a rendered text into placeholders and the ids between them."""
        parts = re.split(f"({_PLACEHOLDER.pattern})", text)
        return tuple(part if index % 2 else self._tokenize_own(part) for index, part in enumerate(parts) if part)

    def _split_own(self, text: str) -> tuple[Piece, ...]:
        """Split a rendered text at the added tokens that it spells, and return their ids and the texts between them."""
        marks = {token.content: token for token in self._tokenizer.added_tokens_decoder.values()}
        patterns = [
            r"\s*" * token.lstrip + re.escape(mark) + r"\s*" * token.rstrip
            for mark, token in sorted(marks.items(), key=lambda item: -len(item[0]))
        ]
        parts = re.split(f"({'|'.join(patterns)})", text) if patterns else [text]
        return tuple(self._tokenize_own(part) if index % 2 else part for index, part in enumerate(parts) if part)

    def _tokenize_own(self, text: str) -> list[int]:
        """Return the ids of a text of the template's own, which may spell special tokens."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _find_closed(tokenizer: PreTrainedTokenizerBase, ends: Iterable[str]) -> frozenset[str]:
    """Return the tokens that no text may become: the special ones, and others that mark a role or an end.

    Some tokenizers do not call all of their marks special. Those are the added tokens in the form `<|...|>`, in the
    chat template and among `ends`. Added tokens of white space, of HTML and of words are part of ordinary text, and so
    are the marks of reasoning.
    """
    template = str(tokenizer.chat_template or "")
    return frozenset(
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special
        or token.content in ends
        or _PIPED.fullmatch(token.content)
        or (token.content in template and re.search(r"\w", token.content) and re.search(r"[^\w\s]", token.content))
        if token.special or token.content not in (OPEN, CLOSE)
    )


def _close(tokenizer: PreTrainedTokenizerBase, closed: Collection[str]) -> PreTrainedTokenizerBase:
    """Return a tokenizer to which all `closed` tokens are special, so that it can leave them out; the same if they are.

    Raises InputError if it has no `tokenizer.json` in which that could be said.
    """
    added = tokenizer.added_tokens_decoder.values()
    if all(token.special for token in added if token.content in closed):
        return tokenizer
    import tokenizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            "the tokenizer turns text into tokens that mark a role, and has no tokenizer.json",
            fix="give the model's tokenizer.json, or take another student",
        )
    content = json.loads(backend.to_str())
    for token in content["added_tokens"]:
        token["special"] |= token["content"] in closed
    clone = copy.copy(tokenizer)
    clone._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    return clone


def _get_ending(prompt: str) -> str:
    """Return the text after the last placeholder."""
    return _PLACEHOLDER.split(prompt)[-1]


def _fill(pieces: tuple[Piece, ...], texts: dict[str, str]) -> list[Piece]:
    """Return pieces with texts in place of the placeholders."""
    return [
        piece if isinstance(piece, list) else _PLACEHOLDER.sub(lambda found: texts[found[0]], piece) for piece in pieces
    ]
