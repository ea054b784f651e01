"""Tests of orcac/plan/asking.py: each kind of endpoint as settings and as a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from orcac.chat.settings import SOLVER_VERSION, Azure, EndpointSettings, Price
from orcac.plan.asking import lower_endpoint, lower_protocol, lower_teacher
from orcac.plan.sources import LocalFiles
from orcac.recipe import FileRef, HubRef
from orcac.spec import schema

LIMITS = {"concurrency": 8, "timeout": 9, "attempts": 3}
ASKED_LIMITS = {"concurrency": 8, "timeout_seconds": 9.0, "attempts": 3}
AZURE = {"api_version": "2024-10-21"}
DEPLOYED = AZURE | {"deployment": "mine"}
ONLINE = {"mode": "batch", "requests_per_minute": 60, "tokens_per_minute": 9000, "base_url": "http://here/v1"}

ENDPOINTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # endpoint of the spec, fields of the settings
    "openai": ({"kind": "openai"} | LIMITS | ONLINE, ASKED_LIMITS | ONLINE),
    "openai with headers": ({"kind": "openai", "headers": {"X-A": "MY_TOKEN"}}, {"headers": {"X-A": "MY_TOKEN"}}),
    "openai that is not up yet": ({"kind": "openai", "ready_within": 120}, {"ready_within_seconds": 120.0}),
    "openai by another key": ({"kind": "openai", "api_key_env": "MY_KEY"}, {"api_key_env": "MY_KEY"}),
    "azure": (
        {"kind": "openai", "azure": DEPLOYED},
        {"azure": Azure(**DEPLOYED), "api_key_env": "AZURE_OPENAI_API_KEY"},
    ),
    "azure by another key": (
        {"kind": "openai", "azure": AZURE, "api_key_env": "MY_KEY"},
        {"azure": Azure(**AZURE), "api_key_env": "MY_KEY"},
    ),
    "vllm": (
        {"kind": "vllm", "path": "/m", "arguments": ["--enforce-eager"], "ready_within": 60, "gpus": 2} | LIMITS,
        {"path": "/m", "arguments": ("--enforce-eager",), "start_seconds": 60.0} | ASKED_LIMITS,
    ),
    "local": ({"kind": "local", "path": "m", "batch": 4, "gpus": 1}, {"batch": 4}),
    "solver": ({"kind": "solver"} | LIMITS, ASKED_LIMITS),
    "replay": ({"kind": "replay", "path": "r.jsonl", "fields": {"answer": "a"}}, {}),
    "reference": ({"kind": "reference"}, {}),
}


def teacher(endpoint: dict[str, Any], **fields: Any) -> schema.Teacher:
    return schema.Teacher.model_validate({"model": "m", "endpoint": endpoint} | fields)


@pytest.mark.parametrize(("endpoint", "settings"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_the_settings_of_each_endpoint(endpoint: dict[str, Any], settings: dict[str, Any]) -> None:
    lowered = lower_endpoint(teacher(endpoint), budget_usd=None, budget_name="study")
    assert lowered == EndpointSettings(kind=endpoint["kind"], **settings)


def test_a_role_and_nested_parameters_enter_the_recipe_only_where_they_are_given() -> None:
    def recipe(**fields: Any) -> dict[str, object]:
        asked = lower_teacher(teacher({"kind": "openai"}, **fields), files=LocalFiles(), questions=LocalFiles())
        return asked.model_dump(mode="json", exclude_defaults=True)

    plain, extra = recipe(), {"stop": ["Q:"], "chat_template_kwargs": {"enable_thinking": False}}
    assert "system_role" not in plain and recipe(system_role="system") == plain
    assert recipe(system_role="none") == plain | {"system_role": "none"}
    assert recipe(sampling={"extra": extra})["sampling"]["extra"] == extra


def test_price_and_budget_are_part_of_the_settings() -> None:
    priced = teacher({"kind": "openai"}, price={"input": 30, "output": 60, "batch": "40 %"})
    settings = lower_endpoint(priced, budget_usd=9.0, budget_name="study")
    assert settings.price == Price(input=30.0, output=60.0, batch=0.4)
    assert (settings.budget_usd, settings.budget_name) == (9.0, "study")


ANSWERS = LocalFiles((FileRef(name="r.jsonl", sha256="1" * 64),))
QUESTIONS = LocalFiles((FileRef(name="q.jsonl", sha256="2" * 64),))
HUB = (HubRef(repo="some/where"),)


@pytest.mark.parametrize("endpoint", [pair[0] for pair in ENDPOINTS.values()], ids=ENDPOINTS)
def test_a_recipe_holds_the_origin_of_the_answers_and_not_the_server(endpoint: dict[str, Any]) -> None:
    recipe = lower_teacher(teacher(endpoint), files=LocalFiles(), questions=LocalFiles())
    kind = endpoint["kind"]
    assert recipe.origin == ("api" if kind in ("openai", "vllm") else kind)
    assert recipe.solver_version == (SOLVER_VERSION if kind == "solver" else None)
    assert (recipe.recording is not None) == (kind == "replay")
    assert (recipe.weights is not None) == (kind == "local")


def test_a_recording_holds_answers_questions_and_the_names_of_their_fields() -> None:
    endpoint = {
        "kind": "replay",
        "path": "r.jsonl",
        "fields": {"id": "i", "answer": "a"},
        "questions": "q.jsonl",
        "question_fields": {"id": "i", "question": "q"},
    }
    recording = lower_teacher(teacher(endpoint), files=ANSWERS, hub=HUB, questions=QUESTIONS).recording
    assert recording is not None
    assert (recording.answers, recording.hub, recording.questions) == (ANSWERS.refs, HUB, QUESTIONS.refs)
    assert recording.fields == {"id": "i", "answer": "a"}
    assert recording.question_fields == {"id": "i", "question": "q"}


def test_weights_are_local_files_or_a_repository_of_a_hub() -> None:
    local = teacher({"kind": "local", "path": "m"})
    weights = lower_teacher(local, files=ANSWERS, questions=LocalFiles()).weights
    assert weights is not None and (weights.files, weights.hub) == (ANSWERS.refs, None)
    weights = lower_teacher(local, files=LocalFiles(), hub=HUB, questions=LocalFiles()).weights
    assert weights is not None and (weights.files, weights.hub) == ((), HUB[0])


def test_a_baseline_is_asked_with_the_benchmarks_sampling_and_keeps_its_extra_parameters() -> None:
    benchmark = schema.GeneratedBenchmark.model_validate(
        {"format": "puzzles", "task": "navigate", "size": [2, 3], "take": 9, "temperature": 0.6, "top_p": 0.8}
        | {"max_tokens": 7, "stop": ["Q:"], "reasoning": "2_000 tokens"}
    )
    own = {"temperature": 0.7, "max_tokens": 99, "extra": {"top_k": 5}, "seed": 3}
    expected = {"temperature": 0.6, "top_p": 0.8, "max_tokens": 7, "extra": {"top_k": 5}}
    expected |= {"stop": ("Q:",), "reasoning": 2000}
    for endpoint, seed in (({"kind": "solver"}, 3), ({"kind": "local", "path": "m"}, 11)):  # as a student draws
        sampling = lower_protocol(benchmark, teacher(endpoint, sampling=own), seed=11)
        assert sampling.model_dump() == expected | {"seed": seed}
    recipe = lower_teacher(teacher({"kind": "solver"}), files=LocalFiles(), questions=LocalFiles(), sampling=sampling)
    assert recipe.sampling == sampling
