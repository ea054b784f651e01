"""Files that a spec may not name: devices, pipes, and files of the system, such as /proc/self/environ.

A spec may be a stranger's, and the content of the files that it names is shown in messages and sent to teachers.
"""

from __future__ import annotations

import stat
from pathlib import Path

from orcac.errors import InputError

__all__ = ["refuse_special"]

_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))


def refuse_special(path: Path) -> None:
    """Raise InputError if `path`, or the file that it links to, is a device, a pipe or a file of the system.

    A missing file passes.
    """
    try:
        resolved = path.resolve()
        mode = resolved.stat().st_mode
    except (OSError, RuntimeError, ValueError):
        return
    if any(folder in resolved.parents for folder in _SYSTEM) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path} is a device, a pipe or a file of the system; name a regular file")
