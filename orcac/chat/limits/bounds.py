"""The most that a request can cost, which is reserved from the budget before it is sent.

By its own text, a request has at most one input token per byte and `max_tokens` output tokens. Some servers keep to
neither: they add a text of their own to the prompt, or write the tokens of reasoning in addition to `max_tokens`. The
usage of their answers shows it (`ChatResponse`, whose output tokens are the largest consistent reading). From the first
such answer on, every request is taken to exceed its own bound by twice the largest excess of any answer, since the
length of reasoning varies. A budget is then exceeded at most by the requests that were in flight at that moment.
"""

from __future__ import annotations

from orcac.chat.messages import Billable, ChatRequest, usd
from orcac.chat.settings import Price

_MARGIN = 2  # the bound of an excess, in largest excesses so far
_MANY_SILENT = 5  # a server that answers so often without a usage is taken for one that sends none


class CostBounds:
    """The bounds of the requests to one model at `price`, learned from the answers that its server gave so far."""

    def __init__(self, price: Price) -> None:
        self.price = price
        self.is_known = price.input == price.output == 0  # False until the first usage shows how the server counts
        self._silent = 0  # answers without a usage
        self.input_excess = self.output_excess = 0  # tokens: the largest excess of an answer over its request's bound

    def usd(self, request: ChatRequest) -> float:
        """Return the most that `request` can cost, in USD."""
        return usd(
            self.price,
            input_tokens=request.input_token_bound + _MARGIN * self.input_excess,
            output_tokens=request.sampling.max_tokens + _MARGIN * self.output_excess,
        )

    def learn(self, request: ChatRequest, response: Billable) -> str:
        """Take in the usage of an answer. Returns a message if it raises the bounds, "" otherwise."""
        if response.error:
            return ""
        if not (response.input_tokens or response.output_tokens):
            self._silent += 1
            self.is_known = self.is_known or self._silent >= _MANY_SILENT
            return ""
        return self.learn_excess(
            input_tokens=response.input_tokens - request.input_token_bound,
            output_tokens=response.output_tokens - request.sampling.max_tokens,
        )

    def learn_excess(self, *, input_tokens: int = 0, output_tokens: int = 0) -> str:
        """Take in the tokens of an answer beyond its request's own bound (or fewer than 0). Returns as `learn` does."""
        self.is_known = True
        if input_tokens <= self.input_excess and output_tokens <= self.output_excess:
            return ""
        self.input_excess = max(self.input_excess, input_tokens)
        self.output_excess = max(self.output_excess, output_tokens)
        kinds = [
            f"{count:,} {name}"
            for count, name in (
                (input_tokens, "more input tokens than the request has bytes"),
                (output_tokens, "more output tokens than `max_tokens`"),
            )
            if count > 0
        ]
        return (
            f"the server counts {' and '.join(kinds)} for an answer, such as those of its reasoning: from now on each "
            f"request reserves {_MARGIN} times as many more of the budget"
        )
