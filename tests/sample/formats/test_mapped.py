"""Tests of orcac/sample/formats/mapped.py, orcac/tables/template.py, orcac/sample/formats/conversation.py and
orcac/sample/formats/options.py: rows of any shape as queries."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orcac.errors import InputError
from orcac.sample.formats import BadRow, Item, read_items
from orcac.sample.recipe import Source
from orcac.tables.template import Template, list_keys


def read(folder: Path, *rows: dict[str, object], show: str | None = None, **fields: str) -> list[Item | BadRow]:
    """Read rows by `fields`, from JSON Lines and from Parquet, which must agree."""
    lines, table = folder / "mine.jsonl", folder / "mine.parquet"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([*rows]), table)
    found = [
        [*read_items(path, path.name, Source(format=path.suffix[1:], fields=fields, show_options=show))]
        for path in (lines, table)
    ]
    assert [(row.line, row.reason) if isinstance(row, BadRow) else row for row in found[0]] == [
        (row.line, row.reason) if isinstance(row, BadRow) else row for row in found[1]
    ]
    return found[0]


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{a}\n\n{b}", {"a": "Sum.", "b": "2 and 3"}, "Sum.\n\n2 and 3"),
        ("{a}\n\n{b}", {"a": "Sum."}, "Sum."),
        ("{a}\n\n{b}\n\n{c}", {"a": "x", "c": "z"}, "x\n\nz"),
        ("{a}\n\nInput: {b}\n\nAnswer:", {"a": "x"}, "x\n\nAnswer:"),
        ("{a}\n\nInput:\n{b}", {"a": "x"}, "x"),
        ("{a}\n{b}\n{c}", {"a": "x", "c": "z"}, "x\nz"),
        ("{a}: {b}", {"a": "x"}, "x:"),
        ("Answer this.\n\n{a}", {}, ""),
        ("{{{a}}} {{b}}", {"a": "x"}, "{x} {b}"),
        ("{a}{b}", {"a": "{b}", "b": "{a}"}, "{b}{a}"),
        ("{a.0.b}", {"a.0.b": "x"}, "x"),
    ],
)
def test_templates_leave_no_trace_of_empty_fields(template: str, values: dict[str, str], text: str) -> None:
    parsed = Template.parse(template)
    assert parsed and parsed.fill(lambda key: values.get(key, "")) == text
    assert {*values} <= {*list_keys(template)}


def test_a_text_without_fields_is_a_key() -> None:
    assert list_keys("a{b") == ["a{b"] and list_keys("{{a}}") == ["{{a}}"]


def test_a_query_of_several_fields(tmp_path: Path) -> None:
    fields = {"query": "{task}\n\n{more.text}", "reference": "out"}
    rows: list[dict[str, object]] = [
        {"task": "Name a bird.", "more": {"text": ""}, "out": "Crow"},
        {"task": "Double it.", "more": {"text": 4}, "out": "8"},
        {"task": " ", "more": {"text": None}, "out": "?"},
    ]
    first, bad, second = (rows[0], rows[2], rows[1] | {"more": {"text": "4"}})
    found = read(tmp_path, first, bad, second, **fields)
    assert [(item.query, item.reference) for item in found if isinstance(item, Item)] == [
        ("Name a bird.", "Crow"),
        ("Double it.\n\n4", "8"),
    ]
    assert [row.line for row in found if isinstance(row, BadRow)] == [2]
    for row in (first, {"task": "x", "out": "y"}):  # an optional part may be null in all rows, but not missing
        only = [*read(tmp_path, row | {"more": {"text": None}}, **fields)]
        assert len(only) == 1
    with pytest.raises(InputError, match=r"no row has a value at 'more\.txt'; the columns are task, more\.text, out"):
        read(tmp_path, first, query="{task}\n\n{more.txt}")


def test_absent_values(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"q": "1", "a": NaN}\n{"q": NaN}\n{"q": null, "a": 2}\n{"q": " \\n", "a": 3}\n{"q": 5, "a": " "}\n'
    )
    found = [*read_items(path, "a.jsonl", Source(format="jsonl", fields={"query": "q", "reference": "a"}))]
    assert [row.line for row in found if isinstance(row, BadRow)] == [2, 3, 4]
    assert [(item.query, item.reference) for item in found if isinstance(item, Item)] == [("1", ""), ("5", "")]


SHARE_GPT = [
    [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}],
    [{"from": "gpt", "value": "Earlier"}, {"from": "human", "value": " Who? "}],
    [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "When?"},
        {"from": "gpt", "value": "Now."},
        {"from": "human", "value": "And then?"},
        {"from": "gpt", "value": "Later."},
        {"from": "human", "value": "Oh."},
    ],
]


@pytest.mark.parametrize("names", [("from", "value"), ("role", "content")])
def test_conversations_give_their_first_question_and_their_system_message(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    roles = {"human": "user", "gpt": "assistant"} if names[0] == "role" else {}
    rows = [
        {"turns": [{names[0]: roles.get(turn["from"], turn["from"]), names[1]: turn["value"]} for turn in turns]}
        for turns in SHARE_GPT
    ]
    found = [item for item in read(tmp_path, *rows, query="turns") if isinstance(item, Item)]
    assert [(item.query, item.system, item.later_turns) for item in found] == [
        ("Why?", None, 0),
        ("Who?", None, 0),
        ("When?", "Be brief.", 3),
    ]
    alone = read(tmp_path, *rows, query="turns.user", reference="turns.assistant")
    assert [(item.query, item.reference, item.system) for item in alone if isinstance(item, Item)] == [
        ("Why?", "So.", None),
        ("Who?", "", None),
        ("When?", "Now.", None),
    ]
    own = read(tmp_path, *rows, query="turns.user", system="turns.system")
    assert [item.system for item in own if isinstance(item, Item)] == ["", "", "Be brief."]
    assert [item.query for item in read(tmp_path, rows[2], query=f"turns.3.{names[1]}") if isinstance(item, Item)] == [
        "And then?"
    ]


def test_conversations_in_parts_or_in_columns(tmp_path: Path) -> None:
    parts = {"m": [{"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "you"}]}]}
    (item,) = read(tmp_path, parts, query="m")
    assert isinstance(item, Item) and item.query == "Hello you"
    (item,) = read(tmp_path, {"m": {"role": ["system", "user"], "content": ["Be kind.", "Hello"]}}, query="m")
    assert isinstance(item, Item) and (item.query, item.system) == ("Hello", "Be kind.")
    image = {"m": [{"role": "user", "content": [{"type": "image_url", "url": "x"}]}]}
    nobody = {"m": [{"role": "assistant", "content": "Hm."}]}
    for row, reason in ((image, "a turn of the conversation is not text"), (nobody, "no text at 'm'")):
        (bad,) = read(tmp_path, row, query="m")
        assert isinstance(bad, BadRow) and bad.reason == reason


def test_own_system_messages(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"s": " Be brief. ", "q": "Why?"},
        {"s": "", "q": "Who?"},
        {"s": None, "q": "When?"},
    ]
    found = read(tmp_path, *rows, query="q", system="s")
    assert [item.system for item in found if isinstance(item, Item)] == ["Be brief.", "", ""]
    assert [item.system for item in read(tmp_path, *rows, query="q") if isinstance(item, Item)] == [None] * 3


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["3", "4"], "4"),
        ({"text": ["3", "4"], "label": ["A", "B"]}, "B"),
        ({"text": ["3", "4"], "label": ["1", "2"]}, "2"),
        ([{"label": "A", "text": "3"}, {"label": "B", "text": "4"}], "B"),
        ({"A": "3", "B": "4"}, "B"),
    ],
)
def test_labels_name_options_and_options_are_shown(tmp_path: Path, options: object, answer: str) -> None:
    row = {"q": "2+2?", "o": options, "a": answer}
    shown: dict[str | None, tuple[str, tuple[str, ...], str]] = {
        None: ("2+2?", ("3", "4"), "4"),
        "words": ("2+2?\nOptions:\n- 3\n- 4", ("3", "4"), "4"),
        "letters": ("2+2?\nOptions:\n(A) 3\n(B) 4", ("(A)", "(B)"), "(B)"),
    }
    for show, right in shown.items():
        (item,) = read(tmp_path, row, query="q", options="o", reference="a", show=show)
        assert isinstance(item, Item) and (item.query, item.options, item.reference) == right


def test_conversations_in_a_cell_of_csv(tmp_path: Path) -> None:
    turns = json.dumps(SHARE_GPT[2]).replace('"', '""')
    path = tmp_path / "a.csv"
    path.write_text(f'q\n"{turns}"\n[1] is what?\n"[""x""]"\n')
    first, second, third = read_items(path, "a.csv", Source(format="csv", fields={"query": "q"}))
    assert isinstance(first, Item) and (first.query, first.system) == ("When?", "Be brief.")
    assert isinstance(second, Item) and second.query == "[1] is what?"
    assert isinstance(third, Item) and third.query == '["x"]'


def test_options_in_a_cell_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('q,o,a\n2+2?,"[""3"", ""4""]",4\n1+1?,[oops,2\n')
    item, bad = read_items(path, "a.csv", Source(format="csv", fields={"query": "q", "options": "o", "reference": "a"}))
    assert isinstance(item, Item) and item.options == ("3", "4")
    assert isinstance(bad, BadRow) and (bad.line, bad.reason) == (3, "the value at 'o' is not a list")


def test_rows_that_are_bad_at_one_key_do_not_accuse_the_keys_after_it(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, {"q": "2+2?", "o": "3 or 4", "a": "4"}, query="q", options="o", reference="a")
    assert isinstance(bad, BadRow) and bad.reason == "the value at 'o' is not a list"
