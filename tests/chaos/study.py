"""The study that a round runs, in a folder of its own, with its server and its processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from faults import Fault, FaultServer

from .processes import VARIABLE, find_processes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
QUESTIONS = ROOT / "specs" / "questions" / "counting.jsonl"
FAULTS: tuple[Fault, ...] = ("429 with Retry-After", "500", "503", "dropped", "dropped midway", "malformed", "slow")
LOSES = frozenset({"dropped", "dropped midway", "malformed"})  # answers that are billed and never arrive
PAID = LOSES | {"", "slow"}
END_S = 900.0  # the longest time in which processes end, or a study is made once nothing disturbs it
CONCURRENCY = 4  # of study.yaml: the most answers that a killed job has in flight


class Teachers:
    """The server of both teachers and of the judge. Its faults depend on seed, question and attempt alone.

    `is_down`: while it is set, every request is refused. `paid` counts the answers that were made, and `lost` those of
    them that faults have lost, by model and question.
    """

    def __init__(self, seed: int, *, share: float) -> None:
        self._seed, self._share = seed, share
        self.is_down = False
        self.paid: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.server = FaultServer(self._behave, latency_s=0.02, slow_s=0.5, write=_write_answer)

    def _behave(self, question: str, before: int) -> Fault:
        draw = random.Random(f"{self._seed} {question} {before}")
        fault: Fault = "503" if self.is_down else draw.choice(FAULTS) if draw.random() < self._share else ""
        asked = str(self.server.last_body["model"]), question
        self.paid[asked] += fault in PAID
        self.lost[asked] += fault in LOSES
        if fault:
            self.faults[fault] += 1
        return fault

    @property
    def paid_twice(self) -> int:
        """The answers paid for beyond the first to a question and those that faults lost."""
        return sum(max(0, count - 1 - self.lost[asked]) for asked, count in self.paid.items())


def _write_answer(body: Mapping[str, object]) -> str:
    question = str(body["messages"][-1]["content"])  # type: ignore[index]
    if body["model"] != "judge":
        return f"I count the things of `{question[:60]}` one after another."
    digest = hashlib.sha256(question.encode()).digest()
    return f"{1 + digest[0] % 10} {1 + digest[1] % 10}\nThe answers differ in detail."


class Study:
    """A study in `folder`, whose processes share a token in their environment. `clock` is the file of their clock."""

    def __init__(self, folder: Path, *, url: str, epochs: int, slurm: bool = False) -> None:
        self.folder, self.store, self.slurm = folder, folder / "store", slurm
        self.token, self.clock, self.log = uuid.uuid4().hex, folder.with_suffix(".clock"), folder.with_suffix(".log")
        self.clock.write_text("0")
        folder.mkdir(parents=True, exist_ok=True)
        lines = QUESTIONS.read_text().splitlines(keepends=True)[:8]
        (folder / "questions.jsonl").write_text("".join(lines))
        text = (HERE / "study.yaml").read_text().replace("@URL@", url).replace("@EPOCHS@", str(epochs))
        (folder / "study.yaml").write_text(text)
        self.environment = os.environ | {
            VARIABLE: self.token,
            "CHAOS_CLOCK": str(self.clock),
            "PYTHONPATH": str(HERE / "clock"),
            "OPENAI_API_KEY": "sk-chaos",
            "NO_COLOR": "1",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        for name in ("ORCAC_STORE", "ORCAC_PLAN"):
            self.environment.pop(name, None)

    def start(self) -> subprocess.Popen[bytes]:
        """Start `orcac run` in a session of its own; its output goes to the end of `log`."""
        line = [str(BIN / "orcac"), "run", "study.yaml"]
        if self.slurm:
            line += [
                "--profile",
                str(ROOT / "slurm"),
                "--slurm-init-seconds-before-status-checks",
                "2",
                "--latency-wait",
                "5",
            ]
            line += ["--slurm-logdir", str(self.folder.with_suffix(".slurm"))]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                line, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill_all(self) -> Counter[str]:
        """Kill every process of the study, wait for their ends and return the kinds that were killed."""
        killed, until = Counter[str](), time.monotonic() + END_S
        while found := find_processes(self.token, self.store):
            assert time.monotonic() < until, found
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    killed[process.kind] += 1
            time.sleep(0.2)
        return killed

    def verify(self, *arguments: str) -> dict:
        """Return the findings of `orcac verify`."""
        done = subprocess.run(
            [BIN / "orcac", "verify", "--json", *arguments], cwd=self.folder, env=self.environment, capture_output=True
        )
        assert done.returncode in (0, 1), done.stderr.decode()[-3000:]
        return json.loads(done.stdout)

    def artifacts(self) -> dict[str, dict[str, str]]:
        """Return KIND/ID -> file -> digest of every finished artifact, computed from the files themselves."""
        found = {}
        for marker in self.store.glob("*/*/artifact.json"):
            files = json.loads(marker.read_text())["files"]
            found[str(marker.parent.relative_to(self.store))] = {
                name: hashlib.sha256((marker.parent / name).read_bytes()).hexdigest() for name in files
            }
        return found
