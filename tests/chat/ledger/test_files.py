"""Tests of orcac/chat/ledger/files.py, orcac/chat/ledger/log.py and orcac/chat/ledger/sealed.py."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
from ledgers import answer_to, request, seal_old, write

from orcac.chat.ledger.files import check_records, read_records
from orcac.chat.ledger.keys import pack_keys
from orcac.chat.ledger.ledger import Ledger
from orcac.errors import StoreError


def test_answers_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    odd = "line\nbreak \u2028 \x00 数 🙂 \\u0041"
    write(tmp_path, (odd, odd), ("b", ""))
    assert answer_to(tmp_path, odd) == odd
    assert answer_to(tmp_path, "b") == ""
    assert answer_to(tmp_path, "c") is None
    record = next(read_records(tmp_path))
    assert record["request"]["messages"] == [["user", odd]]
    wanted = Ledger(tmp_path, wanted=pack_keys([request("b").key]))
    assert wanted.get(request("b")) and not wanted.get(request(odd))


@pytest.mark.parametrize("is_sealed", [False, True])
def test_records_can_be_read_by_key(tmp_path: Path, is_sealed: bool) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"), ("c", "3"))
    if is_sealed:
        seal_old(tmp_path)
    keys = {request(question).key for question in "ac"}
    assert [record["response"]["text"] for record in read_records(tmp_path, keys)] == ["1", "3"]


def test_more_files_than_a_process_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ("a", "1"))
    (log,) = tmp_path.iterdir()
    for number in range(300):
        shutil.copy(log, tmp_path / f"{number}.jsonl")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert len(list(read_records(tmp_path))) == 301
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"301 files are more(.|\n)*ulimit"):
            patch.setattr(resource, "setrlimit", lambda *_: None)  # as if the limit could not be raised
            list(read_records(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_log_cut_at_any_byte_of_its_last_three_records_loses_only_the_torn_one(tmp_path: Path) -> None:
    write(tmp_path, *[(str(n), f"answer {n}") for n in range(5)])
    (log,) = tmp_path.iterdir()
    whole = log.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[1], len(whole)):
        log.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        assert [answer_to(tmp_path, str(n)) is not None for n in range(5)] == [n < kept for n in range(5)]
        assert log.stat().st_size == length, "a reader must not touch a log that may have a writer"
    write(tmp_path, ("4", "again"))
    assert answer_to(tmp_path, "4") == "again"


def test_a_damaged_line_is_reported_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    (log,) = tmp_path.iterdir()
    lines = log.read_bytes().splitlines(keepends=True)
    for damaged in (b"\0" * 40 + b"\n", lines[0][:90] + b"\n"):
        log.write_bytes(damaged + lines[1])
        with pytest.raises(StoreError, match=rf"{log.name}:1: .*damaged"):
            Ledger(tmp_path)


def test_a_damaged_sealed_file_is_reported_by_name(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"))
    seal_old(tmp_path)
    (path,) = tmp_path.glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=rf"{path.name}: the file is damaged"):
        Ledger(tmp_path)


def test_json_that_is_not_a_record_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"), ("c", "3"))
    (log,) = tmp_path.iterdir()
    first, *others = map(json.loads, log.read_bytes().splitlines())
    skipped = [7, {"at": 1.0}, {**first, "key": "zz"}, {**first, "response": {**first["response"], "error": "timeout"}}]
    log.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in (*skipped, *others)))
    assert [answer_to(tmp_path, question) for question in "abc"] == [None, "2", "3"]
    assert len(list(read_records(tmp_path))) == 2
    seal_old(tmp_path)
    assert [answer_to(tmp_path, question) for question in "abc"] == [None, "2", "3"]
    write(tmp_path, ("a", "again"))
    assert answer_to(tmp_path, "a") == "again"


def test_the_first_answer_wins_whatever_the_order_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for host, answer in (("z", "first"), ("a", "second")):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        write(tmp_path, ("q", answer))
    assert [path.name[0] for path in sorted(tmp_path.iterdir())] == ["a", "z"]
    assert answer_to(tmp_path, "q") == "first"


def test_records_are_counted_by_their_checksums(tmp_path: Path) -> None:
    write(tmp_path, ("a", "1"), ("b", "2"))
    seal_old(tmp_path)
    write(tmp_path, ("c", "3"), ("d", "4"), ("e", "5"), ("f", "6"))
    (log,) = tmp_path.glob("*.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"4"', b'"5"')
    lines[2] = lines[2][:-19] + b"}\n"
    lines[3] = lines[3].replace(b'"batched":false', b'"batched":falsy')
    log.write_bytes(b"".join(lines))
    sound, unverifiable, damaged = check_records(tmp_path)
    assert (sound, unverifiable) == (3, 1)
    assert [str(error).partition(" (")[0] for error in damaged] == [
        f"{log}:{number}: the record is damaged" for number in (2, 4)
    ]
    with pytest.raises(StoreError, match=r"2: the record is damaged .*checksum"):
        list(read_records(tmp_path))


def test_a_flipped_bit_in_a_sealed_file_is_found(tmp_path: Path) -> None:
    write(tmp_path, *[(str(n), f"answer {n} {n * 7919 % 1000}") for n in range(200)])
    seal_old(tmp_path)
    (sealed,) = tmp_path.glob("*.parquet")
    content = bytearray(sealed.read_bytes())
    content[len(content) // 3] ^= 1
    sealed.write_bytes(content)
    assert len(check_records(tmp_path).damaged) == 1
