"""Tests of orcac/losses.py: which tasks and files count as lost. The nodes' own tests have the rest."""

from __future__ import annotations

import pytest

from orcac.errors import InputError
from orcac.losses import Losses, print_counts


def test_a_file_whose_tasks_are_named_is_not_named_again_and_one_without_rows_is() -> None:
    losses = Losses()
    for file in ("/d/a.tsv", "/d/b.json.gz", "/d/c.jsonl"):
        losses.add_file(file)
    losses.count("bad", task="x", file="/d/a.tsv")
    losses.count("bad", task="y", file="/d/b.json.gz")
    losses.count("", task="y", file="/d/c.jsonl")
    with pytest.raises(InputError) as caught:
        losses.check("s", (), fix="mend")
    assert (
        str(caught.value) == "s: nothing is left of\n  the task `x`: bad 1\n  the file /d/b.json.gz: bad 1\n  fix: mend"
    )
    losses.check("s", ("x", "b"), fix="mend")
    losses.add_file("/d/e.jsonl")
    with pytest.raises(InputError, match=r"the file /d/e\.jsonl, which has no rows"):
        losses.check("s", ("x", "b.json.gz"), fix="mend")
    losses.check("s", ("x", "/d/b.json.gz", "e"), fix="mend")
    losses.check("s", ("x", "*.gz", "[e]"), fix="mend")
    losses.check("s", ("*",), fix="mend")


def test_a_message_names_ten_groups() -> None:
    losses = Losses()
    for task in range(14):
        losses.count("bad", task=f"t{task:02}")
    with pytest.raises(InputError, match="the task `t09`: bad 1\n  4 others"):
        losses.check("s", (), fix="mend")


def test_the_line_of_a_node(capsys: pytest.CaptureFixture[str]) -> None:
    print_counts("sample a", 3, {"duplicate": 2, "not drawn": 1_000})
    print_counts("sample b", 3, {})
    assert capsys.readouterr().err == (
        "sample a  kept 3 of 1,005; dropped: not drawn 1,000, duplicate 2\nsample b  kept 3 of 3\n"
    )
