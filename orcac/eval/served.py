"""A student that vLLM serves, asked as `LocalModel` is: the same methods, and the same prompts and settings over HTTP.

The server starts with the block and ends with it (`chat.endpoints.vllm`). All requests of a batch are sent at once,
since vLLM queues them itself and joins and leaves its own batches at every token. It gets the precision of the model's
folder, and ignores the sampling defaults of the folder, as `LocalModel` does. Differences remain, so rows of different
engines are not compared: other kernels round otherwise, vLLM draws other random numbers from a seed, it reads a special
token that a question spells as one, and it gives no answer where the model's positions hold less than `max_new_tokens`
more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Unpack

from orcac.chat.endpoints.vllm import VLLMEndpoint, serve
from orcac.chat.failures import ChatError
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import EndpointSettings, Sampling
from orcac.errors import EndpointError
from orcac.model.generation import Decoding, LocalAnswer, stream_seed
from orcac.reasoning import mark_reasoning

__all__ = ["ServedModel", "build_arguments"]

_BATCH = 1024  # answers that are logged together; vLLM works on some hundreds at once
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

    def plan_batches(
        self, prompts: Sequence[tuple[str, str]], *, max_new_tokens: int, batch_size: int | None = None
    ) -> list[list[int]]:
        """Return batches of indices in the order of the prompts, so that equal beginnings are near each other."""
        size = batch_size or _BATCH
        return [list(range(start, min(start + size, len(prompts)))) for start in range(0, len(prompts), size)]

    def answer_batch(self, prompts: Sequence[tuple[str, str]], **decoding: Unpack[Decoding]) -> list[LocalAnswer]:
        """Return the answers to (system, user) prompts, in order. Each prompt has a seed of its own, made of `seed`.

        A prompt that leaves no room gets an empty answer with finish reason "length". Raises EndpointError if any other
        request fails.
        """
        requests = [
            ChatRequest(
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
            for system, user in prompts
        ]
        return self._runner.run(self._answer_all(requests))

    async def _answer_all(self, requests: Sequence[ChatRequest]) -> list[LocalAnswer]:
        tasks = [asyncio.ensure_future(self._answer(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
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
