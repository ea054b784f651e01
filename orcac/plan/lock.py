"""The lock beside a spec: the ids that a study is pinned to, and the content of each node.

    specs/tiny.yaml  ->  specs/tiny.lock       canonical JSON, small enough to commit

    arms    arm -> address of a node -> KIND/ID
    nodes   KIND/ID -> identity rule, VERSION, recipe and inputs: enough to name the cause of a move without old code

`compile` refuses to go on if the id at a pinned address has changed, whatever the cause: an edit, a data file, or a
new version of orcac that would make something else. Addresses that are not in the lock are free: a new arm moves
nothing. The report is not pinned, since every arm that is added changes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from orcac.errors import InputError, PinError
from orcac.plan.node import NodeContent
from orcac.plan.plan import Experiment, Plan
from orcac.store.durable import write_if_changed

FORMAT = 1
_LISTED = 20  # moved nodes in an error message
_PROTOCOL = (
    "orcac now asks baselines as it asks students, in the benchmark's form and with its temperature and top_p, and\n"
    "  no longer with the teacher's (docs/evaluating.md, “One protocol”). The answers under `replies/` are therefore\n"
    "  other answers, which `orcac pin --keep` cannot keep; `orcac cost` prices them."
)


class Lock(TypedDict):
    """The lock file."""

    format: int
    name: str  # of the experiment
    arms: dict[str, dict[str, str]]
    nodes: dict[str, NodeContent]


@dataclass(frozen=True, slots=True)
class MovedPin:
    """A pinned node whose id has changed. If `causes` is empty, the cause is that an input's id has changed."""

    arm: str
    address: str  # "" if the whole arm is gone
    old: str  # KIND/ID
    new: str  # KIND/ID, or "" if the address is gone
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
    """Return the text of a lock that pins every addressed node of an experiment."""
    refs = {ref for addresses in experiment.addresses.values() for ref in addresses.values()}
    nodes = {ref: plan.nodes[ref].content for ref in refs}
    lock = Lock(format=FORMAT, name=experiment.name, arms=experiment.addresses, nodes=nodes)
    return json.dumps(lock, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write_lock(path: Path, text: str) -> bool:
    """Write a lock and return True, or leave a file of the same text alone and return False.

    Raises InputError if the file cannot be written.
    """
    try:
        return write_if_changed(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})", fix="make its folder writable") from None


def check_pins(plan: Plan, experiment: Experiment, path: Path) -> None:
    """Raise PinError if an id that the lock at `path` pins has moved. A spec without a lock passes.

    Raises InputError if there is a file at `path` that is not a lock.
    """
    if not os.path.lexists(path):  # unlike exists(), true for a dangling link, which must be refused and not passed
        return
    lock = read_lock(path)
    moved = find_moved_pins(plan, experiment, lock)
    if not moved:
        return
    roots = [pin for pin in moved if pin.causes or not pin.new]
    lines = [f"{path}: {len(moved)} pinned id{'s' * (len(moved) != 1)} moved"]
    if _is_before_protocol(lock) and any(pin.address.startswith("replies/") for pin in moved):
        roots = [pin for pin in roots if not pin.address.startswith("asked/")]  # each moves a node of `replies/`
        lines.append(f"  {_PROTOCOL}")
    lines += [f"  {pin}" for pin in roots[:_LISTED]]
    if len(roots) > _LISTED:
        lines.append(f"  and {len(roots) - _LISTED} more")
    if followers := len(moved) - len(roots):
        lines.append(f"  {followers} more moved because they are made from these")
    own = {ref for addresses in experiment.addresses.values() for ref in addresses.values()}
    # without --keep the artifacts of older VERSIONs would no longer be pinned
    keeps = any(plan.nodes[ref].version is not None for ref in own)
    fix = f"undo the change, or accept it with `orcac pin {'--keep ' if keeps else ''}{experiment.spec}`"
    raise PinError("\n".join(lines), fix=fix)


def _is_before_protocol(lock: Lock) -> bool:
    """Return whether a lock is from the time when baselines were asked with the teacher's own sampling.

    Then the items as asked were a sample node of their own, which read the benchmark's files again.
    """
    return any(
        address.startswith("asked/") and "form" not in lock["nodes"][ref]["recipe"]
        for addresses in lock["arms"].values()
        for address, ref in addresses.items()
    )


def find_moved_pins(plan: Plan, experiment: Experiment, lock: Lock) -> list[MovedPin]:
    """Return the pinned nodes that moved, in the order of the spec's arms; a node of several arms is listed once."""
    moved: dict[tuple[str, str], MovedPin] = {}
    for arm in (arm for arm in lock["arms"] if arm not in experiment.addresses):
        moved[arm, ""] = MovedPin(arm=arm, address="", old="", new="", causes=())
    for arm, now in experiment.addresses.items():
        for address, old in lock["arms"].get(arm, {}).items():
            new = now.get(address, "")
            if new != old and (old, new) not in moved:
                causes = tuple(describe_differences(lock["nodes"][old], plan.nodes[new].content)) if new else ()
                moved[old, new] = MovedPin(arm=arm, address=address, old=old, new=new, causes=causes)
    return list(moved.values())


def describe_differences(old: NodeContent, new: NodeContent) -> Iterator[str]:
    """Yield a phrase for each difference between two nodes. Other ids of inputs do not count, another number does."""
    if old["identity"] != new["identity"]:
        yield f"the rule of identity {old['identity']} -> {new['identity']}"
    if old["version"] != new["version"]:
        yield f"VERSION of `{new['kind']}` {old['version']} -> {new['version']}"
    before, after = dict(_iterate_leaves(old["recipe"], "")), dict(_iterate_leaves(new["recipe"], ""))
    for path in dict.fromkeys([*before, *after]):
        if before.get(path) != after.get(path):
            yield f"{path} {_shorten(before.get(path, '(default)'))} -> {_shorten(after.get(path, '(default)'))}"
    if {role: len(refs) for role, refs in old["inputs"].items()} != {
        role: len(refs) for role, refs in new["inputs"].items()
    }:
        yield f"it takes other inputs: {_count_inputs(old)} -> {_count_inputs(new)}"


def _iterate_leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield (path, value) for each leaf of a JSON value. Empty maps and lists of plain values count as leaves."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _iterate_leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from _iterate_leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 40 else text[:37] + "..."


def _count_inputs(node: NodeContent) -> str:
    return ", ".join(f"{len(refs)} {role}" for role, refs in sorted(node["inputs"].items()))


def read_lock(path: Path) -> Lock:
    fix = "pin the spec again, or bring the file back from version control"
    try:
        lock: Lock = json.loads(path.read_text(encoding="utf-8"))
        for addresses in lock["arms"].values():
            for ref in addresses.values():
                node = lock["nodes"][ref]
                assert {"identity", "version", "recipe", "inputs"} <= node.keys() and isinstance(node["recipe"], dict)
                assert all(isinstance(refs, list) for refs in node["inputs"].values())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise InputError(f"{path}: the file is not a lock, or it is damaged", fix=fix) from None
    if lock.get("format") != FORMAT:
        raise InputError(f"{path}: the lock was written by another version of orcac", fix=fix)
    return lock
