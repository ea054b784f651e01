"""Tests of orcac/extras.py: a missing package is named with the extra that brings it."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.extras import EXTRAS, explain_missing_package, fix_of, is_installed


@pytest.fixture
def without_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "measure", ("scipy", "no_such_package"))


def test_an_extra_is_recognised_by_packages_that_it_installs() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, packages in EXTRAS.items():
        listed = {re.split("[<>=]", line)[0].replace("-", "_") for line in project["optional-dependencies"][extra]}
        assert set(packages) <= listed, extra


def test_a_missing_package_is_named_with_its_extra() -> None:
    with (
        pytest.raises(InputError, match="the report needs the package scipy") as caught,
        explain_missing_package("the report"),
    ):
        raise ModuleNotFoundError("No module named 'scipy.stats'", name="scipy")
    assert caught.value.fix == fix_of("measure") == "pip install 'orcac[measure]'"
    with pytest.raises(ModuleNotFoundError), explain_missing_package("the report"):
        importlib.import_module("orcac.no_such_module")


def test_an_extra_counts_as_installed_if_all_its_packages_are(without_measure: None) -> None:
    assert is_installed("train") and not is_installed("measure")
