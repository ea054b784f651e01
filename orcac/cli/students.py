"""The answers of students, in the form of the ledger's records, so that `orcac answers` shows and filters both alike.

A student's answers are in the artifacts of its evaluations. Its model is `ARM (student)`, its origin the KIND/ID of the
evaluation, and the key of an answer is the id of its item.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.cli.common import compile_specs
from orcac.errors import InputError, StoreError
from orcac.store.store import Store

if TYPE_CHECKING:
    from orcac.chat.ledger.record import Record

__all__ = ["MARK", "Evaluated", "find_evaluated", "read_answers", "sum_up"]

MARK = " (student)"  # after the name of an arm
_COLUMNS = (
    "id",
    "system",
    "query",
    "response",
    "reasoning",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "sample",
)

Evaluated = Sequence[tuple[str, str]]  # KIND/ID of an evaluation, arm


def find_evaluated(store: Store, pattern: str | None, spec: Path | None) -> Evaluated:
    """Return the finished evaluations of the arms that a pattern names (`*` is any text), of all arms without one.

    With a spec and a pattern they are those of the spec's arms; else an evaluation that several arms share has the name
    of the first. Raises InputError if the pattern names no arm with answers.
    """
    if pattern is not None and spec is not None:
        plan, _ = compile_specs((str(spec),))
        (experiment,) = plan.experiments.values()
        pairs = [(ref, arm) for arm, refs in experiment.arms.items() for ref in refs if ref.startswith("eval/")]
    else:
        finished = store.list_finished("eval")
        pairs = [(ref, str(store.artifact(ref)["label"]).partition(": ")[0]) for ref in finished]
    found = [(ref, arm) for ref, arm in pairs if (pattern is None or fnmatchcase(arm, pattern)) and store.is_done(ref)]
    if pattern is not None and not found:
        arms = ", ".join(dict.fromkeys(arm for _, arm in pairs)) or "none"
        raise InputError(f"--student {pattern}: no arm of that name has answers", fix=f"the arms are: {arms}")
    return found


def read_answers(store: Store, evaluated: Evaluated) -> Iterator[Record]:
    """Yield the answers of evaluations as records. Raises StoreError if an artifact is damaged."""
    if not evaluated:
        return
    import pyarrow.parquet as pq

    for ref, arm in evaluated:
        started = store.artifact(ref).get("made", {}).get("started", "")
        at = datetime.datetime.fromisoformat(started).timestamp() if started else 0.0
        path = store.find_folder(ref) / "answers.parquet"
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(batch_size=2048, columns=columns, use_threads=False):
                    for row in batch.to_pylist():
                        yield _to_record(row, arm, ref, at)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error})", fix="`orcac verify` names what is damaged") from None


def _to_record(row: dict[str, str | int], arm: str, ref: str, at: float) -> Record:
    messages = [["system", str(row["system"])]] if row.get("system") else []
    record: Record = {
        "key": str(row["id"]),
        "key_version": 0,
        "at": at,
        "request": {
            "model": arm + MARK,
            "messages": [*messages, ["user", str(row["query"])]],
            "sampling": {},
            "origin": ref,
            "sample_index": int(row.get("sample", 0)),
        },
        "response": {
            "text": str(row["response"]),
            "finish_reason": str(row["finish_reason"]),
            "input_tokens": int(row.get("input_tokens", 0)),
            "output_tokens": int(row.get("output_tokens", 0)),
            "latency_s": 0.0,
            "error": "",
            "batched": False,
        },
    }
    if row.get("reasoning"):
        record["reasoning"] = str(row["reasoning"])
    return record


def sum_up(store: Store, evaluated: Evaluated) -> dict[str, dict[str, int]]:
    """Return the counts of each student's answers, as `orcac answers count` prints them, from the summaries alone."""
    from orcac.eval.recipe import EvalSummary

    models: dict[str, dict[str, int]] = {}
    for ref, arm in evaluated:
        record = store.artifact(ref)
        found = EvalSummary.from_json(record["summary"], store.marker(ref))
        counts = models.setdefault(
            arm + MARK, dict.fromkeys(("answers", "cut_off", "failures", "input_tokens", "output_tokens"), 0)
        )
        counts["answers"] += found.n * int(record["recipe"].get("samples", 1))
        counts["cut_off"] += found.cut
        counts["input_tokens"] += found.input_tokens
        counts["output_tokens"] += found.output_tokens
    return models
