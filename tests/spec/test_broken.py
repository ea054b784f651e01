"""Tests of orcac/spec/check.py, orcac/spec/stages.py, orcac/spec/questions.py, orcac/spec/finding.py,
orcac/spec/columns.py, orcac/spec/wording.py and orcac/spec/problems.py by broken/cases.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cases import CASES, lay_out

from orcac.errors import InputError
from orcac.spec.load import load


def error_message(case: dict[str, Any], folder: Path) -> str:
    """Load a case's spec in `folder`. Returns the error message, without the folder's path."""
    with pytest.raises(InputError) as caught:
        load(lay_out(case, folder))
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", "")


@pytest.fixture(autouse=True)
def unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCAC_UNSET", raising=False)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_broken_spec_has_exactly_this_message(case: dict[str, Any], tmp_path: Path) -> None:
    assert error_message(case, tmp_path) == case["expect"].rstrip("\n")


def test_escape_sequences_in_a_spec_do_not_reach_the_terminal(tmp_path: Path) -> None:
    name = '"\\e[2J\\n"'
    text = error_message({"edit": {"pool: {teacher: solver": f"pool: {{teacher: {name}"}}, tmp_path)
    assert "29:19: `\\x1b[2J\\n`: a name is" in text
