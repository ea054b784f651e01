"""The published zero-shot accuracies of Orca-13B, in %: landmarks beside our own figures.

arXiv 2306.02707: Table 11 (BIG-Bench Hard), Table 8 (AGIEval). Tasks have the names of the benchmark's files.
"""

from __future__ import annotations

__all__ = ["published_accuracy"]

BBH = {
    "boolean_expressions": 72.0,
    "causal_judgement": 59.9,
    "date_understanding": 50.0,
    "disambiguation_qa": 63.6,
    "formal_fallacies": 56.0,
    "geometric_shapes": 20.8,
    "hyperbaton": 64.0,
    "logical_deduction_five_objects": 39.6,
    "logical_deduction_seven_objects": 36.0,
    "logical_deduction_three_objects": 57.6,
    "movie_recommendation": 78.3,
    "navigate": 57.6,
    "penguins_in_a_table": 42.5,
    "reasoning_about_colored_objects": 48.4,
    "ruin_names": 39.5,
    "salient_translation_error_detection": 40.8,
    "snarks": 62.4,
    "sports_understanding": 67.2,
    "temporal_sequences": 72.0,
    "tracking_shuffled_objects_five_objects": 15.6,
    "tracking_shuffled_objects_seven_objects": 14.0,
    "tracking_shuffled_objects_three_objects": 34.8,
    "web_of_lies": 51.2,
}
AGIEVAL = {
    "aqua-rat": 27.9,
    "logiqa-en": 35.2,
    "lsat-ar": 21.3,
    "lsat-lr": 43.9,
    "lsat-rc": 57.3,
    "sat-math": 32.3,
    "sat-en": 76.7,
    "sat-en-without-passage": 38.8,
}
_TABLES = {"bbh": BBH, "agieval": AGIEVAL}


def published_accuracy(benchmark_format: str, task: str) -> float | None:
    """Return Orca-13B's accuracy on a task as a share; None if the paper does not have it.

    The format distinguishes the real benchmark from generated tasks of the same name.
    """
    percent = _TABLES.get(benchmark_format, {}).get(task)
    return None if percent is None else round(percent / 100, 4)
