"""Lets the clock of every Python process jump: `time.time` is wrong by the seconds in the file that CHAOS_CLOCK names.

Python imports this file at its start if its folder is on PYTHONPATH. Times of files are those of the kernel, which does
not jump: so does a file server whose clock differs from that of its client.
"""

import os
import time

_real_time, _path = time.time, os.environ.get("CHAOS_CLOCK", "")


def _jumping_time() -> float:
    try:
        with open(_path) as file:  # noqa: PTH123  every process pays for an import of pathlib
            return _real_time() + float(file.read())
    except (OSError, ValueError):  # the driver is replacing the file
        return _real_time()


if _path:
    time.time = _jumping_time
