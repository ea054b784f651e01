"""The spec whose artifacts are pushed, and the settings with which a bucket of the tests is reached."""

from __future__ import annotations

import pytest

SPEC = """\
orcac: 1
name: survey
queries: {counting: {format: puzzles, task: object_counting, size: [2, 4], take: 12}}
teachers: {solver: {model: expert, endpoint: {kind: solver}}}
datasets: {all: {teacher: solver, queries: [counting]}}
"""


def set_keys(patch: pytest.MonkeyPatch, address: str) -> None:
    """Let the libraries of S3 find the server at `address` and its keys."""
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", "the-id")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
