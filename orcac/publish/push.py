"""Pushing an exported folder to a repository on a Hugging Face hub.

A new repository is private. Nothing is pushed into a public one unless that is asked for. Files are stored by content,
so a push that was cut short goes on with the files that the hub lacks when it is run again.

The token (`HF_TOKEN`, or the one that `hf auth login` stored) goes to the hub and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orcac import hub
from orcac.errors import InputError
from orcac.progress import print_line
from orcac.recipe import HubRef

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["check_pushed", "parse_repository", "push"]


def parse_repository(text: str) -> HubRef:
    """Return the repository OWNER/NAME. Raises InputError if `text` is anything else."""
    ref = hub.parse_hub(f"hf://{text.removeprefix('hf://')}")
    if ref != HubRef(repo=ref.repo):
        raise InputError(f"--push {text}: a push goes to a whole repository", fix=f"write --push {ref.repo}")
    return ref


def check_pushed(folder: Path, artifact: str) -> None:
    """Raise InputError unless `folder` is an export of `artifact` (KIND/ID), which its card names."""
    card = folder / "README.md"
    if not card.is_file() or artifact not in card.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"{folder}: exists already, and is no export of {artifact}", fix="name another folder, or remove this one"
        )


def push(folder: Path, ref: HubRef, kind: hub.Kind, *, is_public: bool = False) -> str:
    """Push the files of a folder to a repository, create it if it does not exist, and return the address of its page.

    Raises InputError without a token, for a repository that must not be written, and for a public one without
    `is_public`; EndpointError if the hub cannot be reached or fails.
    """
    api = hub.connect()
    if not api.token and not _find_token():
        raise InputError(
            "pushing needs a token", fix="set HF_TOKEN to a token that may write, or store one with `hf auth login`"
        )
    hub.retrying(ref, kind, lambda: _make(api, ref, kind, is_public=is_public), verb="written")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print_line(f"push {ref.repo}  {size / 1e6:,.1f} MB; files that the hub has already are not sent again")
    hub.retrying(ref, kind, lambda: _upload(api, folder, ref, kind), verb="written")
    return f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{ref.repo}"


def _find_token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _make(api: HfApi, ref: HubRef, kind: hub.Kind, *, is_public: bool) -> None:
    """Make the repository, or check that it is private."""
    api.create_repo(ref.repo, repo_type=kind, private=not is_public, exist_ok=True)
    if not is_public and not api.repo_info(ref.repo, repo_type=kind).private:
        raise InputError(f"{ref.repo} is public", fix="give --public, or name another repository")


def _upload(api: HfApi, folder: Path, ref: HubRef, kind: hub.Kind) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        api.upload_folder(repo_id=ref.repo, repo_type=kind, folder_path=folder, commit_message="Export with orcac")
    finally:
        if had_bars:
            enable_progress_bars()
