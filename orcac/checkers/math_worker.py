"""The process that compares expressions with math-verify: lines of JSON in, lines of JSON out.

    ["x^2 - 1", "(x-1)(x+1)"]  ->  true      equal
                                   false     not equal
                                   null      one of them is no expression, or too hard

A process of its own, since sympy can take any time and any memory on a text that a model wrote: its parent kills it
after a while, and it limits its own memory here.
"""

from __future__ import annotations

import json
import resource
import sys

MEMORY_BYTES = 2 * 1024**3
SECONDS = 4  # for parsing a text, and for comparing


def main() -> None:
    """Answer each line of the standard input until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from math_verify import LatexExtractionConfig, parse, verify  # after the limit, which holds for what it loads

    latex = [LatexExtractionConfig()]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            parsed = [
                parse(f"${text}$", latex, fallback_mode="no_fallback", parsing_timeout=SECONDS) for text in json.loads(line)
            ]
            equal = verify(parsed[0], parsed[1], timeout_seconds=SECONDS) if all(parsed) else None
        except (MemoryError, RecursionError, ValueError, TypeError, ArithmeticError, AttributeError):
            equal = None
        sys.stdout.write(json.dumps(equal) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
