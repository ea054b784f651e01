"""lm-evaluation-harness on the items of `eval.py`, run by the interpreter that LM_EVAL_PYTHON names.

    $LM_EVAL_PYTHON benchmarks/eval_peer.py MODEL ITEMS METHOD BATCH_SIZE MAX_TOKENS OUT

ITEMS is JSON Lines of {query, options, ...}; METHOD is `generate` or `likelihood`. The evaluation is that of `lm_eval
run`, without the index of its own tasks, bootstraps and logs, which would only cost it time. OUT gets a JSON list: the
text of each item, or the log-likelihood of each of its options.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lm_eval.evaluator import simple_evaluate  # type: ignore[import-not-found, unused-ignore]
from lm_eval.tasks import TaskManager  # type: ignore[import-not-found, unused-ignore]


def describe_task(items: str, method: str, max_tokens: int) -> dict[str, object]:
    """Return the configuration of the task."""
    task: dict[str, object] = {
        "task": "items",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": items}},
        "test_split": "test",
        "doc_to_text": "{{query}}",
    }
    if method == "likelihood":
        return task | {"output_type": "multiple_choice", "doc_to_choice": "options", "doc_to_target": 0}
    return task | {
        "output_type": "generate_until",
        "doc_to_target": "",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_tokens},
        "metric_list": [{"metric": "bypass"}],
    }


def main() -> None:
    model, items, method, batch_size, max_tokens, out = sys.argv[1:]
    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": model, "dtype": "float32"},
        tasks=[describe_task(items, method, int(max_tokens))],
        batch_size=int(batch_size),
        device="cpu",
        apply_chat_template=True,
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )
    samples = sorted(found["samples"]["items"], key=lambda sample: sample["doc_id"])
    if method == "likelihood":
        answers = [[float(likelihood) for ((likelihood, _),) in sample["resps"]] for sample in samples]
    else:
        answers = [sample["resps"][0][0] for sample in samples]
    Path(out).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
