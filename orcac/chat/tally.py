"""The progress of asking: the counts that the engine and batches update, and that progress lines and summaries show."""

from __future__ import annotations

import collections
import dataclasses

from orcac.chat.messages import Billable, ChatRequest
from orcac.chat.settings import Price


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """The progress of an `ask`."""

    total: int  # distinct requests
    answered: int = 0
    failed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # final failures by class
    retried: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    # by error class, the first message of each that did not stop the run; by `budget`, a wait for the budget
    messages: dict[str, str] = dataclasses.field(default_factory=dict)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)  # key -> class of each unrecorded failure
    usd: float = 0.0  # an upper bound of the cost of all answers, including those from earlier runs
    tokens: int = 0  # input and output of the answers of this `ask`
    in_flight: int = 0
    paused_s: float = 0.0  # the rest of the pause that the server asked for

    def count(self, request: ChatRequest, response: Billable, price: Price) -> None:
        """Add the final response to a request, at its cost (`ChatRequest.usd_of`)."""
        self.usd += request.usd_of(response, price)
        if response.error:
            self.failed[response.error] += 1
        else:
            self.answered += 1
