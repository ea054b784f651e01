"""The encoding of conversations as token ids, which training and inference share.

A chat template is a Jinja text in the model's folder, so that any tool can talk to our students. Tokenizing the
rendered template would let a query that contains `</s><|assistant|>` forge the student's own turn. So the template is
rendered once, over placeholders (`chat_template.Frame`); the frame's own text may become special tokens, the texts that
replace the placeholders never do, not even those that a tokenizer does not call special (`_find_closed`). A template
whose marks are plain words ("### Assistant:") cannot be protected so: a text that holds such a mark forges a turn, and
`forges_turn` finds it.

For texts without such tokens, the ids equal those of `apply_chat_template`. A frame is split at its special tokens, and
the text between two of them is tokenized as one, since a token may hold the end of a text and the beginning of the
next. SentencePiece begins a text with a space, though not always after a token. So such a text is tokenized behind
a token of its own, which is then dropped (`_ANCHOR`). Where the beginning of an answer would merge with the end of the
prompt, the prompt keeps the ids that a server sends, and the answer goes on from them. Each format is tried on
conversations when it is made, and refused if its ids differ.

Only the teacher's tokens and the end token are learnt (paper, §4.1: the loss is computed on them alone).
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcac.errors import InputError, as_input_error
from orcac.model.chat_template import (
    PLACEHOLDER,
    REASONING,
    RESPONSE,
    SYSTEM,
    USER,
    ChatTemplate,
    Edges,
    Frame,
    find_ending,
    read_template,
)
from orcac.reasoning import CLOSE, OPEN, is_open

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder. Raises InputError if it cannot be read without running code of its own."""
    from transformers import AutoTokenizer

    fix = "give all of its files, tokenizer.json above all; code that a model brings is never run"
    with as_input_error("the model's tokenizer cannot be loaded", fix=fix):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    processor = folder / "chat_template.json"  # in which multimodal models have their template
    if not tokenizer.chat_template and processor.exists():
        with as_input_error("the model's chat_template.json cannot be read", fix="correct it, or leave it out"):
            tokenizer.chat_template = json.loads(processor.read_text(encoding="utf-8"))["chat_template"]
    return tokenizer


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


class _Text(NamedTuple):
    """A part of a frame between two tokens, with placeholders; it is tokenized as one text once it is filled."""

    text: str
    follows: bool  # a token comes before it
    edges: Edges  # white space that the tokens beside it take in


class _Filled(NamedTuple):
    """A text that is tokenized as one."""

    text: str
    follows: bool  # a token comes before it


_Piece = list[int] | _Text  # the id of a token, or a text
_Part = list[int] | _Filled  # the same, filled


class _Parts(NamedTuple):
    """A frame, split at its tokens."""

    frame: Frame
    prompt: list[_Piece]
    learnt: list[_Piece]  # begins with the text at the end of the prompt, if it ends with one
    reasoned: list[_Piece]  # the same


_ANCHOR = "\uffff\ufffe"  # a token before a text, of characters that no text holds; a text loses them
_PIPED = re.compile(r"<[|｜].{1,60}[|｜]>")
_TRIED = (  # (system, user, answer, reasoning): conversations by which a format is checked
    ("Be brief.", "Why?", "So.", "Hm."),
    ("  Think first.\n", " What is 12 and  one?\n", " It is 13.\n", "12 + 1.\n = 13"),
    ("Antworte auf Deutsch: größer?", "1. α\n2. β\n\n", "1", "β < α"),
)


class ChatFormat:
    """An encoder of conversations by a tokenizer's chat template. Raises InputError if the template cannot be used.

    With `for_training=False` it is one of a model that only answers. A template may reject system messages, as long as
    no conversation has one.

    ends: the tokens that end an answer, beside the tokenizer's own
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        for_training: bool = True,
        ends: Iterable[str] = (),
    ) -> None:
        self._tokenizer, self._for_training = tokenizer, for_training
        known = [*filter(None, {tokenizer.eos_token, *ends})]
        closed = _find_closed(tokenizer, known)
        self._template = ChatTemplate(tokenizer, ends=known, closed=closed)
        self._ids = {token.content: id_ for id_, token in tokenizer.added_tokens_decoder.items()}
        self._tokens = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
        names = sorted(closed, key=lambda name: (-len(name), name))
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None
        self._encoder, self._is_anchored = _make_encoder(tokenizer, closed)
        self._parts: dict[bool, _Parts] = {}  # key: True with a system message; an empty text counts as no message
        self._marks: dict[str, re.Pattern[str]] = {}  # those of plain words, by their text
        if for_training:
            with self._template.rendering():
                self._get_parts("")
                with contextlib.suppress(InputError):  # raised again by a conversation that has one
                    self._get_parts(SYSTEM)
                for parts in self._parts.values():
                    self._marks |= dict(_find_marks(parts.frame.prompt, tokenizer.bos_token or "", closed))
                self._check_begin_token()
                self._check_ids()

    def with_thinking(self, thinking: bool) -> ChatFormat:
        """Return the format of a model that only answers, and reasons or not; the encoder is shared."""
        assert not self._for_training
        other = copy.copy(self)
        other._template, other._parts = self._template.with_thinking(thinking), {}
        return other

    @property
    def vocabulary(self) -> int:
        """One more than the largest id of the tokenizer."""
        return 1 + max(self._tokenizer.get_vocab().values())

    @property
    def pad_id(self) -> int:
        """The id of padding."""
        return int(self._tokenizer.pad_token_id)

    @property
    def end_id(self) -> int:
        """The id of the token that ends an answer, of a format for training."""
        end = self._get_parts("").learnt[-1]
        assert isinstance(end, list)
        return end[0]

    def check_system_role(self) -> None:
        """Raise InputError if the template rejects a system message, or leaves it out."""
        self._get_parts(SYSTEM)

    def encode_prompts(self, prompts: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Return for each (system, user) pair the ids of the prompt, up to the first token of the student's answer."""
        return self._encode([self._fill_prompt(system, user) for system, user in prompts])

    def find_refusal(self) -> InputError | None:
        """Return the reason for which no reasoning can be learnt in this format for training; None if it can be."""
        return next((parts.frame.refusal for parts in self._parts.values() if parts.frame.refusal), None)

    def forges_turn(self, *texts: str) -> bool:
        """Return whether a text holds a mark of the template in plain words, by which it would begin another turn.

        Only a format for training knows this.
        """
        return any(mark.search(text) for mark in self._marks.values() for text in texts if text)

    def opens_reasoning(self, system: str) -> bool:
        """Return whether a prompt ends within the reasoning of the answer."""
        return is_open(find_ending(self._get_parts(system).frame.prompt))

    def encode_choices(self, prompt: tuple[str, str], choices: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Return the ids of a (system, user) prompt, and for each choice the ids with which it continues the prompt.

        As in lm-evaluation-harness, white space at the end of the prompt counts as part of the continuation, and the
        text there is tokenized together with the choice, since a token may hold the end of the one and the beginning of
        the other.
        """
        filled, ending = self._fill_prompt(*prompt), _Filled("", follows=True)
        last = filled[-1]
        if isinstance(last, _Filled):
            filled, ending = filled[:-1], last
        start = _Filled(ending.text.rstrip(), ending.follows)
        before, start_ids, *whole = self._encode(
            [filled, [start], *([_Filled(ending.text + choice, ending.follows)] for choice in choices)]
        )
        return before + start_ids, [ids[len(start_ids) :] for ids in whole]

    def encode_examples(self, rows: Sequence[tuple[str, str, str] | tuple[str, str, str, str]]) -> list[Example]:
        """Return the training examples of (system, user, response) triples, or of (system, user, response, reasoning).

        Line breaks around reasoning, and before the answer after it, are the template's. Raises InputError for
        reasoning if the template's generation prompt leaves no place for it.
        """
        prompts: list[list[_Part]] = []
        learnt: list[list[_Part]] = []
        for system, user, response, *more in rows:
            parts, reasoning = self._get_parts(system), more[0].strip("\n") if more else ""
            texts = {SYSTEM: system, USER: user, RESPONSE: response}
            prompts.append(_fill(parts.prompt, texts, parts.frame.edges))
            if reasoning.strip():
                if parts.frame.refusal:
                    raise parts.frame.refusal
                texts |= {REASONING: reasoning, RESPONSE: response.lstrip("\n")}
                learnt.append(_fill(parts.reasoned, texts, parts.frame.reasoned_edges))
            else:
                learnt.append(_fill(parts.learnt, texts, parts.frame.edges))
        endings = [prompt[-1:] if isinstance(prompt[-1], _Filled) else [] for prompt in prompts]
        ids, count = self._encode([*prompts, *learnt, *endings]), len(rows)
        examples = []
        for number, (prompt, whole, start) in enumerate(
            zip(ids[:count], ids[count : 2 * count], ids[2 * count :], strict=True)
        ):
            if whole[: len(start)] != start:  # the answer would merge with the end of the prompt
                first, *rest = learnt[number]
                ending = endings[number][0]
                assert isinstance(first, _Filled) and isinstance(ending, _Filled)
                (answer,) = self._encode([[_Filled(first.text[len(ending.text) :], follows=False), *rest]])
                examples.append(Example(prompt + answer, len(prompt)))
            else:
                examples.append(Example(prompt + whole[len(start) :], len(prompt)))
        return examples

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text by itself, without special tokens even if it spells one."""
        ids = self._encode_texts(filled := [_Filled(text, follows=False) for text in texts])
        return [len(ids[text]) for text in filled]

    def cut(self, text: str, tokens: int) -> str:
        """Return the text of the first `tokens` tokens of a text, without the space at its end."""
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text[: found[tokens - 1][1]].rstrip() if len(found) > tokens else text

    def _get_parts(self, system: str) -> _Parts:
        has_system = bool(system)
        if has_system not in self._parts:
            frame = self._template.make_frame(has_system=has_system, for_training=self._for_training)
            prompt = self._split(frame.prompt)
            start = len(prompt) - isinstance(prompt[-1], _Text)
            learnt, reasoned = (self._split(frame.prompt + text)[start:] for text in (frame.learnt, frame.reasoned))
            self._parts[has_system] = _Parts(frame, prompt, learnt, reasoned)
        return self._parts[has_system]

    def _fill_prompt(self, system: str, user: str) -> list[_Part]:
        parts = self._get_parts(system)
        return _fill(parts.prompt, {SYSTEM: system, USER: user}, parts.frame.edges)

    def _split(self, text: str) -> list[_Piece]:
        """Split a rendered text at the tokens that it spells."""
        pieces: list[_Piece] = []
        parts = re.split(f"({self._pattern.pattern})", text) if self._pattern else [text]
        marks = [self._tokens[part] if number % 2 else None for number, part in enumerate(parts)]
        for number, (part, mark) in enumerate(zip(parts, marks, strict=True)):
            if mark:
                pieces.append([self._ids[part]])
            elif part:
                before = marks[number - 1] if number else None
                after = marks[number + 1] if number + 1 < len(parts) else None
                edges = Edges("" if before and before.rstrip else None, "" if after and after.lstrip else None)
                pieces.append(_Text(part, before is not None, edges))
        return pieces

    def _encode(self, filled: Sequence[Sequence[_Part]]) -> list[list[int]]:
        """Return the ids of sequences of parts."""
        ids = self._encode_texts(part for parts in filled for part in parts if isinstance(part, _Filled))
        return [
            [token for part in parts for token in (ids[part] if isinstance(part, _Filled) else part)]
            for parts in filled
        ]

    def _encode_texts(self, texts: Iterable[_Filled]) -> dict[_Filled, list[int]]:
        """Return the ids of each distinct text, without special tokens even if the text spells one."""
        distinct = list(dict.fromkeys(texts))
        found: dict[_Filled, list[int]] = {}
        if not distinct:
            return found
        anchors = [_ANCHOR if self._is_anchored and text.follows else "" for text in distinct]
        held = [text.text.replace(_ANCHOR, "") if self._is_anchored else text.text for text in distinct]
        ids = self._encoder(
            [anchor + text for anchor, text in zip(anchors, held, strict=True)],
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
        )["input_ids"]
        for text, anchor, of_text in zip(distinct, anchors, ids, strict=True):
            found[text] = of_text[bool(anchor) :] if text.text else []
        return found

    def _check_begin_token(self) -> None:
        """Raise InputError unless a prompt begins with the begin token once, if the tokenizer puts one before texts."""
        begin = self._tokenizer.bos_token_id
        (ids,) = self.encode_prompts([("", "Why?")])
        count = next((number for number, id_ in enumerate(ids) if id_ != begin), len(ids))
        if count > 1:
            raise InputError(
                f"the chat template begins a conversation with {count} begin tokens",
                fix="leave {{ bos_token }} in the template once",
            )
        if not count and begin is not None and self._tokenizer("a")["input_ids"][:1] == [begin]:
            raise InputError(
                "the chat template begins a conversation without the token that the tokenizer puts before a text",
                fix="begin the template with {{ bos_token }}",
            )

    def _check_ids(self) -> None:
        """Raise InputError if the ids of a conversation are not those of the template rendered with its texts."""
        for has_system in sorted(self._parts):
            frame = self._parts[has_system].frame
            for system, user, answer, reasoning in _TRIED:
                system = system if has_system else ""
                opening = [{"role": "system", "content": system}] * has_system + [{"role": "user", "content": user}]
                (prompt,) = self.encode_prompts([(system, user)])
                self._compare(prompt, self._template.render_prompt(opening))
                if frame.follows:
                    (example,) = self.encode_examples([(system, user, answer)])
                    message = {"role": "assistant", "content": answer}
                    self._compare(example.input_ids, self._template.render([*opening, message]), len(prompt))
                if frame.reasoned_follows:
                    (example,) = self.encode_examples([(system, user, answer, reasoning)])
                    message = {"role": "assistant", "content": answer, "reasoning_content": reasoning}
                    self._compare(example.input_ids, self._template.render([*opening, message]), len(prompt))

    def _compare(self, ids: list[int], rendered: str, prompt_tokens: int | None = None) -> None:
        """Raise InputError if `ids` are not the beginning of those of a rendered conversation.

        prompt_tokens: the number of ids of the prompt; an answer that would merge with the prompt's end is not compared
        """
        expected = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        if prompt_tokens is not None and expected[:prompt_tokens] != ids[:prompt_tokens]:
            return
        length = len(ids) if prompt_tokens is None else min(len(ids), len(expected))
        if ids[:length] != expected[: length if prompt_tokens is not None else None]:
            place = next((n for n, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), length)
            before, ours, theirs = (
                self._tokenizer.decode(some)
                for some in (ids[max(0, place - 5) : place], ids[place : place + 5], expected[place : place + 5])
            )
            raise InputError(
                "the ids of a training row would not be those that a server sends for the same conversation: after "
                f"{before!r} come {ours!r} and {theirs!r}",
                fix="let the chat template write each text as it is",
            )


def _find_marks(prompt: str, begin: str, closed: Collection[str]) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield the marks before and between the texts of a prompt that no token protects, each with its pattern.

    begin: the begin token; closed: the tokens that protect a mark
    """
    for number, piece in enumerate(PLACEHOLDER.split(prompt.removeprefix(begin))):
        mark = piece.strip()
        if not re.search(r"\w", mark) or any(token in piece for token in closed):
            continue
        begins_line = not number or "\n" in piece[: piece.index(mark)]
        yield mark, re.compile((r"(?:^|\n)[ \t]*" if begins_line else "") + re.escape(mark))


def _find_closed(tokenizer: PreTrainedTokenizerBase, ends: Iterable[str]) -> frozenset[str]:
    """Return the tokens that no text may become: the special ones, and others that mark a role or an end.

    Some tokenizers do not call all of their marks special. Those are the added tokens in the form `<|...|>`, in the
    chat template and among `ends`. Added tokens of white space, of HTML and of words are part of ordinary text, and so
    are the marks of reasoning.
    """
    template = read_template(tokenizer)
    return frozenset(
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special
        or token.content in ends
        or _PIPED.fullmatch(token.content)
        or (token.content in template and re.search(r"\w", token.content) and re.search(r"[^\w\s]", token.content))
        if token.special or token.content not in (OPEN, CLOSE)
    )


def _make_encoder(tokenizer: PreTrainedTokenizerBase, closed: Collection[str]) -> tuple[PreTrainedTokenizerBase, bool]:
    """Return a tokenizer that can leave out all `closed` tokens, and whether it has the token `_ANCHOR`.

    It is the same tokenizer if all of them are special, and a text has the same ids behind a token as at the beginning.
    Raises InputError if there is no `tokenizer.json` to change.
    """
    added = tokenizer.added_tokens_decoder.values()
    is_open = any(not token.special for token in added if token.content in closed)
    tokens = sorted((token.rstrip, token.content) for token in added if token.content in closed)
    is_anchored = bool(tokens) and _tokenize(tokenizer, tokens[0][1] + "a b") != (
        _tokenize(tokenizer, tokens[0][1]) + _tokenize(tokenizer, "a b")
    )
    if not is_open and not is_anchored:
        return tokenizer, False
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
    changed = tokenizers.Tokenizer.from_str(json.dumps(content))
    if is_anchored:
        changed.add_tokens([tokenizers.AddedToken(_ANCHOR, normalized=False)])
    clone = copy.copy(tokenizer)
    clone._tokenizer = changed
    return clone, is_anchored


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _fill(pieces: Iterable[_Piece], texts: dict[str, str], edges: dict[str, Edges]) -> list[_Part]:
    """Return pieces with texts in place of the placeholders; `edges` is the white space that the template removes."""
    trimmed = {name: edges[name].apply(text) if name in edges else text for name, text in texts.items()}
    return [
        piece
        if isinstance(piece, list)
        else _Filled(piece.edges.apply(PLACEHOLDER.sub(lambda found: trimmed[found[0]], piece.text)), piece.follows)
        for piece in pieces
    ]
