"""Measure how often the range of `orcac cost` contains the price of the remaining answers, after a small pilot.

    ORCAC_DATA=DATA python benchmarks/pilot.py          # the table of docs/cost-model.md; five CPU minutes
    ORCAC_DATA=DATA python benchmarks/pilot.py 300      # with 300 pilots of each kind

Each pilot draws answers at random from recorded ones, and predicts the price of all others at GPT-4's prices of 2023
(30 and 60 USD per million tokens). Lengths are those of GPT-2's tokenizer. `before` is the factor 1 + 1/√n.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from tokenizers import ByteLevelBPETokenizer

from orcac.cost.figures import Range, between, within_factor
from orcac.cost.pilot import predict
from orcac.stats.intervals import wilson

PILOTS = 2000
T = TypeVar("T", float, Range)


class Lengths(NamedTuple):
    """Recorded questions and answers. Each is float64 (questions, samples)."""

    characters: np.ndarray  # of the questions
    read: np.ndarray  # tokens of the questions
    written: np.ndarray  # tokens of the answers


def main(pilots: int) -> None:
    """Print a row for each kind of pilot."""
    recorded = dict(read_recorded(Path(os.environ["ORCAC_DATA"])))
    names = ("answers", "n", "CV", "skewness", "pilot", "covered by 1 ± 1/√n", "covered by the range")
    print(f"| {' | '.join(names)} | price above, below | width |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, lengths in recorded.items():
        sizes = (10, 25, 50, 200) if name == "GPT-4 on FLASK" else (50,)
        for size in sizes if lengths.read.shape[1] == 1 else (17, 50):
            print(simulate(name, lengths, size, pilots), flush=True)


def read_recorded(data: Path) -> Iterator[tuple[str, Lengths]]:
    """Yield the name and the lengths of each recording."""
    gpt2 = data / "tokenizers/gpt2"
    tokenizer = ByteLevelBPETokenizer(str(gpt2 / "encoder.json"), str(gpt2 / "vocab.bpe"))

    def count(pairs: list[tuple[str, str]]) -> Lengths:
        questions, answers = zip(*pairs, strict=True)
        sizes = [list(map(len, questions))]
        sizes += [[len(one.ids) for one in tokenizer.encode_batch(list(texts))] for texts in (questions, answers)]
        return Lengths(*(np.array(column, dtype=float)[:, None] for column in sizes))

    def read_lines(path: str) -> list[dict]:
        return [json.loads(line) for line in (data / path).read_text(encoding="utf-8").split("\n") if line]

    asked = {
        row["idx"]: row["instruction"] for row in read_lines("teacher_flask/evaluation_set/flask_evaluation.jsonl")
    }
    flask = []
    for model, name in (("gpt4", "GPT-4"), ("chatgpt", "ChatGPT"), ("davinci_003", "text-davinci-003")):
        rows = read_lines(f"teacher_flask/model_output/outputs/{model}.jsonl")
        rows.sort(key=lambda row: str(row["question_id"]))
        flask.append(count([(asked[row["question_id"]], row["text"]) for row in rows]))
        yield f"{name} on FLASK", flask[-1]
    rows = json.loads((data / "teacher_alpaca_gpt4/alpaca_en_demo.json").read_text(encoding="utf-8"))
    alpaca = count([(row["instruction"] + row["input"], row["output"]) for row in rows])
    yield "GPT-4 on Alpaca", alpaca
    yield "GPT-4 on both", Lengths(*map(np.concatenate, zip(flask[0], alpaca, strict=True)))
    orca = [
        (row["input"]["messages"][-1]["content"], row["preferred_output"][0]["content"])
        for row in read_lines("teacher_orca_dpo/validation.jsonl")
    ]
    yield "OpenOrca", count(orca)
    codex = []
    for path in sorted((data / "teacher_codex_bbh").glob("*.json")):
        outputs = json.loads(path.read_text(encoding="utf-8"))["outputs"]
        codex += [(row["input"], row["prediction"]) for row in outputs]
    yield "Codex on six tasks of BBH", count(codex)
    yield "three models on FLASK, 3 answers a question", Lengths(*map(np.hstack, zip(*flask, strict=True)))


def simulate(name: str, lengths: Lengths, size: int, pilots: int) -> str:
    """Return the row of pilots of `size` questions."""
    rng = np.random.default_rng(size)
    hits = {"before": 0, "now": 0, "low": 0, "high": 0}
    width = 0.0
    for _ in range(pilots):
        order = rng.permutation(len(lengths.read))
        pilot, rest = (Lengths(*(column[part] for column in lengths)) for part in (order[:size], order[size:]))
        billed = usd(rest.read.sum(), rest.written.sum())
        before, now = price_before(pilot, rest), price(pilot, rest)
        hits["before"] += before.low <= billed <= before.high
        hits["now"] += now.low <= billed <= now.high
        hits["low"] += billed > now.high
        hits["high"] += billed < now.low
        width += (now.high - now.low) / billed / pilots
    low, high = wilson(hits["now"], pilots)
    answers, samples = lengths.written.ravel(), lengths.read.shape[1]
    deviations = (answers - answers.mean()) / answers.std()
    text = f"{size}" if samples == 1 else f"{size} × {samples}"
    return (
        f"| {name} | {answers.size:,} | {answers.std() / answers.mean():.2f} | {(deviations**3).mean():.1f} | {text} | "
        f"{hits['before'] / pilots:.0%} | {hits['now'] / pilots:.1%} ({low:.1%} to {high:.1%}) | "
        f"{hits['low'] / pilots:.1%}, {hits['high'] / pilots:.1%} | {width:.0%} |"
    )


def price(pilot: Lengths, rest: Lengths) -> Range:
    """Return the predicted USD of the answers to `rest`, of whose questions the characters are known."""
    rate = float(pilot.characters.sum() / pilot.read.sum())
    read = Range(float(rest.characters.sum())) / within_factor(rate, 1 + 1 / math.sqrt(pilot.read.size), "input")
    mean = float(pilot.written.mean())
    low, high = predict(pilot.written.mean(axis=1), pilot.written.size, len(rest.written))
    return usd(read, between(mean * low, mean, mean * high, "output") * rest.written.size)


def price_before(pilot: Lengths, rest: Lengths) -> Range:
    """Return the same by the mean question and answer of the pilot, and a factor that depends on their number."""
    read, written = (
        within_factor(float(tokens.mean()), 1 + 1 / math.sqrt(tokens.size), unknown) * rest.read.size
        for unknown, tokens in (("input", pilot.read), ("output", pilot.written))
    )
    return usd(read, written)


def usd(read: T, written: T) -> T:
    return read * (30 / 1e6) + written * (60 / 1e6)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PILOTS)
