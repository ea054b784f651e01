"""Tests of orcac/chat/batch/draft.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from orcac.chat.batch.draft import BatchDraft
from orcac.chat.batch.files import encode_upload_line, read_batches, read_record, read_requests
from orcac.chat.batch.tuning import DEFAULT_TUNING, Tuning
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import EndpointSettings, Price, Sampling

SETTINGS = EndpointSettings(kind="openai", base_url="http://x/v1", price=Price(input=1.0, output=2.0))


def request(user: str, model: str = "m") -> ChatRequest:
    return ChatRequest(
        model=model, messages=conversation(system="", user=user), sampling=Sampling(max_tokens=10), origin="api"
    )


def make_root(tmp_path: Path) -> Path:
    root = tmp_path / "batches"
    root.mkdir()
    return root


def test_a_finished_draft_is_a_batch_of_its_requests(tmp_path: Path) -> None:
    root, requests = make_root(tmp_path), [request("one"), request("two")]
    draft = BatchDraft(root, SETTINGS, "m", [], DEFAULT_TUNING)
    assert all(draft.add(one, bound=1_000) for one in requests)
    assert read_batches(tmp_path) == [], "without a record it is not a batch"
    batch = draft.finish()
    assert read_batches(tmp_path) == [batch] == [read_record(root / batch.id)]
    assert list(read_requests(root / batch.id)) == requests
    assert batch.usd_bound == 0.002 and batch.requests == 2


def test_a_discarded_draft_leaves_nothing(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    draft = BatchDraft(root, SETTINGS, "m", [], DEFAULT_TUNING)
    draft.add(request("one"), bound=1)
    draft.discard()
    assert not list(root.iterdir())


def test_a_draft_is_full_at_either_size_and_takes_one_model(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    draft = BatchDraft(root, SETTINGS, "m", [], Tuning(max_requests=2))
    assert [draft.add(request(text), bound=1) for text in "abc"] == [True, True, False]
    size = len(encode_upload_line(draft.batch, 0, request("a")))
    draft = BatchDraft(root, SETTINGS, "m", [], Tuning(max_bytes=2 * size))
    assert [draft.add(request(text), bound=1) for text in "abc"] == [True, True, False]
    draft = BatchDraft(root, SETTINGS, "m", [], Tuning(max_bytes=1))
    assert draft.add(request("a"), bound=1), "a batch has at least one request"
    assert not draft.add(request("a", model="other"), bound=1)


def test_parameters_that_the_same_model_refused_are_not_sent(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    earlier = BatchDraft(root, SETTINGS, "m", [], DEFAULT_TUNING).batch
    others = [
        dataclasses.replace(earlier, refused=["max_tokens"]),
        dataclasses.replace(earlier, model="other", refused=["top_p"]),
        dataclasses.replace(earlier, base_url="http://y/v1", refused=["seed"]),
    ]
    assert BatchDraft(root, SETTINGS, "m", others, DEFAULT_TUNING).batch.refused == ["max_tokens"]
