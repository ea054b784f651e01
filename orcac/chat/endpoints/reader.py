"""The reader of a completion: the answer, the reasoning and the refusal in the body of a response, or the error there.

Online answers and the lines of a batch's files all come through `read_completion`, so that a body has one meaning, and
the fields of a recording through `read_recorded`. A body with status 200 may hold an error, of the whole or of its
choice, or nothing at all. `Unanswered` then carries the class that the same error has under a status of its own, and
nothing is billed for it. Any other body is malformed.

Servers put reasoning beside the content, into typed parts of it, or between marks in its text. The first two are
separated here. Marks stay in the text, which the ledger keeps as it came, and are split when an answer is read from it
(`messages.separate_reasoning`), so that a better rule for them also serves old answers.

Finish reasons are read by meaning, into OpenAI's words; one without a known meaning keeps its own word. An answer
without a finish reason has ended by itself if it has fewer tokens than its cap. One that consists of reasoning alone
was cut off.

Tokens are counted by the largest reading that the numbers of a usage allow, since some servers count reasoning outside
`completion_tokens`. A usage that makes no sense is read as no usage.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping

from orcac.chat.endpoints.completions import error_message
from orcac.chat.failures import classify
from orcac.chat.messages import MAX_CAP, ChatResponse, RateHeaders, separate_reasoning
from orcac.chat.wire import loads, replace_surrogates
from orcac.reasoning import join_reasoning, split_reasoning

_LARGE = 1 << 20  # bytes of a body
_SHOWN = 65_536  # bytes of a body in an error, before its message is masked and cut
_NO_ANSWER = "no answer"  # the meaning of a finish reason that is no ending of an answer
_MEANINGS = {  # words without separators
    "stop": "stop eos eostoken eot end endturn endofturn endoftext stopsequence stopstring stoptoken word done "
    "complete completed finish finished stopped natural",
    "length": "length limit maxtokens maxlength maxnewtokens maxoutputtokens maxcompletiontokens modellength truncated "
    "tokenlimit contextlength contextlimit modelcontextwindowexceeded contextwindowexceeded incomplete",
    "content_filter": "contentfilter contentfiltered filter filtered safety recitation blocklist prohibitedcontent "
    "spii sensitive imagesafety refusal blocked moderation guardrail guardrailintervened errortoxic",
    _NO_ANSWER: "noanswer error load unload abort aborted cancel cancelled canceled failed failure timeout "
    "networkerror internalerror servererror insufficientsystemresource",
}
_FINISH = {word: meaning for meaning, words in _MEANINGS.items() for word in words.split()}
_FINISH_FIELDS = ("native_finish_reason", "stop_reason", "done_reason")  # read if `finish_reason` is null

_BESIDE = (
    *("reasoning_content", "reasoning", "reasoning_text", "reasoning_details"),
    *("thinking", "thinking_blocks", "thought", "thoughts"),
)
_TEXT_FIELDS = (
    *("text", "thinking", "reasoning", "reasoning_content", "thought", "summary", "content", "value"),
    *("reasoningContent", "reasoningText"),
)
_REASONING_TYPES = ("think", "thought", "reason", "redacted", "summary")  # their beginnings
_FIRST_OF_MARKS, _LAST_OF_MARKS = frozenset("<[◁"), frozenset(">]▷")
_ERROR_FIELDS = ("message", "detail", "msg", "error_message", "errors")
_SUCCESS = ("0", "200", "ok", "success", "none", "null", "false", "")


class Unanswered(Exception):
    """A body that holds an error in the place of an answer, or nothing; the text is the message.

    `error` is the class in `failures.ERRORS`, and `body` the error as the server words it, if it does.
    """

    def __init__(self, error: str, message: str, body: object = None) -> None:
        super().__init__(message)
        self.error, self.body = error, body


def read_content(content: bytes, *, cap: int, latency_s: float = 0.0, rates: RateHeaders | None = None) -> ChatResponse:
    """Return the response in the content of an HTTP response, as `read_completion` does.

    Raises ValueError, with the beginning of `content`, if it is malformed.
    """
    try:
        parse = loads if len(content) <= _LARGE else json.loads  # orjson takes twelve times the size of a body
        response = _read(parse(content), cap)
    except (ValueError, RecursionError) as error:
        # Half a key cannot be masked, so the content is cut far behind the end of the message.
        shown = re.sub(rb"\s+", b" ", content)[:_SHOWN]
        raise ValueError(f"not a chat completion ({error}): {shown!r}") from error
    response.latency_s, response.rates = latency_s, rates
    return response


def read_recorded(content: object, *, reasoning: object = None, finish_reason: object = None) -> ChatResponse | None:
    """Return the response with these fields, as a recording has them; None if there is no answer.

    content: a text or typed parts

    Raises ValueError if the content is neither.
    """
    text, reasons, refusal, _ = _read_message({"message": {"content": content, "reasoning": reasoning}})
    finish = _read_finish({"finish_reason": finish_reason}) or "stop"
    if finish == _NO_ANSWER or (content is None and not reasons):
        return None
    return separate_reasoning(ChatResponse(text=text, reasoning=reasons, refusal=refusal, finish_reason=finish))


def read_completion(body: object, *, cap: int) -> ChatResponse:
    """Return the response in a body, parsed JSON, to a request with max_tokens `cap`.

    Raises Unanswered if the body holds an error or nothing, and ValueError if it is malformed.
    """
    try:
        return _read(body, cap)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _read(body: object, cap: int) -> ChatResponse:
    if type(body) is not dict:
        raise _find_error(body) or ValueError("not an object")
    choices = body.get("choices")
    if "error" in body or not choices:
        _check_whole(body, choices)
    choice = choices[0] if type(choices) is list else None
    if type(choice) is not dict:
        raise ValueError("no choice")
    if "error" in choice and _is_error(choice["error"]):
        raise _refuse(choice["error"])
    text, reasoning, refusal, calls_tools = _read_message(choice)
    wrote = bool((text and not text.isspace()) or reasoning or refusal)
    usage = _read_usage(body.get("usage"), wrote=wrote)
    read, written = usage or (0, 0)
    finish = choice.get("finish_reason")
    if finish != "stop" and finish != "length":
        finish = _read_finish(choice)
        if finish == _NO_ANSWER:
            raise Unanswered("server", f"the finish reason is {choice.get('finish_reason')!r}")
        finish = finish or ("tool_calls" if calls_tools else _guess_finish(text + reasoning, written, cap))
    if not (wrote or calls_tools):
        _check_empty(finish, usage)
    if finish == "stop" and not refusal and not _has_answer(text, reasoning):
        finish = "length"
    return ChatResponse(
        text=text,
        reasoning=reasoning,
        refusal=refusal,
        finish_reason=finish,
        input_tokens=read,
        output_tokens=written,
    )


def _has_answer(text: str, reasoning: str) -> bool:
    """Return whether a message has more than reasoning: an answer, or nothing at all."""
    text = text.strip()
    if text[:1] not in _FIRST_OF_MARKS and text[-1:] not in _LAST_OF_MARKS:  # nearly all: no need to look for marks
        return bool(text or not reasoning)
    marked, answer = split_reasoning(text)
    return bool(answer or not (marked or reasoning))


# --- errors ----------------------------------------------------------------------------------------------------------


def _check_whole(body: Mapping[str, object], choices: object) -> None:
    """Raise the error of a body that has one, or that has no choices."""
    if _is_error(body.get("error")):
        raise _refuse(body)
    if choices:
        return
    state = body.get("base_resp")  # MiniMax's
    if isinstance(state, Mapping) and _is_error(state):
        raise _refuse({"message": state.get("status_msg"), "code": state.get("status_code")})
    if body.get("object") == "error" or body.get("success") is False or any(map(body.get, _ERROR_FIELDS)):
        raise _refuse(body)
    if body.get("prompt_feedback") or body.get("promptFeedback"):  # Gemini's
        raise Unanswered("content_filter", "a filter took the prompt")
    if "choices" in body:
        raise Unanswered("empty", "the response has no choice")
    raise ValueError("no choices")


def _find_error(body: object) -> Unanswered | None:
    """Return the error of a body that is not an object: a list with an error in it."""
    for one in body if isinstance(body, list) else ():
        if isinstance(one, Mapping) and (_is_error(one.get("error")) or one.get("object") == "error"):
            return _refuse(body)
    return None


def _is_error(value: object) -> bool:
    """Return whether the field `error` of a body or a choice holds an error; some servers set it to "success"."""
    if not value or not isinstance(value, Mapping):
        return bool(value) and str(value).lower() not in _SUCCESS
    return any(str(inner).lower() not in _SUCCESS for inner in value.values() if inner)


def _refuse(body: object) -> Unanswered:
    """Return the error that a body holds, under the class that it has with a status of its own."""
    return Unanswered(classify(200, body), error_message(body), body)


def _check_empty(finish: str, usage: tuple[int, int] | None) -> None:
    """Raise Unanswered if nothing was generated, by the usage and the finish reason of a message without texts."""
    read, written = usage or (0, 0)
    if written or (read and finish == "content_filter"):
        return
    if usage is None and finish in ("length", "content_filter"):
        return
    if finish == "content_filter":
        raise Unanswered("content_filter", "a filter took the prompt")
    raise Unanswered("empty", "the response has no text, and no token was generated")


# --- the message -----------------------------------------------------------------------------------------------------


def _read_message(choice: Mapping[str, object]) -> tuple[str, str, str, bool]:
    """Return (text, reasoning, refusal, calls a tool) of a choice's message, which it may lack.

    Raises ValueError if it is malformed.
    """
    message = choice.get("message")
    if message is None:  # some servers send a piece of a stream, or the older form without chat
        message = choice.get("delta") or {"content": choice.get("text")}
    if type(message) is not dict:
        raise ValueError("the message is not an object")
    content = message.get("content")
    text = replace_surrogates(content) if type(content) is str else ""
    if type(content) is str and len(message) == 2 and "role" in message:
        return text, "", "", False
    reasoning, refusal = "", message.get("refusal")
    if type(content) is not str and content:
        text, reasoning, refused = _read_parts(content)
        refusal = refusal or refused
    beside = ""
    for name in _BESIDE:  # a loop, which is faster than `next` of a generator: most messages of OpenAI come here
        if message.get(name) and (beside := _join_blocks(message[name])):
            break
    if beside or reasoning:
        reasoning = replace_surrogates(join_reasoning((reasoning, "" if beside in reasoning else beside)))
        text = text.strip()
    refusal = replace_surrogates(refusal) if isinstance(refusal, str) else ""
    return text, reasoning, refusal, bool(message.get("tool_calls") or message.get("function_call"))


def _read_parts(content: object) -> tuple[str, str, str]:
    """Return (text, reasoning, refusal) of a content that consists of typed parts."""
    texts: list[str] = []
    reasoning: list[str] = []
    refusals: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, Mapping):
            raise ValueError("a part of the content is neither a text nor an object")
        kind = str(part.get("type") or next(iter(part), "")).lower()
        if kind.startswith(_REASONING_TYPES) or part.get("thought") is True:
            reasoning.append(_join_texts(part))
        elif kind == "refusal":
            refusals.append(_join_texts(part.get("refusal") or part))
        elif "text" in kind or "text" in part:
            texts.append(_join_texts(part))
    return replace_surrogates("".join(texts)), join_reasoning(reasoning), "".join(refusals)


def _join_blocks(value: object) -> str:
    """Return the texts of reasoning beside a content: a text, an object, or a list of blocks."""
    return join_reasoning(map(_join_texts, value)) if isinstance(value, list) else _join_texts(value)


def _join_texts(value: object) -> str:
    """Return the texts in a part, of which servers make texts, objects and lists of both; no encrypted ones."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_join_texts, value))
    if isinstance(value, Mapping):
        return next((text for name in _TEXT_FIELDS if (text := _join_texts(value.get(name)))), "")
    return ""


# --- the ending and the tokens ---------------------------------------------------------------------------------------


def _read_finish(choice: Mapping[str, object]) -> str:
    """Return the meaning of a choice's finish reason, or else its own word; "" if it has none."""
    if word := _finish_word(choice.get("finish_reason")):
        return _FINISH.get(word.replace("_", ""), word)
    words = (_finish_word(choice.get(name)).replace("_", "") for name in _FINISH_FIELDS)
    return next((_FINISH[word] for word in words if word in _FINISH), "")


def _finish_word(value: object) -> str:
    """Return a finish reason in snake case, "" if the value is not one."""
    if isinstance(value, Mapping):  # SGLang's own form
        value = value.get("type")
    if not isinstance(value, str):
        return ""
    word = replace_surrogates(value).strip().rpartition(".")[2]  # `FinishReason.STOP`
    word = word.lower().replace("-", "_").replace(" ", "_").removeprefix("finish_reason_")
    return "" if word in ("null", "none", "unspecified") else word[:60]


def _guess_finish(text: str, written: int, cap: int) -> str:
    """Return the finish reason of an answer that has none: an answer shorter than its cap has ended by itself."""
    if written:
        return "stop" if written < cap else "length"
    return "stop" if len(text.encode()) < cap else "unknown"  # a token has one byte at least


def _read_usage(usage: object, *, wrote: bool) -> tuple[int, int] | None:
    """Return (input, output) tokens, None if they make no sense: the answer is paid for and good all the same."""
    if type(usage) is not dict:
        return None
    first, second = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if (
        type(first) is int
        and type(second) is int
        and 0 <= first <= MAX_CAP
        and wrote <= second <= MAX_CAP
        and first + second == usage.get("total_tokens")
        and (len(usage) == 3 or (_count_reasoning(usage) or 0) <= second)
    ):  # nearly all
        return first, second
    read = _count(usage, "prompt_tokens", "input_tokens")
    written = _count(usage, "completion_tokens", "output_tokens", "generated_tokens")
    total, thought = _count(usage, "total_tokens"), _count_reasoning(usage)
    if read is None and written is not None and total is not None and total >= written:
        read = total - written
    readings = [number for number in (written, thought) if number is not None]
    if read is not None and total is not None and total >= read:
        readings.append(total - read)
    # reasoning that is counted outside, by some servers also outside the total
    if written is not None and thought is not None and thought > written >= max(readings[2:], default=0):
        readings.append(written + thought)
    most = max(readings, default=-1)
    if read is None or not wrote <= most <= MAX_CAP:
        return None
    return read, most


def _count_reasoning(usage: Mapping[str, object]) -> int | None:
    """Return the tokens of reasoning in a usage."""
    for name in ("completion_tokens_details", "output_tokens_details"):
        details = usage.get(name)
        if isinstance(details, Mapping) and (found := _count(details, "reasoning_tokens")) is not None:
            return found
    return _count(usage, "reasoning_tokens")


def _count(usage: Mapping[str, object], *names: str) -> int | None:
    """Return the first of these numbers that is a count of tokens, also as a text or a float."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if type(value) is int and 0 <= value <= MAX_CAP:
            return value
    return None
