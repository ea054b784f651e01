"""The waits and the sizes of batches, as one value that a caller can replace."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The waits (in seconds) and the sizes of batches."""

    poll_s: float = 10.0  # between the first two polls of a batch; each later wait is half as long again
    max_poll_s: float = 60.0
    settle_s: float = 60.0  # after this long, a batch that the provider does not list counts as never created
    silence_s: float = 3600.0  # a run ends if the provider does not respond for this long
    progress_s: float = 1.0  # between two updates of the progress line
    queue_retry_s: float = 300.0  # between two tries to find room in the account's queue
    queue_patience_s: float = 24 * 3600.0  # a run ends after this long without room in the queue
    max_requests: int = 50_000  # in one batch, by OpenAI's rules
    max_bytes: int = 200_000_000  # in one batch's file, by OpenAI's rules
    min_share: float = 0.01  # of all requests: a batch that the budget limits to fewer is not worth waiting a day for
    first_requests: int = (
        10  # at least, in the first batch to a server under a budget; else `min_share` of all requests
    )


DEFAULT_TUNING = Tuning()
