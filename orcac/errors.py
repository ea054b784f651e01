"""The errors that orcac raises on purpose, and the exit code of each.

    OrcacError                 1   a node's work failed for a known reason
    ├── InputError             2   the user's input is wrong: a spec, an argument, a data file
    │   ├── SpecErrors         2   all errors of a spec at once, each with file:line:column
    │   └── MachineError       2   the machine lacks a device or a package, which another may have
    ├── PinError               3   an id that the spec's lock pins has changed
    ├── KilledError            1   the system killed a process of the node, most often for its memory
    ├── EndpointError          4   a teacher is down, refuses the key or is out of quota; rerun when that is mended
    └── StoreError             5   the store is full, damaged or not writable

Exit code 0 is success; `orcac diff` returns 1 for "different"; 130 is an interrupt. The command line prints the message
and the fix of these errors, never a traceback. Broken invariants are asserts and do show a traceback: they are bugs of
orcac itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class OrcacError(Exception):
    """Base of all errors. `message` names the cause and its place; `fix` is one imperative sentence on how to go on."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class InputError(OrcacError):
    """Wrong input of the user: a spec, an argument or a data file."""

    exit_code = 2


class MachineError(InputError):
    """A machine without a device or a package that its job needs. Another machine of the cluster may have it."""


class PinError(OrcacError):
    """An id that differs from the one that the spec's lock pins."""

    exit_code = 3


class KilledError(OrcacError):
    """A process that the system killed, most often for its memory."""


class EndpointError(OrcacError):
    """A teacher or a hub that is down, refuses the key or is out of quota."""

    exit_code = 4


class StoreError(OrcacError):
    """A store that is full, damaged or not writable."""

    exit_code = 5


@contextlib.contextmanager
def as_input_error(subject: str, *, fix: str) -> Iterator[None]:
    """Turn any error that a library raises about a user's file into an InputError that begins with `subject`.

    Libraries have no class for a wrong value in a file: it ends in any error at all, deep inside them.
    """
    try:
        yield
    except (OrcacError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{subject}: {reason[:300] or type(error).__name__}", fix=fix) from error
