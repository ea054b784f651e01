"""What is done to batches from outside the run that sent them (see batch.py): to catch up with them, to cancel one, and
to find those that claim a question which somebody wants to ask online."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from orcac.chat.batch import files as files
from orcac.chat.batch.files import batches
from orcac.chat.batch.provider import Providers
from orcac.chat.batch.steps import Steps
from orcac.chat.failures import ChatError
from orcac.chat.ledger.keys import Keys, isin
from orcac.chat.settings import EndpointSettings
from orcac.errors import EndpointError, OrcacError

_PATIENCE_S = 10.0  # for a provider's answer, while a person waits


async def cancel(answers: Path, id: str) -> str:
    """Cancel a batch, or give up one that the provider has lost. Returns what became of it, in words.

    Raises InputError where there is nothing to cancel, and EndpointError where the provider does not answer.
    """
    async with AsyncExitStack() as stack:
        steps = Steps(answers, EndpointSettings(kind="openai"), Providers(stack), say=lambda text: None)
        try:
            return await steps.cancel(id)
        except ChatError as error:
            raise EndpointError(f"batch {id}: {error.error}: {error}", fix="try again") from None


async def catch_up(answers: Path, ids: list[str], say: Callable[[str], None]) -> list[str]:
    """Bring the records of these batches up to what their providers say, and take in those that have ended.

    `say` gets a line for each that is taken in. Returns what stood in the way, in words.
    """

    async def one(steps: Steps, id: str) -> str:
        try:
            await steps.catch_up(id)
        except ChatError as error:
            return f"batch {id}: {error.error}: {error}"
        except OrcacError as error:
            return error.message
        return ""

    async with AsyncExitStack() as stack:
        settings = EndpointSettings(kind="openai", timeout_seconds=_PATIENCE_S)
        steps = Steps(answers, settings, Providers(stack), say)
        return [problem for id in ids if (problem := await one(steps, id))]


async def check_unclaimed(answers: Path, keys: Keys, say: Callable[[str], None]) -> None:
    """See to it that no batch claims one of `keys`, which are sorted: those that have ended are taken in.

    Raises EndpointError where one goes on: whoever asked online would pay a second time.
    """

    def claim() -> dict[str, int]:
        live = [batch.id for batch in batches(answers) if not batch.settled]
        counts = {id: int(isin(files.keys(answers / "batches" / id), keys).sum()) for id in live}
        return {id: count for id, count in counts.items() if count}

    if not (claimed := claim()):
        return
    problems = await catch_up(answers, list(claimed), say)
    if going_on := claim():
        which = ", ".join(going_on)
        raise EndpointError(
            f"{sum(going_on.values()):,} of {len(keys):,} questions stand in batches that go on ({which}): to ask them "
            "online, too, would pay for them twice" + "".join(f"; {problem}" for problem in problems),
            fix="say `mode: auto` and run again, which waits for them, or give them up with "
            f"`orcac batches cancel {next(iter(going_on))}`, and run again when they have ended",
        )
