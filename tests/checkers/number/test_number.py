"""Tests of orcac/checkers/number/__init__.py, orcac/checkers/number/quantity.py, orcac/checkers/number/units.py,
orcac/checkers/number/moment.py and orcac/checkers/number/words.py."""

import pytest

from orcac.checkers import CHECKERS, Item

number = CHECKERS["number"]


@pytest.mark.parametrize(
    ("response", "reference", "value"),
    [
        (r"\boxed{-3}", "-3", "-3"),
        ("The answer is $1,234.50.", "1234.5", "1234.5"),
        ("#### 1,200", "1200", "1200"),
        ("Answer: fifty percent", "50", "50"),
        ("He paid 25%.", "0.25", "0.25"),  # beside a share, a percentage is one
        ("So, 3 x 4 = **12** eggs", "12", "12"),
        ('{"answer": 12}', "12", "12"),
        ("The answer is that he has seven pens left.", "7", "7"),
        ("There were 10 birds and 2 left. 8 remain.", "8", "8"),
        ("Thus 7 days pass.\nHope that helps!", "7", "7"),
        (r"x = \frac{3}{4}", "0.75", "0.75"),
        ("The answer is 8 out of 10.", "8", "8"),
        ("The answer is not 11. It is 12.", "12", "12"),
        ("The answer is the one on the left.", "1", ""),
        ("The answer is 3 or 4.", "3", ""),
        ("The total is 3 + 4", "7", ""),
        ("The answer is 5 apples and 3 pears.", "5", ""),
        ("So x = 3 and y = 4.", "4", ""),
        ("<think>The answer is 13", "13", ""),
        ("It is 12.\n\nQ: What is 5 + 5?\nA: 10", "12", "12"),
        ("1. apple\n2. berry\n3. cedar", "3", ""),  # numbers of a list
        ("١٢", "12", "12"),
        ("The answer is 5 km.", "5", "5"),
        ("The answer is 5 km.", "5000 m", "5 km"),
        ("So it takes 3 hours and 20 minutes.", "200 minutes", "3 hours and 20 minutes"),
        ("The flight lands at 3:45 pm.", "15:45", "3:45 pm."),
        ("It was on June 10th, 2021, a Thursday.", "10 June 2021", "June 10th, 2021"),
        ("It is 10 or 11 June.", "10 June", ""),
        ("It was on 05/07/2021.", "May 7, 2021", ""),
        ("It was on 05/07/2021.", "05/08/2021", "05/07/2021"),
        ("It was on 13/07/2021.", "July 13, 2021", "13/07/2021"),
        ("9" * 100_000, "9", ""),
    ],
)
def test_reading(response: str, reference: str, value: str) -> None:
    assert number.read(response, Item(reference=reference)).value == value


@pytest.mark.parametrize(
    "spellings",
    [
        [
            "1200",
            "1,200",
            "1 200",
            "1.200,00",
            "1'200",
            "1{,}200",
            "1.2e3",
            "1.2 × 10^3",
            "12 hundred",
            "twelve hundred",
        ],
        ["0.75", ".75", "3/4", r"\frac34", "75%", "75 per cent", "three quarters", "¾"],
        ["2.5", "2 1/2", "2½", "two and a half", "5/2", "2,5"],
        ["90 minutes", "1.5 hours", "1 hour 30 minutes", "1h30", "one and a half hours", "5400 s"],
        ["$5.20", "5 dollars and 20 cents", "520 cents", "US$5.20", r"\$5.20"],
        ["5 ft 10 in", "5'10\"", "70 inches"],
        ["10 m/s", "36 km/h", "36 kilometers per hour"],
        ["100 °C", "212 °F", "100 degrees Celsius"],
        ["10 June 2021", "June 10, 2021", "06/10/2021", "2021-06-10", "10.6.2021", "Thursday, 10 June 2021"],
        ["3:45 pm", "15:45", "15:45:00", "quarter to four pm"],
        ["12:00", "noon", "12 p.m."],
        ["3rd", "third", "the third"],
        ["1/3", "0.3333", "33.33%"],
        ["12 apples", "twelve apples", "12", "12 apples left"],
    ],
)
def test_spellings_of_one_quantity(spellings: list[str]) -> None:
    assert [other for other in spellings if not number.same(spellings[0], other, Item())] == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("5 km", "5 m"),
        ("10 %", "10"),
        ("10 %", "10 kg"),
        ("3:45", "3:30"),
        ("3:45 am", "3:45 pm"),
        ("10 June", "10 July"),
        ("10 June 2021", "10 June"),
        ("1e3", "1.0"),
        ("5 mW", "5 MW"),
        ("$5", "€5"),
        ("5 apples", "5 pears"),
        ("12,00", "1200"),
        ("2/3", "0.66"),
        ("2", "-2"),
        ("1 hour 30 minutes", "1.3 hours"),
        ("5!", "5"),
        ("2**10", "210"),
        ("3-5", "3"),
        ("", ""),
    ],
)
def test_unequal(first: str, second: str) -> None:
    assert not number.same(first, second, Item()) and not number.same(second, first, Item())


def test_pounds_are_mass_or_money() -> None:
    assert number.same("5 pounds", "5 lb", Item()) and number.same("5 pounds", "£5", Item())
    assert not number.same("5 lb", "£5", Item())
