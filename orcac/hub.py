"""What lies on a Hugging Face hub: `hf://OWNER/NAME[@REVISION][/PATH]`.

`parse_hub` reads such a reference and touches no network. `fetch` resolves its revision to a commit, lists that
commit's files, downloads those that the reference names into the cache that all Hugging Face tools share
(`HF_HOME`), and holds each against the digest that the hub lists, those that were in the cache already too.

- Nothing that is fetched is run, and of a model no pickle and no code is even downloaded.
- The library goes on after a cut connection where the file broke off; a file that is whole is not fetched again.
  What heals by itself (429, 5xx, a lost connection, a damaged file) is tried again, a few times.
- The token (`HF_TOKEN`, or what `hf auth login` stored) goes to the hub and nowhere else: errors are told in our own
  words, never in the server's, which may repeat it.
- Files come one after the other. Large ones fill the line by themselves, and a kill leaves one file at most to redo.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from orcac.errors import EndpointError, InputError, OrcacError, StoreError
from orcac.progress import Progress
from orcac.recipe import HubRef, file_digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

Kind = Literal["dataset", "model"]
T = TypeVar("T")

WAITS_SECONDS = (1.0, 4.0, 16.0)  # between tries
PATIENCE_SECONDS = 60.0  # without a byte, where the library itself would wait for ever
FORM = (
    "write hf://OWNER/NAME, hf://OWNER/NAME@REVISION, or either with /PATH after it, "
    "e.g. hf://Open-Orca/OpenOrca@main/1M-GPT4-Augmented.parquet"
)
_NAME = re.compile(r"(?!.*(?:--|\.\.|\.git$))\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_REVISION = re.compile(r"refs/(?:pr/\d+|convert/\w+)(?=/|$)|[^/]+")  # the hub's own refs hold slashes
_MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The files of a reference, and the commit that its revision stood for."""

    files: list[tuple[Path, str]]  # (path on this machine, name inside the repository), sorted by name
    commit: str


def parse_hub(url: str) -> HubRef:
    """The reference that `hf://...` writes. Raises InputError where it is malformed.

    A revision that holds a slash is written with %2F, except for the hub's own `refs/pr/N` and `refs/convert/NAME`.
    """

    def malformed(why: str, fix: str = FORM) -> InputError:
        return InputError(f"{url!r}: {why}", fix=fix)

    if not url.startswith("hf://"):
        raise malformed("does not begin with hf://")
    if not url.isprintable() or "\\" in url:
        raise malformed("holds a character that no name on a hub has")
    owner, slash, rest = url.removeprefix("hf://").partition("/")
    if owner in ("datasets", "models"):
        raise malformed(f"`{owner}/` is no owner", f"leave out `{owner}/`: which it is follows from where it stands")
    if not slash or not rest:
        raise malformed("names no owner and repository")
    name = re.split("[@/]", rest, maxsplit=1)[0]
    for part in (owner, name):
        if not _NAME.fullmatch(part):
            raise malformed(f"{part!r} is no name of an owner or a repository")
    rest, revision = rest[len(name) :], HubRef.model_fields["revision"].default
    if rest.startswith("@"):
        found = _REVISION.match(rest[1:])
        if found is None:
            raise malformed("names no revision after @")
        rest, revision = rest[1 + found.end() :], found[0].replace("%2F", "/")
        if not is_inside(revision) or revision.startswith("-") or not revision.isascii() or " " in revision:
            raise malformed(f"{revision!r} is no name of a branch, tag or commit")
    path = rest.removeprefix("/")
    if rest and not is_inside(path):
        raise malformed("has an empty part, `.` or `..` in its path")
    return HubRef(repo=f"{owner}/{name}", revision=revision, path=path)


def is_inside(name: str) -> bool:
    """Whether a name with slashes stays inside its folder, and can be shown as it is."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))


def matches(path: str, name: str) -> bool:
    """Whether `path`, a file, a folder or a glob, names the file `name`. `**` stands for any folders, or none."""

    def glob(parts: list[str], names: list[str]) -> bool:
        if not parts or not names:
            return not names and set(parts) <= {"**"}
        if parts[0] == "**":
            return glob(parts[1:], names) or glob(parts, names[1:])
        return fnmatchcase(names[0], parts[0]) and glob(parts[1:], names[1:])

    return path in ("", name) or name.startswith(f"{path}/") or glob(path.split("/"), name.split("/"))


def fetch(ref: HubRef, *, kind: Kind, label: str, suffix: str = "") -> Fetched:
    """Download what `ref` names, unless the cache has it. `label` begins the progress line.

    Of a dataset: the files that its path names; where that is a folder or "", those of them that end in `suffix`. Of
    a model: what makes one, directly in the folder that its path names.

    Raises InputError where the reference names nothing that may be read, EndpointError where the hub cannot be
    reached or fails, StoreError where the cache cannot be written.
    """
    api = _api()
    commit, listed = _patiently(ref, kind, lambda: _listing(api, ref, kind))
    chosen = _choose_model(ref, listed) if kind == "model" else _choose(ref, listed, suffix)
    counter = _Counter(label=f"{label} {ref.repo}", total=sum(file.size for file in chosen))
    files = []
    for file in chosen:
        path = _patiently(ref, kind, partial(_get, ref, kind, commit, file, counter.bar(file.size)))
        counter.finish(file.size)
        files.append((path, file.path))
    return Fetched(files=files, commit=commit)


def _api() -> HfApi:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ModuleNotFoundError as error:
        raise InputError(f"reading from a hub needs the package {error.name}", fix="pip install 'orcac[hub]'") from None
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            "HF_HUB_OFFLINE is set, and a source lies on a hub",
            fix="unset it, or `orcac make` this node on a machine that may reach the hub",
        )
    if urlsplit(constants.ENDPOINT).scheme not in ("http", "https"):
        raise InputError("HF_ENDPOINT is no address", fix="set it to https://HOST, or unset it for huggingface.co")
    token = huggingface_hub.get_token() or ""
    if not (token.isascii() and token.isprintable()):
        raise InputError("HF_TOKEN holds characters that no token has", fix="set it to the token alone, or unset it")
    huggingface_hub.utils.logging.set_verbosity_error()  # it would warn of each retry, with signed addresses
    return huggingface_hub.HfApi(library_name="orcac")


def _listing(api: HfApi, ref: HubRef, kind: Kind) -> tuple[str, list[RepoFile]]:
    """The commit that the revision stands for now, and that commit's files by name."""
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import get_session

    hooks = get_session().event_hooks
    if _limit_waiting not in hooks["request"]:
        hooks["request"].append(_limit_waiting)
    commit = api.repo_info(ref.repo, repo_type=kind, revision=ref.revision).sha
    if commit is None:
        raise ValueError("no commit")
    tree = api.list_repo_tree(ref.repo, repo_type=kind, revision=commit, recursive=True)
    return commit, sorted((file for file in tree if isinstance(file, RepoFile)), key=lambda file: file.path)


def _limit_waiting(request: Any) -> None:
    """A hub that accepts and then says nothing must not hold a node for ever."""
    limits = request.extensions["timeout"]
    limits |= {name: PATIENCE_SECONDS for name, limit in limits.items() if limit is None}


def _choose(ref: HubRef, listed: list[RepoFile], suffix: str) -> list[RepoFile]:
    found = [file for file in listed if matches(ref.path, file.path)]
    chosen = found
    if not any(ref.path == file.path for file in found) and not set(ref.path) & set("*?["):  # a folder, or all
        chosen = [file for file in found if file.path.endswith(suffix)]
    if not chosen:
        what = f"no {suffix} file" if found else "nothing"
        names = [file.path for file in listed if is_inside(file.path)]
        near = difflib.get_close_matches(ref.path, names, n=3, cutoff=0.3) or names[:3]
        raise InputError(
            f"{_name(ref)} holds {what} at {ref.path or '/'!r}",
            fix=f"name a file, a folder or a glob of it, such as {', '.join(near)}" if near else "name another",
        )
    return _all_inside(ref, chosen)


def _choose_model(ref: HubRef, listed: list[RepoFile]) -> list[RepoFile]:
    """Weights, configuration and tokenizer; no pickle, no code, no second copy of the weights."""
    folder = PurePosixPath(ref.path)
    here = [file for file in listed if PurePosixPath(file.path).parent == folder]
    names = {PurePosixPath(file.path).name for file in here}
    if "config.json" not in names:
        raise InputError(
            f"{_name(ref)} holds no model at {ref.path or '/'!r} (no config.json)",
            fix="name the folder of one: hf://OWNER/NAME/FOLDER",
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"{_name(ref)} holds no .safetensors weights",
            fix="name a repository or revision that does; pickled weights can run code and are never fetched",
        )
    chosen = [file for file in here if file.path.endswith(_MODEL_FILES)]
    return _all_inside(ref, [file for file in chosen if not PurePosixPath(file.path).name.startswith("consolidated")])


def _all_inside(ref: HubRef, chosen: list[RepoFile]) -> list[RepoFile]:
    for file in chosen:
        if not is_inside(file.path):
            raise InputError(f"{_name(ref)} holds a file named {file.path!r}", fix="name the files that you need")
    return chosen


def _get(ref: HubRef, kind: Kind, commit: str, file: RepoFile, bar: type) -> Path:
    """The file on this machine, with the content that the hub lists."""
    from huggingface_hub import hf_hub_download

    for anew in (False, True):  # what the cache has may be damaged
        path = Path(
            hf_hub_download(
                ref.repo,
                file.path,
                repo_type=kind,
                revision=commit,
                force_download=anew,
                library_name="orcac",
                tqdm_class=bar,
            )
        )
        if _digest(path, file) == (file.lfs.sha256 if file.lfs else file.blob_id):
            return path
    raise OSError("the digest is not the listed one")


def _digest(path: Path, file: RepoFile) -> str:
    """What the hub lists of a file: the sha256 of a large one, git's own digest of a small one."""
    if file.lfs:
        return file_digest(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Counter:
    """Counts the bytes of several files into one progress line; what the cache has counts as done."""

    def __init__(self, *, label: str, total: int) -> None:
        self._megabytes = max(total // 10**6, 1)
        self._progress = Progress(label=label, total=self._megabytes, unit="MB")
        self._total, self._done = total, 0

    def bar(self, size: int) -> type:
        """The bar that the library moves while it downloads a file of so many bytes, or tries to again."""
        from tqdm import tqdm

        counter, here = self, [0]

        class Bar(tqdm):
            def __init__(self, **_: object) -> None:
                super().__init__(disable=True)

            def update(self, n: float | None = 1) -> None:
                here[0] = min(here[0] + int(n or 0), size)
                counter._say(counter._done + here[0])

            def update_transfer(self, n: int) -> None:
                """Xet counts what it writes, which `update` is told, and what it receives, which is less."""

            def set_transfer_postfix_str(self, s: str, refresh: bool = True) -> None:
                """Said of what it receives."""

        return Bar

    def finish(self, size: int) -> None:
        self._done += size
        self._say(self._done)

    def _say(self, done: int) -> None:
        whole = done >= self._total
        self._progress.update(self._megabytes if whole else min(done // 10**6, self._megabytes - 1))


def _patiently(ref: HubRef, kind: Kind, work: Callable[[], T]) -> T:
    """What `work` returns; it is tried again where that may help."""
    from huggingface_hub.errors import HTTPError

    for wait in (*WAITS_SECONDS, None):
        try:
            return work()
        except (HTTPError, OSError, RuntimeError, ValueError, LookupError) as error:  # RuntimeError is Xet's
            told, may_heal = _told(error, ref, kind)
            if wait is None or not may_heal:
                raise told from error
        print(f"{_name(ref)}: {told.message}; again in {wait:.0f} s", file=sys.stderr, flush=True)
        time.sleep(wait)
    raise AssertionError


def _told(error: BaseException, ref: HubRef, kind: Kind) -> tuple[OrcacError, bool]:
    """An error in our words, and whether it may heal by itself."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError | ValueError) and error.__cause__:
        error = error.__cause__  # the library found the cache empty too; this is why it looked there
    address = urlsplit(constants.ENDPOINT)
    host = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    page = f"{host}/{'datasets/' if kind == 'dataset' else ''}{ref.repo}"
    later = "run again when it answers; what has come is kept"
    match error:
        case errors.GatedRepoError():
            fix = f"ask for access at {page}, and set HF_TOKEN to a token of yours"
            return InputError(f"{page} is gated: it is open to those alone whom its owner admits", fix=fix), False
        case errors.RepositoryNotFoundError():
            fix = "correct the name; if it is private, set HF_TOKEN to a token that may read it"
            return InputError(f"{page}: there is no such {kind}, or it is private", fix=fix), False
        case errors.RevisionNotFoundError():
            fix = "name a branch, a tag or a commit of it"
            return InputError(f"{page} has no revision {ref.revision!r}", fix=fix), False
        case errors.HfHubHTTPError():
            status = error.response.status_code
            if status == 401:
                fix = "set HF_TOKEN to a token that is valid, or unset it"
                return EndpointError(f"{host} refuses the token", fix=fix), False
            if status in (403, 451):
                fix = f"see {page}; where it asks for more rights, set HF_TOKEN to a token that has them"
                return InputError(f"{page} must not be read (HTTP {status})", fix=fix), False
            return EndpointError(f"{host} answered HTTP {status}", fix=later), status in (408, 429) or status >= 500
        case errors.HTTPError():
            fix = "check the network, the proxy and HF_ENDPOINT, and run again; what has come is kept"
            return EndpointError(f"{host} cannot be reached, or the connection broke off", fix=fix), True
        case OSError() | RuntimeError() if number := _system_error(error):
            full = number in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if full else os.strerror(number)
            fix = "free some space, or set HF_HOME to a folder where the cache may grow; what has come is kept"
            return StoreError(f"{constants.HF_HUB_CACHE}: cannot write what {page} holds: {what}", fix=fix), False
        case errors.FileMetadataError() | ValueError() | LookupError():
            return EndpointError(f"{host} does not answer as a hub does", fix="check the proxy and HF_ENDPOINT"), True
        case _:
            fix = "run again; what has come is kept. Where a proxy stops Xet transfers, set HF_HUB_DISABLE_XET=1"
            return EndpointError(f"a file of {page} came damaged or cut short", fix=fix), True


def _system_error(error: BaseException) -> int:
    """The number of what the system refused; 0 where that is not why. Xet's has it in its words."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else 0


def _name(ref: HubRef) -> str:
    return f"{ref.repo}@{ref.revision}"
