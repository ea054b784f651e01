"""The questions of one job: requests that differ in their texts, and in the number of their sample, alone.

They are made anew for each pass, never stored. If each text is asked several times, its samples follow one another, so
that a server which caches prompts has read all of them but the first.

A million questions take 20 MB: their keys, sorted, and for each question the position of its key. Texts are read again
from their source for each pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orcac.chat.keys import conversation_json, key_digest
from orcac.chat.ledger.keys import Keys, argsort_keys
from orcac.chat.messages import ChatRequest, conversation
from orcac.chat.settings import SystemRole

Mask = npt.NDArray[np.bool_]
Texts = Callable[[], Iterable[tuple[str, str]]]


class DistinctKeys(NamedTuple):
    """The m distinct keys of a sequence of n elements."""

    keys: Keys  # S16 (m,): sorted, each once
    inverse: npt.NDArray[np.uint32]  # (n,): the index in `keys` of each element's key
    first: Mask  # (n,): whether no earlier element has the same key


class Questions:
    """The requests made from `template` by putting in each (system, user) pair that `texts()` yields.

    The system messages are sent under `system_role`. `texts` is called once for each pass and yields the same pairs in
    the same order every time. Each pair is asked `samples` times: question n is sample n % samples of pair
    n // samples, and its `sample_index` is that of `template` plus the number of the sample.
    """

    def __init__(
        self, template: ChatRequest, texts: Texts, *, system_role: SystemRole = "system", samples: int = 1
    ) -> None:
        self._template, self._texts, self._system_role, self._samples = template, texts, system_role, samples

    @property
    def max_tokens(self) -> int:
        """The cap on the length of an answer, in tokens; it is not part of the keys."""
        return self._template.sampling.max_tokens

    @cached_property
    def keys(self) -> DistinctKeys:
        """The key of each question; equal if the texts are equal."""
        prefixes = self._template.key_prefixes(self._samples)
        role = self._system_role
        parts = (conversation_json(system=system, user=user, system_role=role) for system, user in self._texts())
        return distinct(key_digest(prefix, messages) for messages in parts for prefix in prefixes)

    @cached_property
    def first(self) -> Mask:
        """The mask (n,) of the questions whose texts no earlier question has."""
        return self.keys.first

    def forget_keys(self) -> None:
        """Free the keys, which are computed again if they are needed again; `first` stays."""
        _ = self.first
        del self.keys

    def key(self, number: int) -> str:
        """Return the `ChatRequest.key` of the question with this index."""
        return _padded(self.keys.keys[self.keys.inverse[number]]).hex()

    def request(self, *, system: str, user: str, sample: int = 0) -> ChatRequest:
        """Return the request with these texts for the sample with this number."""
        template = self._template
        return ChatRequest(
            model=template.model,
            messages=conversation(system=system, user=user, system_role=self._system_role),
            sampling=template.sampling,
            origin=template.origin,
            sample_index=template.sample_index + sample,
        )

    def requests(self, wanted: Mask | None = None) -> Iterator[ChatRequest]:
        """Yield the requests that the mask selects, or all of them. With a mask, their keys are not computed again."""
        every = ((system, user, sample) for system, user in self._texts() for sample in range(self._samples))
        if wanted is None:
            yield from (self.request(system=system, user=user, sample=sample) for system, user, sample in every)
            return
        keys, chosen = self.keys.keys, self.keys.inverse[wanted]
        for (system, user, sample), number in zip(compress(every, wanted), chosen, strict=True):
            request = self.request(system=system, user=user, sample=sample)
            request.set_key(_padded(keys[number]))
            yield request


def distinct(digests: Iterable[bytes]) -> DistinctKeys:
    """Return the distinct ones among digests of 16 bytes, each of which is one element of the sequence."""
    every = np.fromiter(digests, "S16")
    order = argsort_keys(every)  # stable, so that the first of equal ones comes first
    every = every[order]
    new = np.ones(len(every), bool)
    new[1:] = every[1:] != every[:-1]
    first = np.zeros(len(every), bool)
    first[order[new]] = True
    inverse = np.empty(len(every), "u4")
    inverse[order] = np.cumsum(new, dtype="u4") - 1
    return DistinctKeys(every if new.all() else every[new], inverse, first)


def _padded(key: bytes) -> bytes:
    """Return the 16 bytes of a key, from which NumPy strips trailing zeros."""
    return key.ljust(16, b"\0")
