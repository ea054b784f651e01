"""The published zero-shot accuracies of the paper's models, in %: landmarks beside our own figures.

arXiv 2306.02707: Table 11 (BIG-Bench Hard), Table 8 (AGIEval). Tasks have the names of the benchmark's files. The paper
averages over tasks, whatever their sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["published_accuracies", "published_accuracy", "published_means"]

MODELS = ("Orca-13B", "ChatGPT", "GPT-4", "Vicuna-13B")
BBH = {
    "boolean_expressions": (72.0, 82.8, 77.6, 40.8),
    "causal_judgement": (59.9, 57.2, 59.9, 42.2),
    "date_understanding": (50.0, 42.8, 74.8, 10.0),
    "disambiguation_qa": (63.6, 57.2, 69.2, 18.4),
    "formal_fallacies": (56.0, 53.6, 64.4, 47.2),
    "geometric_shapes": (20.8, 25.6, 40.8, 3.6),
    "hyperbaton": (64.0, 69.2, 62.8, 44.0),
    "logical_deduction_five_objects": (39.6, 38.8, 66.8, 4.8),
    "logical_deduction_seven_objects": (36.0, 39.6, 66.0, 1.2),
    "logical_deduction_three_objects": (57.6, 60.4, 94.0, 16.8),
    "movie_recommendation": (78.3, 55.4, 79.5, 43.4),
    "navigate": (57.6, 55.6, 68.8, 46.4),
    "penguins_in_a_table": (42.5, 45.9, 76.7, 15.1),
    "reasoning_about_colored_objects": (48.4, 47.6, 84.8, 12.0),
    "ruin_names": (39.5, 56.0, 89.1, 15.7),
    "salient_translation_error_detection": (40.8, 40.8, 62.4, 2.0),
    "snarks": (62.4, 59.0, 87.6, 28.1),
    "sports_understanding": (67.2, 79.6, 84.4, 48.4),
    "temporal_sequences": (72.0, 35.6, 98.0, 16.0),
    "tracking_shuffled_objects_five_objects": (15.6, 18.4, 25.2, 9.2),
    "tracking_shuffled_objects_seven_objects": (14.0, 15.2, 25.2, 5.6),
    "tracking_shuffled_objects_three_objects": (34.8, 31.6, 42.4, 23.2),
    "web_of_lies": (51.2, 56.0, 49.6, 41.2),
}
AGIEVAL = {
    "aqua-rat": (27.9, 31.9, 40.6, 20.1),
    "logiqa-en": (35.2, 35.0, 49.3, 29.8),
    "lsat-ar": (21.3, 24.4, 35.2, 20.4),
    "lsat-lr": (43.9, 52.6, 80.6, 32.6),
    "lsat-rc": (57.3, 65.4, 85.9, 32.7),
    "sat-math": (32.3, 42.7, 64.6, 28.6),
    "sat-en": (76.7, 81.1, 88.8, 44.2),
    "sat-en-without-passage": (38.8, 44.2, 51.0, 26.2),
}
_TABLES = {"bbh": BBH, "agieval": AGIEVAL}


def published_accuracy(benchmark_format: str, task: str) -> float | None:
    """Return Orca-13B's accuracy on a task as a share; None if the paper does not have it.

    The format distinguishes the real benchmark from generated tasks of the same name.
    """
    published = _TABLES.get(benchmark_format, {}).get(task)
    return None if published is None else round(published[0] / 100, 4)


def published_accuracies(benchmark_format: str, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return model -> task -> its accuracy as a share, for those of the tasks that the paper has; {} if it has none."""
    table = _TABLES.get(benchmark_format, {})
    known = [task for task in tasks if task in table]
    columns = {model: {task: round(table[task][n] / 100, 4) for task in known} for n, model in enumerate(MODELS)}
    return columns if known else {}


def published_means(benchmark_format: str, tasks: Sequence[str]) -> dict[str, float]:
    """Return model -> the mean of its accuracies on these tasks, as the paper prints it; {} if it lacks one of them."""
    table = _TABLES.get(benchmark_format, {})
    if not tasks or any(task not in table for task in tasks):
        return {}
    means = [sum(column) / len(tasks) for column in zip(*(table[task] for task in tasks), strict=True)]
    return {model: round(round(mean, 1) / 100, 3) for model, mean in zip(MODELS, means, strict=True)}
