"""Refusals: responses that decline to answer, recognised by their first sentence. A student would learn to decline.

A refusal opens with an excuse and an inability in one sentence ("I'm sorry, but I cannot ...", "As an AI language
model, I am unable to ...") or with the inability to help alone ("I can't assist with that"), and does not help after
all ("However, here is ..."). An excuse without an inability ("I'm sorry to hear that ...") is not a refusal.

Measured on the recorded answers to FLASK's 1,700 questions: 32 of GPT-4's match (1.9 %), 20 of ChatGPT's (1.2 %) and 1
of text-davinci-003's. Read one by one, two of the 53 answer after all (a coin toss, an election's date); the others
decline or ask back. The rule rather misses a refusal than rejects a good answer: refusals that are phrased differently
("That would be unethical") are kept.
"""

from __future__ import annotations

import re

_EXCUSE = (
    r"(?:(?:I['’]m|I am) (?:sorry|afraid)|sorry|(?:my )?apologies|I apologi[sz]e|unfortunately"
    r"|as an? (?:[\w-]+ ){0,3}(?:AI|artificial intelligence|language model))\b[^.!?\n]*?"
)
_UNABLE = (
    r"\bI ?(?:ca(?:n['’]?t|nnot|n not)|could(?:n['’]t| not)|won['’]t|will not"
    r"|(?:am|['’]m)(?: currently)? (?:unable|not able|not capable)"
    r"|do(?:n['’]t| not) have (?:access|the ability|enough|(?:any )?information))\b"
)
_TO_HELP = r" (?:to )?(?:assist|help|provide|answer|fulfil|comply|create|generate|write|complete|discuss|support)"
_REFUSAL = re.compile(rf"{_EXCUSE}{_UNABLE}|{_UNABLE}{_TO_HELP}", re.IGNORECASE)
_HELPS_STILL = re.compile(r"\b(?:however|nevertheless|that said|instead)\b|[,.] but\b", re.IGNORECASE)
_TURN_WITHIN = 400  # characters after the inability in which a turn to helping counts


def is_refusal(response: str) -> bool:
    """Return whether the response declines to answer."""
    text = response.strip()
    match = _REFUSAL.match(text)
    return match is not None and not _HELPS_STILL.search(text, match.end(), match.end() + _TURN_WITHIN)
