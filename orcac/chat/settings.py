"""How a model is asked, as values: what determines an answer (`Sampling`) and what does not (`EndpointSettings`)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from orcac.recipe import Frozen

OPENAI_URL = "https://api.openai.com/v1"  # where the openai package asks if nobody names an address


class Sampling(Frozen):
    """The decoding parameters that are sent with a request.

    `extra` is sent in the body as it is (vLLM's top_k, the embedded teacher's error_rate, ...).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None
    extra: dict[str, int | float | str | bool] = {}

    @cached_property
    def values(self) -> dict[str, Any]:
        """The fields by name, made once: every record holds them. Not to be changed."""
        return self.model_dump()


class Price(Frozen):
    """USD per million tokens; `batch` is what a request costs in batch mode, as a share of that."""

    input: float = 0.0
    output: float = 0.0
    batch: float = 0.5


class Azure(Frozen):
    """What Azure's addresses have beyond OpenAI's."""

    api_version: str
    deployment: str | None = None  # None: it is called as the model is


class EndpointSettings(Frozen):
    """Where a model is and how hard it may be asked. Never part of an id."""

    kind: Literal["openai", "local", "vllm", "solver", "replay", "reference"]
    base_url: str | None = None  # None is the openai package's default
    api_key_env: str = "OPENAI_API_KEY"  # the *name* of the variable that holds the key
    azure: Azure | None = None
    path: str | None = None  # vllm: the folder of the model's weights; None: as the model is called
    arguments: tuple[str, ...] = ()  # vllm: further ones of its command line
    start_seconds: float = 1800.0  # vllm: until it is healthy
    batch: int = 16  # local: prompts that are answered at once
    mode: Literal["online", "batch", "auto"] = "online"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int = 32  # requests in flight, at most
    timeout_seconds: float = 120.0
    attempts: int = 6  # for each request, before its failure is final
    price: Price = Price()
    budget_usd: float | None = None  # never exceeded by all that is asked under `budget_name`
    budget_name: str = ""  # the experiment's name: its jobs spend from one budget


SOLVER_VERSION = 1  # raise it when the embedded teacher would word or decide an answer differently
