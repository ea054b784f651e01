"""The embedded judge: reviews of answers with biases that the request states, as text that any parser of reviews reads.

It finds the question and the answers in the slots of the prompt (`orcac.slots`). Each answer has a quality from 4 to 8
points, in steps of 0.5, that depends on the two texts alone. On a puzzle that the solver knows, these are 4 points, 2
for the right answer and up to 2 for the explanation: the share of the solver's steps that are lines of it. On any other
question a digest of the texts draws them. To this come `first` points for the answer that is shown first and `longer`
points for the longer one; the sum is kept within 1 and 10. A share `prose` of the reviews states no score.

So a test can put a bias in and look whether it is found: with biases of up to 2 points in all, no score is clipped.

The form of a review follows the prompt's own words: verdicts if they contain [[A]], else a rating if there is one
answer, else a tuple at the end if they ask for one, else two scores on the first line.
"""

from __future__ import annotations

import hashlib

from orcac.checkers import final_answer
from orcac.puzzles import solve
from orcac.slots import read_slots, strip_slots

__all__ = ["write_review"]

_PROSE = "Both texts address the question, and each has its merits. It would not be fair to reduce them to a number."


def write_review(prompt: str, *, first: float = 0.0, longer: float = 0.0, prose: float = 0.0) -> str | None:
    """Return the review that a prompt asks for; None if it has no slots with a question and answers."""
    slots = read_slots(prompt)
    names = ["answer"] if "answer" in slots else ["answer_1", "answer_2"]
    if "question" not in slots or not all(name in slots for name in names):
        return None
    if _draw("prose", prompt) < prose:
        return _PROSE
    answers = [slots[name] for name in names]
    points = [_rate(slots["question"], answer) for answer in answers]
    if len(answers) == 2:
        points[0] += first
        if len(answers[0]) != len(answers[1]):
            points[len(answers[0]) < len(answers[1])] += longer
    points = [min(10.0, max(1.0, value)) for value in points]
    return _word(points, strip_slots(prompt))


def _word(points: list[float], instructions: str) -> str:
    shown = [f"{value:g}" for value in points]
    if len(points) == 1:
        return f"The answer was compared with a solution of the question.\nRating: [[{shown[0]}]]"
    if "[[A]]" in instructions:
        verdict = "C" if points[0] == points[1] else "A" if points[0] > points[1] else "B"
        return f"Both answers were compared with a solution of the question.\n[[{verdict}]]"
    if "tuple" in instructions:
        return f"The question was solved first, and then both answers were compared.\nScores: ({', '.join(shown)})"
    return f"{' '.join(shown)}\nBoth answers were compared with a solution of the question."


def _rate(question: str, answer: str) -> float:
    """Return the quality of an answer, from 4 to 8 points."""
    solution = solve(question)
    if solution is None:
        return 4 + round(8 * _draw(question, answer)) / 2
    is_right = final_answer(answer, ()).casefold() == solution.answer.casefold()
    steps = [*solution.steps, solution.right.step]
    lines = {line.strip() for line in answer.splitlines()} - {""}
    stated = sum(not lines.isdisjoint((step.full, step.brief)) for step in steps)
    return 4 + 2 * is_right + round(4 * stated / len(steps)) / 2


def _draw(*texts: str) -> float:
    """Return a number in [0, 1) that the texts determine."""
    digest = hashlib.sha256("\x1f".join(texts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
