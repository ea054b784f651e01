"""Make one node: recipe + input artifacts -> artifact. It is what every rule calls, and what a person can call.

The order is the contract: done already? -> lease -> done meanwhile? -> complete but unmarked? -> verify inputs ->
run -> publish. A kill at any point leaves either the old state, or `work/` to go on from, or the whole artifact.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from orcac import __version__
from orcac.errors import InputError, OrcacError
from orcac.job import Job, Summary, packages_in_use
from orcac.kinds import KINDS
from orcac.plan.node import IDENTITY, Node
from orcac.plan.plan import Plan, find_ref
from orcac.store.durable import write_if_changed
from orcac.store.store import Store, disk_errors

T = TypeVar("T")
_HARDWARE = {"threads", "gpus", "nodes", "gpu", "processes", "recompute", "offload"}  # what a speed depends on


def make(plan: Plan, store: Store, ref: str) -> bool:
    """Make the node unless its artifact stands; False when it did. Raises OrcacError, with word left in the store."""
    node = plan.nodes[find_ref(plan.nodes, ref)]
    with disk_errors(store.folder(node.ref)):
        if store.is_done(node.ref):
            return False
        refuse_blocked([node])
        with store.lease(node.ref, report=_say):
            if store.is_done(node.ref) or store.republish(node.ref):
                return False
            _guarded(store, node.kind, ref=node.ref, work=lambda: _run(plan, store, node))
    return True


def make_shard(plan: Plan, store: Store, ref: str, index: int, count: int) -> None:
    """Ask one shard of a collect node's prompts: its answers go to the ledger, its marker to `shards/I-of-N/`."""
    from orcac.collect.run import run_shard

    node = plan.nodes[find_ref(plan.nodes, ref)]
    if node.kind != "collect" or not 0 <= index < count:
        raise InputError(f"{ref} has no shard {index + 1} of {count}", fix="only collect nodes have shards, from 1")
    name = f"{node.ref}/shards/{index + 1}-of-{count}"
    with disk_errors(store.folder(name)), store.lease(name, report=_say):
        job = _job(plan, store, node, folder=store.folder(name), part=f" {index + 1}-of-{count}")
        summary = _guarded(store, node.kind, ref=name, work=lambda: run_shard(job, index, count))
        done = {"shard": name, "summary": summary}
        write_if_changed(store.folder(name) / "done.json", json.dumps(done) + "\n")
        shutil.rmtree(job.work, ignore_errors=True)


def refuse_blocked(nodes: Iterable[Node]) -> None:
    """Raise InputError if a node cannot be made: an input is missing, or only an older orcac could make it."""
    nodes = list(nodes)
    for node in nodes:
        if node.version is not None:
            raise InputError(
                f"{node.ref} was made by VERSION {node.version} of `{node.kind}`, which this orcac cannot make again",
                fix="restore it from a copy of the store, or pin the spec again: then today's VERSION makes it",
            )
    reasons = list(dict.fromkeys(reason for node in nodes for reason in node.blockers))
    if reasons:
        raise InputError(
            "\n  ".join(["this can be planned and priced, but not made yet:", *reasons]),
            fix="bring what is missing, or change those places of the spec; then compile again",
        )


def _guarded(store: Store, kind: str, *, ref: str, work: Callable[[], T]) -> T:
    """Run `work`, leaving word in the folder of the node or shard `ref` of why it failed."""
    store.clear_error(ref)  # a kill records no reason, and that of an earlier try would pass for its own
    try:
        with disk_errors(store.folder(ref)), _missing_extra(kind):
            return work()
    except OrcacError as error:
        store.record_error(ref, str(error), error.exit_code)
        raise
    except Exception as error:
        store.record_error(ref, f"{type(error).__name__}: {error} (a fault of orcac; the log has the traceback)", 1)
        raise


@contextlib.contextmanager
def _missing_extra(kind: str) -> Iterator[None]:
    """What holds a model comes with the extra `train`; a machine that only compiles does without."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "tensorboardX"):
            raise
        raise InputError(
            f"`{kind}` needs {error.name}", fix="pip install torch, then pip install 'orcac[train]'"
        ) from None


def _job(plan: Plan, store: Store, node: Node, *, folder: Path, part: str = "") -> Job[Any, Any]:
    folders = {ref: store.verify(ref) for ref in node.needs}
    out = folder / "work" / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    store.answers.mkdir(parents=True, exist_ok=True)
    return Job(
        ref=node.ref,
        label=f"{node.kind} {node.label}{part}",
        recipe=node.recipe,
        execution=node.execution,
        inputs={role: [folders[ref] for ref in refs] for role, refs in node.inputs.items()},
        by_ref=folders,
        out=out,
        work=out.parent,
        answers=store.answers,
    )


def _run(plan: Plan, store: Store, node: Node) -> None:
    _say(f"{node.kind} {node.label} ({node.ref})")
    started, cpu = time.time(), _cpu_seconds()
    job = _job(plan, store, node, folder=store.folder(node.ref))
    summary: Summary = KINDS[node.kind].load_run()(job)
    packages = summary.pop("packages", None) or packages_in_use()
    record = {
        "ref": node.ref,
        "kind": node.kind,
        "label": node.label,
        "identity": IDENTITY,
        "version": KINDS[node.kind].version,
        "recipe": node.recipe.model_dump(mode="json"),
        "inputs": {role: list(refs) for role, refs in node.inputs.items()},
        "summary": summary,
        "made": _provenance(started, cpu) | {"packages": packages},
        "hardware": node.execution.model_dump(mode="json", include=_HARDWARE),
    }
    store.publish(node.ref, job.out, record)
    _say(f"{node.kind} {node.label}  made in {time.time() - started:.1f} s")


def _provenance(started: float, cpu: float) -> dict[str, Any]:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return {
        "orcac": __version__,
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "cpu_seconds": round(_cpu_seconds() - cpu, 3),
        "peak_memory_mb": round(max(resource.getrusage(one).ru_maxrss for one in who) / 1024, 1),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
    }


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
