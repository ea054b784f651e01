"""The errors of a collect node that lacks all responses, or those of a group of prompts: their number and causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orcac.chat.failures import ERRORS
from orcac.collect.failed_groups import FailedGroup
from orcac.collect.recipe import CollectExecution, CollectRecipe
from orcac.errors import EndpointError, InputError, OrcacError
from orcac.job import Job


def unanswered_error(
    job: Job[CollectRecipe, CollectExecution], failed: Counter[str], messages: dict[str, str]
) -> OrcacError:
    """Return the error. `failed` counts the prompts by error class, `messages` has the first message of each class."""
    text = f"{job.label}: none of {failed.total():,} prompts was answered: {_describe_causes(failed, messages)}"
    match job.recipe.origin:
        case "replay":
            fix = "correct the recording's fields, or give the recording of these prompts"
            return InputError(f"{text}; no question of the recording matches", fix=fix)
        case "reference":
            return InputError(text, fix="take prompts from a source that gives references")
    return EndpointError(text, fix="; ".join(ERRORS[name].fix for name in sorted(failed)) + ", then run again")


def lost_group_error(
    job: Job[CollectRecipe, CollectExecution],
    lost: Sequence[FailedGroup],
    failed: Counter[str],
    messages: dict[str, str],
) -> EndpointError:
    """Return the error of a node whose failures go with the groups `lost`; the other parameters as above."""
    mendable = Counter({name: count for name, count in failed.items() if not ERRORS[name].recorded})
    fixes = [ERRORS[name].fix.format(key=job.execution.endpoint.api_key_env) for name in sorted(mendable)]
    if any(group.is_of_system for group in lost):
        fixes.append("set the teacher's `system_role`, or leave these system messages out of the draw")
    if any(not group.is_of_system for group in lost):
        fixes.append("or leave these tasks out of their source")
    return EndpointError(
        f"{job.label}: {'; '.join(map(str, lost))}: {_describe_causes(mendable, messages)}",
        fix="; ".join(fixes) + "; then run again: all answers are kept",
    )


def _describe_causes(failed: Counter[str], messages: dict[str, str]) -> str:
    """Return `14 bad_request (the first message of this class)` for each class of error."""
    return ", ".join(
        f"{count:,} {name}" + (f" ({messages[name]})" if name in messages else "")
        for name, count in sorted(failed.items())
    )
