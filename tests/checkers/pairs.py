"""Pairs of answers that are equal or unequal by construction, in 50 forms, for test_pairs.py.

Each form draws a value, writes it in two ways, and writes a near miss: another value in one of the same ways. Nothing
here uses the code under test.
"""

from __future__ import annotations

import calendar
import random
import unicodedata
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

from orcac.checkers import Item


class Pair(NamedTuple):
    form: str
    first: str
    second: str
    equal: bool
    item: Item


Form = Callable[[random.Random], tuple[str, str, str]]  # an answer, the same answer, another answer

FORMS: dict[str, Form] = {}
OPTIONS: dict[str, tuple[str, ...]] = {}

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = "apple river stone cloud window garden silver basket candle mirror pepper ladder saddle"
_NAMES = "Paris,Rome,New York,St. Louis,Mount Fuji,the Nile,Marie Curie,J. R. R. Tolkien,Côte d'Ivoire,Zürich"
MONTHS = list(calendar.month_name)[1:]
ONES, TENS, WORDS, NAMES = _ONES.split(), _TENS.split(), _WORDS.split(), _NAMES.split(",")


def form(function: Form) -> Form:
    FORMS[function.__name__] = function
    return function


def in_words(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" and {in_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    rest = number % 1000
    joint = " and " if 0 < rest < 100 else " "
    return f"{in_words(number // 1000)} thousand{joint + in_words(rest) if rest else ''}"


def other(rng: random.Random, number: int) -> int:
    """Return another number that looks alike: a neighbour, ten times as much, or with two digits swapped."""
    digits = list(str(number))
    if len(digits) > 1 and digits[0] != digits[1] and digits[1] != "0":
        digits[0], digits[1] = digits[1], digits[0]
    swapped = int("".join(digits))
    return rng.choice([n for n in (number + 1, number * 10, max(0, number - 1), swapped) if n != number])


# --- numbers


@form
def thousands_comma(rng):
    n = rng.randint(1000, 9_999_999)
    return f"{n:,}", str(n), f"{other(rng, n):,}"


@form
def thousands_space(rng):
    n = rng.randint(10_000, 9_999_999)
    return f"{n:,}".replace(",", rng.choice([" ", "\u00a0", "\u202f"])), str(n), f"{other(rng, n):,}"


@form
def thousands_latex(rng):
    n = rng.randint(1000, 999_999)
    return f"{n:,}".replace(",", "{,}"), f"${n}$", f"{other(rng, n):,}".replace(",", "{,}")


@form
def european(rng):
    n, cents = rng.randint(1000, 999_999), rng.randint(1, 99)
    return f"{n:,}".replace(",", ".") + f",{cents:02}", f"{n}.{cents:02}", f"{n}.{(cents % 99) + 1:02}"


@form
def trailing_zeros(rng):
    n = rng.randint(1, 999)
    return f"{n}.0", rng.choice([str(n), f"{n}.00"]), f"{n}.1"


@form
def negative(rng):
    n = rng.randint(1, 999)
    return f"-{n}", rng.choice([f"\u2212{n}", f"\u2013{n}", f"minus {n}", f"$-{n}$"]), str(n)


@form
def fraction_decimal(rng):
    bottom = rng.choice([2, 4, 5, 8, 10, 20, 25])
    top = rng.randint(1, 3 * bottom)
    value = Fraction(top, bottom)
    return f"{top}/{bottom}", f"{float(value):g}", f"{float(value) + rng.choice([0.5, 0.1]):g}"


@form
def fraction_latex(rng):
    top, bottom = rng.randint(1, 60), rng.randint(2, 60)
    return f"\\frac{{{top}}}{{{bottom}}}", f"{top}/{bottom}", f"\\dfrac{{{top + 1}}}{{{bottom}}}"


@form
def fraction_reduced(rng):
    top, bottom, factor = rng.randint(1, 12), rng.randint(2, 12), rng.randint(2, 9)
    return f"{top * factor}/{bottom * factor}", f"{top}/{bottom}", f"{top}/{bottom + 1}"


@form
def fraction_rounded(rng):
    top, bottom = rng.choice([(1, 3), (2, 3), (1, 6), (5, 6), (1, 7), (2, 9), (4, 11)])
    return f"{top}/{bottom}", f"{top / bottom:.4f}", f"{top / bottom + 0.001:.4f}"


@form
def mixed_number(rng):
    whole, bottom = rng.randint(1, 20), rng.choice([2, 4, 5, 8])
    top = rng.randint(1, bottom - 1)
    return f"{whole} {top}/{bottom}", f"{whole + top / bottom:g}", f"{whole}/{bottom}"


@form
def vulgar_fraction(rng):
    sign, value = rng.choice([("½", 0.5), ("¼", 0.25), ("¾", 0.75)])
    whole = rng.randint(1, 30)
    return f"{whole}{sign}", f"{whole + value:g}", f"{whole + value + 0.1:g}"


@form
def scientific(rng):
    digits, power = rng.randint(11, 99), rng.randint(2, 9)
    n = digits * 10 ** (power - 1)
    return f"{digits / 10:g}e{power}", str(n), f"{digits / 10:g}e{power + 1}"


@form
def scientific_times(rng):
    digits, power = rng.randint(11, 99), rng.randint(2, 6)
    times = rng.choice([" × 10^{}", " x 10^{}", " \\times 10^{{{}}}", "*10^{}"]).format(power)
    return f"{digits / 10:g}{times}", f"{digits * 10 ** (power - 1):,}", f"{digits / 10:g}"


@form
def words(rng):
    n = rng.randint(0, 99)
    return in_words(n), str(n), in_words(other(rng, n) % 100 if other(rng, n) % 100 != n else n + 1)


@form
def big_words(rng):
    n = rng.randint(101, 99_999)
    return in_words(n), f"{n:,}", in_words(n + 1)


@form
def magnitude(rng):
    n = rng.randint(11, 99)
    name, factor = rng.choice([("million", 10**6), ("thousand", 1000), ("billion", 10**9)])
    return f"{n / 10:g} {name}", str(n * factor // 10), f"{n / 10:g}"


@form
def ordinal(rng):
    n = rng.randint(4, 12)
    names = ["fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"]
    return f"{n}th", names[n - 4], names[(n - 3) % 9]


@form
def digits_of_other_scripts(rng):
    n = rng.randint(10, 99_999)
    zero = rng.choice([0x0660, 0x06F0, 0x0966, 0xFF10])
    return "".join(chr(zero + int(digit)) for digit in str(n)), str(n), str(other(rng, n))


@form
def equation(rng):
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    return rng.choice([f"{a} + {b} = {a + b}", f"x = {a + b}"]), str(a + b), f"{a} + {b} = {a + b + 1}"


@form
def noun(rng):
    n = rng.randint(2, 99)
    thing = rng.choice(["apples", "pens", "boxes", "children"])
    return f"{n} {thing}", rng.choice([str(n), f"{in_words(n)} {thing}"]), f"{n + 1} {thing}"


@form
def noun_differs(rng):
    n = rng.randint(2, 99)
    return f"{n} apples", f"{n} apples left", f"{n} oranges"


# --- percentages, money, units


@form
def percent_word(rng):
    n = rng.randint(1, 99)
    return f"{n}%", rng.choice([f"{n} percent", f"{n} %", f"{n}\\%"]), str(n)


@form
def percent_fraction(rng):
    n = rng.randint(1, 99)
    return f"{n}%", f"{n / 100:g}", f"{n / 10:g}"


@form
def dollars(rng):
    n = rng.randint(1, 5000)
    return f"${n:,}", rng.choice([f"{n} dollars", f"${n}.00", f"USD {n}", f"\\${n}"]), f"€{n}"


@form
def cents(rng):
    n = rng.randint(1, 99)
    return f"$0.{n:02}", f"{n} cents", f"{n} dollars"


@form
def euros(rng):
    n = rng.randint(1, 5000)
    return f"€{n}", rng.choice([f"{n} euros", f"{n} €", f"EUR {n}"]), f"£{n}"


UNITS = [
    ("km", "m", 1000),
    ("m", "cm", 100),
    ("kg", "g", 1000),
    ("hours", "minutes", 60),
    ("L", "mL", 1000),
    ("feet", "inches", 12),
]


@form
def converted(rng):
    big, small, factor = rng.choice(UNITS)
    n = rng.randint(1, 60)
    return f"{n} {big}", f"{n * factor} {small}", f"{n} {small}"


@form
def unit_names(rng):
    short, long = rng.choice(
        [("km", "kilometers"), ("kg", "kilograms"), ("cm", "centimetres"), ("h", "hours"), ("mph", "miles per hour")]
    )
    n = rng.randint(2, 300)
    return f"{n} {short}", f"{n} {long}", f"{n} " + rng.choice(["miles", "pounds", "acres"])


@form
def unit_joined(rng):
    n = rng.randint(1, 300)
    unit = rng.choice(["km", "kg", "cm", "km/h"])
    return f"{n}{unit}", f"{n} {unit}", f"{n + 1} {unit}"


@form
def compound(rng):
    hours, minutes = rng.randint(1, 9), rng.randint(1, 59)
    return f"{hours} hours {minutes} minutes", f"{hours * 60 + minutes} minutes", f"{hours}.{minutes:02} hours"


@form
def squares(rng):
    n = rng.randint(1, 400)
    return f"{n} square meters", rng.choice([f"{n} m²", f"{n} m^2", f"{n}m^2"]), f"{n} m"


@form
def temperature(rng):
    n = 5 * rng.randint(1, 20)
    return f"{n} °C", rng.choice([f"{n * 9 // 5 + 32} °F", f"{n} degrees Celsius"]), f"{n} °F"


# --- dates and times


@form
def date_written(rng):
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1900, 2030)
    name = MONTHS[month - 1]
    wrong = MONTHS[month % 12]
    return (
        f"{day} {name} {year}",
        rng.choice([f"{name} {day}, {year}", f"{name[:3]} {day}, {year}"]),
        f"{day} {wrong} {year}",
    )


@form
def date_digits(rng):
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1900, 2030)
    return (
        f"{month:02}/{day:02}/{year}",
        rng.choice([f"{year}-{month:02}-{day:02}", f"{month}/{day}/{year}"]),
        f"{month:02}/{day + 1:02}/{year}",
    )


@form
def day_and_month(rng):
    day, month = rng.randint(1, 28), rng.randint(1, 12)
    name = MONTHS[month - 1]
    return f"{day} {name}", f"{name} {day}", f"{day} {MONTHS[month % 12]}"


@form
def time_of_day(rng):
    hour, minute = rng.randint(1, 11), rng.randint(0, 59)
    return (
        f"{hour}:{minute:02} pm",
        rng.choice([f"{hour + 12}:{minute:02}", f"{hour}:{minute:02} P.M."]),
        f"{hour}:{minute:02} am",
    )


@form
def time_differs(rng):
    hour, minute = rng.randint(1, 23), rng.randint(0, 59)
    return f"{hour}:{minute:02}", f"{hour:02}:{minute:02}", f"{hour}:{(minute + 15) % 60:02}"


# --- expressions


@form
def polynomial(rng):
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    return f"(x+{a})(x+{b})", f"x^2 + {a + b}x + {a * b}", f"x^2 + {a + b}x + {a * b + 1}"


@form
def expression_order(rng):
    a, b = rng.randint(2, 9), rng.randint(1, 9)
    return f"{a}x + {b}y", f"{b}y + {a}x", f"{a}y + {b + a}x"


@form
def root(rng):
    a, b = rng.randint(2, 9), rng.choice([2, 3, 5, 7])
    return f"{a}\\sqrt{{{b}}}", rng.choice([f"\\sqrt{{{a * a * b}}}", f"${a}\\sqrt{b}$"]), f"{a}\\sqrt{{{b + 1}}}"


@form
def pi(rng):
    a = rng.randint(2, 50)
    return f"{a}\\pi", rng.choice([f"{a}π", f"$\\pi \\cdot {a}$"]), f"{a + 1}\\pi"


@form
def tuples(rng):
    a, b = rng.sample(range(-20, 20), 2)
    return f"({a}, {b})", rng.choice([f"({a},{b})", f"\\left({a}, {b}\\right)"]), f"({b}, {a})"


# --- texts


@form
def case_and_spaces(rng):
    text = " ".join(rng.sample(WORDS, 3))
    return (
        text,
        rng.choice([text.upper(), text.title(), text.replace(" ", "  "), text + "."]),
        " ".join(rng.sample(WORDS, 4)),
    )


@form
def markup(rng):
    text = rng.choice(NAMES)
    return (
        text,
        rng.choice([f"**{text}**", f'"{text}"', f"“{text}”", f"\\text{{{text}}}", f"{text}."]),
        rng.choice(WORDS),
    )


@form
def lists(rng):
    chosen = rng.sample(WORDS, 4)
    second = rng.choice(
        [
            ", ".join(chosen),
            "\n".join(f"{i}. {w}" for i, w in enumerate(chosen, 1)),
            "\n".join(f"- {w}" for w in chosen),
        ]
    )
    return " ".join(chosen), second, " ".join([chosen[1], chosen[0], *chosen[2:]])


@form
def brackets(rng):
    chosen = [rng.choice("()[]{}<>") for _ in range(rng.randint(2, 6))]
    wrong = [*chosen[:-1], next(b for b in ")]}>" if b != chosen[-1])]
    return " ".join(chosen), "  ".join(chosen), " ".join(wrong)


@form
def composed(rng):
    text = rng.choice(["café", "Zürich", "naïve", "São Paulo", "crème brûlée"])
    return text, unicodedata.normalize("NFD", text), text[::-1]


# --- options


@form
def option_letters(rng):
    letter, wrong = rng.sample("ABCDE", 2)
    wide = chr(ord(letter) - ord("A") + 0xFF21)
    return (
        f"({letter})",
        rng.choice([letter, letter.lower(), f"{letter}.", f"{letter})", wide, f"（{wide}）", f"option {letter}"]),
        wrong,
    )


OPTIONS["option_letters"] = tuple(f"({letter})" for letter in "ABCDE")


@form
def option_words(rng):
    first, wrong = rng.sample(["valid", "invalid"], 2)
    return first, rng.choice([first.title(), f"**{first}**", f'"{first}"', first.upper()]), wrong


OPTIONS["option_words"] = ("valid", "invalid")


def generate(seed: int, count: int) -> Iterator[Pair]:
    """Yield `count` pairs: the forms in turn, equal and unequal ones in turn."""
    rng = random.Random(seed)
    names = list(FORMS)
    for index in range(count):
        name = names[index // 2 % len(names)]
        first, equal, unequal = FORMS[name](rng)
        item = Item(options=OPTIONS.get(name, ()))
        yield Pair(name, first, equal, True, item) if index % 2 else Pair(name, first, unequal, False, item)
