r"""Plain text: a value without the markup of Markdown and LaTeX, for reading it as a number, a date or words."""

from __future__ import annotations

import re

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅒": "1/10",
}  # fmt: skip
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|rm|it|tt)?|math(?:rm|bf|it|sf)?|mbox|boxed|operatorname|emph|underline)\s?\{([^{}]{0,2000})\}"
)
_FRACTION = re.compile(
    r"(?P<whole>\d)?\s?\\[dtc]?frac\s?(?:\{\s?(?P<n>-?[\d.,]{1,40})\s?\}\s?\{\s?(?P<d>[\d.,]{1,40})\s?\}|(?P<n1>\d)\s?(?P<d1>\d))"
)
_COMMANDS = (
    (re.compile(r"\\(?:left|right|displaystyle|big|Big|bigl|bigr|limits)(?![a-zA-Z])\s?"), ""),
    (re.compile(r"\\[,;!: ]|(?<!\\)~"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![a-zA-Z])|\\circ(?![a-zA-Z])"), "°"),
    (re.compile(r"\\times(?![a-zA-Z])"), "×"),
    (re.compile(r"\\cdot(?![a-zA-Z])"), "·"),
    (re.compile(r"\\div(?![a-zA-Z])"), "÷"),
    (re.compile(r"\\approx(?![a-zA-Z])"), "≈"),
    (re.compile(r"\\(?:euro|EUR)(?![a-zA-Z])"), "€"),
    (re.compile(r"\\pounds(?![a-zA-Z])"), "£"),
    (re.compile(r"\\([%$&#_])"), r"\1"),
    (re.compile(r"\^\{(-?\d{1,6})\}"), r"^\1"),
    (re.compile(r"\\[()\[\]]"), " "),
)
_BOLD = re.compile(r"^\*\*|\*\*$|(?<![\w)\s])\*\*|\*\*(?![\w(\s])|(?<=\s)\*\*(?=\S)|(?<=\S)\*\*(?=\s)|__")
_OUTER = " \t\n*_`\"'"


def plain(text: str) -> str:
    """Return a folded value without markup: "**$\\frac{3}{4}$**" is "3/4". Dollars that mean money stay."""
    text = _BOLD.sub("", text).replace("`", "").strip(_OUTER)
    if "\\" in text or "{" in text:
        for _ in range(3):  # wrappers in wrappers
            text = _WRAPPER.sub(r"\1", text)
        text = _FRACTION.sub(_plain_fraction, text)
        for pattern, plain_form in _COMMANDS:
            text = pattern.sub(plain_form, text)
    if not text.isascii():
        for sign, fraction in _VULGAR.items():
            text = re.sub(rf"(?<=\d)\s?{sign}", f" {fraction}", text).replace(sign, fraction)
        text = _SUPERSCRIPT.sub(lambda match: "^" + match[0].translate(_SUPERSCRIPTS), text)
    inner = text.strip(_OUTER)
    for _ in range(4):  # a text of dollars alone would take a round for each of them
        if not (len(inner) > 2 and inner[0] == "$" and inner[-1] == "$" and "$" not in inner[1:-1].strip("$")):
            break
        inner = inner[1:-1].strip(_OUTER)
    if inner.count("$") == 2 and not re.match(r"\$\s?[\d.]", inner):
        inner = inner.replace("$", " ")
    return " ".join(inner.split()).strip(_OUTER)


def _plain_fraction(match: re.Match[str]) -> str:
    fraction = f"{match['n'] or match['n1']}/{match['d'] or match['d1']}"
    return f"{match['whole']} {fraction}" if match["whole"] else fraction
