"""The settings with which a bucket of the tests is reached."""

from __future__ import annotations

import pytest


def set_keys(patch: pytest.MonkeyPatch, address: str) -> None:
    """Let the libraries of S3 find the server at `address` and its keys."""
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", "the-id")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
