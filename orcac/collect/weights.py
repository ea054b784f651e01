"""The files of a model that the asking process loads itself (`kind: local`)."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from orcac.collect.recipe import Weights
from orcac.hub import fetch
from orcac.recipe import Execution, resolve_file
from orcac.store.durable import share

__all__ = ["link_weights"]


def link_weights(weights: Weights | None, execution: Execution, *, work: Path, label: str) -> Path | None:
    """Make and return a folder of links to the files of a model in `work`; None for a teacher without weights."""
    if weights is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=work))  # of this process alone: shards run side by side
    share(folder)
    if weights.hub:
        fetched = fetch(weights.hub, kind="model", label=label)
        files = {PurePosixPath(name).name: path for path, name in fetched.files}
    else:
        files = {ref.name: resolve_file(ref, execution) for ref in weights.files}
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file.resolve())
    return folder
