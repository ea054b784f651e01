"""The waits and the sizes of batches, as one value that a caller can replace."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The waits (in seconds) and the sizes of batches."""

    poll_s: float = 10.0  # between the first two polls of a batch; each later wait is half as long again
    longest_poll_s: float = 60.0
    settle_s: float = 60.0  # a batch that the provider does not list this long after its `create` was never made
    silence_s: float = 3600.0  # the provider may fail to respond for this long while a batch is with it
    progress_s: float = 1.0  # between two updates of the progress line
    queue_retry_s: float = 300.0  # between two tries to find room in the account's queue
    queue_patience_s: float = 24 * 3600.0  # a run ends after this long without room in the queue
    most_requests: int = 50_000  # in one batch, by OpenAI's rules
    most_bytes: int = 200_000_000  # in one batch's file, by OpenAI's rules
    least_share: float = 0.01  # if the budget has room for a smaller share of all requests, no batch is worth its day


DEFAULT_TUNING = Tuning()
