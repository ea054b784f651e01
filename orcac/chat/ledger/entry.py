"""An index entry: all that the index holds of one record, so that a lookup reads no text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orcac.chat.ledger.keys import CompactKeys
from orcac.chat.ledger.record import FAILURE_CODES
from orcac.chat.messages import ChatResponse, served_caps

ENTRY = np.dtype(
    [
        ("low", "i4"),  # the smallest max_tokens that the record serves
        ("high", "i4"),  # and the largest
        ("input_tokens", "i4"),
        ("output_tokens", "i4"),
        ("failure", "u1"),  # an index of FAILURES
        ("batched", "?"),
        ("file", "u2"),  # an index of the open files
        ("position", "i8"),  # byte offset in a log, row number in a sealed file
    ]
)
Entries = npt.NDArray[np.void]  # of dtype ENTRY
EntryValues = tuple[int, int, int, int, int, bool]  # the fields of ENTRY up to `batched`
Positions = npt.NDArray[np.int64]  # of records in one file: byte offsets in a log, row numbers in a sealed file


class IndexBlock(NamedTuple):
    """The index of some records of one file, in the file's order."""

    keys: CompactKeys
    times: npt.NDArray[np.float64]  # when each was written, in seconds since 1970
    entries: Entries  # `file` is not set


def entry_of(cap: int, response: ChatResponse) -> EntryValues:
    """Return the index entry, without its position on disk, of a response to a request with max_tokens `cap`."""
    low, high = served_caps(cap, response)
    return low, high, response.input_tokens, response.output_tokens, FAILURE_CODES[response.error], response.batched
