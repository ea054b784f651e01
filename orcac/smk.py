"""Answers the rules' questions about the plan. All logic that a rule needs is here, so that the rules stay static.

An input function returns nothing once its own node's marker exists: a finished artifact stays finished whatever happens
to its siblings, and it is the id that shows an artifact out of date, not the age of a file. Nor does it return the
markers of finished inputs, here or in the upstream: Snakemake plans what is left.

A node shares the job of the only node that needs it, if the profile chains both kinds (`Chains`). The names of these
groups show in `squeue` and in the folders of Slurm's logs.

A job that Snakemake submits again asks for more of what the earlier tries of this run had too little of, up to the
limits of their partition, and for the same of everything else (orcac.slurm, orcac.store.tries).

A run keeps its plan. Jobs start long after Snakemake did (a Slurm job reads the Snakefile again, perhaps a day later),
and `orcac compile` of another spec must not take their nodes away meanwhile. So the plan is copied beside itself under
a name that depends on its content, and ORCAC_PLAN, which every job inherits, names the copy. At its end, a local `orcac
run` deletes its copy.
"""

from __future__ import annotations

import gc
import inspect
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, TypeVar, cast

from orcac import slurm
from orcac.errors import InputError, OrcacError
from orcac.plan.chains import Chains
from orcac.plan.file import MEMORY_MB, MINUTES, NodeData, keep_copy, parse_plan_data, read_plan_text
from orcac.scheduler import keep_one_timer
from orcac.store.tries import RUN, Cause, list_jobs, read_cause
from orcac.study import export_study, find_study, is_study_snakefile

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class Wildcards(Protocol):
    """Snakemake's wildcards of a job. Those of a shard have `shard` as well."""

    @property
    def id(self) -> str: ...


class ShardWildcards(Wildcards, Protocol):
    """Snakemake's wildcards of a shard's job."""

    @property
    def shard(self) -> str: ...  # I-of-N


Resource: TypeAlias = T | Callable[[Wildcards], T]  # one value for all jobs of a rule, or a function of the job


class _Try(NamedTuple):
    """The end of a job that was to make a node: what it had too little of, and its partition."""

    cause: Cause
    partition: str


class Rules:
    """The plan as the rules see it. Its methods return values, or functions of Snakemake's wildcards."""

    def __init__(self, config: Mapping[str, object] | None = None) -> None:
        """config: Snakemake's, as a profile sets it: `chained` and `on_login_node` are names of kinds with spaces
        between, `gpu_types` maps a GPU of the spec to its name in Slurm
        """
        # Snakemake is about to build objects by the hundred thousand and drops none of them. A search for cycles at
        # the usual intervals would take a fifth of its time.
        gc.freeze()
        gc.set_threshold(200_000, 50, 100)
        keep_one_timer()
        try:
            study = find_study()
            text, self.store = read_plan_text(study.plan), study.store
            plan = parse_plan_data(text, study.plan)
        except OrcacError as error:
            raise SystemExit(str(error)) from None
        self._copy = keep_copy(text, study.plan.parent)  # locked until this process ends
        os.environ.update(export_study(self.store, self._copy.path))
        self._run = os.environ.setdefault(RUN, secrets.token_hex(8))  # jobs inherit the name of their run
        self._nodes, self._order = plan["nodes"], plan["order"]
        experiments = plan["experiments"].values()
        # jobs call `orcac`, and must get the one of this Snakemake's Python, whatever is first on the PATH
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        targets = os.environ.get("ORCAC_TARGETS", "")  # set by `orcac run SPEC`, which makes only that spec's targets
        every = dict.fromkeys(ref for item in experiments for ref in item.get("targets", [item["report"]]))
        self._targets = targets.split(",") if targets else list(every)
        names = {key: str((config or {}).get(key) or "").split() for key in ("chained", "on_login_node")}
        self._local = frozenset(names["on_login_node"])
        self._has_groups = "chained" in (config or {})
        self._chains = Chains(plan, set(names["chained"]) - self._local)
        gpu_types = (config or {}).get("gpu_types") or {}
        self._gpu_types = {str(key): str(value) for key, value in cast("Mapping[str, object]", gpu_types).items()}
        self._tries: dict[tuple[str, str], _Try] = {}  # by node and Slurm job
        # set by `orcac run` with `--until`, whose DAG Snakemake cuts down to the nodes of these kinds and their inputs
        self._until = {kind for kind in os.environ.get("ORCAC_UNTIL", "").split(",") if kind}
        self._readers: dict[str, set[str]] | None = None  # see `_find_readers`; None until the first `collect` node

    @property
    def targets(self) -> list[str]:
        """The markers of the nodes to make: reports, and filters of specs that only collect answers."""
        return [self._marker(ref) for ref in self._targets]

    def marker(self, kind: str) -> str:
        """Return the output pattern of a kind's rule, with the wildcard `id`."""
        return f"{self.store.root}/{kind}/{{id}}/artifact.json"

    def log(self, kind: str) -> str:
        """Return the log pattern of a kind's rule. The log is beside the artifact, and stays if the node fails."""
        return f"{self.store.root}/{kind}/{{id}}/log.txt"

    def shard(self, kind: str) -> str:
        """Return the output pattern of a shard, with the wildcards `id` and `shard` (I-of-N)."""
        return f"{self.store.root}/{kind}/{{id}}/shards/{{shard}}/done.json"

    def shard_log(self, kind: str) -> str:
        return f"{self.store.root}/{kind}/{{id}}/shards/{{shard}}/log.txt"

    def inputs(self, kind: str) -> Callable[[Wildcards], list[str]]:
        """Return the input function of a kind: the markers of a node's unmade inputs, and of its shards."""

        def find_inputs(wildcards: Wildcards) -> list[str]:
            ref = f"{kind}/{wildcards.id}"
            if self.store.is_done(ref):
                return []
            markers = self._to_make(ref) + self._checked_before(ref)
            execution = self._node(ref)["execution"]
            count = _integer(execution.get("shards", 1))
            if count > 1 and not self._has_earlier(execution):
                shards = self.store.folder(ref) / "shards"
                markers += [str(shards / f"{index}-of-{count}" / "done.json") for index in range(1, count + 1)]
            return markers

        return _with_signature(find_inputs)

    def shard_inputs(self, kind: str) -> Callable[[ShardWildcards], list[str]]:
        """Return the input function of a kind's shards: the node's unmade inputs; none for a finished shard."""

        def find_inputs(wildcards: ShardWildcards) -> list[str]:
            ref = f"{kind}/{wildcards.id}"
            if (self.store.folder(ref) / "shards" / wildcards.shard / "done.json").is_file():
                return []
            return self._to_make(ref) + self._checked_before(ref)

        return _with_signature(find_inputs)

    def threads(self, kind: str) -> Resource[int]:
        return self._resource(kind, lambda execution: _integer(execution["threads"]))

    def is_local(self, kind: str) -> bool:
        """Return whether the profile has the nodes of a kind made on the machine that Snakemake runs on."""
        return kind in self._local

    def group(self, kind: str) -> Callable[[Wildcards], str] | None:
        """Return the function that names the group of a job; None for a kind that is made on the login node.

        It is None as well without a profile's `chained`: a local run ignores groups, and Snakemake is slow with them (a
        dry run of 5,000 nodes took 33 s of CPU time in place of 10).
        """
        if kind in self._local or not self._has_groups:
            return None

        def find_group(wildcards: Wildcards) -> str:
            ref = f"{kind}/{wildcards.id}"
            shard = getattr(wildcards, "shard", "")
            return f"{self._chains.name(ref)}.{shard}" if shard else self._chains.chain_name(ref)

        return _with_signature(find_group)

    def memory(self, kind: str) -> Callable[[Wildcards, int], int]:
        """Return a function of wildcards and attempt: MB, doubled for each earlier try that ran out of memory."""
        return self._growing(kind, "memory_mb", MEMORY_MB, cause="memory")

    def minutes(self, kind: str) -> Callable[[Wildcards, int], int]:
        """Return a function of wildcards and attempt: minutes, doubled for each earlier try that ran out of time."""
        return self._growing(kind, "minutes", MINUTES, cause="time")

    def _growing(self, kind: str, key: str, default: int, *, cause: Cause) -> Callable[[Wildcards, int], int]:
        """Return a function of wildcards and attempt: a resource that grows after tries that ended for `cause`.

        It is the spec's, or else the estimate, or else `default`. It grows up to the limit of the last try's partition.
        """

        def find_resource(wildcards: Wildcards, attempt: int) -> int:
            execution = self._node(f"{kind}/{wildcards.id}")["execution"]
            estimate = cast("dict[str, object]", execution.get("estimate") or {})
            value = _integer(execution.get(key) or estimate.get(key) or default)
            if attempt == 1:
                return value
            ended = self._ended_tries(f"{kind}/{wildcards.id}", getattr(wildcards, "shard", ""))
            short = sum(one.cause == cause for one in ended)
            if not short:
                return value
            limit = getattr(slurm.find_limits(ended[-1].partition), key)
            return max(value, min(value * 2**short, limit or sys.maxsize))

        return _with_signature(find_resource)

    def _ended_tries(self, ref: str, shard: str) -> list[_Try]:
        """Return the ends of the jobs in which this run tried to make a node or shard before, in order.

        They are kept, because Slurm forgets a job after some minutes, and a try overwrites the record of the last one.
        """
        folder = self.store.folder(ref)
        folder = folder / "shards" / shard if shard else folder
        jobs = [job for job in list_jobs(folder, self._run) if job != os.environ.get("SLURM_JOB_ID")]
        for job in jobs:
            if (ref, job) not in self._tries:
                facts = slurm.find_job(job)
                own = read_cause(folder, self._run) if job == jobs[-1] else ""
                self._tries[ref, job] = _Try(slurm.find_cause(facts) or own, facts.partition)
        return [self._tries[ref, job] for job in jobs]

    def gpus(self, kind: str) -> Resource[int]:
        """Return the GPUs of a job on one machine.

        They are 0 for a job on several machines, whose GPUs `multi_node` requests, and for one that takes its result
        from an artifact of an earlier VERSION.
        """

        def find_gpus(execution: Mapping[str, object]) -> int:
            if execution.get("nodes", 1) != 1 or self._has_earlier(execution):
                return 0
            return _integer(execution["gpus"])

        return self._resource(kind, find_gpus)

    def gpu_model(self, kind: str) -> Resource[str | None]:
        """Return the scheduler's name of a job's GPU, if the job runs on one machine and the profile has a name."""

        def find_model(execution: Mapping[str, object]) -> str | None:
            is_asked = execution.get("nodes", 1) == 1 and execution["gpus"] and not self._has_earlier(execution)
            return self._gpu_types.get(str(execution.get("gpu"))) if is_asked else None

        return self._resource(kind, find_model)

    def constraint(self, kind: str) -> Resource[str | None]:
        """Return the features that a job's machine must have, as Slurm's --constraint takes them."""
        return self._resource(kind, lambda execution: cast("str | None", execution.get("constraint")))

    def multi_node(self, kind: str, resource: str) -> Resource[int | str | None]:
        """Return a Slurm resource (nodes, tasks, tasks_per_gpu, gres or mpi) of a job on several machines.

        It is None for a job on one machine, which makes Snakemake leave it out. A job on several gets one task for each
        machine, and starts its processes there with an srun of its own; `mpi` keeps Snakemake from wrapping the job in
        an srun. GPUs are requested for each machine (`gres`), since `gpu` would be their number over all machines.
        """

        def find_resource(execution: Mapping[str, object]) -> int | str | None:
            nodes, gpus = _integer(execution["nodes"]), _integer(execution["gpus"])
            if nodes == 1:
                return None
            values: dict[str, int | str] = {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"}
            if gpus:
                gpu = self._gpu_types.get(str(execution.get("gpu")))
                values["gres"] = f"gpu:{gpu}:{gpus}" if gpu else f"gpu:{gpus}"
            return values.get(resource)

        return self._resource(kind, find_resource)

    def _resource(self, kind: str, find: Callable[[Mapping[str, object]], T]) -> Resource[T]:
        """Return `find(execution)` itself if it is the same for all nodes of a kind, else a function of wildcards.

        Snakemake is slow to call functions.
        """
        values = {find(node["execution"]) for node in self._nodes.values() if node["kind"] == kind}
        if len(values) == 1:
            return values.pop()

        def find_for_job(wildcards: Wildcards) -> T:
            return find(self._node(f"{kind}/{wildcards.id}")["execution"])

        return _with_signature(find_for_job)

    def _checked_before(self, ref: str) -> list[str]:
        """Return the markers of the students that are made before a `collect` node; [] for a node of another kind.

        Answers may be paid for, and a pretrained student may prove unusable. So it is made before the answers that it
        will be trained on; answers that no stage reads, as those of a baseline, wait for all students of the run. This
        is an order and no input: it enters no id, and a finished node or shard does not depend on it.
        """
        if not ref.startswith("collect/"):
            return []
        if self._readers is None:
            self._readers = self._find_readers()
        students = self._readers.get(ref) or set[str]().union(*self._readers.values())
        return sorted(self._marker(student) for student in students if not self.store.is_done(student))

    def _find_readers(self) -> dict[str, set[str]]:
        """Return KIND/ID -> the pretrained students that stages of this run train on results of the node."""
        needed = made = self._list_unfinished(self._targets)
        if self._until:
            made = self._list_unfinished([ref for ref in needed if self._node(ref)["kind"] in self._until])
        readers: dict[str, set[str]] = {}
        for ref in reversed(self._order):  # users before their inputs
            if ref not in needed:
                continue
            found = readers.get(ref, set())
            if self._node(ref)["kind"] == "tokenize":
                students = self._node(ref)["inputs"]["student"]
                trained = {one for one in students if self._node(one)["execution"].get("lengths")}
                found = found | {one for one in trained if one in made or self.store.is_done(one)}
            for need in self._needs(ref) if found else ():
                readers.setdefault(need, set()).update(found)
        return readers

    def _list_unfinished(self, refs: Iterable[str]) -> set[str]:
        """Return the nodes that are to be made for `refs`: these and their inputs, up to the finished ones."""
        found, stack = set[str](), list(refs)
        while stack:
            ref = stack.pop()
            if ref not in found and not self.store.is_done(ref):
                found.add(ref)
                stack += self._needs(ref)
        return found

    def _to_make(self, ref: str) -> list[str]:
        """Return the markers of a node's inputs that are not made yet.

        Snakemake need not hear of the others, since `orcac make` checks every input: a report on 5,000 finished nodes
        would take it 3 s of CPU time, each time that a job of a cluster starts.
        """
        return [self._marker(need) for need in self._needs(ref) if not self.store.is_done(need)]

    def _has_earlier(self, execution: Mapping[str, object]) -> bool:
        """Return whether an artifact of an earlier VERSION has the node's result."""
        return any(map(self.store.is_done, cast("list[str]", execution.get("earlier", []))))

    def _needs(self, ref: str) -> list[str]:
        return list(dict.fromkeys(need for refs in self._node(ref)["inputs"].values() for need in refs))

    def _marker(self, ref: str) -> str:
        return str(self.store.marker(ref))

    def _node(self, ref: str) -> NodeData:
        try:
            return self._nodes[ref]
        except KeyError:
            raise SystemExit(f"{ref}: no such node in the plan\n  fix: compile the spec again") from None


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _with_signature(function: F) -> F:
    """Store a function's signature in it. Snakemake inspects it again for every job, which is slow to compute."""
    function.__dict__["__signature__"] = inspect.signature(function)
    return function


def find_snakefile(root: Path) -> Path:
    """Return the Snakefile of the study root if it is orcac's, else the one of the package.

    So `orcac run` and a bare `snakemake` do the same. An unrelated Snakefile in the root is not run. Raises InputError
    if orcac was installed without its rules.
    """
    own = root / "Snakefile"
    return own if is_study_snakefile(own) else find_study_folder() / "Snakefile"


def find_study_folder() -> Path:
    """Return the folder of Snakefile, rules/, profiles/, slurm/ and specs/.

    It is the top of a checkout, and `orcac/study/` in a wheel. Raises InputError if there is neither.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "study", package.parent):
        if (folder / "Snakefile").is_file():
            return folder
    fix = "install orcac from its wheel, or work in a checkout, where `make env` installs it"
    raise InputError(f"{package}: this orcac was installed without its rules", fix=fix)
