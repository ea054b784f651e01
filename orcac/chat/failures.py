"""The classes of failure of a request, and their consequences for the request and for the run.

Errors are a small set of named classes (`ERRORS`). Servers word theirs in many ways; `classify` is the only function
that reads those words, and all other code looks at the class alone.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import NamedTuple

from orcac.chat.messages import RateHeaders


class Action(enum.Enum):
    """The consequence of an error for the request that met it and for the other requests."""

    RETRY = "retry"  # try this request again, up to its number of attempts
    SLOW_DOWN = "slow down"  # all requests come too fast: try again for as long as answers arrive
    GIVE_UP = "give up"  # this request can never be answered: its failure is final, and becomes a row
    STOP = "stop"  # no request can be answered until the cause is fixed by hand


class ErrorClass(NamedTuple):
    """The properties of one class of failure."""

    action: Action
    may_be_answered: bool = False  # the model may have answered, although the answer did not arrive
    azure_bills: bool = False  # Azure charges for it nevertheless
    transient: bool = False  # it may affect every request for a while, e.g. while a server restarts
    recorded: bool = False  # it is a property of the request, not of the server, so the ledger may record it
    attempts: int | None = None  # a limit for this class, if it deserves fewer attempts than the endpoint allows
    fix: str = ""  # advice for the user; {key} is the name of the environment variable with the API key

    def may_be_billed(self, *, azure: bool) -> bool:
        """Return True if such a failure may cost as much as an answer."""
        return self.may_be_answered or (azure and self.azure_bills)


ERRORS: Mapping[str, ErrorClass] = {
    "unreachable": ErrorClass(Action.RETRY, transient=True, fix="start the server, or correct the endpoint's base_url"),
    "dropped": ErrorClass(Action.RETRY, may_be_answered=True, fix="find the cause in the server's log"),
    "timeout": ErrorClass(Action.RETRY, may_be_answered=True, attempts=4, fix="raise the endpoint's `timeout`"),
    "malformed": ErrorClass(Action.RETRY, may_be_answered=True, attempts=4, fix="check which server base_url reaches"),
    "empty": ErrorClass(Action.RETRY, attempts=4, fix="find the cause in the server's log: its answers have no text"),
    "server": ErrorClass(
        Action.RETRY, transient=True, fix="find the cause in the server's log or on the provider's status page"
    ),
    "too_large": ErrorClass(Action.RETRY, fix="lower max_tokens: a request is over the account's limit"),
    "rate_limit": ErrorClass(Action.SLOW_DOWN, fix="set requests_per_minute as the account allows"),
    "bad_request": ErrorClass(Action.GIVE_UP, fix="change the teacher's sampling, or repair the server"),
    "content_filter": ErrorClass(
        Action.GIVE_UP, recorded=True, azure_bills=True, fix="leave out these prompts, or change the provider's filter"
    ),
    "context_overflow": ErrorClass(
        Action.GIVE_UP,
        recorded=True,
        azure_bills=True,
        fix="lower max_tokens, or serve the model with a longer context",
    ),
    "not_recorded": ErrorClass(Action.GIVE_UP),
    "not_answered": ErrorClass(
        Action.GIVE_UP, fix="set `mode: auto`, so that requests which batches leave are asked online"
    ),
    "auth": ErrorClass(Action.STOP, fix="put a valid API key in the environment variable {key}"),
    "forbidden": ErrorClass(Action.STOP, fix="give the key in {key} access to this model and region"),
    "quota": ErrorClass(Action.STOP, fix="add credit to the account of the key in {key}"),
    "not_found": ErrorClass(Action.STOP, fix="correct the teacher's model or the endpoint's base_url"),
    "unsupported": ErrorClass(Action.STOP, fix="change the teacher's sampling to values that the model accepts"),
    "unsendable": ErrorClass(
        Action.STOP, fix="write base_url with http:// or https://, and check the OPENAI_ variables of the environment"
    ),
}


def fix_of(error: str, *, key: str, setting: str = "") -> str:
    """Return the advice for an error class: `key` names the variable of the API key, `setting` the refused setting."""
    if error == "unsupported" and setting:
        return f"remove `{setting}` from the teacher's sampling, or give it the value that the model accepts"
    return ERRORS[error].fix.format(key=key)


class ChatError(Exception):
    """The failure of an attempt, as every endpoint raises it. Its text never contains an API key."""

    def __init__(
        self,
        error: str,
        message: str,
        *,
        retry_after: float | None = None,
        rates: RateHeaders | None = None,
        setting: str = "",
    ) -> None:
        assert error in ERRORS, error
        super().__init__(message)
        self.error = error
        self.retry_after = retry_after  # the seconds for which the server asks all requests to wait
        self.rates = rates
        self.setting = setting  # the decoding setting that the model refuses, if that is the failure


_BY_CODE = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "invalid_api_key": "auth",
    "model_not_found": "not_found",
    "deploymentnotfound": "not_found",
    "operationnotsupported": "not_found",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "invalid_prompt": "content_filter",
    "context_length_exceeded": "context_overflow",
    "string_above_max_length": "context_overflow",
    "exceed_context_size_error": "context_overflow",
    "unsupported_parameter": "unsupported",
    "unsupported_value": "unsupported",
    "unknown_parameter": "unsupported",
    "slow_down": "rate_limit",
}
_BY_STATUS = {
    401: "auth",
    402: "quota",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "server",
    425: "server",
    429: "rate_limit",
    504: "timeout",  # from a gateway, so the model may have answered
    524: "timeout",
}
_BAD = (400, 413, 422)
# For bodies without a known code: words of the lower-cased message, and the statuses with which they mean the class.
_BY_WORDS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("exceeded your current quota", (429,), "quota"),
    ("out of call volume quota", (403,), "quota"),
    ("request too large", (429,), "too_large"),
    ("retry after 86400 seconds", (429,), "too_large"),  # Azure's wording for a request that fits into no minute
    ("context length", _BAD, "context_overflow"),
    ("context window", _BAD, "context_overflow"),
    ("maximum model length", _BAD, "context_overflow"),
    ("max_model_len", _BAD, "context_overflow"),
    (
        "must be at least 1, got -",
        _BAD,
        "context_overflow",
    ),  # vLLM's wording for a prompt without room for the answer
    ("`inputs` tokens +", _BAD, "context_overflow"),
    ("content management policy", _BAD, "content_filter"),
    ("unrecognized request argument", _BAD, "unsupported"),
    ("unsupported parameter", _BAD, "unsupported"),
    ("supports at most", _BAD, "unsupported"),
    ("api version not supported", _BAD, "not_found"),
    ("maximum pending requests", (503,), "rate_limit"),
    ("queue is full", (503,), "rate_limit"),
)


def classify(status: int | None, body: object = None, exception: Exception | None = None) -> str:
    """Return the error class of a failed call, a key of `ERRORS`.

    `status` and `body` are those of the HTTP response; the body is parsed JSON, with or without its outer `error`, or
    text. Without a status, `exception` decides: TimeoutError; ConnectionRefusedError if nothing was sent;
    ConnectionError if the connection broke; ValueError if the response could not be read.
    """
    if status is None:
        match exception:
            case TimeoutError():
                return "timeout"
            case ConnectionRefusedError():
                return "unreachable"
            case ConnectionError():
                return "dropped"
            case ValueError():
                return "malformed"
        raise AssertionError(f"not a transport error: {exception!r}")
    code, message = _code_and_message(body)
    if code:
        return _BY_CODE[code]
    for words, statuses, name in _BY_WORDS:
        if status in statuses and words in message:
            return name
    if status in _BAD and refused_setting(body):
        return "unsupported"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:  # a redirect
        return "not_found"
    return "server" if status >= 500 else "bad_request"


SETTINGS = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "reasoning_effort",
    "chat_template_kwargs",
)  # the decoding settings that some models refuse
_NAME = rf"(?<![\w.])[`'\"]?(?P<name>{'|'.join(SETTINGS)})\b[`'\"]?"
_REFUSALS = tuple(  # of lower-cased messages
    re.compile(pattern)
    for pattern in (
        rf"{_NAME} (?:parameter )?(?:is|are) (?:deprecated|unsupported|not (?:supported|allowed|permitted|available))",
        rf"{_NAME} does(?: not|n't) support",
        rf"(?:does not|doesn't|not) support(?: the)?(?: parameter| value)?:? {_NAME}",
        r"(?:unsupported|unknown|unrecognized|deprecated|unexpected) (?:request )?(?:parameter|argument|value|field)s?"
        rf"(?: supplied)?:? {_NAME}",
        rf"{_NAME}(?: may| can| must)(?: only)? be (?:set to )?1\b",
        rf"{_NAME}: only \S+ is allowed",
        rf"{_NAME} cannot both be",  # the second of two settings that exclude each other
        rf"extra_forbidden.{{0,30}}'body', {_NAME}",
    )
)


def refused_setting(body: object) -> str:
    """Return the decoding setting (of SETTINGS) that a model refuses by the body of an error, else ""."""
    code, message = _code_and_message(body)
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    parameter = inner.get("param") if isinstance(inner, Mapping) else None
    if parameter in SETTINGS and code in ("unsupported_parameter", "unsupported_value", "unknown_parameter"):
        return str(parameter)
    found = next(filter(None, (pattern.search(message) for pattern in _REFUSALS)), None)
    return found["name"] if found else ""


def _code_and_message(body: object) -> tuple[str, str]:
    """Return an error body's `code` (or else its type) if it is in `_BY_CODE`, and its message; "" if absent.

    Both are lower-cased.
    """
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping | str):
        body = body["error"]
    if isinstance(body, Mapping):
        codes = [str(body.get(name) or "").lower() for name in ("code", "type")]
        message = str(body.get("message") or body.get("detail") or "").lower()
        return next((code for code in codes if code in _BY_CODE), ""), message
    return "", str(body or "").lower()
