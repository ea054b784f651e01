"""Tests of orcac/chat/endpoints/reader.py: bodies of real servers in `bodies.yaml`, read online and from a batch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch_runs import QUICK
from faults import FaultServer, Reply
from faults.batches import Batches
from hypothesis import given
from hypothesis import strategies as st
from jobs import collect_job, read_responses, run_collect, write_prompts

from orcac.chat.batch.results import parse_result
from orcac.chat.batch.tuning import Tuning
from orcac.chat.endpoints.reader import Unanswered, read_completion, read_content
from orcac.chat.failures import ERRORS, Action
from orcac.chat.ledger.files import read_records
from orcac.chat.messages import ChatRequest, ChatResponse, conversation, separate_reasoning
from orcac.chat.settings import Price, Sampling
from orcac.collect.run import run
from orcac.errors import EndpointError
from orcac.rows import Response

CAP = 100
PRICE = Price(input=1e6, output=2e6)
CASES = yaml.safe_load(Path(__file__).with_name("bodies.yaml").read_text(encoding="utf-8"))
READ = ("reasoning", "refusal", "finish_reason", "input_tokens", "output_tokens", "error")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def request(question: str) -> ChatRequest:
    messages = conversation(system="", user=question)
    return ChatRequest(model="m", messages=messages, sampling=Sampling(max_tokens=CAP), origin="api")


def body_of(case: dict[str, Any]) -> Any:
    if "body" in case:
        return case["body"]
    usage = case.get("usage", [21, 17, 38])
    if isinstance(usage, list):
        usage = dict(zip(TOKENS, usage, strict=True))
    choice = case.get("choice") or {"message": case["message"], "finish_reason": case.get("finish", "stop")}
    return {"id": "c", "object": "chat.completion", "choices": [{"index": 0, **choice}], "usage": usage}


def right_reading(case: dict[str, Any]) -> ChatResponse:
    usual = {"text": "Four.", "finish_reason": "stop", "input_tokens": 21, "output_tokens": 17}
    return ChatResponse(**(usual | case.get("reads", {})))


def read_row(row: Response) -> ChatResponse:
    return ChatResponse(text=row.response, **{name: getattr(row, name) for name in READ})


def cases(*, with_error: bool) -> list[Any]:
    chosen = [case for case in CASES if ("error" in case) == with_error]
    return [pytest.param(case, id=case["name"].replace(" ", "-")) for case in chosen]


def batch_line(body: object) -> bytes:
    return json.dumps({"custom_id": "0", "response": {"status_code": 200, "body": body}, "error": None}).encode()


@pytest.mark.parametrize("case", cases(with_error=False))
def test_an_answer_is_read_alike_online_and_from_a_batch(case: dict[str, Any]) -> None:
    online = read_content(json.dumps(body_of(case)).encode(), cap=CAP)
    batched = parse_result(batch_line(body_of(case)), request("q"), ())
    assert batched.response and batched.response.batched and not batched.error
    batched.response.batched = False
    assert online == batched.response
    assert separate_reasoning(online) == right_reading(case)


@pytest.mark.parametrize("case", cases(with_error=True))
def test_an_error_has_its_class_online_and_in_a_batch(case: dict[str, Any]) -> None:
    with pytest.raises(Unanswered) as caught:
        read_content(json.dumps(body_of(case)).encode(), cap=CAP)
    assert caught.value.error == case["error"] and str(caught.value)
    result = parse_result(batch_line(body_of(case)), request("q"), ())
    assert result.error == case["error"] and result.message
    assert not ERRORS[result.error].may_be_billed(azure=False)
    assert (result.response is not None) == ERRORS[result.error].recorded


def test_each_body_reaches_its_row_and_is_billed_as_the_server_bills_it(tmp_path: Path) -> None:
    """A body with an answer is billed once; one with an error is not, and is asked again unless it is final."""
    chosen = [case for case in CASES if ERRORS[case.get("error", "server")].action is not Action.STOP]
    finals = [ERRORS[case["error"]].action is Action.GIVE_UP if "error" in case else True for case in chosen]

    def behaviour(question: str, before: int) -> Any:
        case = chosen[int(question[1:])]
        return "" if before else Reply(body_of(case), bills="error" not in case)

    write_prompts(tmp_path, len(chosen))
    with FaultServer(behaviour) as server:
        summary = run(job_of(tmp_path, server))
        assert [server.asked[f"q{n}"] for n in range(len(chosen))] == [1 if final else 2 for final in finals]
        billed = server.billed.copy()
        run(job_of(tmp_path, server))
        assert server.billed == billed, "an answer on record was asked again"
    usd = 0.0
    for number, (case, row, final) in enumerate(zip(chosen, read_responses(tmp_path), finals, strict=True)):
        assert billed[f"q{number}"] == (not row.error), case["name"]
        if not final:
            right = ChatResponse(text=f"answer to q{number}", finish_reason="stop", input_tokens=7, output_tokens=11)
        else:
            right = ChatResponse(error=case["error"]) if "error" in case else right_reading(case)
        assert read_row(row) == right, case["name"]
        usd += ChatRequest.usd_of(request(f"q{number}"), right, PRICE)
    assert summary.usd == pytest.approx(usd) and summary.answered == billed.total()
    assert len(list(read_records(tmp_path / "answers"))) == len(chosen)


def test_each_body_in_a_batch_reaches_its_row_and_is_billed_as_the_server_bills_it(tmp_path: Path) -> None:
    chosen = [case for case in CASES if case.get("error", "content_filter") == "content_filter"]
    bodies = {f"q{n}": Reply(body_of(case), bills="error" not in case) for n, case in enumerate(chosen)}
    made = Batches(fate=bodies.__getitem__)
    write_prompts(tmp_path, len(chosen))
    with FaultServer(mount=made.mount) as server:
        summary = run_collect(job_of(tmp_path, server, mode="batch"), Tuning(**QUICK))
        assert not server.asked and made.billed.total() == summary.answered == len(cases(with_error=False))
    usd = 0.0
    for number, (case, row) in enumerate(zip(chosen, read_responses(tmp_path), strict=True)):
        right = ChatResponse(error=case["error"]) if "error" in case else right_reading(case)
        assert read_row(row) == right, case["name"]
        usd += ChatRequest.usd_of(request(f"q{number}"), right, PRICE) / 2
    assert summary.usd == pytest.approx(usd)


@pytest.mark.parametrize("case", [case for case in CASES if case.get("error") in ("auth", "quota")])
def test_a_refused_account_with_status_200_ends_the_run(case: dict[str, Any], tmp_path: Path) -> None:
    write_prompts(tmp_path, 1)
    with (
        FaultServer(lambda question, before: Reply(body_of(case))) as server,
        pytest.raises(EndpointError, match=case["error"]),
    ):
        run(job_of(tmp_path, server))
    assert server.asked.total() == 1


def job_of(folder: Path, server: FaultServer, **settings: object) -> Any:
    made = collect_job(folder, server.base_url, price=PRICE, **settings)
    return dataclasses.replace(made, recipe=made.recipe.model_copy(update={"sampling": Sampling(max_tokens=CAP)}))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'{"choices": [{"mess', b"[]", b"null", b"{}", b"7", b"\xff\xfe", b'{"choices": 1}',
     b'{"choices": [7]}', b'{"choices": [{"message": "hi"}]}', b'{"choices": [{"message": {"content": [1]}}]}',
     b'{"choices": [{"message": {"content": ' + b"[" * 900 + b"]" * 900 + b"}}]}"],
)  # fmt: skip
def test_any_other_content_is_malformed(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a chat completion"):
        read_content(content, cap=CAP)


def test_half_characters_are_replaced_everywhere() -> None:
    message = {"content": "a\ud83d b", "reasoning": "\ud83d", "refusal": "\ud83d"}
    read = read_completion({"choices": [{"message": message, "finish_reason": "\ud83d"}]}, cap=CAP)
    assert (read.text, read.reasoning, read.refusal, read.finish_reason) == ("a\ufffd b", "\ufffd", "\ufffd", "\ufffd")


FIELDS = """error choices message content text type thinking reasoning reasoning_content refusal summary code tool_calls
finish_reason usage prompt_tokens completion_tokens total_tokens completion_tokens_details reasoning_tokens"""
NAMES = st.sampled_from(FIELDS.split())
WORDS = st.sampled_from(
    ["stop", "length", "error", "thinking", "text", "<think>", "</think>", "429", "", "a", "\ud800"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=12
)
CHOICES = st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=2)


BODIES = st.builds(lambda body, choices: body | {"choices": choices}, st.dictionaries(NAMES, VALUES), CHOICES)


@given(VALUES | BODIES)
def test_any_json_is_an_answer_an_error_of_a_known_class_or_malformed(body: object) -> None:
    try:
        read = separate_reasoning(read_completion(body, cap=CAP))
    except Unanswered as error:
        assert error.error in ERRORS
    except ValueError:
        pass
    else:
        assert 0 <= read.input_tokens < 2**31 and 0 <= read.output_tokens < 2**31 and read.finish_reason
        assert json.loads(json.dumps([read.text, read.reasoning, read.refusal])) and not read.error
        for text in (read.text, read.reasoning, read.refusal, read.finish_reason):
            text.encode()
