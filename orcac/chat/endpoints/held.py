"""The answers that a recording has to the wanted questions: on disk until they are asked for.

A question takes some 30 bytes of memory for each of its samples: a digest, the number of its rows so far, and the place
of its answer in a file without a name, which ends with the process.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

from orcac.chat.messages import ChatResponse

__all__ = ["DIGEST_BYTES", "Held"]

DIGEST_BYTES = 16
_UNWANTED, _ABSENT = -2, -1


class Held:
    """Answers by question and sample. `wanted` yields the digest of each question with the number of the sample."""

    def __init__(self, wanted: Iterable[tuple[bytes, int]], samples: int, folder: Path | None = None) -> None:
        digests, numbers = bytearray(), bytearray()
        for digest, sample in wanted:
            digests += digest
            numbers += sample.to_bytes(4, "little")
        high, low = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2).T
        order = np.lexsort((low, high))
        high, low = high[order], low[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        self._high, self._low = high[is_first], low[is_first]
        self._offsets = np.full((len(self._high), samples), _UNWANTED, dtype=np.int64)
        sample_of, place_of = np.frombuffer(numbers, dtype="<u4")[order], np.cumsum(is_first) - 1
        is_known = sample_of < samples  # the recording has no others
        self._offsets[place_of[is_known], sample_of[is_known]] = _ABSENT
        self._is_empty = np.zeros(len(self._high), dtype=bool)  # of samples == 1: the answer has no text
        self.rows = np.zeros(len(self._high), dtype=np.int32)  # read so far, of each question
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 closed with the process
        self._end = 0

    def find(self, digest: bytes) -> int | None:
        """Return the place of a wanted question; None if it is not wanted."""
        high, low = np.frombuffer(digest, dtype=np.uint64)
        place = int(self._high.searchsorted(high))
        while place < len(self._high) and self._high[place] == high:  # a second round is as rare as a collision
            if self._low[place] == low:
                return place
            place += 1
        return None

    def wants(self, place: int, sample: int) -> bool:
        """Return whether a sample of a question is wanted."""
        return bool(self._offsets[place, sample] != _UNWANTED)

    def has(self, place: int, sample: int) -> bool:
        """Return whether there is an answer."""
        return bool(self._offsets[place, sample] >= 0)

    def is_empty(self, place: int) -> bool:
        """Return whether the answer to a question has neither a text nor a refusal."""
        return bool(self._is_empty[place])

    def put(self, place: int, sample: int, answer: ChatResponse) -> None:
        """Hold an answer in place of an earlier one."""
        content = pickle.dumps(answer)
        self._file.seek(self._end)
        self._file.write(content)
        self._offsets[place, sample] = self._end
        self._end += len(content)
        self._is_empty[place] = not (answer.text.strip() or answer.refusal)

    def get(self, place: int, sample: int) -> ChatResponse | None:
        """Return the answer, or None if the question has no such sample."""
        offset = int(self._offsets[place, sample]) if sample < self._offsets.shape[1] else _UNWANTED
        if offset < 0:
            return None
        self._file.seek(offset)
        answer: ChatResponse = pickle.load(self._file)  # noqa: S301 this process wrote it
        return answer
