"""Tests of orcac/warm/server.py, orcac/warm/template.py, orcac/warm/client.py, orcac/warm/request.py and
orcac/cli/warm.py: a warm job is the process that asked for it, and no death of a process loses or leaves anything."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from faults import FaultServer
from patience import PATIENCE_S

from orcac.chat.ledger.files import read_records
from orcac.cli.warm import warm_server
from orcac.warm import COLD, VARIABLE
from orcac.warm.request import Request, find_place, set_threads
from orcac.warm.server import choose_template
from orcac.warm.template import wait_for_input

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="jobs are warm on Linux alone")

SPEC = """
orcac: 1
name: warm
seed: 1
queries: {boolean: {format: puzzles, task: boolean_expressions, size: [3, 5], take: 100}}
teachers: {slow: {model: m, endpoint: {kind: openai, base_url: URL, concurrency: 4}}}
datasets: {answers: {teacher: slow, queries: [boolean]}}
"""
ORCAC = Path(sys.executable).parent / "orcac"
# A server whose jobs run the Python code in their argument `--log` instead of orcac.
SERVER = """
import socket, sys
from orcac.warm.server import serve
with socket.socket(fileno=int(sys.argv[1])) as listener:
    serve(listener)
exec(sys.argv[-1])
"""
TEMPLATE = """
import os, socket, sys
from orcac.warm.template import serve_jobs
with socket.socket(fileno=int(sys.argv[1])) as control:
    serve_jobs(control, server=os.getppid(), modules=[sys.argv[2]], environ=os.environ)
import io
log, sys.stderr = sys.stderr, io.StringIO()
sys.modules["kept"].logger.warning("the job's own")
log.write(sys.stderr.getvalue())
"""
CLIENT = "from orcac.warm.client import make_warm; make_warm(); print('cold')"


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the path of the socket of SERVER."""
    path = tmp_path_factory.mktemp("s") / "warm"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        number = listener.fileno()
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(number)], stdin=subprocess.PIPE, pass_fds=[number])
    yield str(path)
    server.communicate(timeout=PATIENCE_S)


def start(path: str, code: str, *, kind: str = "sample", **more: object) -> subprocess.Popen[str]:
    """Start a process that lets a server run `code` for it."""
    environ = os.environ | {VARIABLE: path} | dict(more.pop("environ", {}))  # type: ignore[call-overload]
    line = [sys.executable, "-c", CLIENT, "make", f"{kind}/{'0' * 20}", "--log", code]
    return subprocess.Popen(
        line,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,  # type: ignore[call-overload]
    )


def run(path: str, code: str, **more: object) -> tuple[str, str, int]:
    """Return the stdout, the stderr and the exit code of a process that lets a server run `code` for it."""
    process = start(path, code, **more)
    return *process.communicate(timeout=PATIENCE_S), process.returncode


def test_a_job_has_the_state_of_the_process_that_asked(offered: str, tmp_path: Path) -> None:
    code = (
        "import os, resource, sys\n"
        "limits = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "print(os.getcwd(), os.environ['OWN'], os.environ.get('ORCAC_WARM'), limits)\n"
        "print('pyarrow' in sys.modules, len(os.listdir('/proc/self/task')), file=sys.stderr)\n"
        "sys.exit(7)"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    # several threads in each pool that a package could make when it is imported
    pools = {"OWN": "x", "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    out, error, status = run(offered, code, environ=pools, cwd=tmp_path, preexec_fn=limit)
    assert (out, error, status) == (f"{tmp_path} x None (0, 0)\n", "True 1\n", 7)


def test_models_with_other_threads_share_a_template_and_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(kind: str, threads: str) -> object:
        environ = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return choose_template(Request(["orcac", "make", f"{kind}/0"], "/", environ, 0, {}, find_place()))

    monkeypatch.setattr("orcac.warm.server.find_gpus", list)
    assert choose("train", "1") == choose("student", "2") is not None
    assert choose("collect", "1") != choose("collect", "2"), "Arrow reads them when it is imported"
    threads: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=threads.append))
    for given in ("2", "", "0", "all"):
        set_threads({"OMP_NUM_THREADS": given})
    assert threads == [2]


def test_a_memory_limit_holds(offered: str) -> None:
    code = "import os\nprint('job', flush=True)\nbytearray(8 << 30)"
    limits = (6 << 30, 6 << 30)
    out, error, status = run(offered, code, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits))
    assert out == "job\n" and "MemoryError" in error and status == 1


def test_random_numbers_differ_between_jobs(offered: str) -> None:
    code = "import numpy, random\nprint(random.random(), numpy.random.rand())"
    first, second = (run(offered, code)[0].split() for _ in range(2))
    assert len(first) == 2 and not set(first) & set(second)


def test_a_job_pauses_and_goes_on_with_the_process_that_waits_for_it(offered: str) -> None:
    waiting = start(offered, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    assert waiting.stdout
    job = psutil.Process(int(waiting.stdout.readline()))
    status = Path(f"/proc/{waiting.pid}/status")
    while not int(status.read_text().partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTSTP - 1) & 1:
        time.sleep(0.05)  # the job may begin before the process that waits for it has its handlers

    def wait_for(is_stopped: bool) -> None:
        for _ in range(int(PATIENCE_S / 0.05)):
            if (job.status() == psutil.STATUS_STOPPED) == is_stopped:
                return
            time.sleep(0.05)
        raise AssertionError(job.status())

    waiting.send_signal(signal.SIGTSTP)
    wait_for(True)
    while psutil.Process(waiting.pid).status() != psutil.STATUS_STOPPED:  # a moment after its job
        time.sleep(0.05)
    waiting.send_signal(signal.SIGCONT)
    wait_for(False)
    waiting.terminate()
    assert waiting.wait(timeout=PATIENCE_S) == -signal.SIGTERM, "it ends as its job did"
    job.wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("line", ["make nothing/0", "plan specs/tiny.yaml"])
def test_what_is_no_node_of_a_known_kind_stays_cold(offered: str, line: str) -> None:
    process = [sys.executable, "-c", CLIENT, *line.split()]
    done = subprocess.run(process, env=os.environ | {VARIABLE: offered}, capture_output=True, text=True)
    assert done.stdout == "cold\n"


def test_a_server_that_is_gone_leaves_the_process_cold(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "warm"))
    for path in (tmp_path / "warm", tmp_path / "none", Path("0")):
        assert run(str(path), "print('warm')")[0] == "cold\n"


def ask_template(folder: Path, module: str) -> tuple[list[bytes], str]:
    """Return the answers of a TEMPLATE that imports `module` of the folder, and the stderr of its job."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = folder / "log.txt"
    with theirs, answering, log.open("wb") as stream:
        template = subprocess.Popen(
            [sys.executable, "-c", TEMPLATE, str(theirs.fileno()), module],
            env=os.environ | {"PYTHONPATH": str(folder)},
            pass_fds=[theirs.fileno()],
        )
        streams = [answering.fileno(), *[stream.fileno()] * 3]
        socket.send_fds(ours, [Request.of_this_process().to_bytes()], streams)
    with ours, connection:
        answers = [connection.recv(16)]
        if answers != [COLD]:
            answers.append(connection.recv(16))
        template.kill()
        template.wait()
    return answers, log.read_text()


def test_a_package_that_keeps_stderr_writes_to_that_of_the_job(tmp_path: Path) -> None:
    """The log of a node has the warnings of packages that were imported before the node had a log."""
    (tmp_path / "kept.py").write_text(
        "import logging, sys\nlogger = logging.getLogger('kept')\n"
        "logger.addHandler(logging.StreamHandler(sys.stderr))\nlogger.warning('at import')"
    )
    assert ask_template(tmp_path, "kept") == ([b"started", b"0"], "the job's own\n")


def test_a_package_that_leaves_a_thread_makes_jobs_cold(tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    )
    assert ask_template(tmp_path, "threads")[0] == [COLD]


class Run:
    """`orcac run` of 100 questions to a slow server, and the processes that belong to it."""

    def __init__(self, folder: Path, server: FaultServer) -> None:
        self.store, self.server = folder / "store", server
        spec = folder / "spec.yaml"
        spec.write_text(SPEC.replace("URL", json.dumps(server.base_url)))
        environ = os.environ | {"ORCAC_STORE": str(self.store), "ORCAC_PLAN": str(folder / "plan.json")}
        self.process = subprocess.Popen(
            [ORCAC, "run", spec], env=environ, start_new_session=True, stderr=subprocess.PIPE
        )
        self.wait_until(lambda: server.billed.total() >= 10)
        server.is_held = True  # until `end`
        (self.client,) = self.find_clients()
        self.below = psutil.Process(self.process.pid).children(recursive=True)
        (lease,) = self.store.glob("collect/*/lease.json")
        self.job = psutil.Process(json.loads(lease.read_text())["pid"])
        assert self.job in self.below and self.job != self.client, "the job is cold"

    def find_clients(self) -> list[psutil.Process]:
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in below if {"make", "--log"} <= set(each.cmdline())]

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        for _ in range(int(PATIENCE_S / 0.05)):
            if is_true():
                return
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)
        raise AssertionError(f"nothing happened for {PATIENCE_S:.0f} s")

    def end(self) -> tuple[int, str]:
        """Wait for the end of the run; return its exit code and its output. All its processes must be gone by then."""
        self.server.is_held = False
        _, output = self.process.communicate(timeout=PATIENCE_S)
        _, alive = psutil.wait_procs(self.below, timeout=PATIENCE_S)
        assert alive == []
        return self.process.returncode, output.decode()

    def count_kept(self) -> int:
        return sum(record["request"]["model"] == "m" for record in read_records(self.store / "answers"))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Run]:
    with FaultServer(latency_s=0.3) as server:
        run = Run(tmp_path, server)
        try:
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)


def test_a_job_dies_with_the_process_that_waits_for_it(running: Run) -> None:
    running.client.kill()
    running.job.wait(timeout=PATIENCE_S)
    code, output = running.end()
    assert code == 1, output
    assert 0 < running.count_kept() < 100


def test_a_server_that_dies_costs_no_node(running: Run) -> None:
    (server,) = (
        each
        for each in running.below
        if each.cmdline()[-2:-1] == ["orcac.cli.warm"] and each.ppid() == running.process.pid
    )
    server.kill()
    code, output = running.end()
    assert code == 0, output
    assert "the warm job died with its server; this process goes on" in output
    assert running.count_kept() == 100
    assert running.server.billed.total() < 100 + 8, "an answer that was recorded is asked for again"


def test_ctrl_c_lets_a_warm_job_end_with_what_it_has(running: Run) -> None:
    os.killpg(running.process.pid, signal.SIGINT)
    code, output = running.end()
    assert code == 130, output
    assert 10 <= running.count_kept() == running.server.billed.total() < 100


def test_orcac_warm_0_asks_for_cold_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    with warm_server() as environ:
        assert Path(environ[VARIABLE]).is_socket()
        assert Path(environ[VARIABLE]).parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv(VARIABLE, "0")
    with warm_server() as environ:
        assert environ == {VARIABLE: "0"}


def test_descriptors_of_any_number_are_waited_for() -> None:
    ours, theirs = socket.socketpair()
    high = fcntl.fcntl(ours.fileno(), fcntl.F_DUPFD, 2000)
    try:
        theirs.send(b"1")
        assert wait_for_input([theirs, high]) == [high]
    finally:
        os.close(high)
