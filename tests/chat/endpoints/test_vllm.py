"""Tests of orcac/chat/endpoints/vllm.py, orcac/chat/endpoints/guard.py and orcac/chat/endpoints/connect.py.

A stand-in for vLLM's command is started, asked, and gone afterwards, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S

from orcac.chat.endpoints.connect import connect
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, ChatResponse, conversation
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import EndpointError

HERE = Path(__file__).parent
REQUEST = ChatRequest(model="m", messages=conversation(system="", user="q"), sampling=Sampling(), origin="api")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the stand-in writes its arguments and process ids."""
    monkeypatch.setenv(
        "PATH", f"{HERE / 'stand_ins'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin"
    )
    monkeypatch.setenv("STAND_IN_TESTS", str(HERE.parents[1]))
    monkeypatch.setenv("STAND_IN_NOTES", str(tmp_path / "notes.json"))
    return tmp_path / "notes.json"


def ask(work: Path, **settings: object) -> ChatResponse:
    endpoint = EndpointSettings(kind="vllm", start_seconds=PATIENCE_S).model_copy(update=settings)

    async def go() -> ChatResponse:
        async with connect(endpoint, model="m", work=work) as model:
            return await model.complete(REQUEST)

    return asyncio.run(go())


def have_ended(pids: list[int]) -> bool:
    """Return whether all of them have ended, within `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        states = []
        for pid in pids:
            try:
                states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
            except OSError:
                states.append("gone")
        if all(state in ("gone", "Z") for state in states):
            return True
        time.sleep(0.05)
    return False


def test_a_server_is_started_asked_and_stopped(notes: Path, tmp_path: Path) -> None:
    assert ask(tmp_path, path="/weights/m", arguments=("--max-model-len", "99")).text == "answer to q"
    started = json.loads(notes.read_text())
    port = started["arguments"][started["arguments"].index("--port") + 1]
    served = ["serve", "/weights/m", "--served-model-name", "m", "--host", "127.0.0.1", "--port", port]
    assert started["arguments"] == [*served, "--max-model-len", "99"]
    assert have_ended(started["pids"])


def test_a_server_that_does_not_start_is_an_error_with_its_last_lines(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "1")
    with pytest.raises(EndpointError, match=r"(?s)exit code 1 before it served m.*CUDA out of memory") as caught:
        ask(tmp_path)
    assert str(tmp_path / "vllm.log") in str(caught.value)


def test_a_server_that_dies_midway_is_an_error_with_its_log(notes: Path, tmp_path: Path) -> None:
    async def go() -> None:
        settings = EndpointSettings(kind="vllm", start_seconds=PATIENCE_S)
        async with connect(settings, model="m", work=tmp_path) as model:
            assert (await model.complete(REQUEST)).text == "answer to q"
            os.kill(json.loads(notes.read_text())["pids"][0], signal.SIGKILL)
            while True:  # as the engine does, until the endpoint reports the end
                with contextlib.suppress(ChatError):
                    await model.complete(REQUEST)
                await asyncio.sleep(0.02)

    with pytest.raises(EndpointError, match=r"exit code 137 while it served m") as caught:
        asyncio.run(asyncio.wait_for(go(), PATIENCE_S))
    assert str(tmp_path / "vllm.log") in caught.value.fix and "base_url" not in str(caught.value)


def test_a_server_that_is_never_healthy_is_stopped(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"did not serve m in 0\.2 s"):
        ask(tmp_path, start_seconds=0.2)
    assert not notes.exists() or have_ended(json.loads(notes.read_text())["pids"])


def test_a_missing_vllm_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EndpointError, match="no command `vllm`"):
        ask(tmp_path)


def test_a_killed_process_leaves_no_server_behind(notes: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; import test_vllm, pathlib; test_vllm.hold(pathlib.Path(sys.argv[1]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path, HERE, *filter(None, sys.path)])
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "held").exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert have_ended(json.loads(notes.read_text())["pids"])


def hold(work: Path) -> None:
    """Serve until this process is killed."""

    async def go() -> None:
        settings = EndpointSettings(kind="vllm", start_seconds=PATIENCE_S)
        async with connect(settings, model="m", work=work) as model:
            await model.complete(REQUEST)
            (work / "held").touch()
            await asyncio.Event().wait()

    asyncio.run(go())
