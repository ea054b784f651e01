"""Tests of orcac/chat/endpoints/client.py."""

from __future__ import annotations

import pytest

from orcac.chat.endpoints.client import NO_KEY, make_client
from orcac.chat.settings import Azure, EndpointSettings

LOCAL = EndpointSettings(kind="openai", api_key_env="MY_KEY", base_url="http://127.0.0.1:8000/v1")


def test_a_client_sends_the_key_and_never_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    assert make_client(LOCAL).api_key == NO_KEY
    monkeypatch.setenv("MY_KEY", "k\n")
    client = make_client(LOCAL)
    assert (client.api_key, client.max_retries, str(client.base_url)) == ("k", 0, "http://127.0.0.1:8000/v1/")


def test_a_client_of_azure_prefers_the_key_to_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = LOCAL.model_copy(update={"azure": Azure(api_version="2024-10-21")})
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "t")
    assert make_client(settings)._azure_ad_token == "t"  # type: ignore[attr-defined]
    monkeypatch.setenv("MY_KEY", "k")
    client = make_client(settings)
    assert client.api_key == "k" and client._azure_ad_token is None  # type: ignore[attr-defined]
