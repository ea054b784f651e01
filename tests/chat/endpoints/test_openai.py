"""Tests of orcac/chat/endpoints/openai.py, over sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from faults import FaultServer, Limits
from patience import PATIENCE_S

from orcac.chat.endpoints.openai import connect, connect_to
from orcac.chat.failures import ERRORS, Action, ChatError, fix_of
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Azure, EndpointSettings, Sampling


def request(**sampling: Any) -> ChatRequest:
    messages = conversation(system="Think.", user="q")
    return ChatRequest(model="m", messages=messages, sampling=Sampling(**sampling), origin="api")


def test_rates_come_with_answers_and_errors() -> None:
    limits = Limits(requests_per_minute=2, tokens_per_minute=2_000, burst_s=60)  # a slow machine sees no refill
    with FaultServer(limits=limits) as server:
        first = ask(server.base_url)
        assert first.rates and first.rates.requests_limit == 2 and first.rates.requests_remaining == 1
        assert first.rates.tokens_limit == 2_000 and first.rates.tokens_remaining == 2000 - 7 - 1024
        assert first.rates.requests_reset_s and 0 < first.rates.requests_reset_s <= 30
        with pytest.raises(ChatError) as caught:
            for _ in range(3):
                ask(server.base_url)
        assert caught.value.error == "rate_limit" and caught.value.rates
        assert caught.value.retry_after and 0 < caught.value.retry_after <= 30
    with FaultServer() as server:
        assert ask(server.base_url).rates is None


def ask(base_url: str, *, timeout_s: float = PATIENCE_S) -> ChatResponse:
    async def go() -> ChatResponse:
        async with connect_to(base_url, timeout_s=timeout_s) as endpoint:
            return await endpoint.complete(request())

    return asyncio.run(go())


def test_an_answer_over_a_socket() -> None:
    with FaultServer() as server:
        answer = ask(server.base_url)
    assert (answer.text, answer.finish_reason) == ("answer to q", "stop")
    assert (answer.input_tokens, answer.output_tokens) == (7, 11)


@pytest.mark.parametrize(
    ("fault", "error", "retry_after"),
    [
        ("429", "rate_limit", None),
        ("429 with Retry-After", "rate_limit", 0.2),
        ("500", "server", None),
        ("429 with retry-after-ms", "rate_limit", 0.2),
        ("quota", "quota", None),
        ("503", "server", None),
        ("malformed", "malformed", None),
        ("page", "malformed", None),
        ("dropped", "dropped", None),
        ("dropped midway", "dropped", None),
        ("403", "forbidden", None),
        ("404", "not_found", None),
        ("azure filter", "content_filter", None),
        ("400", "context_overflow", None),
        ("401", "auth", None),
        ("422", "bad_request", None),
        ("422 with the question", "bad_request", None),  # its words ask for no wait
    ],
)
def test_failures_over_a_socket(fault: Any, error: str, retry_after: float | None) -> None:
    with FaultServer(lambda question, before: fault) as server, pytest.raises(ChatError) as caught:
        ask(server.base_url)
    assert (caught.value.error, caught.value.retry_after) == (error, retry_after)


@pytest.mark.parametrize("fault", ["uncounted", "miscounted", "half counted", "not counted", "overcounted"])
def test_an_answer_with_no_usage_or_a_wrong_one_is_an_answer(fault: Any) -> None:
    with FaultServer(lambda question, before: fault) as server:
        answer = ask(server.base_url)
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("answer to q", 0, 0)


def test_a_filtered_answer_is_an_answer_with_its_finish_reason() -> None:
    with FaultServer(lambda question, before: "filter") as server:
        answer = ask(server.base_url)
    assert (answer.text, answer.finish_reason) == ("", "content_filter")


def test_a_slow_first_byte_is_a_timeout() -> None:
    with FaultServer(lambda question, before: "slow", slow_s=PATIENCE_S) as server, pytest.raises(ChatError) as caught:
        ask(server.base_url, timeout_s=0.1)
    assert caught.value.error == "timeout"


def test_a_slow_answer_is_a_timeout() -> None:
    with FaultServer(latency_s=PATIENCE_S) as server, pytest.raises(ChatError, match=r"no answer in 0.1 s") as caught:
        ask(server.base_url, timeout_s=0.1)
    assert caught.value.error == "timeout"


def test_a_port_without_a_server_is_unreachable() -> None:
    with pytest.raises(ChatError) as caught:
        ask("http://127.0.0.1:9/v1")
    assert caught.value.error == "unreachable"


def test_loopback_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FaultServer() as server:
        assert ask(server.base_url).text


def test_connections_are_kept() -> None:
    peers: set[object] = set()

    def behaviour(question: str, before: int) -> Any:
        assert server.last_request and server.last_request.transport
        peers.add(server.last_request.transport.get_extra_info("peername"))
        return ""

    async def go(base_url: str) -> None:
        async with connect_to(base_url, timeout_s=PATIENCE_S) as endpoint:
            for _ in range(5):
                await endpoint.complete(request())

    with FaultServer(behaviour) as server:
        asyncio.run(go(server.base_url))
    assert len(peers) == 1


@pytest.mark.parametrize("status", [301, 308])
def test_a_redirect_is_not_followed_and_stops_everything(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with FaultServer() as other:

        async def elsewhere(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{other.base_url}/chat/completions?k=sk-secret"})

        with (
            FaultServer(mount=lambda app: app.router.add_post("/v2/chat/completions", elsewhere)) as server,
            pytest.raises(ChatError, match=f"HTTP {status}.*{other.base_url}") as caught,
        ):
            ask_with_key(server.base_url.replace("/v1", "/v2"))
        assert caught.value.error == "not_found" and ERRORS["not_found"].action is Action.STOP
        assert "secret" not in str(caught.value) and other.last_request is None


def test_the_openai_packages_variables_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
        monkeypatch.setenv("MY_KEY", "sk-1")
        assert ask_with_key().text == "answer to q"
        assert server.last_request
        headers = server.last_request.headers
        assert headers["Authorization"] == "Bearer sk-1"
        assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-1", "proj_1")
        assert headers["User-Agent"].startswith("AsyncOpenAI/") and headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("deployment", "path"), [(None, "m"), ("of-mine", "of-mine")])
def test_azure(deployment: str | None, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EndpointSettings(
        kind="openai", api_key_env="MY_KEY", azure=Azure(api_version="2024-10-21", deployment=deployment)
    )
    monkeypatch.setenv("MY_KEY", "azure-secret")
    with FaultServer() as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.base_url.removesuffix("v1"))
        assert ask_with_key(settings=settings).text == "answer to q"
        assert server.last_request
        assert server.last_request.path_qs == f"/openai/deployments/{path}/chat/completions?api-version=2024-10-21"
        headers = server.last_request.headers
        assert headers["api-key"] == "azure-secret" and "Authorization" not in headers
    with FaultServer(lambda question, before: "401") as server, pytest.raises(ChatError, match=r"\*\*\*") as caught:
        ask_with_key(settings=settings.model_copy(update={"base_url": server.base_url.removesuffix("/v1")}))
    assert caught.value.error == "auth" and "secret" not in str(caught.value)


def test_azure_accepts_a_token_of_entra_id_if_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EndpointSettings(kind="openai", api_key_env="MY_KEY", azure=Azure(api_version="2024-10-21"))
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "entra-token")
    with FaultServer() as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.base_url.removesuffix("v1"))
        assert ask_with_key(settings=settings).text == "answer to q"
        assert server.last_request and server.last_request.headers["Authorization"] == "Bearer entra-token"
        monkeypatch.setenv("MY_KEY", "a-key")
        assert ask_with_key(settings=settings).text == "answer to q"
        assert server.last_request.headers["api-key"] == "a-key" and "Authorization" not in server.last_request.headers
    monkeypatch.delenv("MY_KEY")
    with FaultServer(lambda question, before: "401") as server, pytest.raises(ChatError, match=r"\*\*\*") as caught:
        ask_with_key(settings=settings.model_copy(update={"base_url": server.base_url.removesuffix("/v1")}))
    assert "entra" not in str(caught.value)


def test_a_model_that_refuses_a_parameter_is_asked_without_it_from_then_on() -> None:
    async def go(sampling: Sampling) -> tuple[list[str], list[set[str]]]:
        settings = EndpointSettings(kind="openai", base_url=server.base_url)
        texts, sent = [], []
        async with connect(settings) as endpoint:
            for number in range(2):
                asked = ChatRequest(
                    model="m", messages=conversation(system="", user=f"q{number}"), sampling=sampling, origin="api"
                )
                texts.append((await endpoint.complete(asked)).text)
                sent.append(set(json.loads(await server.last_request.read())))
        return texts, sent

    with FaultServer(lambda question, before: "reasoning") as server:
        texts, sent = asyncio.run(go(Sampling(max_tokens=50)))
        assert texts == ["answer to q0", "answer to q1"]
        assert sent == [{"model", "messages", "temperature", "max_completion_tokens"}] * 2
        assert (server.asked["q0"], server.asked["q1"]) == (3, 1), "max_tokens and top_p were refused once"
        with pytest.raises(ChatError, match="'top_p' is not supported") as caught:
            asyncio.run(go(Sampling(top_p=0.5)))
        assert caught.value.error == "unsupported", "what determines the answer is not left out"


def ask_at(base_url: str, sampling: Sampling, *, may_omit: bool) -> list[ChatResponse]:
    """Return the responses to two questions."""

    async def go() -> list[ChatResponse]:
        settings = EndpointSettings(kind="openai", base_url=base_url, may_omit=may_omit)
        async with connect(settings) as endpoint:
            return [
                await endpoint.complete(
                    ChatRequest(model="m", messages=conversation(system="", user=q), sampling=sampling, origin="api")
                )
                for q in ("q0", "q1")
            ]

    return asyncio.run(go())


def test_a_baseline_with_a_fixed_sampling_is_asked_as_it_allows_and_marked() -> None:
    with FaultServer(lambda question, before: "fixed sampling") as server:
        answers = ask_at(server.base_url, Sampling(temperature=0, top_p=0.9, seed=3), may_omit=True)
        assert [answer.text for answer in answers] == ["answer to q0", "answer to q1"]
        assert [answer.omitted for answer in answers] == [("temperature", "top_p")] * 2
        assert (server.asked["q0"], server.asked["q1"]) == (3, 1), "each refusal is met once"
        neutral, _ = ask_at(server.base_url, Sampling(), may_omit=True)
        assert neutral.omitted == (), "1 is what the model does without the setting"


def test_a_teacher_with_a_fixed_sampling_is_refused_by_the_name_of_the_setting() -> None:
    with FaultServer(lambda question, before: "fixed sampling") as server, pytest.raises(ChatError) as caught:
        ask_at(server.base_url, Sampling(temperature=0), may_omit=False)
    assert (caught.value.error, caught.value.setting) == ("unsupported", "temperature")
    assert fix_of("unsupported", key="K", setting="temperature").startswith("remove `temperature` from the teacher's")


def test_a_proxy_of_the_environment_is_used_and_its_password_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MY_KEY", "sk-1")
    with FaultServer() as proxy:  # it is asked for the whole address, and answers in the name of the other
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        assert ask_with_key("http://teacher.invalid/v1").text == "answer to q"
        assert proxy.last_request and proxy.last_request.headers["Host"] == "teacher.invalid"
    monkeypatch.setenv("HTTP_PROXY", "http://me:pass-word@127.0.0.1:9")
    with pytest.raises(ChatError) as caught:
        ask_with_key("http://teacher.invalid/v1")
    assert caught.value.error == "unreachable" and "pass-word" not in str(caught.value)


def ask_with_key(base_url: str | None = None, *, settings: EndpointSettings | None = None) -> ChatResponse:
    settings = settings or EndpointSettings(kind="openai", api_key_env="MY_KEY", base_url=base_url)

    async def go() -> ChatResponse:
        async with connect(settings) as endpoint:
            return await endpoint.complete(request())

    return asyncio.run(go())


@pytest.mark.parametrize("key", ["sk-secret", "sk-sec\\ret'"])
def test_the_key_is_masked_in_every_message(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {key}\n")
    with FaultServer() as server:
        assert ask_with_key(server.base_url).text
    with FaultServer(lambda question, before: "401") as server, pytest.raises(ChatError, match=r"\*\*\*") as caught:
        ask_with_key(server.base_url)
    assert "sec" not in str(caught.value)
    for text in (f"Illegal header value {key!r}", f"not a chat completion: {'x' * 290}{key}"):
        monkeypatch.setattr("aiohttp.BytesPayload", lambda _, text=text: (_ for _ in ()).throw(ValueError(text)))
        with pytest.raises(ChatError) as caught:
            ask_with_key("http://127.0.0.1:9/v1")
        assert "sk-" not in str(caught.value)


def test_long_values_of_other_headers_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "k")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-flag: 0\nx-gateway: pass-word")

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401, text="0, k and pass-word")

    with (
        FaultServer(mount=lambda app: app.router.add_post("/v2/chat/completions", refuse)) as server,
        pytest.raises(ChatError) as caught,
    ):
        ask_with_key(server.base_url.replace("/v1", "/v2"))
    assert str(caught.value) == "HTTP 401: 0, *** and ***"


def test_a_request_that_cannot_leave_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org\n")
    with FaultServer() as server, pytest.raises(ChatError, match="header") as caught:
        ask(server.base_url)
    assert caught.value.error == "unsendable" and ERRORS["unsendable"].action is Action.STOP
    assert not server.asked
