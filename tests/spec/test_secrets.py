"""Tests of orcac/spec/secrets.py: secrets are recognised and masked, and ordinary texts of a spec are left alone."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcac.spec.secrets import has_credentials, has_key, is_secret_name, mask

LETTERS = st.text(string.ascii_letters + string.digits, min_size=20, max_size=60)
PASSWORD = st.text(string.ascii_letters + string.digits + "%!$&*+-._~", min_size=5, max_size=30)


@given(
    LETTERS, st.sampled_from(["sk-", "sk-proj-", "hf_", "gsk_", "ghp_", "xai-", "AIza000000000000000", "github_pat_"])
)
def test_keys_of_providers_are_masked(rest: str, prefix: str) -> None:
    text = f'  gpt: {{model: m, note: "{prefix}{rest}", take: 3}}'
    assert has_key(text) and rest not in mask(text)
    assert len(mask(text)) == len(text) and mask(text).endswith('", take: 3}')


@given(PASSWORD, st.sampled_from(["http", "https", "postgres", "hf"]), st.sampled_from(["", ":8000"]))
def test_passwords_of_addresses_are_masked(password: str, scheme: str, port: str) -> None:
    text = f"{{base_url: '{scheme}://ana:{password}@host{port}/v1'}}"
    assert has_credentials(text) and f":{password}@" not in mask(text)
    assert mask(text).endswith(f"@host{port}/v1'}}")


@pytest.mark.parametrize(
    "text",
    [
        "api_key: tulip",
        "{X-Api-Key: 'tulip bed'}",
        '"password": "tulip"',
        "openai_api_key: tulip}",
        "authorization: Bearer tulip",
    ],
)
def test_values_under_secret_names_are_masked(text: str) -> None:
    assert "tulip" not in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "api_key_env: OPENAI_API_KEY, headers: {Authorization: TENANT_TOKEN}",
        "hf://Open-Orca/OpenOrca@main/1M-GPT4-Augmented.parquet",
        "http://localhost:8000/v1/users/@me",
        "max_tokens: 4096, tokenizer: {vocabulary: 400}, tokens: 3_000_000",
        "sklearn-classifiers and sk-1, hf_home, task-oriented, Basic arithmetic, a bearer of good news",
        "write to ana@example.org: the password is asked for",
    ],
)
def test_ordinary_texts_are_left_alone(text: str) -> None:
    assert not has_credentials(text) and not has_key(text)
    assert mask(text) == text or "password is" in text


def test_names_announce_secrets() -> None:
    for name in (
        "api_key",
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "Authorization",
        "db_password",
        "X-Api-Key",
        "AWS_SECRET_KEY",
    ):
        assert is_secret_name(name), name
    for name in ("DATA", "max_tokens", "tokenizer", "KEYBOARD", "query", "SMOLLM2", "stop_token_ids"):
        assert not is_secret_name(name), name
