"""Files on a Hugging Face hub: `hf://OWNER/NAME[@REVISION][/PATH]`.

`parse_hub` reads such a reference and uses no network. `fetch` resolves its revision to a commit, lists that commit's
files, downloads those that the reference names into the cache that all Hugging Face tools share (`HF_HOME`), and checks
each against the digest that the hub lists, even if it was in the cache before. With HF_HUB_OFFLINE=1 it reads the cache
alone, by the listing that an earlier `fetch` kept (listing.py).

- Fetched files are never run, and pickles and code of a model are not even downloaded.
- After a cut connection the library goes on from the byte where it broke off; a whole file is not fetched again. Errors
  that may pass (429, 5xx, a lost connection, a damaged file) are tried again, a few times.
- The token (`HF_TOKEN`, or the one that `hf auth login` stored) goes to the hub and nowhere else, whatever its
  redirects and `Link` headers say. Error messages are worded here and never repeat the server's, which may contain the
  token. Commits and etags become paths of the cache only if they are plain names.
- Files are fetched one after the other: a large one uses the whole connection, and a kill loses one file at most.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from orcac.digest import file_digest
from orcac.errors import EndpointError, InputError, OrcacError, StoreError
from orcac.extras import explain_missing_package
from orcac.listing import Kind, recall, remember
from orcac.progress import Progress, print_line
from orcac.recipe import HubRef
from orcac.store.links import is_inside

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

T = TypeVar("T")

WAITS_SECONDS = (1.0, 4.0, 16.0)  # between tries
STALL_SECONDS = 60.0  # without a byte; the library itself would wait for ever
FORM = (
    "write hf://OWNER/NAME, hf://OWNER/NAME@REVISION, or either with /PATH after it, "
    "e.g. hf://Open-Orca/OpenOrca@main/1M-GPT4-Augmented.parquet"
)
_NAME = re.compile(r"(?!.*(?:--|\.\.|\.git$))\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_REVISION = re.compile(r"refs/(?:pr/\d+|convert/\w+)(?=/|$)|[^/]+")  # the hub's own refs contain slashes
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_ETAG = re.compile(r'(?:W/)?"?[\w+=-][\w.+=:-]{0,199}"?', re.ASCII)
_PATH_HEADERS = {"x-repo-commit": _COMMIT, "etag": _ETAG, "x-linked-etag": _ETAG}
_MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The files of a reference, and the commit that its revision was resolved to."""

    files: list[tuple[Path, str]]  # (path on this machine, name inside the repository), sorted by name
    commit: str


def parse_hub(url: str) -> HubRef:
    """Parse `hf://...`. Raises InputError if it is malformed.

    A slash in a revision is written as %2F, except in the hub's own `refs/pr/N` and `refs/convert/NAME`.
    """

    def malformed(why: str, fix: str = FORM) -> InputError:
        return InputError(f"{url!r}: {why}", fix=fix)

    if not url.startswith("hf://"):
        raise malformed("does not begin with hf://")
    if not url.isprintable() or "\\" in url:
        raise malformed("contains a character that names on a hub do not have")
    owner, slash, rest = url.removeprefix("hf://").partition("/")
    if owner in ("datasets", "models"):
        raise malformed(f"`{owner}/` is not an owner", f"leave out `{owner}/`: its place in the spec decides that")
    if not slash or not rest:
        raise malformed("names no owner and repository")
    name = re.split("[@/]", rest, maxsplit=1)[0]
    for part in (owner, name):
        if not _NAME.fullmatch(part):
            raise malformed(f"{part!r} is not a name of an owner or a repository")
    rest, revision = rest[len(name) :], HubRef.model_fields["revision"].default
    if rest.startswith("@"):
        found = _REVISION.match(rest[1:])
        if found is None:
            raise malformed("names no revision after @")
        rest, revision = rest[1 + found.end() :], found[0].replace("%2F", "/")
        if not is_inside(revision) or revision.startswith("-") or not revision.isascii() or " " in revision:
            raise malformed(f"{revision!r} is not a name of a branch, tag or commit")
    path = rest.removeprefix("/")
    if rest and not is_inside(path):
        raise malformed("has an empty part, `.` or `..` in its path")
    return HubRef(repo=f"{owner}/{name}", revision=revision, path=path)


def matches(path: str, name: str) -> bool:
    """Return whether `path` (a file, a folder or a glob) matches the file `name`. `**` matches any folders, or none."""

    def glob(parts: list[str], names: list[str]) -> bool:
        if not parts or not names:
            return not names and set(parts) <= {"**"}
        if parts[0] == "**":
            return glob(parts[1:], names) or glob(parts, names[1:])
        return fnmatchcase(names[0], parts[0]) and glob(parts[1:], names[1:])

    return path in ("", name) or name.startswith(f"{path}/") or glob(path.split("/"), name.split("/"))


def fetch(
    ref: HubRef,
    *,
    kind: Kind,
    label: str,
    suffix: str = "",
    packed: tuple[str, ...] = (),
    stall_seconds: float = STALL_SECONDS,
) -> Fetched:
    """Download the files that `ref` names, unless they are in the cache. `label` begins the progress line.

    Of a dataset: the files that its path matches. If the path is a folder or "", only those that end in `suffix`, or
    else those that end in `suffix` and one of `packed`, such as ".gz". Of a model: weights, configuration and
    tokenizer, directly in the folder that its path names. A request fails after `stall_seconds` without a byte.

    Raises InputError if the reference names nothing that may be read, EndpointError if the hub cannot be reached or
    fails, StoreError if the cache cannot be written.
    """
    if offline := is_offline():
        commit, listed = _recall_files(ref, kind)
    else:
        api = connect(stall_seconds)
        commit, listed = retrying(ref, kind, lambda: _list_files(api, ref, kind))
    chosen = _choose_model(ref, listed) if kind == "model" else _choose(ref, listed, suffix, packed)
    counter = _Counter(label=f"{label} {ref.repo}", total=sum(file.size for file in chosen))
    files = []
    for file in chosen:
        download = partial(_download, ref, kind, commit, file, counter.bar(file.size))
        path = _find_cached(ref, kind, commit, file) if offline else retrying(ref, kind, download)
        counter.finish(file.size)
        files.append((path, file.path))
    return Fetched(files=files, commit=commit)


def is_offline() -> bool:
    """Return whether the environment keeps this process from a hub. Raises InputError without the `hub` extra."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    with explain_missing_package("a hub"):
        from huggingface_hub import constants
    return bool(constants.HF_HUB_OFFLINE)


def connect(stall_seconds: float = STALL_SECONDS) -> HfApi:
    """Return a client of the hub that the environment names. Raises InputError if the environment allows none."""
    if is_offline():
        raise InputError("HF_HUB_OFFLINE is set, and a hub is needed", fix="unset it")
    import huggingface_hub
    from huggingface_hub import constants

    if urlsplit(constants.ENDPOINT).scheme not in ("http", "https"):
        raise InputError("HF_ENDPOINT is not an address", fix="set it to https://HOST, or unset it for huggingface.co")
    token = huggingface_hub.get_token() or ""
    if not (token.isascii() and token.isprintable()):
        raise InputError(
            "HF_TOKEN contains characters that tokens do not have", fix="set it to the token alone, or unset it"
        )
    huggingface_hub.utils.logging.set_verbosity_error()  # it would warn of each retry, with signed addresses
    hooks = huggingface_hub.utils.get_session().event_hooks
    ours: dict[str, list[Callable[..., None]]] = {
        "request": [_StallLimit(stall_seconds), _TokenGuard(constants.ENDPOINT)],
        "response": [_check_names_of_paths],
    }
    for event, added in ours.items():
        others = [hook for hook in hooks[event] if getattr(hook, "__module__", "") != __name__]
        hooks[event] = others + added
    return huggingface_hub.HfApi(library_name="orcac")


class _Request(Protocol):
    """The parts of the library's HTTP request that are used here."""

    url: object
    headers: MutableMapping[str, str]
    extensions: dict[str, dict[str, float | None]]  # the time limits in seconds, None for unlimited


class _Response(Protocol):
    """The part of the library's HTTP response that is used here."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _StallLimit:
    """A request hook that limits waits which the library leaves unlimited: a silent hub must not hold up a node."""

    seconds: float

    def __call__(self, request: _Request) -> None:
        limits = request.extensions["timeout"]
        limits |= {name: self.seconds for name, limit in limits.items() if limit is None}


@dataclass(frozen=True, slots=True)
class _TokenGuard:
    """A request hook that takes the token out of requests to any host but the hub.

    The library itself would send it wherever the hub's `Link` header leads for the next page of a listing.
    """

    hub: str  # address

    def __call__(self, request: _Request) -> None:
        ours, theirs = urlsplit(self.hub), urlsplit(str(request.url))
        if (ours.scheme, ours.netloc.rpartition("@")[2]) != (theirs.scheme, theirs.netloc.rpartition("@")[2]):
            for name in ("authorization", "cookie"):
                request.headers.pop(name, None)


def _check_names_of_paths(response: _Response) -> None:
    """Raise ValueError if a header that the library makes a path of its cache from is not a plain name."""
    for name, form in _PATH_HEADERS.items():
        value = response.headers.get(name)
        if value is not None and not form.fullmatch(value):
            raise ValueError(f"the header {name} is not a name")


def _list_files(api: HfApi, ref: HubRef, kind: Kind) -> tuple[str, list[RepoFile]]:
    """Return the commit that the revision means now, and that commit's files, sorted by name."""
    from huggingface_hub.hf_api import RepoFile

    commit = api.repo_info(ref.repo, repo_type=kind, revision=ref.revision).sha
    if commit is None or not _COMMIT.fullmatch(commit):
        raise ValueError("no commit")
    tree = api.list_repo_tree(ref.repo, repo_type=kind, revision=commit, recursive=True)
    listed = sorted((file for file in tree if isinstance(file, RepoFile)), key=lambda file: file.path)
    remember(ref, kind, commit, listed)
    return commit, listed


def _recall_files(ref: HubRef, kind: Kind) -> tuple[str, list[RepoFile]]:
    """Return what `_list_files` returned when the reference was last fetched here."""
    try:
        commit, listed = recall(ref, kind)
        if _COMMIT.fullmatch(commit):
            return commit, listed
    except LookupError:
        pass
    raise InputError(f"{_name(ref)} is not in the cache, and HF_HUB_OFFLINE is set", fix=_fetch_first())


def _find_cached(ref: HubRef, kind: Kind, commit: str, file: RepoFile) -> Path:
    """Return the path of the file in the cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(ref.repo, file.path, repo_type=kind, revision=commit)
    if not isinstance(path, str) or _digest(Path(path), file) != _listed_digest(file):
        state = "damaged" if isinstance(path, str) else "missing"
        raise InputError(
            f"{_name(ref)}: {file.path} is {state} in the cache, and HF_HUB_OFFLINE is set", fix=_fetch_first()
        )
    return Path(path)


def _fetch_first() -> str:
    from huggingface_hub import constants

    return f"run `orcac fetch SPEC` where there is internet, with the same cache: HF_HOME={constants.HF_HOME}"


def _choose(ref: HubRef, listed: list[RepoFile], suffix: str, packed: tuple[str, ...]) -> list[RepoFile]:
    found = [file for file in listed if matches(ref.path, file.path)]
    chosen = found
    if not any(ref.path == file.path for file in found) and not set(ref.path) & set("*?["):  # a folder, or all
        chosen = [file for file in found if file.path.endswith(suffix)]
        if not chosen and packed:
            chosen = [file for file in found if file.path.endswith(tuple(f"{suffix}{ending}" for ending in packed))]
    if not chosen:
        missing = f"no {suffix} file" if found else "nothing"
        names = [file.path for file in listed if is_inside(file.path)]
        near = difflib.get_close_matches(ref.path, names, n=3, cutoff=0.3) or names[:3]
        raise InputError(
            f"{_name(ref)} has {missing} at {ref.path or '/'!r}",
            fix=f"name a file, a folder or a glob of it, such as {', '.join(near)}"
            if near
            else "name another repository",
        )
    return _check_names(ref, chosen)


def _choose_model(ref: HubRef, listed: list[RepoFile]) -> list[RepoFile]:
    """Return the weights, configuration and tokenizer, without pickles, code or a second copy of the weights."""
    folder = PurePosixPath(ref.path)
    here = [file for file in listed if PurePosixPath(file.path).parent == folder]
    names = {PurePosixPath(file.path).name for file in here}
    if "config.json" not in names:
        raise InputError(
            f"{_name(ref)} has no model at {ref.path or '/'!r} (no config.json)",
            fix="give the folder that has a config.json: hf://OWNER/NAME/FOLDER",
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"{_name(ref)} has no .safetensors weights",
            fix="name a repository or revision that does; pickled weights can run code and are never fetched",
        )
    chosen = [file for file in here if file.path.endswith(_MODEL_FILES)]
    return _check_names(ref, [file for file in chosen if not PurePosixPath(file.path).name.startswith("consolidated")])


def _check_names(ref: HubRef, chosen: list[RepoFile]) -> list[RepoFile]:
    """Return the chosen files. Raises InputError if the name of one leads out of the repository's folder."""
    for file in chosen:
        if not is_inside(file.path):
            raise InputError(
                f"{_name(ref)} has a file with an unsafe name, {file.path!r}",
                fix="name only the files that you need",
            )
    return chosen


def _download(ref: HubRef, kind: Kind, commit: str, file: RepoFile, bar: type) -> Path:
    """Return the path of the file on this machine, with the content that the hub lists."""
    from huggingface_hub import hf_hub_download

    for anew in (False, True):  # the copy in the cache may be damaged
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
        if _digest(path, file) == _listed_digest(file):
            return path
    raise OSError("the digest is not the listed one")


def _listed_digest(file: RepoFile) -> str:
    return file.lfs.sha256 if file.lfs else file.blob_id


def _digest(path: Path, file: RepoFile) -> str:
    """Return a local file's digest in the form that the hub lists: sha256 if it is large, git's own if it is small."""
    if file.lfs:
        return file_digest(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Counter:
    """A progress line over the bytes of several files; files in the cache count as done."""

    def __init__(self, *, label: str, total: int) -> None:
        self._megabytes = max(total // 10**6, 1)
        self._progress = Progress(label=label, total=self._megabytes, unit="MB")
        self._total, self._done = total, 0

    def bar(self, size: int) -> type:
        """Return the class of a bar that the library moves while it downloads a file of `size` bytes, or retries it."""
        from tqdm import tqdm

        counter, here = self, [0]

        class Bar(tqdm):
            def __init__(self, **_: object) -> None:
                super().__init__(disable=True)

            def update(self, n: float | None = 1) -> None:
                here[0] = min(here[0] + int(n or 0), size)
                counter._show(counter._done + here[0])

            def update_transfer(self, n: int) -> None:
                """Ignore the bytes that Xet receives, which are fewer than it writes; `update` counts those."""

            def set_transfer_postfix_str(self, s: str, refresh: bool = True) -> None:
                """Ignore the text about the bytes that Xet receives."""

        return Bar

    def finish(self, size: int) -> None:
        """Count a file of `size` bytes as done."""
        self._done += size
        self._show(self._done)

    def _show(self, done: int) -> None:
        whole = done >= self._total
        self._progress.update(self._megabytes if whole else min(done // 10**6, self._megabytes - 1))


def retrying(ref: HubRef, kind: Kind, work: Callable[[], T], *, verb: Literal["read", "written"] = "read") -> T:
    """Return the result of `work`, trying it again after errors that may pass. Raises OrcacError."""
    from huggingface_hub.errors import HTTPError

    for wait in (*WAITS_SECONDS, None):
        try:
            return work()
        except (HTTPError, OSError, RuntimeError, ValueError, LookupError) as error:  # RuntimeError is Xet's
            failure, may_pass = _translate(error, ref, kind, verb)
            if wait is None or not may_pass:
                raise failure from error
        print_line(f"{_name(ref)}: {failure.message}; again in {wait:.0f} s")
        time.sleep(wait)
    raise AssertionError


def _translate(error: BaseException, ref: HubRef, kind: Kind, verb: str) -> tuple[OrcacError, bool]:
    """Return the library's error as one of ours, and whether it may pass by itself."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError | ValueError) and error.__cause__:
        error = error.__cause__  # the error that made the library fall back to its cache, which lacks the file
    address = urlsplit(constants.ENDPOINT)
    host = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    page = f"{host}/{'datasets/' if kind == 'dataset' else ''}{ref.repo}"
    later = "run again when it answers; the files fetched so far are kept"
    match error:
        case errors.GatedRepoError():
            fix = f"ask for access at {page}, and set HF_TOKEN to a token of yours"
            return InputError(f"{page} is gated: only accounts that its owner admits may read it", fix=fix), False
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
                fix = f"open {page} for the reason; if it needs more rights, set HF_TOKEN to a token that has them"
                return InputError(f"{page} must not be {verb} (HTTP {status})", fix=fix), False
            return EndpointError(f"{host} answered HTTP {status}", fix=later), status in (408, 429) or status >= 500
        case errors.HTTPError():
            fix = (
                "check the network, the proxy and HF_ENDPOINT, and run again; the files fetched so far are kept. "
                "If this node has no internet, run `orcac fetch SPEC` on one that has, and set HF_HUB_OFFLINE=1 here"
            )
            return EndpointError(f"{host} cannot be reached, or the connection broke off", fix=fix), True
        case OSError() | RuntimeError() if number := _system_error(error):
            full = number in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else os.strerror(number)
            fix = "free some space, or set HF_HOME to a folder where the cache may grow; fetched files are kept"
            return StoreError(f"{constants.HF_HUB_CACHE}: cannot write the files of {page}: {reason}", fix=fix), False
        case errors.FileMetadataError() | ValueError() | LookupError():
            return EndpointError(f"{host} does not answer as a hub does", fix="check the proxy and HF_ENDPOINT"), True
        case _:
            fix = "run again; fetched files are kept. If a proxy stops Xet transfers, set HF_HUB_DISABLE_XET=1"
            return EndpointError(f"a file of {page} arrived damaged or cut short", fix=fix), True


def _system_error(error: BaseException) -> int:
    """Return the errno of an error of the system; 0 if it is another error. Xet gives the number in its message."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else 0


def _name(ref: HubRef) -> str:
    return f"{ref.repo}@{ref.revision}"
