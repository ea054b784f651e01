"""What the rules ask of the plan. Everything a rule needs and Snakemake lacks stands here, so rules stay static.

An input function returns nothing once its own node's marker stands: an artifact is finished whatever happens to
its siblings, and the id, not a file's age, says when it is out of date.

A run keeps its plan: jobs start long after Snakemake did (a Slurm job reads the Snakefile again, maybe tomorrow),
and `orcac compile` of another spec meanwhile must not take their nodes away. So the plan is copied beside itself
under a name of its content, and ORCAC_PLAN, which every job inherits, names the copy.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from orcac.errors import InputError, OrcacError
from orcac.plan.plan import default_plan_path, read_plan_data
from orcac.store.durable import write_if_changed
from orcac.store.store import Store

T = TypeVar("T")
Asked: TypeAlias = T | Callable[[Any], T]


class Rules:
    """The plan as the rules see it. Functions take Snakemake's wildcards (`id`, and `shard` for collect)."""

    def __init__(self) -> None:
        # Snakemake is about to build objects by the hundred thousand, and drops none of them: looking through them
        # for cycles each time some more are there would take a fifth of its time
        gc.freeze()
        gc.set_threshold(200_000, 50, 100)
        path = default_plan_path()
        try:
            plan, self.store = read_plan_data(path), Store.default()
        except OrcacError as error:
            raise SystemExit(str(error)) from None
        os.environ["ORCAC_PLAN"] = str(_keep(plan, path.parent))
        self._nodes: dict[str, dict[str, Any]] = plan["nodes"]
        self._reports = [item["report"] for item in plan["experiments"].values()]
        # jobs call `orcac`: the one that belongs to this Snakemake, whatever is first on the PATH
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        wanted = os.environ.get("ORCAC_TARGETS", "")  # `orcac run SPEC` asks for its own reports alone
        self._targets = wanted.split(",") if wanted else self._reports

    @property
    def targets(self) -> list[str]:
        return [str(self.store.marker(ref)) for ref in self._targets]

    def marker(self, kind: str) -> str:
        """The output of a kind's rule, with the wildcard in it."""
        return f"{self.store.root}/{kind}/{{id}}/artifact.json"

    def log(self, kind: str) -> str:
        """Beside the artifact, and kept when the node fails."""
        return f"{self.store.root}/{kind}/{{id}}/log.txt"

    def shard_log(self) -> str:
        return f"{self.store.root}/collect/{{id}}/shards/{{shard}}/log.txt"

    def shard(self) -> str:
        return f"{self.store.root}/collect/{{id}}/shards/{{shard}}/done.json"

    def inputs(self, kind: str) -> Callable[[Any], list[str]]:
        """The markers of a node's inputs; for collect, of its shards too."""

        def find(wildcards: Any) -> list[str]:
            ref = f"{kind}/{wildcards.id}"
            if self.store.is_done(ref):
                return []
            found = [self._marker(need) for need in self._needs(ref)]
            count = self._node(ref)["execution"].get("shards", 1)
            if count > 1:
                shards = self.store.folder(ref) / "shards"
                found += [str(shards / f"{index}-of-{count}" / "done.json") for index in range(1, count + 1)]
            return found

        return _signed(find)

    def shard_inputs(self, wildcards: Any) -> list[str]:
        return [self._marker(need) for need in self._needs(f"collect/{wildcards.id}")]

    def threads(self, kind: str) -> Asked[int]:
        return self._each(kind, lambda execution: int(execution["threads"]))

    def memory(self, kind: str) -> Callable[..., int]:
        """MB; twice at the second attempt, four times from the third on: one killed for memory needs more."""
        same = self._each(kind, lambda execution: int(execution["memory_mb"]))

        def ask(wildcards: Any, attempt: int) -> int:
            return (same(wildcards) if callable(same) else same) * min(2 ** (attempt - 1), 4)

        return _signed(ask)

    def minutes(self, kind: str) -> Asked[int]:
        return self._each(kind, lambda execution: int(execution["minutes"]))

    def gpus(self, kind: str) -> Asked[int]:
        """Of a job on one machine; see `multi_node`."""
        return self._each(kind, lambda execution: 0 if execution.get("nodes", 1) > 1 else int(execution["gpus"]))

    def multi_node(self, kind: str, resource: str) -> Asked[int | str | None]:
        """What a job on several machines asks Slurm for besides; None, and so not asked for, of one on a single one.

        Room for a task a machine, which the job's own srun fills as it likes (`mpi`: so that the job is not put into an
        srun itself), and GPUs by machine, where `gpu` would be their number over all of them.
        """

        def find(execution: dict[str, Any]) -> int | str | None:
            nodes, gpus = execution["nodes"], execution["gpus"]
            if nodes == 1:
                return None
            several = {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"}
            return (several | ({"gres": f"gpu:{gpus}"} if gpus else {})).get(resource)

        return self._each(kind, find)

    def _each(self, kind: str, find: Callable[[dict[str, Any]], T]) -> Asked[T]:
        """What a job of a kind asks for: a plain value where all ask alike, since Snakemake is slow to call."""
        asked = {find(node["execution"]) for node in self._nodes.values() if node["kind"] == kind}
        if len(asked) == 1:
            return asked.pop()
        return _signed(lambda wildcards: find(self._node(f"{kind}/{wildcards.id}")["execution"]))

    def _needs(self, ref: str) -> list[str]:
        return list(dict.fromkeys(need for refs in self._node(ref)["inputs"].values() for need in refs))

    def _marker(self, ref: str) -> str:
        return str(self.store.marker(ref))

    def _node(self, ref: str) -> dict[str, Any]:
        try:
            return self._nodes[ref]
        except KeyError:
            raise SystemExit(f"{ref}: no such node in the plan\n  fix: compile the spec again") from None


def _signed(function: Callable[..., T]) -> Callable[..., T]:
    """With its signature at hand: Snakemake asks for it again at every job, and working it out is slow."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


def _keep(plan: dict[str, Any], folder: Path) -> Path:
    """The plan's copy for one run; the copy's copy is itself."""
    text = json.dumps(plan, sort_keys=True) + "\n"
    path = folder / f"plan-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    write_if_changed(path, text)
    return path


def find_snakefile() -> Path:
    """The Snakefile to run: the working folder's where it is a study's, so that `orcac run` and `snakemake` do the
    same; else the package's own. Another Snakefile that lies in the working folder by chance is not run."""
    here = Path("Snakefile")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if "from orcac.smk import Rules" in here.read_text(encoding="utf-8"):
            return here.absolute()
    return find_study_folder() / "Snakefile"


def find_study_folder() -> Path:
    """The folder that holds Snakefile, rules/, profiles/, slurm/ and specs/: a checkout's top, in a wheel `study/`.

    Raises InputError where there is neither.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "study", package.parent):
        if (folder / "Snakefile").is_file():
            return folder
    fix = "install orcac from its wheel, or work in a checkout, where `make env` installs it"
    raise InputError(f"{package}: this orcac was installed without its rules", fix=fix)
