"""Job: the argument of a kind's `run(job)`, with its recipe, its execution, and the folders to read and to write.

`out` is the folder for the artifact's files. It is empty at the start of every try and is published as a whole when
`run` returns. `work` survives a kill, and keeps the progress that the next try goes on from (checkpoints, received
answers). `run` returns the artifact's summary, of the type in the kind's `recipe.py`. If other processes did the work,
it puts their `packages_in_use` into `packages`, which go into the artifact's provenance.
"""

from __future__ import annotations

import contextlib
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
    """Return the versions of the packages that can have shaped an artifact: those that this process has imported."""
    from importlib import metadata

    names = ("torch", "transformers", "accelerate", "openai", "numpy", "pyarrow")
    return {name: metadata.version(name) for name in names if name in sys.modules}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[R, E]):
    """One node to make."""

    ref: str  # KIND/ID
    label: str  # for people, e.g. `assistant-3000`
    recipe: R
    execution: E
    inputs: Mapping[str, Sequence[Path]]  # role -> the folders of the input artifacts, in order
    by_ref: Mapping[str, Path]  # the same folders by KIND/ID
    out: Path
    work: Path
    whole_work: Path | None = None  # if this is a shard of a node: the `work` of the node
    earlier: Mapping[str, Path] = dataclasses.field(default_factory=dict)  # of the execution's `earlier`, those made
    answers: Path  # the ledger of answers that all experiments share
    upstream_answers: Path | None = None  # the ledger of the upstream, which is only read
    packages: dict[str, str] = dataclasses.field(default_factory=dict)  # those of other processes that did the work

    def input(self, role: str) -> Path:
        """Return the folder of the only input in this role."""
        (folder,) = self.inputs[role]
        return folder

    @property
    def shared_work(self) -> Path:
        """The folder in which the shards of a node leave their results for the node's own job."""
        return self.whole_work or self.work

    def progress(self, total: int, unit: str) -> Progress:
        """Return the node's progress, shown as lines and in `work/progress.json`. `unit` is plural, e.g. "answers"."""
        return Progress(label=self.label, total=total, unit=unit, path=self.work / "progress.json")


_MMAP_THRESHOLD, _BYTES = -3, 256 << 10  # glibc's M_MMAP_THRESHOLD


class _NoPandas:
    """An import finder for which pandas is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name == "pandas":
            raise ImportError(name)


def hide_pandas() -> None:
    """Keep Arrow from loading pandas. Call it before an Arrow array is made; a second call changes nothing.

    Arrow looks for pandas when it makes its first array, and loads it if it is installed: 45 MB and half a second. Here
    it finds none, and does not look again.
    """
    import pyarrow as pa

    hidden = _NoPandas()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


def save_memory() -> None:
    """Set this process up to need less memory. Call it before anything large is made; a second call changes nothing.

    - Arrow loads no pandas.
    - Arrow's own memory pool keeps 40 MB that it has used once; the system's pool gives them back.
    - glibc gives a large block back to the system only if it is above a threshold, which rises to the size of the
      largest block ever freed. Smaller blocks go to the heap, where others keep them from being given back. Here the
      threshold is fixed.
    """
    import ctypes

    import pyarrow as pa

    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BYTES)
    pa.set_memory_pool(pa.system_memory_pool())
    hide_pandas()
