"""Tests of orcac/checkers/option/__init__.py, orcac/checkers/option/choices.py, orcac/checkers/option/denials.py,
orcac/checkers/option/reading.py, orcac/checkers/option/stated.py, orcac/checkers/option/concluded.py and
orcac/checkers/option/edges.py."""

import pytest

from orcac.checkers import CHECKERS, Item

option = CHECKERS["option"]
LETTERS = ("(A)", "(B)", "(C)", "(D)")
MANY = tuple(f"({letter})" for letter in "ABCDEFGHIJKLMNOPQR")
YES_NO = ("Yes", "No")
TRUTH = ("True", "False")
VALIDITY = ("valid", "invalid")
CITIES = ("Paris", "Rome", "Oslo")

STATED = [
    ("The right option is (D) since 4 > 3.", "(D)"),
    ("The best choice is therefore B: it fits.", "(B)"),
    ("Final Answer: **(B)**", "(B)"),
    ("Answer: **B. Mitosis**", "(B)"),
    ("## Final Answer\n(C) The butler", "(C)"),
    ("**Final answer**\n\nC", "(C)"),
    (r"\boxed{\textbf{(B)}}", "(B)"),
    (r"\boxed{B) 42}", "(B)"),
    (r"So either \boxed{A} or \boxed{B}.", ""),
    ("ANSWER: c", "(C)"),
    ("the correct answer is b)", "(B)"),
    ("<answer>\nB\n</answer>", "(B)"),
    ("<answer>B", "(B)"),
    ('```json\n{"answer": "D", "why": "(A) is out"}\n```', "(D)"),
    ("{'choice': 'b'}", "(B)"),
    ("The answer is `D`", "(D)"),
    ("Answer => C", "(C)"),
    ("Answer — C", "(C)"),
    ("The statement which must be true is (B).", "(B)"),
    ("The answer, I believe, is (D).", "(D)"),
    ("The answer (final): B", "(B)"),
    ("C is correct.", "(C)"),
    ("Answer D) broken law is the best answer, as it fits.", "(D)"),
    ("The answer is (A)... no, it is (D).", "(D)"),
    ("Answer: A\n\nHmm, let me recheck.\n\nAnswer: C", "(C)"),
    ("If the answer were (A), then x = 2. But x = 3, so the answer is (B).", "(B)"),
    ("If it rains, the answer is (A). If it snows, the answer is (B).", ""),
    ("The answer is B) Does not dissolve in water.", "(B)"),
    ("The correct answer is A large dog", ""),
    ("The answer is (E).", ""),
]
DENIED = [
    ("The answer isn't (A).", ""),
    ("The answer is not (B) but (D).", "(D)"),
    ("The answer is not A, B, or C, but D) water.", "(D)"),
    ("It can't be (A), hence (C).", "(C)"),
    ("(A) is not the answer. (B) is.", "(B)"),
    ("We can eliminate (A), (B), and (D), leaving (C).", "(C)"),
    ("(A), (B) and (D) can be ruled out. Only (C) is left.", "(C)"),
    ("Options A, B and C are false.", "(D)"),
    ("None of them is right except (C).", "(C)"),
    ("None of the options is correct.", ""),
]
SEVERAL = [
    ("The answers are (A) and (D).", ""),
    ("So the correct answer is A) red and C) blue.", ""),
    ("The correct answers are:\nA) red\nC) blue", ""),
    ("Either (B) or (C).", ""),
    ("(A), (B) and (C) are all correct.", ""),
    ("The answer would be a combination of (A) and (D).", ""),
    ("Both (A) and (D) are correct, but D) is the best answer.", "(D)"),
]
CONCLUDED = [
    ("After weighing (A) and (C), I'd choose (C).", "(C)"),
    ("This leaves us with option B, the red one.", "(B)"),
    ("A) red - unlikely\nB) blue - likely\n\nTherefore, the most plausible colour is B) blue.", "(B)"),
    ("A) red - unlikely\nB) blue - likely\n\nBased on this, he paints the wall (B). It dries fast.", "(B)"),
    ("(A) is red and (B) is blue. Therefore, the colour is:\n\nB) blue", "(B)"),
    ("A) It is red. This is not true.\nB) It is blue. This is the correct answer.\nC) It is green.", "(B)"),
    ("Paper is made from wood. The false claim is B) it is made of sand.", "(B)"),
    ("A man walks. A cat sleeps. So we pick C.", "(C)"),
    ("B\n\nIt fits. Therefore, C.", ""),
]
AT_THE_EDGE = [
    ("(C)\n\n(C)", "(C)"),
    ("D: gravity", "(D)"),
    ("D) gravity\nBecause A and B are too weak.", "(D)"),
    ("It makes small things look:\n\nD) distorted\n\nExplanation: it bends light.", "(D)"),
    ("A) red\nB) blue", ""),
    ("(A) no\n(B) yes\n(C) no\n(D) no", ""),
    ("Definitely B!", "(B)"),
    ("Vitamin C is best.", ""),
    ("R&D (D&A) is costly.", ""),
    ("", ""),
    ("...", ""),
]


@pytest.mark.parametrize(("response", "answer"), STATED + DENIED + SEVERAL + CONCLUDED + AT_THE_EDGE)
def test_letters(response: str, answer: str) -> None:
    assert option.read(response, Item(LETTERS)).value == answer


@pytest.mark.parametrize(
    ("response", "options", "answer"),
    [
        ("The answer is I", MANY, "(I)"),
        ("I believe the answer is (R).", MANY, "(R)"),
        ("Therefore, K.", MANY, "(K)"),
        ("No, you do not return, as there is no way back.", YES_NO, "No"),
        ("There is no doubt: yes.", YES_NO, "Yes"),
        ("*Yes*, he does, and no one denies it.", YES_NO, "Yes"),
        ("No one knows.", YES_NO, ""),
        ("So the expression evaluates to True.", TRUTH, "True"),
        ("It is false that this is true. The answer is true.", TRUTH, "True"),
        ("True. It is false to say otherwise.", TRUTH, "True"),
        ("True and False", TRUTH, ""),
        ("The argument is deductively valid, not invalid.", VALIDITY, "valid"),
        ("It is not deductively valid.", VALIDITY, "invalid"),
        ("The capital is Rome.", CITIES, "Rome"),
        ("The answer is Paris, not Rome.", CITIES, "Paris"),
        ("It is either Paris or Rome.", CITIES, ""),
        ("Option 2", CITIES, "Rome"),
        ("The answer is option 2.", CITIES, "Rome"),
        ("So 3 - 2 = 1.\n#### 1", CITIES, ""),  # a result, since these options have no numbers
        ("The answer is 2.", CITIES, ""),
        ("\\boxed{1}", ("(1)", "(2)"), "(1)"),
        ("#### 2", ("Choice 1: Paris", "Choice 2: Rome"), "Choice 2: Rome"),
        ("The answer is Sentence B.", ("Sentence A: It rains.", "Sentence B: It pours."), "Sentence B: It pours."),
        (
            "It pours, as the radio reports. So: B",
            ("Sentence A: It rains.", "Sentence B: It pours."),
            "Sentence B: It pours.",
        ),
        ("Sentence A", ("Sentence A", "Sentence B"), "Sentence A"),
        ("B) Rome", CITIES, "Rome"),
        ("The answer is none of the above.", ("Paris", "None of the above"), "None of the above"),
        ("The answer is 12.", ("1", "2", "12"), "12"),
        ("The answer is 1.5", ("1", "5"), ""),
        ("12/12/2020", ("12/12/2020", "12/12/2021"), "12/12/2020"),
    ],
)
def test_words(response: str, options: tuple[str, ...], answer: str) -> None:
    assert option.read(response, Item(options)).value == answer


@pytest.mark.parametrize(
    ("response", "options", "answer"),
    [
        ("Ｂ", LETTERS, "(B)"),
        ("（Ｃ）", LETTERS, "(C)"),
        ("\U0001d401", LETTERS, "(B)"),  # a bold letter of mathematics
        ("🅱", LETTERS, "(B)"),
        ("答案是：B", LETTERS, "(B)"),
        ("\u200fالإجابة الصحيحة هي (ب)\u200f", ("(أ)", "(ب)", "(ج)"), "(ب)"),
        ("التحليل: (أ) خطأ. الإجابة: (ب)", ("(أ)", "(ب)", "(ج)"), "(ب)"),
        ("התשובה היא ג", ("א", "ב", "ג"), "ג"),
        ("Ответ: (Б)", ("(А)", "(Б)", "(В)"), "(Б)"),
        ("(٢)", ("(1)", "(2)", "(3)"), "(2)"),
        ("The answer is (C).", ("(A)", "(C)", "(B)", "(D)"), "(C)"),  # out of order
        ("The answer is (C).", ("(A)", "(B)", "(D)"), ""),  # missing
        ("The answer is D.", ("(A)", "(B)", "(D)"), "(D)"),
    ],
)
def test_letters_of_any_width_script_order(response: str, options: tuple[str, ...], answer: str) -> None:
    assert option.read(response, Item(options)).value == answer


@pytest.mark.parametrize(
    "query",
    [
        "Which?\n(A) the red box\n(B) the box",
        "Which? Answer Choices: (A)the red box (B)the box\nA: Among A and B",
    ],
)
def test_texts_of_letters_are_read_from_the_query(query: str) -> None:
    item = Item(("(A)", "(B)"), query=query)
    assert option.read("It must be the red box.", item).value == "(A)"
    assert option.read("The answer is the box.", item).value == "(B)"
    assert option.read("The answer is (A) the box.", item).outcome != "unparsed"
    assert option.same("the red box", "A", item)


def test_a_value_is_the_option_that_has_it() -> None:
    item = Item(LETTERS, query="How fast?\n(A) 24 km/h\n(B) 42 km/h\n(C) 42 m\n(D) 1,200")
    assert option.read("So the answer is 42 km/h, since 84 / 2 = 42.", item).value == "(B)"
    assert option.read("\\boxed{1200}", item).value == "(D)"
    assert option.read("The answer is 42.", item).value == ""  # two of them are
    assert option.read("The answer is 7.", item).value == ""


def test_two_answers_are_told_from_none() -> None:
    assert option.read("(A) or (B)", Item(LETTERS)).outcome == "ambiguous"
    assert option.read("I do not know.", Item(LETTERS)).outcome == "unparsed"


@pytest.mark.parametrize("text", ["(B)", "B", "b", "b.", "[B]", "**B**", "option B", "Ｂ"])
def test_spellings_of_one_option(text: str) -> None:
    assert option.same(text, "(B)", Item(LETTERS)) and not option.same(text, "(A)", Item(LETTERS))
