"""Units of measure and currencies: each name with its dimension, its factor and its offset to the dimension's base.

Names are matched in their own case where case matters ("mW" is not "MW"), else in any. "pounds" may mean mass or money:
a name with several meanings has several entries, and a comparison uses the one that fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit: a value v of it is `v * factor + offset` in the base of its dimension."""

    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)


_PREFIXES = {"": ("", "1"), "k": ("kilo", "1000"), "c": ("centi", "1/100"), "m": ("milli", "1/1000")}
_PREFIXED = (  # symbol, word, dimension, factor
    ("m", "meter", "length", "1"),
    ("g", "gram", "mass", "1"),
    ("L", "liter", "volume", "1/1000"),
    ("W", "watt", "power", "1"),
    ("J", "joule", "energy", "1"),
    ("V", "volt", "voltage", "1"),
    ("A", "ampere", "current", "1"),
    ("Hz", "hertz", "frequency", "1"),
    ("Pa", "pascal", "pressure", "1"),
    ("N", "newton", "force", "1"),
)
_OTHERS = (  # dimension, factor, names with "_" for a blank
    ("length", "1/1000000", "um µm μm micron microns micrometer micrometers micrometre micrometres"),
    ("length", "1/1000000000", "nm nanometer nanometers nanometre nanometres"),
    ("length", "0.0254", "in inch inches"),
    ("length", "0.3048", "ft foot feet"),
    ("length", "0.9144", "yd yds yard yards"),
    ("length", "1609.344", "mi mile miles"),
    ("area", "0.09290304", "sq_ft ft^2 ft2 square_foot square_feet"),
    ("area", "0.00064516", "sq_in in^2 in2 square_inch square_inches"),
    ("area", "4046.8564224", "acre acres"),
    ("area", "10000", "ha hectare hectares"),
    ("volume", "1/1000", "l"),
    ("volume", "1/1000000", "ml cc"),
    ("volume", "1/100000", "cl"),
    ("volume", "0.003785411784", "gal gallon gallons"),
    ("volume", "0.000473176473", "pint pints"),
    ("volume", "0.000946352946", "quart quarts"),
    ("mass", "1000000", "t tonne tonnes metric_ton metric_tons"),
    ("mass", "1/1000000", "µg μg mcg microgram micrograms"),
    ("mass", "907184.74", "ton tons"),
    ("mass", "453.59237", "lb lbs pound pounds"),
    ("mass", "28.349523125", "oz ounce ounces"),
    ("mass", "1000", "kilo kilos kgs"),
    ("time", "1/1000", "ms millisecond milliseconds"),
    ("time", "1", "s sec secs second seconds"),
    ("time", "60", "min mins minute minutes"),
    ("time", "3600", "h hr hrs hour hours"),
    ("time", "86400", "day days"),
    ("time", "604800", "week weeks"),
    ("months", "1", "month months"),
    ("months", "12", "year years yr yrs"),
    ("months", "120", "decade decades"),
    ("months", "1200", "century centuries"),
    ("speed", "0.44704", "mph"),
    ("speed", "5/18", "kph kmh kmph"),
    ("temperature", "1", "K kelvin kelvins"),
    ("angle", "1", "° degree degrees deg"),
    ("energy", "4.184", "cal calorie calories"),
    ("energy", "4184", "kcal kilocalorie kilocalories"),
    ("energy", "3600000", "kWh kilowatt-hour kilowatt-hours kilowatt_hours"),
    ("power", "1000000", "MW megawatt megawatts"),
    ("frequency", "1000000", "MHz megahertz"),
    ("frequency", "1000000000", "GHz gigahertz"),
    ("data", "1/8", "bit bits"),
    ("data", "1", "B byte bytes"),
    ("data", "1000", "kB KB kilobyte kilobytes"),
    ("data", "1000000", "MB megabyte megabytes"),
    ("data", "1000000000", "GB gigabyte gigabytes"),
    ("data", "1000000000000", "TB terabyte terabytes"),
    ("USD", "1", "$ US$ USD dollar dollars US_dollar US_dollars bucks"),
    ("USD", "1/100", "¢ cent cents"),
    ("EUR", "1", "€ EUR euro euros"),
    ("EUR", "1/100", "cent cents"),
    ("GBP", "1", "£ GBP pound pounds pounds_sterling"),
    ("GBP", "1/100", "p pence penny"),
    ("JPY", "1", "¥ JPY yen"),
    ("INR", "1", "₹ INR rupee rupees Rs Rs."),
    ("KRW", "1", "₩ KRW won"),
    ("CNY", "1", "CNY RMB yuan"),
)
_CELSIUS = "°C °_C celsius degrees_Celsius degrees_C degree_Celsius deg_C"
_FAHRENHEIT = "°F °_F fahrenheit degrees_Fahrenheit degrees_F degree_Fahrenheit deg_F"
_LENGTHS = {
    "1": "m meter meters metre metres",
    "1000": "km kilometer kilometers kilometre kilometres",
    "1609.344": "mi mile miles",
    "0.3048": "ft foot feet",
    "0.01": "cm centimeter centimeters",
}
_TIMES = {1: "s sec second", 60: "min minute", 3600: "h hr hour"}


def _entries() -> Iterator[tuple[str, Unit]]:
    for dimension, factor, names in _OTHERS:
        for name in names.split():
            yield name, Unit(dimension, Fraction(factor))
    for short, (long, prefix) in _PREFIXES.items():
        for symbol, word, dimension, factor in _PREFIXED:
            spellings = {word, word[:-2] + "re"} if word.endswith("er") else {word}
            for name in (short + symbol, *(f"{long}{one}{plural}" for one in spellings for plural in ("", "s"))):
                yield name, Unit(dimension, Fraction(prefix) * Fraction(factor))
        metre = Fraction(prefix)
        words = [f"{long}meter", f"{long}meters", f"{long}metre", f"{long}metres"]
        for name in (f"{short}m^2", f"{short}m2", f"sq_{short}m", *(f"square_{word}" for word in words)):
            yield name, Unit("area", metre**2)
        for name in (f"{short}m^3", f"{short}m3", f"cu_{short}m", *(f"cubic_{word}" for word in words)):
            yield name, Unit("volume", metre**3)
    for length, lengths in _LENGTHS.items():
        for seconds, times in _TIMES.items():
            for name in (f"{one}{per}{time}" for one in lengths.split() for time in times.split() for per in _PER):
                yield name, Unit("speed", Fraction(length) / seconds)
    for name in _CELSIUS.split():
        yield name, Unit("temperature", Fraction(1), Fraction("273.15"))
    for name in _FAHRENHEIT.split():
        yield name, Unit("temperature", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9))


_PER = ("/", "_/_", "_per_")
_UNITS: dict[str, tuple[Unit, ...]] = {}
for _name, _unit in _entries():
    _spelled = _name.replace("_", " ")
    _UNITS[_spelled] = (*_UNITS.get(_spelled, ()), _unit)
_ANY_CASE = {name.casefold(): units for name, units in _UNITS.items() if len(name) > 3 or name.casefold() == name}

NAMES = tuple(sorted(_UNITS, key=len, reverse=True))


def units_named(name: str) -> tuple[Unit, ...]:
    """Return the meanings of a unit's name; () if it is not known."""
    name = " ".join(name.split())
    return _UNITS.get(name) or _UNITS.get(name.rstrip(".")) or _ANY_CASE.get(name.casefold().rstrip("."), ())
