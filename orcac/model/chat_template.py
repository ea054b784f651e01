"""Chat templates: the Jinja texts of models, ours among them, rendered over placeholders into frames.

A template is rendered once, over private-use characters in place of the texts. A `Frame` is the result: the prompt, and
the text after it that is learnt, which ends in a token that ends generation. Every placeholder must survive, so that no
system message is lost in silence.

The learnt part is the text after the generation prompt, which the conversation must begin with, up to the end token. A
template may mark the learnt part itself, with `{% generation %}`; marks that contradict the generation prompt are
refused, since a student would learn another text than it writes. If no end token follows an answer, the first special
token is taken for it, or the token with which the next turn begins (GLM).

An example may have reasoning. If the template has a place for it, as those of Qwen3 and gpt-oss have, it is rendered
there; otherwise it comes before the answer, between `<think>` and `</think>`. A template may open the reasoning itself
in its generation prompt: the learnt part begins after that, and an example without reasoning closes it at once.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orcac.errors import InputError
from orcac.model.rendering import Message, Rejected, Session, TooCostly
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

# Put before a template without a system role: the message then begins the user's turn.
_FOLDING = (
    "{% if messages[0].role == 'system' %}{% set messages = [{'role': 'user', 'content': messages[0].content "
    "+ ('\\n\\n' if messages[0].content is string else [{'type': 'text', 'text': '\\n\\n'}]) + messages[1].content}] "
    "+ messages[2:] %}{% endif %}"
)

DAY = "2026-01-01"  # shown by a template with a date, unless the spec gives another one

_GENERATION = re.compile(r"{%[-+]?\s*(?:end)?generation\s*[-+]?%}")
_CLOCK = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
SYSTEM, USER, RESPONSE, REASONING = "\ue000", "\ue001", "\ue002", "\ue003"  # private-use characters as placeholders
PLACEHOLDER = re.compile(f"[{SYSTEM}{USER}{RESPONSE}{REASONING}]")
_NAMES = {SYSTEM: "system message", USER: "question", RESPONSE: "answer", REASONING: "reasoning"}
_BEFORE, _AFTER = "\n\t\n", "\n \n"  # around a placeholder, to see which white space a template removes
_OPENED = re.compile(rf"{OPEN}\s*$")
_OPENS = re.compile(rf"^\s*{OPEN}\s*")
_NO_REASONING = re.compile(rf"\s*(?:{OPEN})?\s*{CLOSE}\s*")


class OtherOpening(InputError):
    """A conversation does not begin with its generation prompt."""


def chat_template(marks: Marks, *, reasons: bool = False) -> str:
    """Return the Jinja text of our chat template with these marks (quoted, since Jinja trims a newline after a tag).

    reasons: whether it renders a message's `reasoning_content`
    """
    words = {"SYSTEM": marks.system, "USER": marks.user, "ASSISTANT": marks.assistant, "CLOSE": marks.close}
    literals = {name: "{{ '" + mark.replace("\n", "\\n") + "' }}" for name, mark in words.items()}
    literals["THOUGHT"] = _THOUGHT if reasons else ""
    return re.sub("|".join(literals), lambda found: literals[found[0]], _TEMPLATE)


def read_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the chat template of a tokenizer, the one called `default` if it has several; "" if it has none.

    Raises InputError if it has several and none is called so.
    """
    templates = tokenizer.chat_template or ""
    if isinstance(templates, str):
        return templates
    if "default" not in templates:
        raise InputError(
            f"the model has several chat templates ({', '.join(sorted(templates))}), and none is called `default`",
            fix="put the one to use into chat_template.jinja of its folder",
        )
    return str(templates["default"])


def has_marks(template: str) -> bool:
    """Return whether a template marks the learnt part."""
    return _GENERATION.search(template) is not None


def pin_date(template: str, day: str) -> str:
    """Return a template that shows the date `day` (YYYY-MM-DD) in place of the clock's.

    Raises InputError if it asks the clock in a form that is not a literal.
    """
    date = datetime.date.fromisoformat(day)
    pinned = _CLOCK.sub(lambda found: repr(date.strftime(found[2])), template)
    if "strftime_now(" in pinned:
        raise InputError(
            "the model's chat template shows the time of the clock, on which no result may depend",
            fix="write a date into its chat_template.jinja",
        )
    return pinned


def fold_system(template: str) -> str:
    """Return a template that begins the user's turn with the system message."""
    return _FOLDING + template


class Edges(NamedTuple):
    """The white space that a template removes from the beginning and the end of a text; "" is all, None is nothing."""

    start: str | None = None
    end: str | None = None

    def apply(self, text: str) -> str:
        """Return the text without that white space."""
        text = text if self.start is None else text.lstrip(self.start or None)
        return text if self.end is None else text.rstrip(self.end or None)


@dataclass(frozen=True, slots=True)
class Frame:
    """A chat template rendered over placeholders."""

    prompt: str
    learnt: str = ""  # the response with the end token; empty if the format is not for training
    reasoned: str = ""  # the same with reasoning before the response
    edges: dict[str, Edges] = field(default_factory=dict)  # by placeholder
    reasoned_edges: dict[str, Edges] = field(default_factory=dict)
    follows: bool = False  # the template renders the prompt and the learnt part as one conversation
    reasoned_follows: bool = False
    refusal: OtherOpening | None = None  # why no reasoning can be learnt; `reasoned` is empty then


class ChatTemplate:
    """A tokenizer's chat template. Raises InputError if it has none.

    ends: the tokens that are known to end an answer
    closed: the tokens that no text may become, among which another end token may be
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        ends: Iterable[str] = (),
        closed: Collection[str] = (),
    ) -> None:
        self.text = pin_date(read_template(tokenizer), DAY)
        if not self.text:
            raise InputError(
                "the model has no chat template, so there is no way to ask it",
                fix="take a chat model, or add chat_template.jinja to its folder",
            )
        self._special = tokenizer.special_tokens_map
        self._thinking: bool | None = None  # the model's own way
        self._ends, self._closed = [*ends], closed
        self._session: Session | None = None
        with self.rendering():
            self._has_parts = self._needs_parts()

    def with_thinking(self, thinking: bool) -> ChatTemplate:
        """Return the template with a value for its variable `enable_thinking` or `thinking`, if it has one.

        If that is False, and the template opens reasoning all the same, the prompt closes it.
        """
        other = copy.copy(self)
        other._thinking = thinking
        return other

    @contextlib.contextmanager
    def rendering(self) -> Iterator[Session]:
        """Render all conversations of the block in one session, which takes a few hundredths of a second to begin."""
        if self._session:
            yield self._session
            return
        try:
            with Session(self.text, self._special, has_marks=has_marks(self.text)) as self._session:
                yield self._session
        finally:
            self._session = None

    def render_prompt(self, messages: list[Message]) -> str:
        """Return the text of a conversation up to the answer. Raises InputError if the template rejects it."""
        prompt, _ = self._render(messages, add_generation_prompt=True)
        if self._thinking is False and is_open(find_ending(prompt)):
            prompt += CLOSING
        return prompt

    def render(self, messages: list[Message]) -> str:
        """Return the text of a whole conversation. Raises InputError if the template rejects it."""
        return self._render(messages)[0]

    def make_frame(self, *, has_system: bool, for_training: bool) -> Frame:
        """Return the frame of a conversation with or without a system message.

        Raises InputError if a text is lost, or if the learnt part cannot be found.
        """
        with self.rendering():
            return self._make_frame(has_system=has_system, for_training=for_training)

    def _make_frame(self, *, has_system: bool, for_training: bool) -> Frame:
        opening = [{"role": "system", "content": SYSTEM}] * has_system + [{"role": "user", "content": USER}]
        prompt = self.render_prompt(opening)
        _check_texts(prompt, [SYSTEM, USER] if has_system else [USER])
        edges = self._find_edges(opening)
        if not for_training:
            return Frame(prompt, edges=edges)
        answer: Message = {"role": "assistant", "content": RESPONSE}
        thought = answer | {"reasoning_content": REASONING}
        learnt = self._derive(opening, prompt, answer, [RESPONSE])
        assert learnt is not None
        edges |= self._find_edges([*opening, answer])
        refusal, reasoned_edges = None, edges
        try:
            reasoned = self._derive(opening, prompt, thought, [REASONING, RESPONSE])
        except OtherOpening as error:  # its generation prompt has closed the reasoning
            refusal, reasoned = error, ""
        if reasoned is None:
            plain = _NO_REASONING.sub("", learnt, count=1) if _NO_REASONING.match(learnt) else learnt
            is_opened = is_open(find_ending(prompt))
            before = OPENING if not is_opened else "" if prompt.endswith("\n") else "\n"
            reasoned = before + REASONING + CLOSING + plain
        elif reasoned:
            reasoned_edges = edges | self._find_edges([*opening, thought])
        return Frame(
            prompt,
            learnt,
            reasoned,
            edges,
            reasoned_edges,
            follows=_agree(self.render([*opening, answer]), prompt + learnt),
            reasoned_follows=bool(reasoned) and _agree(self.render([*opening, thought]), prompt + reasoned),
            refusal=refusal,
        )

    def _derive(self, opening: list[Message], prompt: str, message: Message, texts: list[str]) -> str | None:
        """Return the text that follows the prompt in a conversation that ends with the assistant's message, up to the
        token that ends the answer; None if the template has no place for the message's reasoning.

        texts: the placeholders that it must have
        Raises InputError if the text does not follow the prompt, or does not end.
        """
        full, spans = self._render([*opening, message])
        before = prompt if full.startswith(prompt) else _OPENED.sub("", prompt)  # without reasoning, nothing opens it
        found = PLACEHOLDER.findall(full[len(before) :] if full.startswith(before) else full[full.rfind(USER) + 1 :])
        if REASONING in texts and found == [RESPONSE]:
            return None
        _check_texts("".join(found), texts)
        answer = full.index(RESPONSE) + 1
        if not full.startswith(before):
            raise OtherOpening(
                f"the chat template opens an answer with {shorten(prompt)!r} and a training example with "
                f"{shorten(full[: full.index(found[0])])!r}",
                fix="make its generation prompt equal to the text before an answer"
                + (", or let the stages learn the answers alone (`learn: [answer]`)" if REASONING in texts else ""),
            )
        if has_marks(self.text):
            _check_marks(full, spans, prompt=before, answer=answer)
        end = self._find_end(full[answer:])
        if end is None and not spans:
            following = self.render([*opening, message, {"role": "user", "content": USER}])
            after = following[following.index(RESPONSE) + 1 :] if RESPONSE in following else ""
            if (end := self._find_end(after, only_first=True)) is not None:
                full = full[:answer] + after
        if end is None or (spans and answer + end > spans[-1][1]):
            raise InputError(
                "the chat template does not teach the student to stop",
                fix="end an answer with an end token of the model, inside {% generation %} marks if there are any",
            )
        learnt = full[len(before) : answer + end]
        if not is_open(find_ending(prompt)):
            return learnt
        if CLOSE not in learnt:
            return CLOSING + learnt
        return learnt if before == prompt else _OPENS.sub("", learnt)

    def _find_end(self, text: str, *, only_first: bool = False) -> int | None:
        """Return the position behind the token that ends an answer, which is one of the known ones if there are any."""
        for tokens in (self._ends, self._closed):
            places = [(text.find(token), -len(token)) for token in tokens if token in text]
            if places:
                start, length = min(places)
                if not only_first or not text[:start].strip():
                    return start - length
        return None

    def _find_edges(self, messages: list[Message]) -> dict[str, Edges]:
        """Return for each text the white space that the template removes from it, found by an example."""
        names = ("content", "reasoning_content")
        padded = [
            message | {name: _BEFORE + message[name] + _AFTER for name in names if name in message}
            for message in messages
        ]
        is_whole = messages[-1]["role"] == "assistant"
        plain, spaced = (self._render(some, add_generation_prompt=not is_whole)[0] for some in (messages, padded))
        texts, gaps, spaced_gaps = PLACEHOLDER.findall(plain), PLACEHOLDER.split(plain), PLACEHOLDER.split(spaced)
        if texts != PLACEHOLDER.findall(spaced):
            return {}
        starts: dict[str, str | None] = {}
        ends: dict[str, str | None] = {}
        for number, (gap, spaced_gap) in enumerate(zip(gaps, spaced_gaps, strict=True)):
            options = [
                (end, start)
                for end in ((None, "\n", "") if number else (None,))
                for start in ((None, "\n", "") if number < len(texts) else (None,))
                if spaced_gap
                == (Edges(end=end).apply(_AFTER) if number else "")
                + gap
                + (Edges(start=start).apply(_BEFORE) if number < len(texts) else "")
            ]
            if not options:
                return {}
            if number:
                ends[texts[number - 1]] = options[0][0]
            if number < len(texts):
                starts[texts[number]] = options[0][1]
        return {text: Edges(starts[text], ends[text]) for text in texts}

    def _needs_parts(self) -> bool:
        """Return whether the template reads a message's content as a list of parts, and not as a text."""
        message = {"role": "user", "content": USER}
        for has_parts in (False, True):
            self._has_parts = has_parts
            try:
                if USER in self._render([message], add_generation_prompt=True)[0]:
                    return has_parts
            except TooCostly:
                raise
            except InputError:
                continue
        return False

    def _render(
        self, messages: list[Message], *, add_generation_prompt: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the text, and the (start, end) characters of each part that is marked as generated."""
        names = () if self._thinking is None else ("enable_thinking", "thinking")
        switches = dict.fromkeys(names, self._thinking)  # a template ignores those that it has not
        if self._has_parts:
            messages = [one | {"content": [{"type": "text", "text": one["content"]}]} for one in messages]
        try:
            with self.rendering() as session:
                text, spans = session.render(messages, add_generation_prompt=add_generation_prompt, **switches)
        except Rejected as error:
            roles = " and ".join(message["role"] for message in messages)
            raise InputError(f"the model's chat template accepts no {roles} message ({error})", fix=_NO_ROLE) from error
        return text, spans


_NO_ROLE = (
    "if it has no system role, set `system_role: none` of the teacher or the student, which puts the system message at "
    "the beginning of the user's turn, or draw message 1 (empty); else take a chat model"
)


def find_ending(prompt: str) -> str:
    """Return the text after the last placeholder."""
    return PLACEHOLDER.split(prompt)[-1]


def _agree(text: str, other: str) -> bool:
    """Return whether one text begins with the other."""
    return text.startswith(other) or other.startswith(text)


def shorten(text: str) -> str:
    """Return the end of a long text, with names in place of placeholders."""
    named = PLACEHOLDER.sub(lambda found: f"({_NAMES[found[0]]})", text)
    return named if len(named) <= 80 else "..." + named[-80:]


def _check_texts(rendered: str, texts: list[str]) -> None:
    """Raise InputError unless the placeholders of a rendered text are `texts`."""
    found = PLACEHOLDER.findall(rendered)
    for text in found:
        if found.count(text) > 1:
            lost = " and leaves out the reasoning" if REASONING in texts and REASONING not in found else ""
            raise InputError(
                f"the model's chat template writes the {_NAMES[text]} {found.count(text)} times{lost}",
                fix="correct the template: each text is to be there once",
            )
    for text in texts:
        if text not in found:
            raise InputError(
                f"the model's chat template leaves out the {_NAMES[text]}",
                fix=_NO_ROLE if text == SYSTEM else "correct the template, or take another model",
            )
    if found != texts:
        raise InputError(
            f"the model's chat template writes {' before '.join(_NAMES[text] for text in found)}",
            fix="correct the template: system message, question, reasoning and answer come in this order",
        )


def _check_marks(full: str, spans: list[tuple[int, int]], *, prompt: str, answer: int) -> None:
    """Raise InputError if the marks of the learnt part contradict the generation prompt.

    prompt: the beginning of the conversation `full` that its generation prompt gives
    answer: the position behind the answer
    """
    marked = full[spans[0][0] : spans[-1][1]] if spans else ""
    if RESPONSE not in marked:
        raise InputError(
            "the chat template marks nothing to learn: every label would be masked",
            fix="put the answer and its end token between {% generation %} and {% endgeneration %}",
        )
    if {SYSTEM, USER} & {*marked}:
        raise InputError(
            "the chat template marks nothing to learn but the whole conversation",
            fix="put {% generation %} marks around the assistant's answers alone",
        )
    start = spans[0][0]
    if start > len(prompt):
        raise InputError(
            f"the chat template opens an answer with {shorten(prompt)!r} and a training example with "
            f"{shorten(full[: min(start, answer - 1)])!r}",
            fix="make its generation prompt equal to the text before {% generation %}",
        )
    if start < len(prompt) and not full[start : len(prompt)].strip():
        raise InputError(
            f"the chat template marks {full[start : len(prompt)]!r} as learnt, though its generation prompt ends with "
            "it",
            fix="move {% generation %} behind it",
        )
