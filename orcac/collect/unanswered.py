"""The error of a collect node without any response: the number of failed prompts by class of error, and the causes."""

from __future__ import annotations

from collections import Counter

from orcac.chat.failures import ERRORS
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.errors import EndpointError, InputError, OrcacError
from orcac.job import Job


def unanswered_error(
    job: Job[CollectRecipe, CollectExecution], failed: Counter[str], messages: dict[str, str]
) -> OrcacError:
    """Return the error. `failed` counts the prompts by error class, `messages` has the first message of each class."""
    causes = (
        f"{count:,} {name}" + (f" ({messages[name]})" if name in messages else "")
        for name, count in sorted(failed.items())
    )
    text = f"{job.label}: none of {failed.total():,} prompts was answered: {', '.join(causes)}"
    match job.recipe.origin:
        case "replay":
            fix = "correct the recording's fields, or give the recording of these prompts"
            return InputError(f"{text}; no question of the recording matches", fix=fix)
        case "reference":
            return InputError(text, fix="take prompts from a source that gives references")
    return EndpointError(text, fix="; ".join(ERRORS[name].fix for name in sorted(failed)) + ", then run again")
