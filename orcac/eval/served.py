"""A student that vLLM serves, asked as `LocalModel` is: the same methods, and the same prompts and settings over HTTP.

The server starts with the block and ends with it (`chat.endpoints.vllm`). Many requests are in flight, since vLLM
queues them itself and changes its own batch at every token. It gets the precision of the model's
folder, and ignores the sampling defaults of the folder, as `LocalModel` does. Differences remain, so rows of different
engines are not compared: other kernels round otherwise, vLLM draws other random numbers from a seed, it reads a special
token that a question spells as one, and it gives no answer where the model's positions hold less than `max_new_tokens`
more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Unpack

from orcac.chat.endpoints.vllm import VLLMEndpoint, serve
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import EndpointError
from orcac.model.generation import Answers, Decoding, LocalAnswer, Prompts, stream_seed
from orcac.reasoning import mark_reasoning

__all__ = ["ServedModel", "build_arguments"]

_BATCH = 1024  # requests in flight; vLLM works on some hundreds at once
_LONGEST_S = 3600.0  # of an answer, with its time in vLLM's queue
_NAME = "student"


class ServedModel:
    """The model in a folder, served on `gpus` GPUs while the block runs; `work` gets the server's log.

    Entering raises EndpointError if vLLM is not installed or does not start.
    """

    _runner: asyncio.Runner
    _endpoint: VLLMEndpoint

    def __init__(self, folder: Path, *, work: Path, gpus: int) -> None:
        self._settings = EndpointSettings(
            kind="vllm",
            path=str(folder),
            arguments=tuple(build_arguments(folder, gpus=gpus)),
            timeout_seconds=_LONGEST_S,
        )
        self._log, self._open = work / "vllm.log", AsyncExitStack()
        self.version = ""  # vLLM's, once the block has begun

    def __enter__(self) -> ServedModel:
        self._runner = asyncio.Runner()
        self._runner.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._runner:
            self._runner.run(self._open.aclose())

    async def _start(self) -> None:
        self._endpoint = await self._open.enter_async_context(serve(self._settings, model=_NAME, log=self._log))
        self.version = await self._endpoint.version()

    def sort(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[int]:
        """Return the order of the prompts as they are: equal beginnings are near each other."""
        return list(range(len(prompts)))

    def answer(
        self, prompts: Prompts, *, batch_size: int | None = None, **decoding: Unpack[Decoding]
    ) -> Iterator[Answers]:
        """Yield the answers to (system, user) prompts as they arrive. Each prompt has its own seed, made of `seed`.

        A prompt that leaves no room gets an empty answer with finish reason "length". Raises EndpointError if any other
        request fails.
        """
        left, tasks = enumerate(prompts), dict[asyncio.Task[LocalAnswer], int]()
        loop = self._runner.get_loop()
        try:
            while True:
                for number, (system, user) in islice(left, (batch_size or _BATCH) - len(tasks)):
                    tasks[loop.create_task(self._answer(_make_request(system, user, decoding)))] = number
                if not tasks:
                    return
                ended = self._runner.run(_wait(tasks))
                if answered := [task for task in ended if not task.exception()]:
                    yield [(tasks.pop(task), task.result()) for task in answered]
                for task in ended:
                    task.result()  # raises the error of one that failed, after the answers of the others
        finally:
            for task in tasks:
                task.cancel()

    async def _answer(self, request: ChatRequest) -> LocalAnswer:
        try:
            response = await self._endpoint.complete(request)
        except ChatError as error:
            if error.error == "context_overflow":
                return LocalAnswer(text="", finish_reason="length", input_tokens=0, output_tokens=0)
            raise EndpointError(
                f"vLLM, which serves {self._settings.path}: {error.error}: {error}",
                fix=f"find the cause in {self._log}, then run again; the finished batches are kept",
            ) from error
        return LocalAnswer(
            text=mark_reasoning(response.reasoning, response.text),
            finish_reason=response.finish_reason,
            input_tokens=response.input_tokens,
            output_tokens=response.output_tokens,
        )


def _make_request(system: str, user: str, decoding: Decoding) -> ChatRequest:
    return ChatRequest(
        model=_NAME,
        messages=conversation(system=system, user=user),
        sampling=Sampling(
            temperature=decoding["temperature"],
            top_p=decoding["top_p"],
            max_tokens=decoding["max_new_tokens"],
            seed=stream_seed(decoding["seed"], system, user) if decoding["temperature"] else None,
            stop=tuple(decoding.get("stop", ())),
            reasoning=decoding.get("reasoning"),
        ),
        origin="local",
    )


async def _wait(tasks: Collection[asyncio.Task[LocalAnswer]]) -> list[asyncio.Task[LocalAnswer]]:
    """Return the tasks that have ended, at least one, in their order."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return [task for task in tasks if task.done()]


def build_arguments(folder: Path, *, gpus: int) -> list[str]:
    """Return the arguments of `vllm serve` under which it answers as `LocalModel` does, on `gpus` GPUs."""
    arguments = ["--generation-config", "vllm"]  # not the folder's
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    precision = config.get("dtype") or config.get("torch_dtype")
    if isinstance(precision, str):  # vLLM's default turns float32 into float16
        arguments += ["--dtype", precision]
    if gpus > 1:
        arguments += ["--tensor-parallel-size", str(gpus)]
    return arguments
