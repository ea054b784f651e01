"""Dates and times: "10 June 2021", "June 10th, 2021", "06/10/2021", "2021-06-10"; "3:45 pm", "15:45", "noon".

A date with slashes is compared as month/day/year, as in the benchmarks, unless its first number is above 12; with
points as day.month.year. Dates are equal if they have the same parts, so "10 June" is not "10 June 2021"; a weekday
beside a date does not count. A time without "am" or "pm" is one of 24 hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from orcac.checkers.characters import fold
from orcac.checkers.number.words import in_digits

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH = (
    r"(?P<{0}>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?P<{0}>\d{{1,2}})(?:st|nd|rd|th)?\b"
_YEAR = r"(?P<{0}>\d{{4}}|'\d{{2}})\b"
_DATE = re.compile(
    rf"""(?<![\w/.-])
    (?: (?P<y1>\d{{4}})[-/.](?P<m1>\d{{1,2}})[-/.](?P<d1>\d{{1,2}})(?![\w/-])
      | (?P<a2>\d{{1,2}})(?P<sep>[-/.])(?P<b2>\d{{1,2}})(?P=sep)(?P<y2>\d{{4}}|\d{{2}})(?![\w/-])(?!\.\d)
      | (?:the\s)?{_DAY.format("d3")}\s(?:of\s)?{_MONTH.format("m3")}(?:,?\s{_YEAR.format("y3")})?
      | {_MONTH.format("m4")}\s(?:the\s)?{_DAY.format("d4")}(?:,?\s{_YEAR.format("y4")})?
      | {_MONTH.format("m5")},?\s{_YEAR.format("y5")} )""",
    re.IGNORECASE | re.VERBOSE,
)
_TIME = re.compile(
    r"""(?<![\w:.,/$-])
    (?: (?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?![\w:])(?:\s?(?P<half>[ap]\.?\s?m\b\.?))?
      | (?P<hour1>\d{1,2}):(?P<minute1>\d\d)(?P<half1>[ap]\.?m\b\.?)
      | (?P<hour2>\d{1,2})(?:\s?o'clock)?\s?(?P<half2>[ap]\.?\s?m\b\.?)
      | (?P<hour3>\d{1,2})\s?o'clock\b
      | (?:12\s)?(?P<word>noon|midday|midnight)\b )""",
    re.IGNORECASE | re.VERBOSE,
)
_PAST = re.compile(
    r"(?:(?P<quarter>a\squarter|quarter)|(?P<half>half)|(?P<minutes>\d{1,2})(?:\sminutes)?)\s(?P<side>past|after|to)\s(?P<hour>\d{1,2})"
    r"(?:\s?(?P<of_day>[ap]\.?\s?m\b\.?))?$",
    re.IGNORECASE,
)
_HOUR_WORD = re.compile(
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty-five|twenty)\b", re.IGNORECASE
)
_WEEKDAY = re.compile(r"^(?:on\s)?(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?\s+", re.IGNORECASE)
_BETWEEN = re.compile(r",?\s?(?:at|on|,)?\s?")
_LONGEST = 60  # characters of a text that may be one moment

_SLASHED = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(?:\d{4}|\d{2})(?![\d/])")


class Moment(NamedTuple):
    """A date (year, month, day), a time in seconds of the day, or both; a part that is not given is None."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    time: int | None = None


class Place(NamedTuple):
    """A moment in a text: `text[start:end]`."""

    start: int
    end: int
    moment: Moment


def parse(text: str) -> Moment | None:
    """Return the moment that a whole folded text is; None if it is anything else."""
    text = " ".join(text.split()).strip("*_`\"' ").rstrip(".,;!")
    if not 3 < len(text) <= _LONGEST and text.casefold() != "noon":
        return None
    text = re.sub(r"^(?:at|on|in)\s", "", text, flags=re.IGNORECASE)
    if spoken := _PAST.match(_HOUR_WORD.sub(lambda match: in_digits(match[0]), text)):
        return _spoken(spoken)
    without_day = _WEEKDAY.sub("", text)
    places = list(find(without_day))
    if not places or places[0].start != 0 or places[-1].end < len(without_day.rstrip(".")):
        return None
    if len(places) == 1:
        return places[0].moment
    first, second = places[0].moment, places[1].moment
    if len(places) > 2 or not _BETWEEN.fullmatch(without_day, places[0].end, places[1].start):
        return None
    date, time = (first, second) if first.time is None else (second, first)
    return date._replace(time=time.time) if date.time is None and time.time is not None else None


def has_two_readings(text: str) -> bool:
    """Return whether a text is a date with slashes whose day and month could change places: "05/07/2021"."""
    match = _SLASHED.search(fold(text))
    return match is not None and match[1] != match[2] and max(int(match[1]), int(match[2])) <= 12


def has_slashes(text: str) -> bool:
    """Return whether a text has a date with slashes, or names that form: "MM/DD/YYYY"."""
    return _SLASHED.search(fold(text)) is not None or "mm/dd" in text.casefold()


def find(text: str) -> Iterator[Place]:
    """Yield the dates and times in a text, in order."""
    found = [
        Place(match.start(), match.end(), moment)
        for pattern, read in ((_DATE, _date), (_TIME, _time))
        for match in pattern.finditer(text)
        if (moment := read(match))
    ]
    yield from sorted(found)


def _date(match: re.Match[str]) -> Moment | None:
    if match["y1"]:
        parts = int(match["y1"]), int(match["m1"]), int(match["d1"])
    elif match["a2"]:
        first, second = int(match["a2"]), int(match["b2"])
        day_first = first > 12 or match["sep"] == "."
        parts = _full_year(match["y2"]), second if day_first else first, first if day_first else second
    else:
        name = match["m3"] or match["m4"] or match["m5"]
        year, day = match["y3"] or match["y4"] or match["y5"], match["d3"] or match["d4"]
        month = next(index for index, month in enumerate(_MONTHS, start=1) if month.startswith(name.casefold()[:3]))
        if day and not 1 <= int(day) <= 31:
            return None
        return Moment(_full_year(year) if year else None, month, int(day) if day else None)
    return Moment(*parts) if 1 <= parts[1] <= 12 and 1 <= parts[2] <= 31 else None


def _full_year(year: str) -> int:
    number = int(year.strip("'"))
    if len(year.strip("'")) == 4:
        return number
    return number + (2000 if number < 69 else 1900)


def _time(match: re.Match[str]) -> Moment | None:
    if match["word"]:
        return Moment(time=0 if match["word"].casefold() == "midnight" else 12 * 3600)
    hour = int(match["hour"] or match["hour1"] or match["hour2"] or match["hour3"])
    minute, second = int(match["minute"] or match["minute1"] or 0), int(match["second"] or 0)
    half = (match["half"] or match["half1"] or match["half2"] or "").casefold()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    return (
        Moment(time=(hour * 3600 + minute * 60 + second) % 86400) if hour < 25 and minute < 60 and second < 60 else None
    )


def _spoken(match: re.Match[str]) -> Moment | None:
    minutes = 15 if match["quarter"] else 30 if match["half"] else int(match["minutes"])
    hour = int(match["hour"])
    if match["of_day"]:
        hour = hour % 12 + (12 if match["of_day"].casefold().startswith("p") else 0)
    seconds = hour * 3600 + (-60 if match["side"].casefold() == "to" else 60) * minutes
    return Moment(time=seconds % 86400)
