"""What a kind's `run(job)` is given: its recipe, its execution, the folders of its inputs, and where to write.

`out` is where the artifact's files go; it is fresh at every try and is published as a whole when `run` returns.
`work` survives a kill: whatever lets the next try go on (checkpoints, answers received) stands there.
`run` returns the artifact's summary, of the type in the kind's `recipe.py`. If other processes did the work, it puts
their `packages_in_use` into `packages`, which go into the artifact's provenance.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from orcac.progress import Progress
from orcac.recipe import Execution, Recipe

R = TypeVar("R", bound=Recipe)
E = TypeVar("E", bound=Execution)


def packages_in_use() -> dict[str, str]:
    """The versions of what shaped an artifact: what this process did not import did not."""
    from importlib import metadata

    names = ("torch", "transformers", "accelerate", "openai", "numpy", "pyarrow")
    return {name: metadata.version(name) for name in names if name in sys.modules}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[R, E]):
    ref: str  # KIND/ID
    label: str  # for people, e.g. `assistant-3000`
    recipe: R
    execution: E
    inputs: Mapping[str, Sequence[Path]]  # role -> the folders of the input artifacts, in order
    by_ref: Mapping[str, Path]  # the same folders by KIND/ID
    out: Path
    work: Path
    answers: Path  # the ledger of answers that all experiments share
    packages: dict[str, str] = dataclasses.field(default_factory=dict)  # of other processes, if those did the work

    def one(self, role: str) -> Path:
        """The folder of the single input in this role."""
        (folder,) = self.inputs[role]
        return folder

    def progress(self, total: int, unit: str) -> Progress:
        """Progress lines, and `work/progress.json` for `orcac status`. `unit` is plural, e.g. "answers"."""
        return Progress(label=self.label, total=total, unit=unit, path=self.work / "progress.json")


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
