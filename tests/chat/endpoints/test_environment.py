"""Tests of orcac/chat/endpoints/environment.py."""

from __future__ import annotations

import pytest

from orcac.chat.endpoints.environment import check_address, find_key, find_proxy, read_environment
from orcac.chat.settings import Azure, EndpointSettings
from orcac.errors import EndpointError

OPENAI = EndpointSettings(kind="openai", api_key_env="MY_KEY")
AZURE = OPENAI.model_copy(update={"azure": Azure(api_version="2024-10-21")})
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_AD_TOKEN", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("settings", "environment", "found"),
    [
        (OPENAI, {}, ("MY_KEY", "")),
        (OPENAI, {"MY_KEY": " k\n"}, ("MY_KEY", "k")),
        (OPENAI, {"AZURE_OPENAI_AD_TOKEN": "t"}, ("MY_KEY", "")),
        (AZURE, {"AZURE_OPENAI_AD_TOKEN": "t"}, ("AZURE_OPENAI_AD_TOKEN", "t")),
        (AZURE, {"AZURE_OPENAI_AD_TOKEN": "t", "MY_KEY": "k"}, ("MY_KEY", "k")),
    ],
)
def test_the_key_comes_from_the_environment(
    settings: EndpointSettings,
    environment: dict[str, str],
    found: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_key(settings) == found


def test_a_missing_key_is_an_error_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " \n")
    with pytest.raises(EndpointError, match="set MY_KEY, or give the endpoint a base_url"):
        read_environment(OPENAI)
    with pytest.raises(EndpointError, match="set MY_KEY, or AZURE_OPENAI_AD_TOKEN"):
        read_environment(AZURE)
    monkeypatch.setenv("MY_KEY", "k")
    with pytest.raises(EndpointError, match="or set AZURE_OPENAI_ENDPOINT"):
        read_environment(AZURE)


@pytest.mark.parametrize("key", ['"sk-secret"', "'sk-secret'", "$OTHER_KEY", "${OTHER_KEY}"])
def test_a_key_in_quotes_or_by_another_name_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`export MY_KEY=\\"sk-...\\"` keeps the quotes, and the server would refuse every request."""
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(EndpointError, match="no part of a key") as caught:
        read_environment(OPENAI)
    assert key[1:-1] not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-secret one", "sk-secret\none", "sk-secret\x00", "sk-secret-é"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"MY_KEY": key})  # a real environment cannot hold NUL
    with pytest.raises(EndpointError, match="set MY_KEY to the key alone") as caught:
        read_environment(OPENAI)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8000/v1", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://h:x/v1",
                "http://h:99999/v1", "http://h\x01/v1"]
)  # fmt: skip
def test_an_invalid_address_is_refused_without_its_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EndpointError, match="http:// or https://"):
        check_address(address)
    monkeypatch.setenv("MY_KEY", "sk-x")
    monkeypatch.setenv("OPENAI_BASE_URL", f"user:secret@{address}".replace("\x01", "\t"))
    with pytest.raises(EndpointError) as caught:
        read_environment(OPENAI)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://h/v1?code=secret", "http://h/v1#secret", "http://h/v1?a@secret", "h?secret"]
)
def test_an_address_with_a_query_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(EndpointError, match=r"remove the \? or #") as caught:
        check_address(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "p:1"}, "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "teacher.invalid"}, None),
    ],
)
def test_the_proxy_comes_from_the_environment(
    environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_proxy("http://teacher.invalid/v1") == proxy
    assert find_proxy("http://127.0.0.1:8000/v1") is None


def test_a_proxy_that_is_not_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(EndpointError, match=r"NO_PROXY to teacher\.invalid"):
        find_proxy("http://teacher.invalid/v1")
