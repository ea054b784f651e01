"""Tests of orcac/sample/formats/__init__.py, orcac/sample/formats/agieval.py, orcac/sample/formats/bbh.py,
orcac/sample/formats/flan_cot.py, orcac/sample/formats/item.py, orcac/sample/formats/mapped.py,
orcac/sample/formats/natural_instructions.py, orcac/sample/formats/options.py and
orcac/sample/formats/truthfulqa.py."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orcac.errors import InputError
from orcac.sample.formats import BadRow, Item, read_items
from orcac.sample.formats.options import find_options
from orcac.sample.recipe import Source, TruthfulQA


def read(format: str, path: Path, **fields: str) -> list[Item]:
    return take(path, Source(format=format, fields=fields))


def take(path: Path, source: Source) -> list[Item]:
    """Return the items of a file. Raises InputError for the first bad row as for a bad file."""
    items = []
    for item in read_items(path, path.name, source):
        if isinstance(item, BadRow):
            raise InputError(f"{path}:{item.line}: {item.reason}", fix="none, it is kept aside")
        items.append(item)
    return items


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("Which?\nOptions:\n(A) one\n(B) (C) two", ("(A)", "(B)")),
        ("Which?\nOptions:\n- (A) one\n- (B) two", ("(A)", "(B)")),
        ("Valid?\nOptions:\n- valid \n- invalid", ("valid", "invalid")),
        ("Pick one. OPTIONS:\n- yes\n- no\nAnswer:", ("yes", "no")),
        ("Options:\n- a\nOptions:\n- b\n- c", ("b", "c")),
        ("Which options: are there?\n- none", ()),
        ("No block", ()),
    ],
)
def test_listed_options(query, options):
    assert find_options(query) == options


def test_flan_cot_unescapes_line_breaks_alone_and_knows_no_quotes(tmp_path):
    path = write(
        tmp_path / "aqua_train.tsv",
        '"Find\u2028it" \\frac{1}{2} \\times\\nOptions:\\n(A) 1\\n(B) 2\\n\t(B)\tsince\n"\t"\t"\n',
    )
    first, second = read("flan-cot", path)
    assert first == Item(
        task="aqua",
        query='"Find\u2028it" \\frac{1}{2} \\times\nOptions:\n(A) 1\n(B) 2',
        reference="(B)",
        options=("(A)", "(B)"),
    )
    assert second == Item(task="aqua", query='"', reference='"')


def test_natural_instructions_in_both_forms(tmp_path):
    released = {"Definition": [" Do it. "], "Instances": [{"id": "1", "input": "x\n", "output": ["y", "z"]}]}
    early = {"Definition": "Do it.", "Instances": [{"input": "x", "output": ["y"]}]}
    for name, task in (("task1_a.json", released), ("task2_b.json", early)):
        (item,) = read("natural-instructions", write(tmp_path / name, json.dumps(task)))
        assert item.query == "Definition: Do it.\n\nInput: x\n\nOutput:"
        assert (item.task, item.reference, item.options) == (name[:-5], "y", ())
        assert item.references == tuple(task["Instances"][0]["output"])


def test_jsonl_by_dotted_paths(tmp_path):
    rows = [
        {"turns": [{"content": " Q1 "}], "answers": ["one", "two"], "set": "s", "choices": ["one", "three"]},
        {"turns": [{"content": "Q2\nOptions:\n- a\n- b"}], "answers": None, "n": 4},
    ]
    path = write(tmp_path / "mine.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, rows)))
    first, second = read("jsonl", path, query="turns.0.content", reference="answers", task="set", options="choices")
    assert first == Item(task="s", query="Q1", reference="one", options=("one", "three"))
    assert second == Item(task="mine", query=rows[1]["turns"][0]["content"])
    assert read("jsonl", path, query="turns.0.content")[1].options == ("a", "b")


def test_jsonl_with_several_right_answers(tmp_path):
    rows = [{"q": "Q1", "a": [" one", "", "two"]}, {"q": "Q2", "a": []}]
    path = write(tmp_path / "mine.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = read("jsonl", path, query="q", references="a")
    assert first == Item(task="mine", query="Q1", reference="one", references=("one", "two"))
    assert second == Item(task="mine", query="Q2")


def test_jsonl_strips_the_end_mark(tmp_path):
    path = write(tmp_path / "t0.jsonl", '{"prompt": "Q\\n", "completion": "No\\n<|endoftext|>"}\n')
    (item,) = read("jsonl", path, query="prompt", reference="completion")
    assert (item.query, item.reference) == ("Q", "No")


def test_bbh_options_come_from_the_row_or_from_the_task(tmp_path):
    def one(task: str, query: str) -> Item:
        whole = {"canary": "", "examples": [{"input": query, "target": "t"}]}
        (item,) = read("bbh", write(tmp_path / f"{task}.json", json.dumps(whole)))
        return item

    assert one("navigate", " Q\nOptions:\n- Yes\n- No").options == ("Yes", "No")
    assert one("snarks", "Q\nOptions:\n(A) The NB").options == ("(A)",)
    assert one("sports_understanding", "Q").options == ("yes", "no")
    assert one("word_sorting", " Q") == Item(task="word_sorting", query="Q", reference="t")


def test_agieval_query_and_letters(tmp_path):
    def one(passage: str | None, choices: list[str], label: str) -> Item:
        row = {"passage": passage, "question": "Q?", "options": choices, "label": label}
        (item,) = read("agieval", write(tmp_path / "lsat.jsonl", json.dumps(row)))
        return item

    clean = one("P.", ["(A)x", "(B)y"], "B")
    assert clean.query == "P.\nQ: Q? Answer Choices: (A)x (B)y\nA: Among A through B, the answer is"
    assert (clean.task, clean.reference, clean.options) == ("lsat", "(B)", ("(A)", "(B)"))
    assert clean.choices == ("(A)x", "(B)y")
    assert one(None, ["(A)x", "(C)z", "(B)y"], "B").choices == ("(A)x", "(B)y", "(C)z")
    assert "(A)x (C)z (B)y" in one(None, ["(A)x", "(C)z", "(B)y"], "B").query
    assert one("", ["A x", "B? y", "(C)C", "D.B"], "A").query.startswith(
        "Q: Q? Answer Choices: (A)x (B)y (C)C (D)D.B\n"
    )


def truthfulqa(path: Path, *, seed: int = 0, **settings: str) -> list[Item]:
    form = TruthfulQA(task=settings.pop("task", "mc1"), seed=seed)
    return take(path, Source(format="truthfulqa", truthfulqa=form, **settings))


def test_truthfulqa_shuffles_the_choices_before_they_get_letters(tmp_path):
    targets = {f" choice {number}": int(number == 0) for number in range(5)} | {" ": 0}
    record = {"question": "Q? ", "mc1_targets": targets, "mc2_targets": targets | {"choice 9": 1}}
    path = write(tmp_path / "mc_task.json", json.dumps([record]))
    letters = set()
    for seed in range(20):
        (item,) = truthfulqa(path, seed=seed)
        question, *lines = item.query.split("\n")
        assert (question, len(lines), item.task) == ("Q?", 5, "mc1")
        assert lines == [f"{option} {choice}" for option, choice in zip(item.options, item.choices, strict=True)]
        assert lines[item.right[0]] == f"{item.reference} choice 0"
        letters.add(item.reference)
    assert letters == {"(A)", "(B)", "(C)", "(D)", "(E)"}
    assert truthfulqa(path, seed=3) == truthfulqa(path, seed=3)
    (item,) = truthfulqa(path, task="mc2", items="choices")
    assert (item.query, item.options) == ("Q?", item.choices)
    assert {item.choices[index] for index in item.right} == {"choice 0", "choice 9"}
    table = "\ufeffQuestion,Best Answer,Correct Answers,Incorrect Answers\r\n"
    table += 'Q?,choice 0,choice 9; choice 0,"choice 1;choice 2; choice 3; choice 4;"\r\n'
    assert truthfulqa(write(tmp_path / "TruthfulQA.csv", table), seed=3) == truthfulqa(path, seed=3)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", "a.json:1: not a list of questions"),
        ("a.json", '[{"question": "Q"}]', "a.json:1: not {question, mc1_targets"),
        ("a.json", '[{"question": "Q", "mc1_targets": {"x": 1}}]', "a.json:1: not a question of mc1"),
        ("a.json", '[{"question": "Q", "mc1_targets": {"x": 1, "y": 1, "z": 0}}]', "a.json:1: not a question of mc1"),
        ("a.json", json.dumps([{"question": "Q", "mc1_targets": dict.fromkeys("abcdefghijklmnopqrstuvwxyzA", 0)}]),
         "a.json:1: more choices than letters"),
        ("a.csv", "Question,Best Answer\nQ,x\n", "a.csv:1: no column Incorrect Answers; the columns are"),
        ("a.csv", "Question,Best Answer,Incorrect Answers\nQ,x\n", "a.csv:2: 2 cells, but 3 columns"),
        ("a.csv", 'Question,Best Answer,Incorrect Answers\nQ,x,"y; ', "a.csv:2: not valid in quotes"),
    ],
)  # fmt: skip
def test_errors_of_truthfulqa_name_the_file_and_the_place(tmp_path, name, text, message):
    with pytest.raises(InputError) as error:
        truthfulqa(write(tmp_path / name, text))
    assert message in error.value.message and error.value.fix


@pytest.mark.parametrize(
    ("format", "name", "text", "message"),
    [
        ("flan-cot", "a.tsv", "q\ta\tr\nq\ta\n", "a.tsv:2: "),
        ("flan-cot", "a.tsv", "q\t\tr\n", "a.tsv:1: "),
        ("flan-cot", "a.tsv", "q\ta\tr\nq\ta\tthe rat", "a.tsv:2: the last line has no end"),
        ("flan-cot", "a.tsv", "", "a.tsv:1: the file is empty"),
        ("jsonl", "a.jsonl", "", "a.jsonl:1: the file is empty"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": "\0\0', "a.jsonl:2: a byte 0"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": "y', "a.jsonl:2: not JSON"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": \n', "a.jsonl:2: not JSON"),
        ("jsonl", "a.jsonl", "[1]", "a.jsonl:1: not a JSON object"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": ""}', "a.jsonl:2: no text at 'q'"),
        ("jsonl", "a.jsonl", '{"q": {"x": 1}}', "a.jsonl:1: the value at 'q' is not text"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": "\\ud83d x"}', "a.jsonl:2: a text holds half a character"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": ' + "[" * 100_000, "a.jsonl:2: maximum recursion depth"),
        ("jsonl", "a.jsonl", '{"q": "x"}\n{"q": "x", "n": ' + "9" * 5_000 + "}", "a.jsonl:2: Exceeds the limit"),
        ("bbh", "a.json", '{"examples": [{"input": "\\udc00", "target": "x"}]}', "a.json: a text holds half"),
        ("bbh", "a.json", '{"examples": [\n', "a.json:2:1: not JSON"),
        ("bbh", "a.json", '{"examples": [{"input": "x"}]}', "a.json:1: not {input"),
        ("natural-instructions", "a.json", '{"Definition": [], "Instances": []}', "a.json:Definition: "),
        (
            "natural-instructions",
            "a.json",
            '{"Definition": "d", "Instances": [{"input": "x", "output": []}]}',
            "a.json:1: not {input",
        ),
        ("agieval", "a.jsonl", '{"question": "q", "options": ["x"], "label": "B"}', "a.jsonl:1: label 'B'"),
        ("agieval", "a.jsonl", '{"question": "q", "label": "B"}', "a.jsonl:1: not {question"),
    ],
)
def test_errors_of_broken_rows_name_the_file_and_the_place(tmp_path, format, name, text, message):
    fields = {"query": "q"} if format == "jsonl" else {}
    with pytest.raises(InputError) as error:
        read(format, write(tmp_path / name, text), **fields)
    assert message in error.value.message and error.value.fix


def test_the_error_for_bytes_that_are_not_utf8_names_the_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"q\ta\tr\n" + "é\ta\tr\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.tsv:2: byte 0 is not UTF-8"):
        read("flan-cot", path)


def test_parquet_reads_as_the_same_rows_in_json_lines(tmp_path):
    rows = [
        {"a.b": "literal", "m": [{"content": "Q1"}], "r": ["one", "two"], "n": 1, "o": ["x"], "d": "t"},
        {
            "a.b": "other",
            "m": [{"content": "Q2\nOptions:\n- a\n- b"}, {"content": "more"}],
            "r": None,
            "n": 2,
            "o": None,
        },
    ] * 3_000  # more than a batch
    table = pa.Table.from_pylist(rows)
    table = table.set_column(table.column_names.index("d"), "d", table["d"].dictionary_encode())
    pq.write_table(table, tmp_path / "mine.parquet", row_group_size=1_500)
    write(tmp_path / "mine.jsonl", "\n".join(map(json.dumps, rows)))
    for fields in (
        {"query": "m.0.content", "reference": "r", "task": "d", "options": "o"},
        {"query": "a.b", "reference": "n", "task": "m.1.content"},
    ):
        parquet = read("parquet", tmp_path / "mine.parquet", **fields)
        assert parquet == read("jsonl", tmp_path / "mine.jsonl", **fields)
        assert len(parquet) == 6_000


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["x", ""]), "a.parquet:2: no text at 'q'"),
        (pa.array(["x", None]), "a.parquet:2: no text at 'q'"),
        (pa.array([{"x": 1}]), "a.parquet:1: the value at 'q' is not text"),
        (pa.array([b"x"]), "a.parquet:1: the value at 'q' is not text"),
        (pa.array([b"x", b"\xff"]).view(pa.string()), "a.parquet:2: byte 0 of a text is not UTF-8"),
    ],
)
def test_the_error_for_a_broken_row_of_parquet_has_its_number(tmp_path, column, message):
    pq.write_table(pa.table({"q": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError) as error:
        read("parquet", tmp_path / "a.parquet", query="q")
    assert message in error.value.message and error.value.fix


def test_of_columns_of_one_name_the_last_is_read(tmp_path):
    pq.write_table(pa.table([["x"], ["y"]], names=["q", "q"]), tmp_path / "a.parquet")
    assert [item.query for item in read("parquet", tmp_path / "a.parquet", query="q")] == ["y"]


def test_a_file_that_is_damaged_or_not_parquet_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"q": [f"question {i}" for i in range(1_000)]}), path)
    whole = path.read_bytes()
    for content in (b"no parquet at all", whole[:-1], whole[:100] + bytes(200) + whole[300:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.parquet: cannot be read as Parquet"):
            read("parquet", path, query="q")
    path.write_bytes(whole)
    with pytest.raises(InputError, match="no row has a value at 'answer'"):
        read("parquet", path, query="q", reference="answer")


@pytest.mark.parametrize("fields", [{}, {"question": "q"}, {"query": "q", "reference": "answre"}])
def test_a_jsonl_map_that_fits_no_row_is_an_error(tmp_path, fields):
    with pytest.raises(InputError):
        read("jsonl", write(tmp_path / "a.jsonl", '{"q": "x", "answer": "y"}'), **fields)
