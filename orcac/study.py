"""Finds the study that a command works on: its root, its store and its plan file.

The root is the nearest folder upwards from the spec that has an `orcac.toml`, a store, or a Snakefile of orcac; if the
spec's folders have none, the nearest one upwards from the working folder; else the spec's folder. It holds `store/` and
`build/`, so a command finds the same answers from any folder of the study, and none is paid for twice. Two different
stores, one on the way up from the spec and one on the way up from the working folder, are an error.

`orcac.toml` may name another `store` and another `plan`, relative to itself. ORCAC_STORE and ORCAC_PLAN override it. It
may also name an `upstream`: a second store, such as a lab's shared one, that is only read (`store.store`). If it is a
URL, the store's upstream is a folder that mirrors it (`remote.mirror`). The jobs of a run inherit all three
(`export_study`), and so never search.

The search leaves out parent folders in which every user may make files, such as /tmp: another user could place a store
there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orcac.errors import InputError, StoreError
from orcac.store.store import Store

SETTINGS = "orcac.toml"
_KEYS = ("store", "plan", "upstream")  # of SETTINGS
_UPSTREAM = "ORCAC_UPSTREAM"  # of jobs alone: a user sets it in SETTINGS
_HEAD = 1 << 14  # bytes of a Snakefile, near whose beginning orcac's imports the rules


@dataclass(frozen=True, slots=True)
class Study:
    """A study's places. Those in the working folder are relative to it, as they are printed; others are absolute."""

    root: Path  # absolute
    store: Store
    plan: Path  # the plan file
    upstream_url: str = ""  # the address of an upstream at a URL; "" without one, and in jobs

    def work_folder(self) -> Path:
        """Return the folder in which Snakemake works: the root, or the working folder if the root is read-only."""
        return self.root if os.access(self.root, os.W_OK) else Path.cwd()


def find_study(specs: Iterable[str | Path] = ()) -> Study:
    """Return the study of the specs, or that of the working folder if no spec is given.

    Raises InputError if `orcac.toml` is wrong, if the upstream is not a store or if two different stores are found,
    StoreError if the store is not a folder.
    """
    here = Path.cwd()
    starts = [*(Path(os.path.normpath(here / spec)).parent for spec in specs), here]
    roots = list(dict.fromkeys(root for start in starts if (root := _find_root(start))))
    root = roots[0] if roots else starts[0]
    store, plan = os.environ.get("ORCAC_STORE"), os.environ.get("ORCAC_PLAN")
    inherited = os.environ.get(_UPSTREAM)  # "" if a run has none
    settings = {} if store and plan and inherited is not None else _read_settings(root)
    if not store:
        _refuse_two_stores(roots)
    place = _from_here(Path(store or root / settings.get("store", "store")), here)
    plan_file = _from_here(Path(plan or root / settings.get("plan", "build/plan.json")), here)
    upstream, url = Path(inherited) if inherited else None, ""
    if inherited is None and "upstream" in settings:
        address = settings["upstream"].removeprefix("file://")
        if "://" in address:
            from orcac.remote.mirror import find_folder  # here, since few studies have one

            url = _check_url(root, address)
            upstream = find_folder(plan_file, url)
        else:
            upstream = _check_upstream(root, root / address, place)
    study = Study(root=root, store=Store(place, upstream), plan=plan_file, upstream_url=url)
    if os.path.lexists(study.store.root) and not study.store.root.is_dir():
        fix = "move it away, or set ORCAC_STORE to a folder"
        raise StoreError(f"{study.store.root}: the store is not a folder", fix=fix)
    return study


def export_study(store: Store, plan: Path) -> dict[str, str]:
    """Return the environment in which jobs find the places of a study, and import nothing from the folder they run in.

    plan: the copy of the plan that the run keeps
    """
    return {
        "ORCAC_PLAN": str(plan.absolute()),
        "ORCAC_STORE": str(store.root.absolute()),
        _UPSTREAM: str(store.upstream.absolute()) if store.upstream else "",
        "PYTHONSAFEPATH": "1",
    }


def is_study_snakefile(path: Path) -> bool:
    """Return whether a file is a Snakefile that runs orcac's rules."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return b"from orcac.smk import Rules" in file.read(_HEAD)
    except OSError:
        return False


def _find_root(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        try:
            if folder != start and folder.stat().st_mode & stat.S_IWOTH and folder.stat().st_mode & stat.S_ISVTX:
                continue
            if (folder / SETTINGS).is_file() or Store(folder / "store").is_begun:
                return folder
        except OSError:  # a folder that may not be searched, or that does not exist
            continue
        if is_study_snakefile(folder / "Snakefile"):
            return folder
    return None


def _refuse_two_stores(roots: Iterable[Path]) -> None:
    """Raise InputError if the roots have different stores."""
    stores = [root / _read_settings(root).get("store", "store") for root in roots]
    found = {os.path.realpath(store): store for store in stores if Store(store).is_begun}
    if len(found) > 1:
        listed = " and ".join(map(str, found.values()))
        fix = f"set ORCAC_STORE to the one to use, or name it in {SETTINGS} beside the spec"
        raise InputError(f"two stores belong here: {listed}", fix=fix)


def _check_url(root: Path, url: str) -> str:
    """Return the address of an upstream at a URL. Raises InputError if it holds a password."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        path = root / SETTINGS
        line = _find_line(path.read_text(encoding="utf-8"), "upstream")
        fix = "remove it: the library of the server reads it from the environment or from its own settings"
        raise InputError(f"{path}:{line}: the upstream's address holds a user or a password", fix=fix)
    return url.rstrip("/")


def _check_upstream(root: Path, upstream: Path, store: Path) -> Path | None:
    """Return the upstream that the root's `orcac.toml` names; None if it is the store itself.

    Raises InputError if it is not a store: nothing would be found there, and everything asked again.
    """
    upstream = Path(os.path.normpath(upstream))
    if os.path.realpath(upstream) == os.path.realpath(store):
        return None
    if not Store(upstream).is_begun:
        path = root / SETTINGS
        is_study = Store(upstream / "store").is_begun
        why = "holds no artifacts and no answers" if upstream.is_dir() else "there is no such folder"
        place = f'name the store in it: upstream = "{upstream / "store"}"' if is_study else "mount it, correct its path"
        line = _find_line(path.read_text(encoding="utf-8"), "upstream")
        raise InputError(f"{path}:{line}: the upstream {upstream}: {why}", fix=f"{place}, or remove the line")
    return upstream


def _read_settings(root: Path) -> dict[str, str]:
    """Return the places that the root's `orcac.toml` names, by key. Raises InputError if the file is wrong."""
    path = root / SETTINGS
    if not path.is_file():
        return {}
    import difflib
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
        settings = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", fix="make it readable") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: the file is not UTF-8 text", fix="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        line = f":{place[1]}" if place else ""
        raise InputError(f"{path}{line}: not TOML: {error}", fix='write lines such as: store = "store"') from None
    for key, value in settings.items():
        line = f"{path}:{_find_line(text, key)}"
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.7)
            hint = f"did you mean `{near[0]}`? " if near else ""
            raise InputError(
                f"{line}: unknown key `{key}`; {hint}known: {', '.join(_KEYS)}", fix="correct or remove it"
            )
        if not isinstance(value, str) or not value:
            raise InputError(f"{line}: `{key}` is not a path", fix=f'write a path in quotes, as in {key} = "{key}"')
    return settings


def _find_line(text: str, key: str) -> int:
    """Return the number of the line that sets a key of a TOML text, or that opens its table."""
    pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[.=\]]""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if pattern.match(line)), 1)


def _from_here(path: Path, here: Path) -> Path:
    """Return a path relative to the working folder if it is inside, else its absolute form."""
    whole = here / path
    return whole.relative_to(here) if whole.is_relative_to(here) else whole
