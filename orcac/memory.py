"""What a process that is a job of ours does to stay small, whatever the size of its tables.

A job goes through its tables batch by batch; what it held for one must be given back before the next. Not for a
process that is somebody else's: it loses Arrow's way to pandas.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Sequence

_MMAP_THRESHOLD, _BYTES = -3, 256 << 10  # glibc's M_MMAP_THRESHOLD


class _NoPandas:
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name == "pandas":
            raise ImportError(name)


def stay_small() -> None:
    """To be called before anything large is made; a second call changes nothing.

    - Arrow looks for pandas at the first array, and loads it where it is installed: 45 MB and half a second. Here it
      finds none, and does not look again.
    - Arrow's own pool keeps 40 MB that it once had; the system's gives them back.
    - glibc puts what is larger than the largest thing that was ever freed into its heap, where small things keep it
      from being given back. A fixed threshold ends that.
    """
    import pyarrow as pa

    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BYTES)
    pa.set_memory_pool(pa.system_memory_pool())
    hidden = _NoPandas()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)
