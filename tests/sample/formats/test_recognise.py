from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orcac.errors import InputError
from orcac.sample.formats.recognise import recognise

ROW = {"question": "1 + 1?", "answer": "2"}
AGIEVAL = {"passage": None, "question": "q", "options": ["(A)a", "(B)b"], "label": "A", "answer": None}


@pytest.mark.parametrize(
    ("name", "content", "form", "fields"),
    [
        ("a.json", {"canary": "x", "examples": [{"input": "q", "target": "a"}]}, "bbh", {}),
        ("a.json", {"Definition": ["d"], "Instances": []}, "natural-instructions", {}),
        ("a.json", [{"question": "q", "mc1_targets": {"a": 1}, "mc2_targets": {}}], "truthfulqa", {}),
        ("a.jsonl", AGIEVAL, "agieval", {}),
        ("a.jsonl", ROW, "jsonl", {"query": "question", "reference": "answer"}),
        ("a.jsonl", {"input": "q", "target": 3, "idx": 1}, "jsonl", {"query": "input", "reference": "target"}),
        (
            "a.jsonl",
            {"query": "q", "reference": "a", "task": "sums", "passage": None},
            "jsonl",
            {"query": "query", "reference": "reference", "task": "task"},
        ),
        ("a.json", [ROW], "json", {"query": "question", "reference": "answer"}),
        ("a.json", {"data": [ROW], "version": 1}, "json", {"query": "question", "reference": "answer"}),
        ("a.csv", "question,answer\n1+1,2\n", "csv", {"query": "question", "reference": "answer"}),
        ("a.tsv", "question\tanswer\tid\n1+1\t2\t3\n", "tsv", {"query": "question", "reference": "answer"}),
        ("a.tsv", "q\ta\tbecause\n", "flan-cot", {}),
        ("a.csv", "\ufeffType,Category,Question,Best Answer,Source\n", "truthfulqa", {}),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_clear_file_is_recognised(
    tmp_path: Path, name: str, content: object, form: str, fields: dict[str, str]
) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found = recognise(path)
    assert (found.format, found.fields) == (form, fields)


def test_parquet_is_recognised_by_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"problem": ["1 + 1?"], "answer": ["2"], "level": [1]}), tmp_path / "a.parquet")
    assert recognise(tmp_path / "a.parquet").fields == {"query": "problem", "reference": "answer"}
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"b\.parquet: cannot be read as Parquet"):
        recognise(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", {"question": "q", "prompt": "p", "answer": "a"}, "`question` and `prompt` may hold the question"),
        ("a.jsonl", {"instruction": "i", "input": "q", "output": "a"}, "`input` and `instruction` may hold"),
        ("a.jsonl", {"question": "q", "answer": "a", "label": 1}, "`answer` and `label` may hold the right answer"),
        (
            "a.jsonl",
            {"question": "q", "answers": ["a"]},
            "no key may hold the right answer; the keys are question, ans",
        ),
        ("a.jsonl", {"question": "q", "passage": "p", "answer": True}, "`passage` would be left out of the question"),
        ("a.jsonl", {"question": "q", "choices": ["a"], "answer": 0}, "`choices` would be left out of the question"),
        ("a.jsonl", {"prompt": [{"role": "user"}], "answer": "a"}, "`prompt` does not hold text"),
        ("a.jsonl", "\n", "the file has no rows"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: not a JSON object"),
        ("a.json", "{", "a.json:1:2: not JSON"),
        ("a.tsv", "q\ta\n", "not recognised"),
        ("a.csv", "q,a\n1,2\n", "no key may hold the question"),
        ("a.txt", "q", "not recognised"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_unclear_file_is_an_error_with_its_fix(tmp_path: Path, name: str, content: object, why: str) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        recognise(path)
    assert why in str(caught.value) and caught.value.fix


@pytest.mark.data
def test_recorded_benchmarks_are_recognised(data: Path) -> None:
    forms = {
        "bbh/bbh/*.json": "bbh",
        "agieval/data/v1/*.jsonl": "agieval",
        "niv2/tasks*/*.json": "natural-instructions",
        "truthfulqa/data/**/mc_task.json": "truthfulqa",
        "truthfulqa/**/TruthfulQA.csv": "truthfulqa",
        "flan/flan/v2/cot_data/*.tsv": "flan-cot",
        "t0_p3/*.jsonl": "jsonl",
    }
    for pattern, form in forms.items():
        paths = list(data.glob(pattern))
        assert paths, pattern
        assert {recognise(path).format for path in paths} == {form}, pattern
