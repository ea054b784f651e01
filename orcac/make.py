"""Makes one node: recipe + input artifacts -> artifact. Every rule calls it through `orcac make`.

The order of steps is a contract: done already? -> take the lease -> done meanwhile? -> complete but without its marker?
-> verify the inputs -> run -> publish. A kill at any point leaves the old state, or `work/` to go on from, or the whole
artifact.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict, TypeVar

from orcac import __version__
from orcac.devices import hold_gpus
from orcac.errors import InputError, KilledError, MachineError, OrcacError
from orcac.extras import explain_missing_package
from orcac.job import Job, packages_in_use
from orcac.kinds import KINDS
from orcac.plan.file import find_ref
from orcac.plan.node import IDENTITY, Node
from orcac.plan.plan import Plan
from orcac.progress import print_line
from orcac.recipe import Execution, Recipe
from orcac.store.checksum import add_checksum
from orcac.store.durable import write_if_changed
from orcac.store.links import refuse_links, remove_links
from orcac.store.store import Store, disk_errors
from orcac.store.tries import Cause, record_job

T = TypeVar("T")
# the fields of an execution that a node's speed depends on; the cost estimates compare nodes by them
_HARDWARE = {"threads", "gpus", "nodes", "gpu", "processes", "recompute", "offload"}


class Provenance(TypedDict):
    """The circumstances of a making, as the artifact's record holds them."""

    orcac: str
    python: str
    host: str
    platform: str
    started: str  # UTC
    seconds: float
    cpu_seconds: float  # of this process and its children
    peak_memory_mb: float
    slurm_job: str  # "" outside Slurm
    packages: dict[str, str]  # name -> version


def make(plan: Plan, store: Store, ref: str) -> bool:
    """Make the node `ref` (KIND/ID, or a beginning of it) and return True; return False if it is made already.

    A node that the upstream has is made in the store nevertheless: the caller wants it there. Raises OrcacError; the
    reason of a failed try is recorded in the store as well.
    """
    node = plan.nodes[find_ref(plan.nodes, ref)]
    with disk_errors(store.folder(node.ref)):
        if store.is_own(node.ref):
            return False
        if not store.own.has_record(node.ref):
            refuse_blocked([node])
        with store.lease(node.ref, report=print_line):
            if store.is_own(node.ref) or store.republish(node.ref):
                return False
            refuse_blocked([node])  # its twin is damaged
            _run_recording_errors(store, node.kind, ref=node.ref, work=lambda: _run(plan, store, node))
    return True


def make_shard(plan: Plan, store: Store, ref: str, index: int, count: int) -> None:
    """Ask the prompts of one shard of a node. `index` counts from 0.

    The answers go to the ledger (`collect`) or to the node's `work` (`eval`), and the shard's marker to
    `shards/I-of-N/`, where I counts from 1. Raises OrcacError.
    """
    node = plan.nodes[find_ref(plan.nodes, ref)]
    run_shard = KINDS[node.kind].load_run_shard()
    if run_shard is None or not 0 <= index < count:
        raise InputError(
            f"{ref} has no shard {index + 1} of {count}",
            fix="give a collect or an eval node, and a shard from 1-of-N to N-of-N",
        )
    name = f"{node.ref}/shards/{index + 1}-of-{count}"
    with disk_errors(store.folder(name)), store.lease(name, report=print_line):
        job = _prepare_job(plan, store, node, folder=store.folder(name), part=f" {index + 1}-of-{count}")
        with hold_gpus(node.execution.gpus):
            summary = _run_recording_errors(store, node.kind, ref=name, work=lambda: run_shard(job, index, count))
        done = {"shard": name, "summary": summary.as_json()}
        write_if_changed(store.folder(name) / "done.json", add_checksum(json.dumps(done).encode()).decode())
        shutil.rmtree(job.work, ignore_errors=True)


def refuse_blocked(nodes: Iterable[Node]) -> None:
    """Raise InputError if a node cannot be made: an input is missing, or only an older orcac could make it."""
    nodes = list(nodes)
    for node in nodes:
        if node.version is not None:
            is_older = node.version != KINDS[node.kind].version
            maker = f"VERSION {node.version}" if is_older else "another rule"
            raise InputError(
                f"{node.ref} was made by {maker} of `{node.kind}`, which this orcac cannot make again",
                fix="restore it from a copy of the store, or pin the spec again: then today's VERSION makes it",
            )
    reasons = list(dict.fromkeys(reason for node in nodes for reason in node.blockers))
    if reasons:
        raise InputError(
            "\n  ".join(["this can be planned and priced, but not made yet:", *reasons]),
            fix="supply the missing files, or change those places of the spec; then compile again",
        )


def _run_recording_errors(store: Store, kind: str, *, ref: str, work: Callable[[], T]) -> T:
    """Run `work`; if it fails, record the reason in the folder of the node or shard `ref`."""
    record_job(store.folder(ref))
    store.clear_error(ref)  # a kill records no reason, and that of an earlier try would pass for its own
    try:
        with disk_errors(store.folder(ref)), explain_missing_package(f"`{kind}`"):
            return work()
    except OrcacError as error:
        short_of: Cause = "memory" if isinstance(error, KilledError) else ""
        is_final = isinstance(error, InputError) and not _may_pass(error)
        store.record_error(ref, str(error), error.exit_code, short_of=short_of, is_final=is_final)
        raise
    except Exception as error:
        short_of = "memory" if isinstance(error, MemoryError) else ""
        text = f"{type(error).__name__}: {error} (a bug in orcac; the log has the traceback)"
        store.record_error(ref, text, 1, short_of=short_of)
        raise


def _may_pass(error: InputError) -> bool:
    """Return whether the same input may do at another try: the cause is a machine, its file system or its devices."""
    cause = error.__cause__ or error.__context__
    is_of_system = isinstance(cause, RuntimeError) or (isinstance(cause, OSError) and cause.errno is not None)
    return isinstance(error, MachineError) or is_of_system


def _prepare_job(plan: Plan, store: Store, node: Node, *, folder: Path, part: str = "") -> Job[Recipe, Execution]:
    """Verify the node's inputs and return its job, with an empty `out` and the `work` of the last try, in `folder`.

    Raises StoreError if a file of an input, or of an earlier artifact that replaces the work, is damaged.
    """
    earlier: tuple[str, ...] = getattr(node.execution, "earlier", ())
    folders = {ref: store.verify(ref) for ref in node.needs}
    out = folder / "work" / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    refuse_links(store.answers)
    store.answers.mkdir(parents=True, exist_ok=True)
    whole_work = store.folder(node.ref) / "work"
    whole_work.mkdir(exist_ok=True)
    remove_links(whole_work)
    return Job(
        ref=node.ref,
        label=f"{node.kind} {node.label}{part}",
        recipe=node.recipe,
        execution=node.execution,
        inputs={role: [folders[ref] for ref in refs] for role, refs in node.inputs.items()},
        by_ref=folders,
        earlier={ref: store.verify(ref) for ref in earlier if store.is_done(ref)},
        out=out,
        work=out.parent,
        whole_work=whole_work if part else None,
        answers=store.answers,
        upstream_answers=store.upstream_answers,
    )


def _run(plan: Plan, store: Store, node: Node) -> None:
    print_line(f"{node.kind} {node.label} ({node.ref})")
    if store.is_upstream(node.ref):
        print_line(f"{node.ref} is in {store.upstream} as well; it is made here too")
    started, begun, cpu = time.time(), time.monotonic(), _cpu_seconds()
    job = _prepare_job(plan, store, node, folder=store.folder(node.ref))
    with hold_gpus(node.execution.gpus):
        summary = KINDS[node.kind].load_run()(job)
    record = {
        "ref": node.ref,
        "kind": node.kind,
        "label": node.label,
        "identity": IDENTITY,
        "version": KINDS[node.kind].version,
        "recipe": node.recipe.model_dump(mode="json"),
        "inputs": {role: list(refs) for role, refs in node.inputs.items()},
        "summary": summary.as_json(),
        "made": _provenance(started, time.monotonic() - begun, cpu, job.packages or packages_in_use()),
        "hardware": node.execution.model_dump(mode="json", include=_HARDWARE),
    }
    store.publish(node.ref, job.out, record)
    print_line(f"{node.kind} {node.label}  made in {time.monotonic() - begun:.1f} s")


def _provenance(started: float, seconds: float, cpu: float, packages: dict[str, str]) -> Provenance:
    """Return the circumstances of a making that began at `started` (Unix time), after `cpu` seconds of CPU time.

    It took `seconds` of a clock that does not jump.
    """
    usages = [resource.getrusage(scope) for scope in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "orcac": __version__,
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(_cpu_seconds() - cpu, 3),
        "peak_memory_mb": round(max(usage.ru_maxrss for usage in usages) / 1024, 1),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "packages": packages,
    }


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
