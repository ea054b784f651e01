"""The lock beside a spec: the ids that a study was pinned to, and what each was made of.

    specs/tiny.yaml  ->  specs/tiny.lock       canonical JSON, small enough to commit

    arms    arm -> address (what the node is for) -> KIND/ID
    nodes   KIND/ID -> identity rule, VERSION, recipe and inputs: enough to say what moved, without the old code

`compile` refuses where a pinned address has another id now, whatever moved it: an edit, a data file, or a new version
of orcac that would make something else. What is not pinned is free: a new arm moves nothing. The report is not pinned,
since it changes with every arm that is added.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcac.errors import InputError, PinError
from orcac.plan.plan import Experiment, Plan
from orcac.store.durable import write_if_changed

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Moved:
    """A pinned node whose id is another now. `causes` is empty where only its inputs moved."""

    arm: str
    address: str  # "" where the whole arm is gone
    old: str  # KIND/ID
    new: str  # KIND/ID, or "" where nothing has this address now
    causes: tuple[str, ...]

    def __str__(self) -> str:
        if not self.address:
            return f"the arm {self.arm} is no longer in the spec"
        where = f"{self.arm}: {self.address}"
        if not self.new:
            return f"{where} ({self.old[:-12]}) is no longer in the spec"
        return f"{where} ({self.old[:-12]} -> {self.new[:-12]}): {'; '.join(self.causes)}"


def lock_path(spec: Path) -> Path:
    return spec.with_suffix(".lock")


def format_lock(plan: Plan, experiment: Experiment) -> str:
    """The lock's text for an experiment of a plan."""
    refs = {ref for addresses in experiment.addresses.values() for ref in addresses.values()}
    nodes = {ref: plan.nodes[ref].content for ref in refs}
    content = {"format": FORMAT, "name": experiment.name, "arms": experiment.addresses, "nodes": nodes}
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write_lock(path: Path, text: str) -> bool:
    """Write the lock; False where it said the same already."""
    try:
        return write_if_changed(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})", fix="make its folder writable") from None


def check_pins(plan: Plan, experiment: Experiment, path: Path) -> None:
    """Raises PinError where a pinned id moved; a spec without a lock is free."""
    if not os.path.lexists(path):  # what is there and is no lock is refused below, not passed over
        return
    found = moved(plan, experiment, read_lock(path))
    if not found:
        return
    roots = [one for one in found if one.causes or not one.new]
    further = len(found) - len(roots)
    lines = [f"{path}: {len(found)} pinned ids moved", *(f"  {one}" for one in roots[:20])]
    if len(roots) > 20:
        lines.append(f"  and {len(roots) - 20} more")
    if further:
        lines.append(f"  {further} more are made from these")
    fix = f"undo the change, or accept it with `orcac pin {experiment.spec}`"
    raise PinError("\n".join(lines), fix=fix)


def moved(plan: Plan, experiment: Experiment, lock: Mapping[str, Any]) -> list[Moved]:
    """The pinned nodes that moved, arm by arm as the spec has them, each KIND/ID once."""
    found: dict[tuple[str, str], Moved] = {}
    for arm in (arm for arm in lock["arms"] if arm not in experiment.addresses):
        found[arm, ""] = Moved(arm=arm, address="", old="", new="", causes=())
    for arm, now in experiment.addresses.items():
        for address, old in lock["arms"].get(arm, {}).items():
            new = now.get(address, "")
            if new != old and (old, new) not in found:
                causes = tuple(differences(lock["nodes"][old], plan.nodes[new].content)) if new else ()
                found[old, new] = Moved(arm=arm, address=address, old=old, new=new, causes=causes)
    return list(found.values())


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two nodes of one address by themselves, in words; nothing where only inputs do."""
    if old["identity"] != new["identity"]:
        yield f"the rule of identity {old['identity']} -> {new['identity']}"
    if old["version"] != new["version"]:
        yield f"VERSION of `{new['kind']}` {old['version']} -> {new['version']}"
    before, after = dict(_leaves(old["recipe"], "")), dict(_leaves(new["recipe"], ""))
    for path in dict.fromkeys([*before, *after]):
        if before.get(path) != after.get(path):
            yield f"{path} {_short(before.get(path, '(default)'))} -> {_short(after.get(path, '(default)'))}"
    if set(old["inputs"]) != set(new["inputs"]) or any(
        len(old["inputs"][role]) != len(new["inputs"][role]) for role in old["inputs"]
    ):
        yield f"it takes other inputs: {_roles(old)} -> {_roles(new)}"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 40 else text[:37] + "..."


def _roles(node: Mapping[str, Any]) -> str:
    return ", ".join(f"{len(refs)} {role}" for role, refs in sorted(node["inputs"].items()))


def read_lock(path: Path) -> dict[str, Any]:
    fix = "pin the spec again, or bring the file back from version control"
    try:
        lock: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for addresses in lock["arms"].values():
            for ref in addresses.values():
                node = lock["nodes"][ref]
                assert {"identity", "version", "recipe", "inputs"} <= node.keys() and isinstance(node["recipe"], dict)
                assert all(isinstance(refs, list) for refs in node["inputs"].values())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise InputError(f"{path}: this is no lock, or it is damaged", fix=fix) from None
    if lock.get("format") != FORMAT:
        raise InputError(f"{path}: the lock was written by another version of orcac", fix=fix)
    return lock
