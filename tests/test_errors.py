"""Tests of orcac/errors.py: exit codes, the fix in the text, and library errors about a user's file."""

from __future__ import annotations

import pytest

from orcac.errors import EndpointError, InputError, OrcacError, PinError, StoreError, as_input_error


def test_every_error_has_its_exit_code_and_shows_its_fix() -> None:
    codes = {OrcacError: 1, InputError: 2, PinError: 3, EndpointError: 4, StoreError: 5}
    for kind, code in codes.items():
        error = kind("it failed", fix="do this")
        assert (error.exit_code, str(error)) == (code, "it failed\n  fix: do this")
        assert str(kind("it failed")) == "it failed"


def test_an_error_of_a_library_becomes_an_input_error() -> None:
    with pytest.raises(InputError) as caught, as_input_error("config.json", fix="mend it"):
        raise KeyError("size\n missing")
    assert caught.value.message.startswith("config.json: ") and "\n" not in caught.value.message
    assert caught.value.fix == "mend it"
    with pytest.raises(InputError, match=r"^config\.json: ZeroDivisionError\n"), as_input_error("config.json", fix="x"):
        raise ZeroDivisionError
    with pytest.raises(InputError, match="x" * 300) as long, as_input_error("a", fix="b"):
        raise ValueError("x" * 1000)
    assert len(long.value.message) == len("a: ") + 300


@pytest.mark.parametrize("error", [StoreError("the disk is full"), MemoryError(), KeyboardInterrupt()])
def test_errors_that_are_not_about_the_file_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, as_input_error("config.json", fix="mend it"):
        raise error
    assert caught.value is error
