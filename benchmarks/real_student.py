"""The loss of a real pretrained student on held-out answers, before, during and after training on a real teacher's
recorded answers.

    ORCAC_DATA=DATA SMOLLM2=FILE.gguf python benchmarks/real_student.py [--svg curve.svg]     18 CPU minutes
    ... real_student.py --tokens 20_000 --held-out 48 --measurements 1 [--lora]                5 CPU minutes

Runs `specs/smollm2.yaml` as `orcac run` would, node by node, and measures the student during training: before the first
step, and at each quarter of the steps. `--lora` trains an adapter on the same rows instead of all weights.

The held-out examples are questions of the same collection that the spec does not draw and whose wording no drawn
question shares, with the same teacher's answers, if they fit in a row: the first N in the order of their digests. The
loss is summed over the teacher's tokens and the end token, and divided by their number; the interval of its change
comes from a paired bootstrap of the examples (10,000 draws).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from orcac.model.chat_format import Example

SPEC = ROOT / "specs" / "smollm2.yaml"
LORA = {"kind": "lora", "rank": 16, "alpha": 32}
LORA_RATE = 2e-4  # an adapter wants a higher one than all weights do


def find_held_out(prompts: Path, student: Path, *, count: int, max_length: int) -> list[Example]:
    """Return examples that share no question with the spec's training data."""
    from orcac import rows
    from orcac.model.chat_format import ChatFormat, load_tokenizer

    folder = Path(os.environ["ORCAC_DATA"]) / "teacher_flask"
    lines = (folder / "model_output/outputs/gpt4.jsonl").read_text(encoding="utf-8").split("\n")
    answers = {line["question_id"]: line["text"] for line in map(json.loads, filter(None, lines))}
    lines = (folder / "evaluation_set/flask_evaluation.jsonl").read_text(encoding="utf-8").split("\n")
    questions = {line["instruction"]: answers.get(line["idx"]) for line in map(json.loads, filter(None, lines))}
    drawn = {" ".join(row.query.split()).lower() for row in rows.read(prompts, rows.Prompt)}
    left = [
        (hashlib.sha256(question.encode()).digest(), question, answer)
        for question, answer in questions.items()
        if answer and " ".join(question.split()).lower() not in drawn
    ]
    chat = ChatFormat(load_tokenizer(student))
    examples = chat.encode_examples([("", question, answer) for _, question, answer in sorted(left)])
    return [example for example in examples if len(example.input_ids) <= max_length][:count]


def compute_losses(model: PreTrainedModel, examples: list[Example]) -> list[float]:
    """Return the summed loss of each example's answer, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    found = []
    model.eval()
    with torch.no_grad():
        for example in examples:
            ids = torch.tensor(example.input_ids)
            hidden = model.base_model(input_ids=ids[None], use_cache=False).last_hidden_state[0]
            logits = model.get_output_embeddings()(hidden[example.prompt_tokens - 1 : -1])
            found.append(float(cross_entropy(logits.float(), ids[example.prompt_tokens :], reduction="sum")))
    model.train()
    return found


def watch(examples: list[Example], seen: list[tuple[int, list[float]]], *, measurements: int) -> None:
    """Make any Trainer in this process append (step, losses) to `seen`, before training and after each part of it."""
    from transformers.trainer_callback import CallbackHandler, TrainerState

    begin, step_end = CallbackHandler.on_train_begin, CallbackHandler.on_step_end

    def measure(handler: CallbackHandler, state: TrainerState) -> None:
        seen.append((state.global_step, compute_losses(handler.model, examples)))

    def on_train_begin(handler: CallbackHandler, args: object, state: TrainerState, control: object) -> object:
        measure(handler, state)
        return begin(handler, args, state, control)

    def on_step_end(handler: CallbackHandler, args: object, state: TrainerState, control: object) -> object:
        if state.global_step in {round(state.max_steps * part / measurements) for part in range(1, measurements + 1)}:
            measure(handler, state)
        return step_end(handler, args, state, control)

    CallbackHandler.on_train_begin = on_train_begin  # type: ignore[method-assign]
    CallbackHandler.on_step_end = on_step_end  # type: ignore[method-assign]


def compare(before: list[float], after: list[float], tokens: list[int]) -> tuple[float, float, float]:
    """Return the change of the loss per token, and the ends of its 95 % interval: percentiles of a bootstrap over the
    examples."""
    import numpy as np

    difference, size = np.array(after) - np.array(before), np.array(tokens)
    draws = np.random.default_rng(0).integers(len(size), size=(10_000, len(size)))
    low, high = np.quantile(difference[draws].sum(1) / size[draws].sum(1), [0.025, 0.975])
    return float(difference.sum() / size.sum()), float(low), float(high)


def draw(path: Path, points: list[tuple[int, float, float, float]]) -> None:
    """Write an SVG file of the held-out loss at each measured step, with the interval of its change since the first."""
    import matplotlib  # pip install matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    steps, held, low, high = map(list, zip(*points, strict=True))
    with pyplot.rc_context({"svg.hashsalt": "orcac", "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = pyplot.subplots(figsize=(7.2, 2.8), layout="constrained")
        axes.plot(steps, held, "o-", color="#1f5fa8", linewidth=2)
        axes.vlines(steps, low, high, color="#1f5fa8", linewidth=1.2)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("held-out loss, nats per token")
        axes.grid(axis="y", linewidth=0.4)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", type=int, default=64, metavar="N", help="held-out examples (64)")
    parser.add_argument("--measurements", type=int, default=4, metavar="N", help="of the loss during training (4)")
    parser.add_argument("--tokens", type=int, metavar="N", help="train on N tokens (default: one epoch)")
    parser.add_argument("--lora", action="store_true", help="train LoRA matrices of rank 16, at 2e-4")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the curve")
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="keep the store there (default: delete it)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run(given, given.store or Path(place) / "store")


def run(given: argparse.Namespace, folder: Path) -> None:
    from orcac.make import make
    from orcac.plan.lower import lower
    from orcac.plan.plan import Plan
    from orcac.spec.load import load
    from orcac.store.store import Store

    plan, store = Plan(), Store(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stage = {"tokens": given.tokens, "epochs": None} if given.tokens else {}
    spec = {"orcac": 1, "name": "smollm2", "extends": str(SPEC), "stages": {"expert": stage}}
    if given.lora:
        spec |= {"student": {"adapter": LORA}, "stages": {"expert": stage | {"learning_rate": LORA_RATE}}}
    path = folder / "spec.yaml"
    path.write_text(json.dumps(spec), encoding="utf-8")
    lower(plan, load(path))
    (refs,) = (experiment.arms["base"] for experiment in plan.experiments.values())
    nodes = {plan.nodes[ref].kind: plan.nodes[ref] for ref in refs}
    for node in map(plan.nodes.__getitem__, refs):
        if node.kind != "train":
            make(plan, store, node.ref)
    student = store.folder(nodes["student"].ref) / "model"
    max_length = nodes["tokenize"].recipe.max_length
    prompts = store.folder(nodes["sample"].ref) / "prompts.parquet"
    examples = find_held_out(prompts, student, count=given.held_out, max_length=max_length)
    sizes = [len(example.input_ids) - example.prompt_tokens for example in examples]
    seen: list[tuple[int, list[float]]] = []
    watch(examples, seen, measurements=given.measurements)
    if not make(plan, store, nodes["train"].ref):
        raise SystemExit(f"{nodes['train'].ref} is made already: there is no training to measure; give another store")

    made = store.folder(nodes["train"].ref)
    trained = [json.loads(line) for line in (made / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    counts = json.loads((store.folder(nodes["tokenize"].ref) / "counts.json").read_text(encoding="utf-8"))
    record = json.loads((made / "artifact.json").read_text(encoding="utf-8"))
    print(f"trained on {counts['packed']} examples ({counts['too_long']} too long), {trained[-1]['tokens']:,} tokens")
    print(f"held out: n = {len(examples)}, {sum(sizes):,} tokens; {record['made']['cpu_seconds']:,.0f} CPU s in all\n")
    print("| step | tokens | held-out loss | change (95 %) | examples that fell |")
    print("|---|---|---|---|---|")
    first, points = seen[0][1], []
    for step, now in seen:
        tokens = trained[step - 1]["tokens"] if step else 0
        moved, low, high = compare(first, now, sizes)
        begun = sum(first) / sum(sizes)
        points.append((step, begun + moved, begun + low, begun + high))
        fell = sum(new < old for old, new in zip(first, now, strict=True))
        cells = f"{moved:+.3f} ({low:+.3f} to {high:+.3f}) | {fell} of {len(now)}" if step else " | "
        print(f"| {step} | {tokens:,} | {begun + moved:.3f} | {cells} |")
    if given.svg:
        draw(given.svg, points)


if __name__ == "__main__":
    main()
