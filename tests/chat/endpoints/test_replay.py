"""Tests of orcac/chat/endpoints/replay.py."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orcac.chat.endpoints.replay import Replay, Source
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import Sampling
from orcac.errors import InputError

FIELDS = {"question": "question", "answer": "response", "system": "system_prompt"}
ROWS = [
    {"system_prompt": "Be brief.", "question": "What is  2 + 2?", "response": "4"},
    {"system_prompt": "", "question": "What is 2 + 2?", "response": "It is 4."},
    {"system_prompt": "", "question": "What is 2 + 2?\n", "response": "Four."},
]


def request(question: str, system: str = "") -> ChatRequest:
    messages = conversation(system=system, user=question)
    return ChatRequest(model="m", messages=messages, sampling=Sampling(), origin="replay")


def answer(source: Source, asked: ChatRequest) -> str | None:
    try:
        return asyncio.run(Replay(source, [asked]).complete(asked)).text
    except ChatError as error:
        assert error.error == "not_recorded"
        return None


def lines(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_answer_is_found_by_question_and_system_message(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"openorca.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        lines(path, list(ROWS))
    source = Source((path,), FIELDS)
    assert answer(source, request("What is 2 + 2?", "Be brief.")) == "4"
    assert answer(source, request(" What is 2 + 2?")) == "It is 4."
    assert answer(source, request("What is 2 + 2?", "be brief.")) is None
    assert answer(source, request("What is 2 + 3?")) is None
    assert Replay(source, [request("What is 2 + 2?")]).duplicates == 1


def test_without_a_system_field_the_question_decides(tmp_path: Path) -> None:
    source = Source((lines(tmp_path / "a.jsonl", list(ROWS)),), {"question": "question", "answer": "response"})
    assert answer(source, request("What is 2 + 2?", "Whatever")) == "4"


def test_fields_may_be_paths(tmp_path: Path) -> None:
    rows = [{"a.b": "dotted", "messages": [{"content": "s"}, {"content": "q"}], "out": [{"content": "yes"}]}]
    path = lines(tmp_path / "a.jsonl", list(rows))
    nested = {"question": "messages.1.content", "system": "messages.0.content", "answer": "out.0.content"}
    assert answer(Source((path,), nested), request("q", "s")) == "yes"
    assert answer(Source((path,), {**nested, "answer": "a.b"}), request("q", "s")) == "dotted"


def test_half_characters_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "q\\ud800", "answer": "a\\udc00"}\n')
    assert answer(Source((path,), {"question": "question", "answer": "answer"}), request("q\ufffd")) == "a\ufffd"


def test_questions_may_be_in_a_file_of_their_own(tmp_path: Path) -> None:
    questions = lines(tmp_path / "q.jsonl", [{"idx": 1, "text": "q1"}, {"idx": "2", "text": "q2"}])
    answers = lines(tmp_path / "a.jsonl", [{"question_id": 2, "text": "a2"}, {"question_id": 1, "text": "a1"}])
    joined = {"id": "question_id", "answer": "text"}
    source = Source((answers,), joined, (questions,), {"id": "idx", "question": "text"})
    assert [answer(source, request(question)) for question in ("q1", "q2", "q3")] == ["a1", "a2", None]
    lines(answers, [{"question_id": 9, "text": "a9"}, {"question_id": 1, "text": "a1"}])
    replay = Replay(source, [request("q1")])
    assert replay.find(request("q1")) == ChatResponse(text="a1", finish_reason="stop")
    assert [(row.file, row.line, row.reason) for row in replay.bad] == [("a.jsonl", 1, "no question has the id '9'")]


MANY = [
    {"question": "q", "answer": "first", "how": "STOP", "why": "think"},
    {"question": "q", "answer": "", "how": "length", "why": None},
    {"question": "other", "answer": "once"},
    {"question": "q", "answer": "<think>hm</think>third"},
    {"question": "q", "answer": "fourth", "how": "stop", "why": ""},
]
MAPPED = {"question": "question", "answer": "answer", "finish_reason": "how", "reasoning": "why"}


def test_the_row_of_each_sample_is_found_with_its_finish_reason_and_reasoning(tmp_path: Path) -> None:
    source = Source((lines(tmp_path / "a.jsonl", list(MANY)),), MAPPED, samples=3)
    found = []
    for sample in range(4):
        asked = [dataclasses.replace(request(question), sample_index=sample) for question in ("q", "other")]
        replay = Replay(source, asked)
        found.append([replay.find(one) for one in asked])
        assert replay.duplicates == 1, "the fourth row"
    assert found == [
        [ChatResponse(text="first", reasoning="think", finish_reason="stop"),
         ChatResponse(text="once", finish_reason="stop")],
        [ChatResponse(finish_reason="length"), None],
        [ChatResponse(text="third", reasoning="hm", finish_reason="stop"), None],
        [None, None],
    ]  # fmt: skip


def test_of_a_recording_with_one_answer_the_first_with_a_text_counts(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": text} for text in (" ", "", "good", "late")]
    source = Source((lines(tmp_path / "a.jsonl", [*rows, {"question": "e", "answer": ""}]),), MAPPED)
    asked = [dataclasses.replace(request(question), sample_index=1) for question in ("q", "e")]
    replay = Replay(source, asked)
    assert [answer and answer.text for answer in map(replay.find, asked)] == ["good", ""]
    assert replay.duplicates == 3


def test_an_answer_of_parts_is_read_and_an_error_in_its_place_is_none(tmp_path: Path) -> None:
    parts = [{"type": "thinking", "thinking": "why"}, {"type": "text", "text": "yes"}]
    rows = [
        {"question": "q", "answer": parts},
        {"question": "broken", "answer": "half", "how": "error"},
        {"question": "cut", "answer": None, "why": "because", "how": "length"},
    ]
    source = Source((lines(tmp_path / "a.jsonl", list(rows)),), MAPPED)
    asked = [request(str(row["question"])) for row in rows]
    replay = Replay(source, asked)
    assert [replay.find(one) for one in asked] == [
        ChatResponse(text="yes", reasoning="why", finish_reason="stop"),
        None,
        ChatResponse(reasoning="because", finish_reason="length"),
    ]
    assert replay.skipped == 1


def test_null_is_an_empty_system_message_and_a_missing_answer(tmp_path: Path) -> None:
    row = {"system_prompt": None, "question": "q", "response": "a"}
    path = lines(tmp_path / "a.jsonl", [{**row, "response": None}, {**row, "question": None}, row])
    asked = request("q")
    replay = Replay(Source((path,), FIELDS), [asked])
    assert asyncio.run(replay.complete(asked)).text == "a"
    assert (replay.skipped, replay.duplicates) == (2, 0)
    questions = lines(
        tmp_path / "q.jsonl", [{"id": None, "text": "q"}, {"id": 1, "text": None}, {"id": 2, "text": "q"}]
    )
    lines(path, [{"id": number, "text": "a"} for number in (None, 1, 2)])
    joined = Source((path,), {"id": "id", "answer": "text"}, (questions,), {"id": "id", "question": "text"})
    assert answer(joined, asked) == "a" and Replay(joined, [asked]).skipped == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"question": "q"}', "no field 'answer'"),
        ('{"question": "q", "answer": 4}', "'answer' is not text but int"),
        ("[" * 100_000, "maximum recursion depth"),
    ],
)
def test_a_bad_row_is_kept_aside_and_the_others_are_found(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "p", "answer": "a"}\n\n' + line + '\n{"question": "q", "answer": "late"}\n')
    replay = Replay(Source((path,), {"question": "question", "answer": "answer"}), [request("p"), request("q")])
    found = [replay.find(request(question)) for question in ("p", "q")]
    assert [one and one.text for one in found] == ["a", "late"]
    [bad] = replay.bad
    assert (bad.file, bad.line, replay.read, replay.skipped) == ("a.jsonl", 3, 3, 0)
    assert complaint in bad.reason and line.startswith(bad.text[:200])


def test_a_bad_answer_keeps_its_number_among_the_samples_of_its_question(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"question": "q", "answer": answer} for answer in ("one", 2, "three")])
    asked = [dataclasses.replace(request("q"), sample_index=sample) for sample in range(3)]
    replay = Replay(Source((path,), {"question": "question", "answer": "answer"}, samples=3), asked)
    assert [answer and answer.text for answer in map(replay.find, asked)] == ["one", None, "three"]
    assert [row.line for row in replay.bad] == [2]


def test_a_file_of_bad_rows_alone_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"question": "q", "text": "a"}] * 1_200)
    replay = Replay(Source((path,), {"question": "question", "answer": "answer"}), [request("q")])
    assert len(replay.bad) == replay.read == 1_000


def test_a_broken_parquet_file_is_reported_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as Parquet"):
        answer(Source((path,), FIELDS), request("q"))


@pytest.mark.data
@pytest.mark.skipif("ORCAC_DATA" not in os.environ, reason="ORCAC_DATA names no recorded data")
def test_orca_style_rows() -> None:
    path = Path(os.environ["ORCAC_DATA"]) / "teacher_orca_dpo" / "validation.jsonl"
    fields = {
        "question": "input.messages.1.content",
        "system": "input.messages.0.content",
        "answer": "preferred_output.0.content",
    }
    asked = []
    for line in path.read_text().splitlines():
        system, user = json.loads(line)["input"]["messages"]
        asked.append(request(user["content"], system["content"]))
    replay = Replay(Source((path,), fields), asked)
    assert len(asked) == 284
    assert all(asyncio.run(replay.complete(one)).text for one in asked)
