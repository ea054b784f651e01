"""Tests of orcac/store/tries.py: the jobs of a run, and the error that ends its further tries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.store.store import Store
from orcac.store.tries import list_jobs, read_cause, record_job, refuse_known_error

REF = "train/0123456789abcdef0123"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ORCAC_RUN", "this")
    store = Store(tmp_path)
    store.folder(REF).mkdir(parents=True)
    return store


def test_the_jobs_of_a_run_are_listed_in_order_and_those_of_another_are_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.folder(REF)
    record_job(folder)  # outside Slurm
    assert not (folder / "tries.json").exists()
    for job in ("7", "9", "9"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        record_job(folder)
    assert list_jobs(folder, "this") == ["7", "9"] and list_jobs(folder, "other") == []
    monkeypatch.setenv("ORCAC_RUN", "other")
    record_job(folder)
    assert list_jobs(folder, "other") == ["9"] and list_jobs(folder, "this") == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"run": "this", "jobs": 3}', '{"run": "this", "jobs": ["1; rm", 2]}'])
def test_a_damaged_record_names_no_job(store: Store, text: str) -> None:
    (store.folder(REF) / "tries.json").write_text(text)
    assert list_jobs(store.folder(REF), "this") == []


def test_wrong_input_ends_the_next_try_of_the_run_and_of_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.folder(REF)
    store.record_error(REF, "the loss is NaN\n  fix: lower the learning rate", 2, is_final=True)
    with pytest.raises(InputError, match="the loss is NaN\n  fix: lower the learning rate"):
        refuse_known_error(folder)
    monkeypatch.setenv("ORCAC_RUN", "other")  # a person runs the plan anew
    refuse_known_error(folder)
    monkeypatch.delenv("ORCAC_RUN")  # or makes the node by hand, twice
    store.record_error(REF, "the loss is NaN", 2, is_final=True)
    refuse_known_error(folder)


@pytest.mark.parametrize("code", [1, 2, 4, 5])
def test_an_error_that_may_pass_is_tried_again(store: Store, code: int) -> None:
    store.record_error(REF, "the teacher is down", code)
    refuse_known_error(store.folder(REF))


def test_a_killed_process_is_a_want_of_memory_in_its_run_alone(store: Store) -> None:
    folder = store.folder(REF)
    store.record_error(REF, "rank 0 was ended by SIGKILL", 1, short_of="memory")
    assert (read_cause(folder, "this"), read_cause(folder, "other")) == ("memory", "")
    store.record_error(REF, "the teacher is down", 4)
    assert read_cause(folder, "this") == ""
    (folder / "error.json").write_text(json.dumps({"run": "this", "short_of": ["x"]}))
    assert read_cause(folder, "this") == ""
