"""The comparison of a job's questions with the ledger: the answers that it holds, and the questions left to ask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from orcac.chat.ledger.ledger import Ledger
from orcac.chat.ledger.record import FAILURES
from orcac.chat.limits.bounds import CostBounds
from orcac.chat.questions import Mask, Questions
from orcac.chat.settings import Price
from orcac.chat.tally import Tally


class Survey(NamedTuple):
    """The part of a job's questions that the ledger answers, and the rest."""

    tally: Tally  # of the recorded answers
    missing: Mask  # (n,): the questions to ask, each distinct one once
    bounds: CostBounds  # that the recorded answers show


def survey(questions: Questions, ledger: Ledger, price: Price) -> Survey:
    """Compare questions with the ledger.

    The tally's dollars equal the sum of `ChatRequest.usd_of` over the answers, but are computed on columns: a million
    answers take a second.
    """
    keys, inverse, first = questions.keys
    found = np.where(first, ledger.find(keys, questions.max_tokens)[inverse], -1)
    settled = found[found >= 0]
    failures, read, written = (ledger.entries[name][settled] for name in ("failure", "input_tokens", "output_tokens"))
    by_class = np.bincount(failures, minlength=len(FAILURES))
    tally = Tally(total=int(first.sum()), answered=int(by_class[0]))
    tally.failed.update({FAILURES[n]: int(by_class[n]) for n in range(1, len(FAILURES)) if by_class[n]})
    is_answer = failures == 0
    shares = np.where(ledger.entries["batched"][settled], price.batch, 1.0)
    paid = read * np.float64(price.input) + written * np.float64(price.output)
    tally.usd = float((paid * shares)[is_answer].sum()) / 1e6
    uncounted = is_answer & (read == 0) & (written == 0)  # the server gave no usage: the bound of the request counts
    if uncounted.any():
        wanted = found >= 0
        wanted[wanted] = uncounted
        requests = zip(questions.requests(wanted), shares[uncounted].tolist(), strict=True)
        tally.usd += sum(request.usd_bound(price) * share for request, share in requests)
    bounds = CostBounds(price)
    counted = is_answer & (written > 0)
    if counted.any():
        # an entry's smallest max_tokens is that of its request, or the answer's own length if that is less
        excess = (written - ledger.entries["low"][settled])[counted]
        bounds.learn_excess(output_tokens=int(excess.max()))
    return Survey(tally, first & (found < 0), bounds)
