"""The wire format of chat completions: the body of a request, and the headers and errors of a response.

All functions are pure. `reader` reads the body of a response.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Container, Mapping

from orcac.chat.error_body import read_error, unwrap_error
from orcac.chat.failures import REASONING_LIMIT, SETTINGS, refused_setting
from orcac.chat.messages import ChatRequest, RateHeaders
from orcac.chat.wire import loads


def build_body(
    request: ChatRequest, refused: Container[str] = (), *, may_omit: bool = False, is_openai: bool = True
) -> dict[str, object]:
    """Return the JSON body of a request, without the parameters that the model has refused.

    They are left out only if that does not change the answer, or with `may_omit`: see `find_dispensable`. Reasoning is
    set by `reasoning_effort` at OpenAI, and by a variable of the model's chat template at other servers.
    """
    sampling = request.sampling
    body: dict[str, object] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
    }
    for name in ("temperature", "top_p"):
        value = getattr(sampling, name)
        if name not in refused or not (may_omit or value == 1.0):
            body[name] = value
    body["max_completion_tokens" if "max_tokens" in refused else "max_tokens"] = sampling.max_tokens
    if sampling.seed is not None and not (may_omit and "seed" in refused):
        body["seed"] = sampling.seed + request.sample_index  # else all samples would be the same answer
    if sampling.stop and not (may_omit and "stop" in refused):
        body["stop"] = list(sampling.stop)
    if sampling.reasoning is not None:
        is_off = sampling.reasoning == "off"
        name, value = "reasoning_effort", "none" if is_off else "medium"
        if not is_openai:
            name, value = "chat_template_kwargs", {"enable_thinking": not is_off}
        if not (may_omit and name in refused):
            body[name] = value
    return _merge(body, sampling.extra)


def _merge(body: dict[str, object], more: Mapping[str, object]) -> dict[str, object]:
    """Return `body` with the values of `more`; maps that both have are merged."""
    merged = dict(body)
    for name, value in more.items():
        ours = merged.get(name)
        merged[name] = _merge(ours, value) if isinstance(ours, dict) and isinstance(value, Mapping) else value
    return merged


def find_dispensable(error_body: object, request: ChatRequest, *, may_omit: bool = False) -> str:
    """Return the parameter that an error refuses, if the request means the same without it; else "".

    With `may_omit`, also a decoding setting without which it does not: the response is then marked by `find_omitted`.
    """
    error = unwrap_error(error_body)
    if isinstance(error, Mapping):
        parameter, message = error.get("param"), str(error.get("message"))
        if not isinstance(parameter, str):
            parameter = next((name for name in ("max_tokens", "top_p", "temperature") if f"'{name}'" in message), "")
        match parameter:
            case "max_tokens" if "max_completion_tokens" in message:
                return parameter
            case "top_p" | "temperature" if getattr(request.sampling, parameter) == 1.0:
                return parameter
    setting = refused_setting(error_body)
    if setting in _list_settings(request) and (may_omit or not find_omitted(request, (setting,))):
        return setting
    return ""


def find_omitted(request: ChatRequest, refused: Container[str]) -> tuple[str, ...]:
    """Return the decoding settings that a request loses if the `refused` parameters are left out.

    A server does not limit the tokens of reasoning, so a request always loses such a limit.
    """
    body = _list_settings(request) if any(name in refused for name in SETTINGS) else {}  # of few models
    neutral = {"temperature": 1.0, "top_p": 1.0}
    lost = [name for name in SETTINGS if name in refused and name in body and body[name] != neutral.get(name)]
    return (*lost, REASONING_LIMIT) if isinstance(request.sampling.reasoning, int) else tuple(lost)


def _list_settings(request: ChatRequest) -> dict[str, object]:
    """Return the parameters that a request may have, at any server."""
    return build_body(request, is_openai=False) | build_body(request)


def parse_error_body(content: bytes) -> object:
    """Return the JSON value of an error's body, or its text if it is not JSON."""
    try:
        return loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def error_message(error_body: object) -> str:
    """Return the part of an error's body that a person should read."""
    return read_error(error_body).message or "an empty body"


def parse_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that a response's headers ask to wait, None if they ask nothing. `now` is Unix time."""
    if milliseconds := _parse_number(headers.get("retry-after-ms")):
        return milliseconds / 1000
    value = headers.get("retry-after")
    if (seconds := _parse_number(value)) is not None:
        return seconds
    date = email.utils.parsedate_tz(value) if value else None
    return max(0.0, email.utils.mktime_tz(date) - now) if date else None


def parse_rate_headers(headers: Mapping[str, str]) -> RateHeaders | None:
    """Return the account's rates from the `x-ratelimit-*` headers of OpenAI and its like, None if there are none."""
    rates: dict[str, float] = {}
    for name, (field, parse) in _RATE_HEADERS.items():
        if (text := headers.get(name)) is not None and (value := parse(text)) is not None:
            rates[field] = value
    return RateHeaders(**rates) if rates else None


def _parse_number(text: str | None) -> float | None:
    """Return a finite number of zero or more, None for any other text."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PART = r"(\d+(?:\.\d+)?)(ms|d|h|m|s)"


def _parse_duration(text: str | None) -> float | None:
    """Return the seconds of `6m0s`, `120ms`, `1h2m3.5s` or a plain number of seconds, None for any other text."""
    if text and re.fullmatch(f"(?:{_DURATION_PART})+", text):
        return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_DURATION_PART, text))
    return _parse_number(text)


_PARSERS: tuple[tuple[str, str, Callable[[str | None], float | None]], ...] = (
    ("limit", "limit", _parse_number),
    ("remaining", "remaining", _parse_number),
    ("reset", "reset_s", _parse_duration),
)
_RATE_HEADERS = {  # header -> (field of RateHeaders, parser)
    f"x-ratelimit-{part}-{unit}": (f"{unit}_{field}", parse)
    for unit in ("requests", "tokens")
    for part, field, parse in _PARSERS
}
