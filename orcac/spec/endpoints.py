"""Rules for teachers' endpoints: addresses that cannot be asked, texts that would be sent unexpanded, and arguments of
servers that only the user may allow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orcac.chat.address import find_mistake
from orcac.chat.endpoints.arguments import find_mistakes
from orcac.spec.finding import Finding
from orcac.spec.problems import SpecPath
from orcac.spec.schema import OpenAIEndpoint, Teacher, VLLMEndpoint

__all__ = ["check_endpoint"]

_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?")


def check_endpoint(path: SpecPath, teacher: Teacher) -> Iterator[Finding]:
    """Yield findings on the model and the address of a teacher; `path` leads to the teacher."""
    if _VARIABLE.search(teacher.model):
        yield Finding((*path, "model"), _describe_variable("model", "write the name of the model itself"))
    endpoint = teacher.endpoint
    if isinstance(endpoint, VLLMEndpoint):
        for word, reason in find_mistakes(teacher.model, endpoint.arguments):
            is_model = word == "model"
            yield Finding((*path, "model") if is_model else (*path, "endpoint", "arguments"), reason)
    if not isinstance(endpoint, OpenAIEndpoint) or endpoint.base_url is None:
        return
    at = (*path, "endpoint", "base_url")
    if _VARIABLE.search(endpoint.base_url):
        variable = "AZURE_OPENAI_ENDPOINT" if endpoint.azure else "OPENAI_BASE_URL"
        fix = f"write the address itself, or leave `base_url` out and set {variable}"
        yield Finding(at, _describe_variable("base_url", fix))
    elif mistake := find_mistake(endpoint.base_url):
        yield Finding(at, f"{mistake.problem}; {mistake.fix}")


def _describe_variable(field: str, fix: str) -> str:
    return f"environment variables are put into paths only, so `{field}` would be sent as it is written; {fix}"
