"""Actions on batches from outside the run that sent them: refresh them, cancel one, and find the batches that claim a
question before it is asked online."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from orcac.chat.batch import files
from orcac.chat.batch.provider import Providers
from orcac.chat.batch.steps import Steps
from orcac.chat.failures import ChatError
from orcac.chat.ledger.keys import Keys, isin
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError, OrcacError

_TIMEOUT_S = 10.0  # for a provider's answer, while a person waits


async def cancel(answers: Path, id: str) -> str:
    """Cancel a batch, or give up one that the provider has lost.

    Returns a predicate for the batch, e.g. "was never sent; its requests are free". Raises InputError if there is
    nothing to cancel, and EndpointError if the provider does not answer.
    """
    async with AsyncExitStack() as stack:
        steps = Steps(answers, EndpointSettings(kind="openai"), Providers(stack), on_event=lambda text: None)
        try:
            return await steps.cancel(id)
        except ChatError as error:
            raise EndpointError(f"batch {id}: {error.error}: {error}", fix="run the same command again") from None


async def refresh(answers: Path, ids: list[str], on_event: Callable[[str], None]) -> list[str]:
    """Bring the records of batches up to date with their providers, and settle those that have ended.

    `on_event` gets a line for each batch that is settled. Returns a message for each batch that could not be refreshed.
    """

    async def refresh_one(steps: Steps, id: str) -> str:
        try:
            await steps.refresh(id)
        except ChatError as error:
            return f"batch {id}: {error.error}: {error}"
        except OrcacError as error:
            return error.message
        return ""

    async with AsyncExitStack() as stack:
        settings = EndpointSettings(kind="openai", timeout_seconds=_TIMEOUT_S)
        steps = Steps(answers, settings, Providers(stack), on_event)
        return [problem for id in ids if (problem := await refresh_one(steps, id))]


async def check_unclaimed(answers: Path, keys: Keys, on_event: Callable[[str], None]) -> None:
    """Check that no batch claims one of the sorted `keys`, after settling the claiming batches that have ended.

    Raises EndpointError if one of them is still running: asking online would pay for the same answers twice.
    """

    def count_claims() -> dict[str, int]:
        counts = {
            id: int(isin(files.read_keys(answers / "batches" / id), keys).sum()) for id in files.live_ids(answers)
        }
        return {id: count for id, count in counts.items() if count}

    if not (claims := count_claims()):
        return
    problems = await refresh(answers, list(claims), on_event)
    if claims := count_claims():
        raise EndpointError(
            f"{sum(claims.values()):,} of {len(keys):,} questions are in batches that are still running "
            f"({', '.join(claims)}): asking them online would pay for them twice"
            + "".join(f"; {problem}" for problem in problems),
            fix="set `mode: auto` and run again, which waits for them, or give them up with "
            f"`orcac batches cancel {next(iter(claims))}`, and run again when they have ended",
        )
