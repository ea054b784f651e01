"""The classes of failure of a request, and their consequences for the request and for the run.

Errors are a small set of named classes (`ERRORS`). Servers word theirs in many ways; `error_body` reads their forms,
`classify` is the only function that judges their words, and all other code looks at the class alone.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import NamedTuple

from orcac.chat.address import is_loopback, lacks_path, suggest_v1
from orcac.chat.error_body import ErrorBody, read_error
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
    "unreachable": ErrorClass(
        Action.RETRY,
        transient=True,
        fix="start the server (`ready_within` waits for one), or correct the endpoint's base_url",
    ),
    "dropped": ErrorClass(Action.RETRY, may_be_answered=True, fix="find the cause in the server's log"),
    "timeout": ErrorClass(Action.RETRY, may_be_answered=True, attempts=4, fix="raise the endpoint's `timeout`"),
    "malformed": ErrorClass(Action.RETRY, may_be_answered=True, attempts=4, fix="check which server base_url reaches"),
    "empty": ErrorClass(Action.RETRY, attempts=4, fix="find the cause in the server's log: its answers have no text"),
    "server": ErrorClass(
        Action.RETRY, transient=True, fix="find the cause in the server's log or on the provider's status page"
    ),
    "too_large": ErrorClass(
        Action.GIVE_UP,
        fix="lower the teacher's `max_tokens`, leave out the longest queries, or raise the limit of the account or "
        "of the proxy",
    ),
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
    "cap_too_small": ErrorClass(
        Action.GIVE_UP, fix="raise the teacher's `max_tokens`, or limit its reasoning (`sampling.extra`)"
    ),
    "cap_too_large": ErrorClass(
        Action.STOP, fix="lower the teacher's `max_tokens` to the largest value that the model accepts"
    ),
    "unsupported_role": ErrorClass(
        Action.STOP,
        fix="set the teacher's `system_role`: `none` folds the system message into the user's turn; `user` and "
        "`developer` send it under that role",
    ),
}


def fix_of(error: str, *, key: str, setting: str = "", address: str = "") -> str:
    """Return the advice for an error class.

    key: names the variable of the API key
    setting: the refused setting, if there is one
    address: of the server, if it has one
    """
    if error == "unsupported" and setting:
        return f"remove `{setting}` from the teacher's sampling, or give it the value that the model accepts"
    if error in ("not_found", "malformed") and address.startswith("http") and lacks_path(address):
        return f"write base_url as {suggest_v1(address)}: it has no path, and most servers answer under /v1"
    if error == "unreachable" and address.startswith("https") and is_loopback(address):
        return "start the server, or write http:// in base_url: few servers on the own machine speak https"
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


# A class that a code states, whatever the status is.
_BY_CODE = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "invalid_api_key": "auth",
    "api_key_invalid": "auth",
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
    405: "not_found",  # of a web server that only serves pages at this address
    408: "timeout",
    409: "server",
    499: "server",
    413: "too_large",
    425: "server",
    429: "rate_limit",
    504: "timeout",  # from a gateway, so the model may have answered
    524: "timeout",
}
# The status that an error means which arrived with status 200 and states none: by its code, else by its words.
_STATUS_OF = {
    "authentication_error": 401,
    "unauthenticated": 401,
    "unauthorized": 401,
    "insufficient_credits": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "forbidden": 403,
    "not_found_error": 404,
    "not_found": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "too many requests": 429,
    "unexpected endpoint": 404,  # of LM Studio, with status 200
    "rate limit": 429,
    "rate-limit": 429,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "badrequesterror": 400,
    "validation": 422,  # of Text Generation Inference, as are the next two
    "template_error": 422,
    "overloaded": 429,
}
_BAD = (400, 413, 422)
_REFUSED = (400, 404, 413, 422, 500, 501)  # some servers fail where they should refuse a role
_KEY = r"api[ _-]?key"
_SHOULD_BE = r"(?:\bmsg)? ?(?:input |value |it )?(?:must|should|has to|needs to) be"
_OUTPUT_CAP = r"\bmax_(?:completion_|output_|new_)?tokens\b"
# For bodies without a known code: words of the lower-cased text, and the statuses with which they mean the class. The
# first match decides.
_BY_WORDS: tuple[tuple[re.Pattern[str], tuple[int, ...], str], ...] = tuple(
    (re.compile(words), statuses, name)
    for words, statuses, name in (
        (r"request (?:entity )?too large|payload (?:too large|size exceeds)", (*_BAD, 429), "too_large"),
        (r"retry after 86400 seconds", (429,), "too_large"),  # Azure's wording for a request that fits into no minute
        (r"exceeded your current quota|reached your specified api usage limit", (400, 403, 429), "quota"),
        (r"out of call volume quota", (403,), "quota"),
        (r"(?:insufficient|not enough|no) (?:account )?(?:balance|credit|fund)", (400, 403, 429), "quota"),
        (r"(?:credit|account) balance is (?:too low|insufficient)", (400, 403, 429), "quota"),
        (rf"(?:invalid|incorrect|missing|wrong|expired|malformed) {_KEY}", (400, 403), "auth"),
        (rf"{_KEY} (?:is |was |has )?(?:not valid|not found|invalid|incorrect|missing)", (400, 403), "auth"),
        (rf"{_KEY} (?:is |was |has )?(?:expired|reported|revoked|disabled)", (400, 403), "auth"),
        (r"not authenticated|authentication (?:failed|required)|no auth\w{0,11} credentials", (400, 403), "auth"),
        (r"context (?:length|window|limit|size)", _BAD, "context_overflow"),
        (r"maximum model length|max_model_len", _BAD, "context_overflow"),
        (r"must be at least 1, got -", _BAD, "context_overflow"),  # vLLM: a prompt without room for the answer
        (r"`inputs` tokens \+|`inputs` must have less than", _BAD, "context_overflow"),
        (r"(?:prompt|input|request|messages?) (?:is|are) too (?:long|large)", _BAD, "context_overflow"),
        (r"too many (?:input |prompt )?tokens|input token count", _BAD, "context_overflow"),
        (r"exceeds? the (?:maximum|max|model'?s?) (?:\w+ ){0,3}tokens", _BAD, "context_overflow"),
        (r"tokens(?: \(\d+\))? exceeds? (?:the )?context", (500,), "context_overflow"),  # llama-cpp-python
        (
            r"content management policy|(?:input|prompt|content) was flagged|safety system",
            (*_BAD, 403),
            "content_filter",
        ),
        (r"max_tokens or model output limit was reached", _BAD, "cap_too_small"),
        (rf"{_OUTPUT_CAP}.{{0,40}}\b(?:below|under|less than) (?:the |its )?min", _BAD, "cap_too_small"),
        (rf"{_OUTPUT_CAP}\W*{_SHOULD_BE} (?:greater|larger|more|higher|at least|>)", _BAD, "cap_too_small"),
        (rf"budget(?:_tokens)?\W*{_SHOULD_BE} (?:less|smaller|lower|<)\D{{0,12}}{_OUTPUT_CAP}", _BAD, "cap_too_small"),
        (rf"{_OUTPUT_CAP}\W* (?:is |was )?too (?:small|low|short)", _BAD, "cap_too_small"),
        (rf"(?:increase|raise|higher|larger) (?:the )?\W?{_OUTPUT_CAP}", _BAD, "cap_too_small"),
        (
            rf"range of {_OUTPUT_CAP}|{_OUTPUT_CAP}\W*{_SHOULD_BE} (?:less|smaller|at most|<)",
            _BAD,
            "cap_too_large",
        ),
        (rf"{_OUTPUT_CAP}\W* (?:is |was )?too (?:large|high|big|long)", _BAD, "cap_too_large"),
        (
            r"maximum allowed number of output tokens|supports at most \d+ (?:completion|output) tokens",
            _BAD,
            "cap_too_large",
        ),
        (r"unrecognized request argument|unsupported parameter|supports at most", _BAD, "unsupported"),
        (r"api version not supported", _BAD, "not_found"),
        (r"maximum pending requests|queue is full", (503,), "rate_limit"),
    )
)
# The roles of messages that a server refuses. A request has a message of the system and one of the user, so an error
# about a role, or about their order, concerns the first.
_ROLE = r"(?:system|developer)"
_ROLE_REFUSALS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_ROLE}\b['\"`]?(?: (?:role|message|prompt|instruction)s?)? (?:is |are )?(?:currently )?"
        r"(?:not|un|in)[ -]?(?:supported|allowed|enabled|permitted|accepted|available|valid)",
        rf"(?:not|n't|cannot) (?:support|accept|allow)(?: the| any| a)? ['\"`]?{_ROLE}['\"`]?"
        r"(?: (?:role|message|prompt|instruction)s?| with this model)?",
        rf"(?:unknown variant|received) ['\"`]?{_ROLE}\b",
        rf"\b{_ROLE}['\"`]? is not one of",
        rf"(?:unexpected|invalid|unsupported|unknown|unrecognized) (?:message )?role\W{{1,4}}{_ROLE}\b",
        rf"\brole\W{{1,4}}{_ROLE}\W{{1,4}}(?:is )?(?:not|un|in)",
        r"messages?\W{1,3}\d+\W{1,3}role\b",
        r"(?:discriminator )?property 'role' has invalid",
        r"only user(?:,| and| or) (?:assistant|model)(?: and \w+)? roles",
        r"unexpected message role|roles must alternate",
    )
)
LONGEST_WAIT_S = 600.0  # a 429 that names a longer wait is judged by its words


def classify(
    status: int | None, body: object = None, exception: Exception | None = None, *, retry_after: float | None = None
) -> str:
    """Return the error class of a failed call, a key of `ERRORS`.

    `status` and `body` are those of the HTTP response; the body is parsed JSON, with or without its outer `error`, or
    text. An error that arrived with status 200, in the body or in a choice, counts as the status that it states or
    means. `retry_after` is the wait in seconds that the headers ask for. Without a status, `exception` decides:
    TimeoutError; ConnectionRefusedError if nothing was sent; ConnectionError if the connection broke; ValueError if the
    response could not be read.
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
    error = read_error(body)
    if status < 300:
        status = error.status or _infer_status(error, body)
    if status in _REFUSED and _refuses_role(error):
        return "unsupported_role"
    by_words = _class_by_words(error, status)
    if status == 429 and by_words != "too_large":
        wait = error.wait_s if retry_after is None else retry_after
        if wait and wait <= LONGEST_WAIT_S:
            return "rate_limit"
    if code := next((code for code in error.codes if code in _BY_CODE), ""):
        return "cap_too_small" if by_words == "cap_too_small" else _BY_CODE[code]
    if by_words:
        return by_words
    if status in _BAD and refused_setting(body):
        return "unsupported"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:  # a redirect
        return "not_found"
    return "server" if status >= 500 else "bad_request"


def _infer_status(error: ErrorBody, body: object) -> int:
    """Return the HTTP status that an error without one means, 500 if it gives no sign."""
    for code in error.codes:
        if code in _STATUS_OF:
            return _STATUS_OF[code]
        if code in _BY_CODE:
            return 400
    found = next((status for words, status in _STATUS_OF.items() if words in error.text), 0)
    return found or (400 if _class_by_words(error, 400) or refused_setting(body) else 500)


def _class_by_words(error: ErrorBody, status: int) -> str:
    """Return the class that the words of an error mean under a status, "" if they mean none."""
    return next((name for words, statuses, name in _BY_WORDS if status in statuses and words.search(error.text)), "")


def _refuses_role(error: ErrorBody) -> bool:
    """Return True if an error refuses the role of a message."""
    return any(pattern.search(error.text) for pattern in _ROLE_REFUSALS)


SETTINGS = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "reasoning_effort",
    "chat_template_kwargs",
)  # the decoding settings that some models refuse
REASONING_LIMIT = "reasoning limit"  # a setting that no server has
OMISSIBLE = frozenset({*SETTINGS, REASONING_LIMIT})
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
        rf"extra_forbidden.{{0,10}}body\.(?P<name>{'|'.join(SETTINGS)})\b",
    )
)


def refused_setting(body: object) -> str:
    """Return the decoding setting (of SETTINGS) that a model refuses by the body of an error, else ""."""
    error = read_error(body)
    refusals = ("unsupported_parameter", "unsupported_value", "unknown_parameter")
    if error.parameter in SETTINGS and any(code in refusals for code in error.codes):
        return error.parameter
    found = next(filter(None, (pattern.search(error.text) for pattern in _REFUSALS)), None)
    return found["name"] if found else ""
