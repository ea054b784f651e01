"""Tests of orcac/chat/ledger/keys.py."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orcac.chat.ledger.keys import argsort_keys, compact_keys, isin, pack_keys

DIGESTS = st.binary(min_size=16, max_size=16) | st.sampled_from([b"\0" * 16, b"a" + b"\0" * 15])


@given(st.lists(DIGESTS, max_size=50))
def test_keys_are_sorted_as_bytes(digests: list[bytes]) -> None:
    keys = np.array(digests, "S16")
    assert argsort_keys(keys).tolist() == sorted(range(len(digests)), key=digests.__getitem__)


def test_equal_keys_are_sorted_by_time() -> None:
    keys, at = np.array([b"b" * 16, b"a" * 16, b"b" * 16], "S16"), np.array([2.0, 3.0, 1.0])
    assert argsort_keys(keys, at).tolist() == [1, 2, 0]


@given(st.lists(DIGESTS, max_size=20), st.lists(DIGESTS, max_size=20))
def test_compact_keys_are_positions_among_the_wanted(digests: list[bytes], others: list[bytes]) -> None:
    wanted = pack_keys(digest.hex() for digest in others)
    assert wanted.tolist() == sorted({digest.rstrip(b"\0") for digest in others})
    keys = np.array([*digests, *others], "S16")
    compact, mask = compact_keys(keys, wanted)
    assert mask.tolist() == isin(keys, wanted).tolist() == [digest in others for digest in [*digests, *others]]
    assert compact.dtype == np.uint32 and wanted[compact].tolist() == keys[mask].tolist()


def test_without_wanted_keys_all_are_selected() -> None:
    keys = np.array([b"b" * 16, b"a" * 16], "S16")
    compact, mask = compact_keys(keys, None)
    assert compact.tolist() == keys.tolist() and mask.all() and isin(keys, None).all()
