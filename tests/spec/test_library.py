"""Tests of orcac/spec/library.py; broken libraries are in broken/cases.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.spec.library import Libraries, number_messages
from orcac.spec.source import File


def test_the_messages_of_a_spec_replace_those_of_the_library() -> None:
    assert number_messages({7: "Think.", 8: "Why?"}, {8: "Explain."}) == {1: "", 7: "Think.", 8: "Explain."}
    assert number_messages({1: "Hello."}, {}) == {1: "Hello."}


def test_a_library_is_read_once(tmp_path: Path) -> None:
    libraries, path = Libraries(File(tmp_path / "spec.yaml")), tmp_path / "library.yaml"
    path.write_text("messages: {7: {text: Think., note: from the paper}}\n")
    assert libraries.read(path) == {7: "Think."}
    path.unlink()
    assert libraries.read(path) == {7: "Think."}


def test_a_missing_library_is_refused_each_time(tmp_path: Path) -> None:
    libraries = Libraries(File(tmp_path / "spec.yaml"))
    for _ in range(2):
        with pytest.raises(InputError, match="no such file"):
            libraries.read(tmp_path / "library.yaml")
