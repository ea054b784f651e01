"""Tests of orcac/chat/address.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from faults import FaultServer
from jobs import IN_FLIGHT, collect_job, write_prompts

from orcac.chat.address import find_mistake
from orcac.chat.failures import fix_of
from orcac.collect.run import run
from orcac.errors import EndpointError


@pytest.mark.parametrize(
    ("base_url", "problem", "fix"),
    [
        ("https://host/v1?key=tulip", "query", "remove the ?"),
        ("localhost:8000/v1", "not a web address: 'localhost:8000/v1'", "http:// or https:// in front"),
        ("http://host:99999/v1", "not a web address", "http://"),
        ("http://host/v 1", "not a web address", "without white space"),
        ("http://ana:tulip@host:x/v1", "not a web address: 'host:x/v1'", "http://"),
        ("http://ana:tulip@host/v1/chat/completions", "ends in /chat/completions", "write http://host/v1"),
        ("http://host/v1/completions/", "ends in /completions/", "write http://host/v1"),
        ("http://host/v1/models", "ends in /models", "write http://host/v1"),
    ],
)
def test_mistakes_in_an_address_are_named_without_its_password(base_url: str, problem: str, fix: str) -> None:
    mistake = find_mistake(base_url)
    assert mistake and problem in mistake.problem and fix in mistake.fix
    assert "tulip" not in "".join(mistake)


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8000/v1", "https://host", "http://[::1]:8000/v1/", "https://host/models/v1"]
)
def test_addresses_of_servers_are_allowed(base_url: str) -> None:
    assert find_mistake(base_url) is None


@pytest.mark.parametrize(
    ("error", "address", "fix"),
    [
        ("not_found", "http://127.0.0.1:8000/", "write base_url as http://127.0.0.1:8000/v1"),
        ("malformed", "http://ana:tulip@host", "write base_url as http://host/v1"),
        ("not_found", "http://127.0.0.1:8000/v1/", "correct the teacher's model"),
        ("not_found", "vllm", "correct the teacher's model"),
        ("server", "http://127.0.0.1:8000/", "server's log"),
        ("unreachable", "https://localhost:8000/v1", "write http:// in base_url"),
        ("unreachable", "https://elsewhere/v1", "start the server"),
    ],
)
def test_the_advice_for_a_failure_depends_on_the_address(error: str, address: str, fix: str) -> None:
    assert fix in fix_of(error, key="MY_KEY", address=address)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "404 page not found"),
        (405, "<html>Not Allowed</html>"),
        (200, '{"error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"}'),
    ],
)
def test_a_missing_v1_is_named_before_the_other_prompts_are_sent(tmp_path: Path, status: int, body: str) -> None:
    sent: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        sent.append(request.path)
        return web.Response(status=status, text=body)

    def mount(app: web.Application) -> None:
        app.router.add_post("/chat/completions", refuse)

    write_prompts(tmp_path, 400)
    with FaultServer(mount=mount) as server:
        address = server.base_url.removesuffix("/v1")
        with pytest.raises(EndpointError) as caught:
            run(collect_job(tmp_path, address))
    assert caught.value.fix.startswith(f"write base_url as {address}/v1")
    assert 0 < len(sent) <= IN_FLIGHT
