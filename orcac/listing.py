"""The listings of a hub's commits that this machine has read, kept beside the files in the cache (`HF_HOME`).

A node without internet reads a reference from the cache alone. The cache has files, and cannot show whether all files
of a folder are there: a download may have been cut off. So each listing that the hub sends is kept:

    HF_HUB_CACHE/KIND--OWNER--NAME/refs/REVISION         the commit that the revision meant when it was last read
    HF_HUB_CACHE/KIND--OWNER--NAME/orcac/COMMIT.json     that commit's files: path, size and digest of each

The first is that of the Hugging Face libraries, so others, such as vLLM, find the same commit.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orcac.recipe import HubRef
from orcac.store import durable

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

__all__ = ["Kind", "recall", "remember"]

Kind = Literal["dataset", "model"]


def remember(ref: HubRef, kind: Kind, commit: str, files: list[RepoFile]) -> None:
    """Keep the listing of a commit. A cache that cannot be written keeps none, and the files go the same way."""
    entries = [
        {"path": file.path, "size": file.size, "oid": file.blob_id}
        | (
            {"lfs": {"oid": file.lfs.sha256, "size": file.lfs.size, "pointerSize": file.lfs.pointer_size}}
            if file.lfs
            else {}
        )
        for file in files
    ]
    folder = _folder(ref, kind)
    with contextlib.suppress(OSError):
        durable.write_if_changed(folder / "orcac" / f"{commit}.json", json.dumps(entries))
        if ref.revision != commit:
            durable.write_if_changed(folder / "refs" / ref.revision, commit)


def recall(ref: HubRef, kind: Kind) -> tuple[str, list[RepoFile]]:
    """Return the commit that a revision meant when it was last read here, and its files.

    Raises LookupError if there is no listing that can be read.
    """
    from huggingface_hub.hf_api import RepoFile

    folder = _folder(ref, kind)
    try:
        kept = folder / "refs" / ref.revision
        commit = kept.read_text(encoding="ascii").strip() if kept.is_file() else ref.revision
        entries = json.loads((folder / "orcac" / f"{Path(commit).name}.json").read_bytes())
        return commit, [RepoFile(**entry) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LookupError(f"no listing of {ref.repo}@{ref.revision}") from error


def _folder(ref: HubRef, kind: Kind) -> Path:
    from huggingface_hub import constants, file_download

    return Path(constants.HF_HUB_CACHE) / file_download.repo_folder_name(repo_id=ref.repo, repo_type=kind)
