"""Everything that orcac raises on purpose, and the exit code that each becomes.

    OrcacError                 1   a node's work failed, for a reason we can name
    ├── InputError             2   what the user gave is wrong: a spec, an argument, a data file
    │   └── SpecErrors         2   every error of a spec at once, each with file:line:column
    ├── PinError               3   an id that the spec's lock pins has moved
    ├── EndpointError          4   a teacher is down, refuses the key or is out of quota; rerun when mended
    └── StoreError             5   the store is full, damaged or not writable

Exit code 0 is success; `orcac diff` returns 1 for "different"; 130 is an interrupt. A user never sees a
traceback for any of these: the command line prints the message, which says what, where and how to mend it.
Broken invariants are asserts and do show a traceback: they are our bugs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class OrcacError(Exception):
    """Base of all. `fix` is one sentence in the imperative that says how to go on."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class InputError(OrcacError):
    exit_code = 2


class PinError(OrcacError):
    exit_code = 3


class EndpointError(OrcacError):
    exit_code = 4


class StoreError(OrcacError):
    exit_code = 5


@contextlib.contextmanager
def reading(what: str, *, fix: str) -> Iterator[None]:
    """Raise whatever the libraries raise of files that somebody gave as an InputError that begins with `what`.

    They have no class for it: a wrong value ends in any error at all, deep inside them.
    """
    try:
        yield
    except (OrcacError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise InputError(f"{what}: {said[:300] or type(error).__name__}", fix=fix) from error
