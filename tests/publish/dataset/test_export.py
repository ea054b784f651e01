"""Tests of orcac/publish/dataset/export.py, orcac/publish/dataset/card.py, orcac/publish/dataset/columns.py,
orcac/publish/dataset/dates.py and orcac/publish/records.py: `datasets` loads an exported dataset once, and no text
breaks its card."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orcac import rows
from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import record_of
from orcac.chat.messages import ChatResponse
from orcac.chat.questions import Questions
from orcac.cli import cli
from orcac.collect.recipe import CollectRecipe
from orcac.errors import InputError, OrcacError, StoreError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.rows import Response
from orcac.spec.load import load
from orcac.store.store import Store
from orcac.study import find_study

HOSTILE = '</td><script>x</script> | `b`\n# c {{ f }} --- "'
SPEC = f"""
orcac: 1
name: sums
about: {json.dumps(HOSTILE)}
queries:
  mine: {{format: jsonl, path: mine.jsonl, fields: {{query: question, reference: answer}}, license: CC-BY-4.0}}
system_messages:
  messages: {{7: Think first.}}
  draw: {{mine: [1, 7]}}
teachers:
  thinker:
    model: {json.dumps("o/" + HOSTILE)}
    endpoint: {{kind: openai, base_url: "http://secret.example:8000/v1"}}
    sampling: {{temperature: 0.6, max_tokens: 99}}
    price: {{input: 1, output: 2}}
    license: {json.dumps("terms | of use")}
datasets:
  sums: {{teacher: thinker, queries: [mine]}}
filters: {{agreement: true, tokens: {{both: {{max: 500}}}}}}
"""


def response(number: int, system: str = "", reasoning: str = "") -> Response:
    return Response(
        id=f"{number:020x}",
        source="mine",
        task="",
        query=f"{number} + 1?",
        system_id=7 if system else 1,
        system=system,
        reference=str(number + 1),
        teacher="o/m",
        response=f"{number + 1} \u2028 é",
        reasoning=reasoning,
        finish_reason="stop",
        output_tokens=5,
    )


ROWS = [response(1), response(2, "Think first.", "2 and 1 is 3"), response(3, "Think first.")]


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    (tmp_path / "mine.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    (tmp_path / "sums.yaml").write_text(SPEC)
    return tmp_path / "sums.yaml"


def publish(spec: Path, kept: list[Response]) -> str:
    """Publish the spec's `collect` and `filter` nodes with records like those of a run, and return the filter."""
    plan, store = Plan(), find_study().store
    lower(plan, load(spec))
    refs = {node.kind: ref for ref, node in plan.nodes.items()}
    summaries = {
        "collect": {"prompts": 9, "answered": 8, "failed": {"timeout": 1}, "usd": 1.25},
        "filter": {"read": 9, "kept": 3, "rejected": {"timeout": 1, "contradicts reference": 4, "duplicate": 1}},
    }
    for kind, summary in summaries.items():
        out = spec.parent / "out"
        out.mkdir()
        rows.write(out / ("kept.parquet" if kind == "filter" else "responses.parquet"), Response, kept)
        if kind == "filter":
            reasons = ["timeout", *["contradicts reference"] * 4, "duplicate"]
            lost = [rows.widen(response(9, "Think first."), rows.Rejected, reason=reason) for reason in reasons]
            lost[0] = dataclasses.replace(lost[0], error="timeout")
            rows.write(out / "rejected.parquet", rows.Rejected, lost)
        made = {"orcac": "0.1", "started": "2026-05-06T07:08:09Z", "host": "secret"}
        with store.lease(refs[kind]):
            store.publish(refs[kind], out, {"summary": summary, "made": made})
        out.rmdir()
    return refs["filter"]


def record_answers(spec: Path, days: dict[int, float]) -> None:
    """Put answers to the first and further rows into the ledger, as recorded at these times."""
    plan = Plan()
    lower(plan, load(spec))
    (recipe,) = [node.recipe for node in plan.nodes.values() if isinstance(node.recipe, CollectRecipe)]
    questions = Questions(recipe.template, tuple)

    async def write() -> None:
        async with Ledger(find_study().store.answers) as ledger:
            for number, at in days.items():
                text = ROWS[number].query if number < len(ROWS) else "of another experiment"
                request = questions.request(system=ROWS[number % 3].system, user=text)
                record = record_of(request, ChatResponse(text="x", finish_reason="stop"))
                record["at"] = at
                await ledger.append_record(record)

    asyncio.run(write())


def export(*line: object) -> str:
    result = CliRunner().invoke(cli, ["export", *map(str, line)], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def test_datasets_loads_the_rows_once_with_their_reasoning(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(spec.parent / "cache"))
    datasets = pytest.importorskip("datasets")
    ref = publish(spec, ROWS)
    assert ref in export("--dataset", "sums", spec, "data")
    lines = [json.loads(line) for line in Path("data", "data", "train.jsonl").read_bytes().splitlines()]
    assert lines[0]["messages"] == [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2 \u2028 é"},
    ]
    assert lines[1]["messages"][0] == {"role": "system", "content": "Think first."}
    loaded = datasets.load_dataset("data", cache_dir=str(spec.parent / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 3}
    assert datasets.get_dataset_config_names("data") == ["default"]
    for row, line in zip(loaded["train"], lines, strict=True):
        turns = [{name: text for name, text in turn.items() if text is not None} for turn in row["messages"]]
        assert row | {"messages": turns} == line
    assert loaded["train"][1]["messages"][-1]["reasoning_content"] == "2 and 1 is 3"


def test_messages_have_no_field_of_reasoning_if_no_answer_has_any(spec: Path) -> None:
    import pyarrow.parquet as pq

    publish(spec, [response(1), response(3)])
    export("--dataset", "sums", spec, "data")
    messages = pq.read_schema(Path("data", "data", "train.parquet")).field("messages").type
    assert [field.name for field in messages.value_type] == ["role", "content"]
    assert "reasoning" not in Path("data", "README.md").read_text().partition("| column |")[0]


def test_the_card_has_the_teacher_the_licences_and_the_losses(spec: Path) -> None:
    publish(spec, ROWS)
    export("--dataset", "sums", spec, "data")
    text = Path("data", "README.md").read_text()
    reads = "`load_dataset` reads `data/train.parquet` alone."
    assert f"{reads} The reasoning is the field `reasoning_content` of the last message.\n" in text
    for line in (
        "| sampling | temperature 0.6, top\\_p 1.0, max\\_tokens 99 |",
        "| collected | 2026-05-06 (UTC) |",
        "| cost of the answers | 1.25 USD |",
        "| license or terms | terms \\| of use |",
        "| answered | 8 | timeout 1 |",
        "| kept | 3 | contradicts reference 4, duplicate 1 |",
        "| system message | 7 | 8 | 7 | 2 | contradicts reference 4, duplicate 1, failed 1 |",
        "| system message | 1 | 1 | 1 | 1 |  |",
        "| answer and reasoning: 500 tokens or fewer | selects by length | 0 |",
    ):
        assert f"\n{line}\n" in text
    assert "| mine | mine.jsonl (sha256 " in text and ") | CC-BY-4.0 |" in text
    assert "(checker final-answer) | leaves out wrong answers | 4 |" in text


def test_the_dates_are_those_of_the_answers_and_not_of_the_job(spec: Path) -> None:
    publish(spec, ROWS)
    record_answers(spec, {0: 86400.0 * 365, 1: 86400.0 * 366, 5: 86400.0 * 9999})
    export("--dataset", "sums", spec, "data")
    assert "| answers recorded | 1971-01-01 to 1971-01-02 (UTC) |" in Path("data", "README.md").read_text()


def test_text_of_unknown_origin_is_shown_and_has_no_effect(spec: Path) -> None:
    from huggingface_hub import DatasetCard

    publish(spec, ROWS)
    export("--dataset", "sums", spec, "data")
    text = Path("data", "README.md").read_text()
    assert '\n\\</td\\>\\<script\\>x\\</script\\> \\| \\`b\\` \\# c \\{\\{ f \\}\\} --- "\n' in text
    assert "<script>" not in text and "secret" not in text and str(spec.parent) not in text
    assert DatasetCard(text).data.to_dict()["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}
    ]


def test_a_failed_export_names_its_cause_and_leaves_no_folder(spec: Path) -> None:
    with pytest.raises(OrcacError, match="is not made yet"):
        export("--dataset", "sums", spec, "data")
    ref = publish(spec, ROWS)
    with pytest.raises(InputError, match="makes no dataset `other`") as error:
        export("--dataset", "other", spec, "data")
    assert error.value.fix == "name one that it makes: sums"
    with pytest.raises(InputError, match="exists already"):
        export("--dataset", "sums", spec, "store")
    (find_study().store.folder(ref) / "kept.parquet").write_bytes(b"")
    before = sorted(spec.parent.iterdir())
    with pytest.raises(StoreError, match="damaged"):
        export("--dataset", "sums", spec, "data")
    assert sorted(spec.parent.iterdir()) == before


def test_openorca_has_its_columns_and_rejected_rows_are_a_split_with_reasons(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    ref = publish(spec, [*ROWS, dataclasses.replace(ROWS[0], sample=1)])
    wrong = rows.widen(response(4), rows.Rejected, reason="contradicts reference")
    rows.write(find_study().store.folder(ref) / "rejected.parquet", rows.Rejected, [wrong])
    monkeypatch.setattr(Store, "verify", lambda store, ref: store.folder(ref))
    export("--dataset", "sums", "--form", "openorca", "--rejected", spec, "data")
    names = ["id", "system_prompt", "question", "response", "reasoning", "sample", "verdict", "reason"]
    kept, rejected = (pq.read_table(Path("data", "data", f"{split}.parquet")).to_pylist() for split in SPLITS)
    assert list(kept[1]) == names and [row["sample"] for row in kept] == [0, 0, 0, 1]
    assert (kept[1]["system_prompt"], kept[1]["reasoning"]) == ("Think first.", "2 and 1 is 3")
    assert {(row["verdict"], row["reason"]) for row in kept} == {("kept", "")}
    assert [(row["question"], row["verdict"], row["reason"]) for row in rejected] == [
        ("4 + 1?", "rejected", "contradicts reference")
    ]
    card = Path("data", "README.md").read_text()
    assert "  - split: rejected\n    path: data/rejected.parquet\n" in card and "| `reason` |" in card
    assert "`load_dataset` reads the Parquet files alone. The reasoning is the column `reasoning`.\n" in card
    assert "reasoning_content" not in card


def test_the_reasoning_of_rejected_rows_is_not_that_of_the_dataset(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = publish(spec, [response(1)])
    wrong = rows.widen(response(4, "", "4 and 1 is 6"), rows.Rejected, reason="contradicts reference")
    rows.write(find_study().store.folder(ref) / "rejected.parquet", rows.Rejected, [wrong])
    monkeypatch.setattr(Store, "verify", lambda store, ref: store.folder(ref))
    export("--dataset", "sums", "--rejected", spec, "data")
    assert "with the reasoning before them" not in Path("data", "README.md").read_text()


def test_a_student_has_no_rejected_rows(spec: Path) -> None:
    with pytest.raises(InputError, match="a student has no rows"):
        export("--rejected", spec, "data")


SPLITS = ("train", "rejected")
