"""Units of measure and currencies: each name with its dimension, its factor and its offset to the dimension's base.

Names are matched in their own case where case matters ("mW" is not "MW"), else in any. "pounds" and "p" may mean mass or
money; a name with several meanings has several entries, and a comparison uses the one that fits.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit: a value v of it is `v * factor + offset` in the base of its dimension."""

    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)


def _table() -> dict[str, tuple[Unit, ...]]:
    found: dict[str, tuple[Unit, ...]] = {}

    def add(dimension: str, factor: str, names: str, offset: str = "0") -> None:
        unit = Unit(dimension, Fraction(factor), Fraction(offset))
        for name in names.split():
            found[name.replace("_", " ")] = (*found.get(name.replace("_", " "), ()), unit)

    metric = {"k": ("kilo", "1000"), "c": ("centi", "1/100"), "m": ("milli", "1/1000"), "": ("", "1")}
    for symbol, word, dimension, scale in (
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
    ):
        for short, (long, factor) in metric.items():
            words = f"{long}{word} {long}{word}s"
            if word.endswith("er"):
                words += f" {long}{word[:-2]}re {long}{word[:-2]}res"
            add(dimension, str(Fraction(factor) * Fraction(scale)), f"{short}{symbol} {words}")
    for area in ("", "k", "c", "m"):
        factor = Fraction(metric[area][1])
        names = [f"{area}m", f"{metric[area][0]}meter", f"{metric[area][0]}metre"]
        squares = [f"{names[0]}^2", f"{names[0]}2", f"sq_{names[0]}", *(f"square_{name}s" for name in names[1:])]
        cubes = [f"{names[0]}^3", f"{names[0]}3", f"cu_{names[0]}", *(f"cubic_{name}s" for name in names[1:])]
        add("area", str(factor**2), " ".join([*squares, *(f"square_{name}" for name in names[1:])]))
        add("volume", str(factor**3), " ".join([*cubes, *(f"cubic_{name}" for name in names[1:])]))
    add("length", "1/1000000", "um µm μm micron microns micrometer micrometers micrometre micrometres")
    add("length", "1/1000000000", "nm nanometer nanometers nanometre nanometres")
    add("length", "0.0254", "in inch inches")
    add("length", "0.3048", "ft foot feet")
    add("length", "0.9144", "yd yds yard yards")
    add("length", "1609.344", "mi mile miles")
    add("area", "0.09290304", "sq_ft ft^2 ft2 square_foot square_feet")
    add("area", "0.00064516", "sq_in in^2 in2 square_inch square_inches")
    add("area", "4046.8564224", "acre acres")
    add("area", "10000", "ha hectare hectares")
    add("volume", "1/1000", "l")
    add("volume", "1/1000000", "ml cc")
    add("volume", "1/100000", "cl")
    add("volume", "0.003785411784", "gal gallon gallons")
    add("volume", "0.000473176473", "pint pints")
    add("volume", "0.000946352946", "quart quarts")
    add("mass", "1000000", "t tonne tonnes metric_ton metric_tons")
    add("mass", "1/1000000", "µg μg mcg microgram micrograms")
    add("mass", "907184.74", "ton tons")
    add("mass", "453.59237", "lb lbs pound pounds")
    add("mass", "28.349523125", "oz ounce ounces")
    add("mass", "1000", "kilo kilos kgs")
    add("time", "1/1000", "ms millisecond milliseconds")
    add("time", "1", "s sec secs second seconds")
    add("time", "60", "min mins minute minutes")
    add("time", "3600", "h hr hrs hour hours")
    add("time", "86400", "day days")
    add("time", "604800", "week weeks")
    add("months", "1", "month months")
    add("months", "12", "year years yr yrs")
    add("months", "120", "decade decades")
    add("months", "1200", "century centuries")
    for length, metres in (("m", "1"), ("km", "1000"), ("mi", "1609.344"), ("ft", "0.3048"), ("cm", "0.01")):
        for time, seconds in (("s", 1), ("h", 3600), ("min", 60)):
            names = {"s": "s sec second", "h": "h hr hour", "min": "min minute"}[time].split()
            words = {"m": "m meter meters metre metres", "km": "km kilometer kilometers kilometre kilometres"}
            words |= {"mi": "mi mile miles", "ft": "ft foot feet", "cm": "cm centimeter centimeters"}
            pairs = [
                f"{one}{per}{name}" for one in words[length].split() for name in names for per in ("/", "_per_", "_/_")
            ]
            add("speed", str(Fraction(metres) / seconds), " ".join(pairs))
    add("speed", str(Fraction("1609.344") / 3600), "mph")
    add("speed", "5/18", "kph kmh kmph")
    add("temperature", "1", "K kelvin kelvins")
    add("temperature", "1", "°C C_degrees celsius degrees_Celsius degrees_C degree_Celsius deg_C °_C", "273.15")
    add("temperature", "5/9", "°F fahrenheit degrees_Fahrenheit degrees_F degree_Fahrenheit deg_F °_F", "45967/180")
    add("angle", "1", "° degree degrees deg")
    add("energy", "4.184", "cal calorie calories")
    add("energy", "4184", "kcal kilocalorie kilocalories")
    add("energy", "3600000", "kWh kilowatt-hour kilowatt-hours kilowatt_hours")
    add("power", "1000000", "MW megawatt megawatts")
    add("frequency", "1000000", "MHz megahertz")
    add("frequency", "1000000000", "GHz gigahertz")
    add("data", "1", "B byte bytes")
    add("data", "1/8", "bit bits")
    for index, prefix in enumerate("KMGT", start=1):
        word = ("kilobyte", "megabyte", "gigabyte", "terabyte")[index - 1]
        add("data", str(1000**index), f"{prefix}B {word} {word}s")
    add("data", "1000", "kB")
    add("USD", "1", "$ US$ USD dollar dollars US_dollar US_dollars bucks")
    add("USD", "1/100", "¢ cent cents")
    add("EUR", "1", "€ EUR euro euros")
    add("EUR", "1/100", "cent cents")
    add("GBP", "1", "£ GBP pound pounds pounds_sterling")
    add("GBP", "1/100", "p pence penny")
    add("JPY", "1", "¥ JPY yen")
    add("INR", "1", "₹ INR rupee rupees Rs Rs.")
    add("KRW", "1", "₩ KRW won")
    add("CNY", "1", "CNY RMB yuan")
    return found


_UNITS = _table()
_ANY_CASE = {name.casefold(): units for name, units in _UNITS.items() if len(name) > 3 or name.casefold() == name}


def units_named(name: str) -> tuple[Unit, ...]:
    """Return the meanings of a unit's name; () if it is not known."""
    name = " ".join(name.split())
    return _UNITS.get(name) or _UNITS.get(name.rstrip(".")) or _ANY_CASE.get(name.casefold().rstrip("."), ())


NAMES = tuple(sorted(_UNITS, key=len, reverse=True))
