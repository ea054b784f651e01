"""Tests of orcac/text.py."""

from __future__ import annotations

import json

import pytest

from orcac import text


@pytest.mark.parametrize(
    ("usd", "paid", "estimated"),
    [
        (0.0, "0.00 USD", "0 USD"),
        (0.0042, "0.0042 USD", "< 0.01 USD"),
        (0.0543, "0.054 USD", "0.054 USD"),
        (1.0, "1.00 USD", "1.0 USD"),
        (1234.5, "1,234.50 USD", "1,200 USD"),
        (5148.0, "5,148.00 USD", "5,100 USD"),
    ],
)
def test_dollars_are_given_to_the_cent_if_paid_and_to_two_digits_if_estimated(
    usd: float, paid: str, estimated: str
) -> None:
    assert (text.dollars(usd), text.dollars(usd, digits=2)) == (paid, estimated)


@pytest.mark.parametrize(
    ("value", "count", "short"),
    [
        (0, "0", "0"),
        (2546, "2,546", "2,546"),
        (17_038, "17,038", "17 k"),
        (370_123, "370,000", "370 k"),
        (999_999, "1.00 M", "1.00 M"),
        (5_090_000, "5.09 M", "5.09 M"),
        (1.5e12, "1.50 T", "1.50 T"),
    ],
)
def test_counts(value: float, count: str, short: str) -> None:
    assert (text.count(value), text.short_count(value)) == (count, short)


@pytest.mark.parametrize(
    ("octets", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (52e9, "52 GB"), (1.26e12, "1.3 TB")]
)
def test_sizes(octets: float, shown: str) -> None:
    assert text.size(octets) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (0.2, "< 1 s"), (59, "59 s"), (3601, "1.0 h"), (2400, "40 min"), (6.71 * 86400, "6.7 days")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(25.4, "0:25"), (725, "12:05"), (43_620, "12:07:00")])
def test_clocks(seconds: float, shown: str) -> None:
    assert text.clock(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(1285.7, "1,285.7/s"), (1, "1.0/s"), (0.8, "1.2 s each"), (0.08, "12 s each")]
)
def test_paces(rate: float, shown: str) -> None:
    assert text.pace(rate) == shown


def test_hours_are_estimates_of_two_digits() -> None:
    assert [text.hours(value) for value in (0.123, 4.04, 3187)] == ["0.12 h", "4.0 h", "3,200 h"]


@pytest.mark.parametrize("char", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2028", "\U000e0041"])
def test_json_for_a_terminal_has_no_character_that_it_would_obey(char: str) -> None:
    value = {f"na{char}me": [f"é数{char}[31m\n\t"]}
    shown = text.json_text(value)
    assert json.loads(shown) == value and "é数" in shown
    assert char not in shown and all(line.isprintable() for line in shown.split("\n"))
