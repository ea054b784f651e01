"""Tests of orcac/remote/answers.py and orcac/chat/ledger/exchange.py: the union of two ledgers."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orcac.chat.ledger.exchange import add_records, write_sealed
from orcac.chat.ledger.files import check_records, read_records
from orcac.chat.ledger.forgotten import RecordId, forget
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import Record, line_of, request_of
from orcac.chat.ledger.sealed import name_of
from orcac.errors import StoreError
from orcac.remote.answers import Counts, fetch_files, pull_answers, push_answers
from orcac.remote.place import FolderPlace, Place, open_place
from orcac.store.store import Store


def push(answers: Path, place: Place, model: str = "expert", *, dry_run: bool = False) -> Counts:
    return push_answers(answers, place, lambda record: record["request"]["model"] == model, dry_run=dry_run)


def pull(answers: Path, place: Place, staging: Path) -> Counts:
    return pull_answers(answers, place, lambda record: True, staging)


def lines(answers: Path) -> list[bytes]:
    return sorted(map(line_of, read_records(answers)))


@pytest.fixture
def ledger(made: Store, tmp_path: Path) -> Path:
    """A copy of the ledger of twelve answers."""
    shutil.copytree(made.answers, tmp_path / "ledger")
    return tmp_path / "ledger"


def test_answers_go_to_a_place_and_come_back_once(ledger: Path, address: str, tmp_path: Path) -> None:
    place, other = open_place(address), tmp_path / "other"
    assert push(ledger, place, dry_run=True).sent == 12 and not place.names("answers")
    assert push(ledger, place, "another").sent == 0
    assert push(ledger, place).sent == 12 and push(ledger, place).sent == 0
    names = [name for name in place.names("answers") if name.endswith(".parquet")]
    assert len(names) == 1
    assert pull(other, place, tmp_path / "staging") == Counts(sent=12)
    assert pull(other, place, tmp_path / "staging") == Counts()
    assert lines(other) == lines(ledger) and check_records(other).sound == 12 and not (tmp_path / "staging").exists()
    add_records(other, [answer_again(next(read_records(ledger)), "another question")])
    assert push(other, place).sent == 1 and pull(ledger, place, tmp_path / "staging").sent == 1
    assert lines(other) == lines(ledger)
    assert {*names} < {*place.names("answers")}, "no file is replaced"


def answer_again(record: Record, question: str = "") -> Record:
    """Return a record with a later answer, to the same question or to another one."""
    request = request_of(record["request"])
    if question:
        request = dataclasses.replace(request, messages=(request.messages[0]._replace(content=question),))
    messages = [[role, content] for role, content in request.messages]
    changed: Record = {**record, "key": request.key, "at": record["at"] + 1}
    changed["request"] = {**record["request"], "messages": messages}
    changed["response"] = {**record["response"], "text": "42"}
    return changed


def test_a_question_that_both_have_answered_keeps_its_answer_on_each_side(ledger: Path, tmp_path: Path) -> None:
    """An answer that came later from elsewhere would change what a node is made of."""
    place, other = FolderPlace(tmp_path / "there"), tmp_path / "other"
    record = next(read_records(ledger))
    add_records(other, [answer_again(record)])
    before = lines(other)
    assert push(ledger, place).sent == 12 and push(other, place).sent == 0
    assert pull(other, place, tmp_path / "staging").sent == 11
    assert set(before) <= set(lines(other)) and len(lines(other)) == 12
    with_text = Ledger(other)
    answer = with_text.get(request_of(record["request"]))
    with_text.close()
    assert answer and answer.text == "42"


def test_answers_that_one_side_has_forgotten_are_not_sent(ledger: Path, address: str, tmp_path: Path) -> None:
    place, other = open_place(address), tmp_path / "other"
    first, second, *_ = (RecordId(record["key"], record["at"]) for record in read_records(ledger))
    push(ledger, place)
    forget(ledger, [first])
    again = answer_again(next(record for record in read_records(ledger) if record["key"] == first.key))
    add_records(ledger, [again])
    assert push(ledger, place).sent == 0, "the place settles the question until it knows what is forgotten"
    assert push(ledger, place).sent == 1
    forget(other, [second])
    assert pull(other, place, tmp_path / "staging").sent == 11
    keys = {record["key"]: record["response"]["text"] for record in read_records(other)}
    assert keys[first.key] == "42" and second.key not in keys


def test_a_running_study_is_pulled_from_with_its_logs(ledger: Path, tmp_path: Path) -> None:
    root = tmp_path / "lab"
    shutil.copytree(ledger, root / "answers")
    assert [*(root / "answers").glob("*.jsonl")] and not [*(root / "answers").glob("*.parquet")]
    assert pull(tmp_path / "other", FolderPlace(root), tmp_path / "staging").sent == 12
    assert push(ledger, FolderPlace(root)).sent == 0


def test_a_cut_off_answer_does_not_stand_for_a_longer_one(ledger: Path, tmp_path: Path) -> None:
    place, record = FolderPlace(tmp_path / "there"), next(read_records(ledger))
    cut_off = answer_again(record)
    cut_off["request"] = {**record["request"], "sampling": {**record["request"]["sampling"], "max_tokens": 1}}
    cut_off["response"] = {**record["response"], "finish_reason": "length", "output_tokens": 1}
    add_records(tmp_path / "short", [cut_off])
    assert push(tmp_path / "short", place).sent == 1 and push(ledger, place).sent == 12


def seal(records: Iterator[Record], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ((path, _),) = write_sealed(records, folder)
    return path


def test_damaged_and_forged_files_of_records_are_refused_and_named(ledger: Path, tmp_path: Path, address: str) -> None:
    place, folder, other = open_place(address), tmp_path / "files", tmp_path / "other"
    push(ledger, place)
    records = list(read_records(ledger))
    forged = seal(iter([{**records[0], "key": "0" * 32}]), folder)
    flipped = seal(iter([answer_again(records[0], "a third question")]), folder)
    place.put(f"answers/{forged.name}", forged)
    content = bytearray(flipped.read_bytes())
    content[20] ^= 1
    place.put(f"answers/{flipped.name}", bytes(content))
    if isinstance(place, FolderPlace):  # its files are read where they are
        with pytest.raises(StoreError, match=flipped.stem):
            pull(other, place, tmp_path / "staging")
        return
    counts = pull(other, place, tmp_path / "staging")
    assert counts.sent == 12 and counts.refused == 1 and flipped.stem in counts.damaged[0]
    assert lines(other) == lines(ledger)


def test_a_file_that_cannot_be_read_is_refused_by_itself_and_left_behind_nowhere(ledger: Path, tmp_path: Path) -> None:
    """Its name is its digest, so only reading it shows the damage."""
    pytest.importorskip("fsspec")
    place = open_place(f"memory://lab/{tmp_path.name}")
    push(ledger, place)
    file = seal(iter([answer_again(next(read_records(ledger)), "a third question")]), tmp_path / "files")
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1  # neither in the columns that are read first nor in the footer
    file.write_bytes(content)
    name = f"{name_of(file)}.parquet"
    place.put(f"answers/{name}", file)
    counts = pull(tmp_path / "other", place, tmp_path / "staging")
    assert counts.sent == 12 and f"{place.label}/answers/{name}" in counts.damaged[0]
    content[40] ^= 1  # in a column that is read first, also by a push
    file.write_bytes(content)
    place.put(f"answers/{name_of(file)}.parquet", file)
    with pytest.raises(StoreError, match=f"^{place.label}/answers/{name_of(file)}"):
        push(tmp_path / "other", place)
    (tmp_path / "staging").mkdir()
    assert fetch_files(tmp_path / "another", place, tmp_path / "staging") and not (tmp_path / "staging" / name).exists()


def test_strange_files_beside_the_records_are_left_alone(ledger: Path, address: str, tmp_path: Path) -> None:
    place = open_place(address)
    push(ledger, place)
    for name in ("answers/../up.parquet", "answers/faq.md", "answers/accounts/x.json", "answers/budgets/b/log/1.json"):
        place.put(name, b"{}")
    assert pull(tmp_path / "other", place, tmp_path / "staging").sent == 12
    assert not [path for path in tmp_path.rglob("up.parquet") if "there" not in path.parts]


def test_records_are_written_to_files_named_by_their_content(ledger: Path, tmp_path: Path) -> None:
    one, two = (seal(read_records(ledger), tmp_path / name) for name in ("one", "two"))
    assert one.name == two.name == f"{name_of(one)}.parquet" and one.read_bytes() == two.read_bytes()
