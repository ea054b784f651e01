"""Tests of orcac/chat/endpoints/solver.py and orcac/chat/endpoints/judge.py."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from patience import PATIENCE_S

from orcac.chat.endpoints.solver import CANNOT, SolverServer
from orcac.slots import fill_slots

QUERY = "True and not ( False or True ) or False is"
STEPS = "Think step by step."


def ask(use: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
    """Return the result of `use` with a client of a fresh server."""

    async def run() -> Any:
        async with (
            SolverServer() as server,
            openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client,
        ):
            return await use(client)

    return asyncio.run(run())


def complete(query: str = QUERY, system: str = "", model: str = "expert", **more: Any) -> Any:
    messages: list[Any] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": query})
    return ask(lambda client: client.chat.completions.create(model=model, messages=messages, **more))


def test_it_answers_as_the_system_message_asks() -> None:
    assert complete().choices[0].message.content == "False"
    explained = complete(system=STEPS)
    text = explained.choices[0].message.content
    assert text.startswith("( False or True ) is True\n= True and not True or False\n")
    assert text.endswith("\nSo the answer is False.")
    assert explained.choices[0].finish_reason == "stop"
    assert (explained.object, explained.created, explained.model) == ("chat.completion", 0, "expert")
    assert explained.usage.prompt_tokens == 16  # 5 of the system message, 11 of the query
    assert explained.usage.total_tokens == 16 + explained.usage.completion_tokens


def test_the_model_is_the_skill_and_the_error_rate_the_assistants() -> None:
    def last(model: str, error_rate: float) -> str:
        answer = complete(system=STEPS, model=model, extra_body={"error_rate": error_rate})
        return answer.choices[0].message.content.splitlines()[-1]

    assert last("assistant", 0.0) == "So the answer is False."
    assert last("assistant", 1.0) == "So the answer is True."
    assert last("expert", 1.0) == "So the answer is False."


def test_an_assistant_of_a_full_rate_varies_its_length_with_the_seed() -> None:
    def explain(model: str, seed: int, **more: Any) -> str:
        answer = complete(system=STEPS, model=model, seed=seed, extra_body={"error_rate": 0.0} | more)
        return answer.choices[0].message.content

    brief, full = explain("assistant", 0), explain("expert", 0)
    assert len(brief) < len(full)
    assert {explain("assistant", seed, full_rate=0.5) for seed in range(8)} == {brief, full}
    assert {explain("assistant", seed) for seed in range(8)} == {brief}


def test_it_words_its_working_as_reasoning() -> None:
    def respond(system: str, model: str = "expert", **more: Any) -> tuple[str | None, str, int, str]:
        fields = {"reasoning": True} | more
        made = complete(system=system, model=model, extra_body=fields)
        choice, details = made.choices[0], made.usage.completion_tokens_details
        reasoning = getattr(choice.message, "reasoning_content", None)
        assert (details.reasoning_tokens if details else 0) <= made.usage.completion_tokens
        return reasoning, choice.message.content, made.usage.completion_tokens, choice.finish_reason

    explained = complete(system=STEPS)
    working, _, conclusion = explained.choices[0].message.content.rpartition("\n")
    tokens = explained.usage.completion_tokens
    assert respond(STEPS) == (working, conclusion, tokens, "stop")
    assert respond("") == (working, "False", tokens - 5, "stop")
    assert (
        respond("", "assistant")[0]
        == complete(system=STEPS, model="assistant").choices[0].message.content.rpartition("\n")[0]
    )
    assert respond(STEPS, chat_template_kwargs={"enable_thinking": False}) == (
        None, f"{working}\n{conclusion}", tokens, "stop",
    )  # fmt: skip
    assert respond("", max_tokens=6) == ("( False or True ) is", "", 6, "length")
    assert respond(STEPS, max_tokens=tokens - 2) == (working, conclusion.removesuffix(" False."), tokens - 2, "length")


def test_the_same_request_has_the_same_bytes() -> None:
    async def bodies(client: openai.AsyncOpenAI) -> list[bytes]:
        message: Any = {"role": "user", "content": QUERY}
        raw = client.chat.completions.with_raw_response
        seeds = (3, 3, 4)
        return [
            (await raw.create(model="assistant", messages=[message], seed=seed, temperature=0.7)).content
            for seed in seeds
        ]

    first, again, other = ask(bodies)
    assert first == again == ask(bodies)[0]
    assert json.loads(first)["id"] != json.loads(other)["id"]


def test_the_id_of_a_response_does_not_change_with_a_later_field() -> None:
    assert complete(system=STEPS, model="assistant", seed=3).id == "chatcmpl-9fe162bc304feb741a86e980"
    at_default = complete(system=STEPS, model="assistant", seed=3, extra_body={"full_rate": 0.0})
    other = complete(system=STEPS, model="assistant", seed=3, extra_body={"full_rate": 0.5})
    assert at_default.id == "chatcmpl-9fe162bc304feb741a86e980" != other.id


def test_max_tokens_cuts_the_answer_and_sets_the_finish_reason() -> None:
    answer = complete(system=STEPS, max_tokens=6)
    assert answer.choices[0].message.content == "( False or True ) is"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 6
    assert complete(max_tokens=1).choices[0].finish_reason == "stop"


def test_an_answer_ends_before_a_stop_string() -> None:
    answer = complete(system=STEPS, stop=["nothing", " or True", "is"])
    assert answer.choices[0].message.content == "( False"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 2


def test_a_query_that_cannot_be_solved_gets_an_answer_that_says_so() -> None:
    answer = complete("Who wrote Faust?", system=STEPS)
    assert answer.choices[0].message.content == CANNOT
    assert answer.choices[0].finish_reason == "stop"


def test_it_lists_its_models() -> None:
    async def models(client: openai.AsyncOpenAI) -> list[str]:
        return [model.id async for model in client.models.list()]

    assert ask(models) == ["assistant", "expert", "judge"]


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(openai.NotFoundError) as error:
        complete(model="gpt-4")
    assert error.value.code == "model_not_found"
    assert "gpt-4" in error.value.message


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"extra_body": {"error_rate": 1.5}}, "error_rate"),
        ({"extra_body": {"error_rat": 0.1}}, "error_rat"),
        ({"extra_body": {"full_rate": -0.1}}, "full_rate"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"extra_body": {"stream": True}}, "stream"),
        ({"extra_body": {"messages": []}}, "messages"),
        ({"extra_body": {"messages": [{"role": "user"}]}}, "messages.0.content"),
        ({"extra_body": {"messages": [{"role": "robot", "content": ""}]}}, "messages.0.role"),
        ({"extra_body": {"messages": [{"role": "assistant", "content": "Hi"}]}}, "messages"),
    ],
)
def test_a_bad_request_is_refused_with_the_name_of_the_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        complete(**more)
    assert error.value.param == param
    assert error.value.type == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"model": "expert"}'])
def test_a_body_that_is_not_a_request_is_refused(body: bytes) -> None:
    def post(address: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    async def run() -> tuple[int, Any]:
        async with SolverServer() as server:
            return await asyncio.to_thread(post, urlsplit(server.base_url).netloc)

    status, answer = asyncio.run(run())
    assert status == 400
    assert answer["error"]["message"]


def test_the_command_reports_a_port_that_is_taken() -> None:
    async def run() -> subprocess.CompletedProcess[str]:
        async with SolverServer() as server:
            command = [
                sys.executable,
                "-m",
                "orcac.chat.endpoints.solver",
                "--port",
                str(urlsplit(server.base_url).port),
            ]
            return await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_S, env=os.environ
            )

    result = asyncio.run(run())
    assert result.returncode == 1
    assert "cannot serve on port" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_judge_reviews_the_answers_in_the_slots_with_the_biases_of_the_request() -> None:
    texts = {"question": QUERY, "answer_1": "True.", "answer_2": "So the answer is False."}
    prompt = fill_slots("{question}\n{answer_1}\n{answer_2}\nWrite two scores.", texts)

    def review(prompt: str, **biases: float) -> str:
        return str(complete(prompt, model="judge", extra_body=biases).choices[0].message.content)

    def points(**biases: float) -> tuple[float, ...]:
        return tuple(map(float, review(prompt, **biases).splitlines()[0].split()))

    first, second = points()
    assert second - first >= 2, "the second answer is right"
    assert points(first_bonus=1) == (first + 1, second)
    assert points(longer_bonus=0.5) == (first, second + 0.5)
    assert points(first_bonus=-9) == (1, second)
    assert not any(map(str.isdigit, review(prompt, prose_rate=1)))
    assert review(f"{prompt} End with a tuple.").endswith(f"({first:g}, {second:g})")
    assert review(f"{prompt} End with [[A]] or [[B]].").endswith("[[B]]")
    alone = fill_slots("{question}\n{answer}", {"question": QUERY, "answer": "So the answer is False."})
    assert review(alone).endswith("]]")
    assert review(QUERY) == CANNOT
