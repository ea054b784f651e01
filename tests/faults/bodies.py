"""Error responses of OpenAI's and Azure's APIs as they were observed, as (status, body)."""

from __future__ import annotations


def _openai(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


BODIES: dict[str, tuple[int, object]] = {
    "429": (429, _openai("Rate limit reached for requests", "requests", "rate_limit_exceeded")),
    "quota": (
        429,
        _openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
    ),
    "minute quota": (
        429,
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota.",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{"retryDelay": "0.2s"}],
                }
            }
        ],
    ),
    "system role": (400, {"object": "error", "message": "System role not supported", "code": 400}),
    "500": (500, _openai("The server had an error while processing your request", "server_error")),
    "503": (503, _openai("The engine is currently overloaded, please try again later", "server_error")),
    "400": (
        400,
        _openai(
            "This model's maximum context length is 4097 tokens.",
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        ),
    ),
    "403": (403, _openai("Country, region, or territory not supported", "request_forbidden", "unsupported_country")),
    "404": (404, _openai("The model `m` does not exist", "invalid_request_error", "model_not_found")),
    "422": (422, _openai("Extra inputs are not permitted: top_k", "invalid_request_error")),
    "422 with the question": (
        422,
        _openai("Extra inputs are not permitted: top_k, in 'You wait 20 minutes for a bus'", "invalid_request_error"),
    ),
    "azure filter": (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
                "policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
                },
            }
        },
    ),
}

_NOT_KNOWN = "Unsupported parameter: '%s' is not supported with this model."
REFUSED = {  # the responses of reasoning models to a parameter, by its name
    "max_tokens": (
        400,
        _openai(
            _NOT_KNOWN % "max_tokens" + " Use 'max_completion_tokens' instead.",
            "invalid_request_error",
            "unsupported_parameter",
            "max_tokens",
        ),
    ),
    "top_p": (400, _openai(_NOT_KNOWN % "top_p", "invalid_request_error", "unsupported_parameter", "top_p")),
}
FIXED = {  # the refusals of models with a fixed sampling, by parameter
    "temperature": {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."},
    },
    "top_p": _openai("This model does not support top_p.", "invalid_request_error"),
}
