"""The process that compares expressions with math-verify: lines of JSON in, lines of JSON out.

    ["x^2 - 1", "(x-1)(x+1)"]  ->  true      equal
                                   false     not equal
                                   null      one of them is no expression, or too hard

A process of its own, since sympy can take any time and any memory on a text that a model wrote. Its limits are of CPU
time and memory, so that a busy machine gives the same answers as an idle one: math-verify's own limits are of wall
time and are turned off. A pair that outlasts even the interrupt (in one huge power, say) ends the process.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType

MEMORY_BYTES = 2 * 1024**3
SECONDS = 3  # of CPU time for one pair


class TooLong(BaseException):
    """The end of a pair's CPU time. No handler of an `Exception` in sympy may stop it."""


def main() -> None:
    """Answer each line of the standard input until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _interrupt)
    compare = _load()
    _answer(compare, "x^2", "x^2")  # the first use builds tables for seconds
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(compare, *json.loads(line))), flush=True)


def _answer(compare: Callable[[str, str], bool | None], first: str, second: str) -> bool | None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    last = int(used.ru_utime + used.ru_stime) + 2 * SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (last, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return compare(first, second)
    except (TooLong, MemoryError, RecursionError):
        return None
    except Exception:  # whatever sympy raises on a text that is no expression
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise TooLong


def _load() -> Callable[[str, str], bool | None]:
    from math_verify import LatexExtractionConfig, parse, verify  # after the limits, which then hold for its imports

    latex = [LatexExtractionConfig()]

    def compare(first: str, second: str) -> bool | None:
        parsed = [parse(f"${text}$", latex, "no_fallback", parsing_timeout=0) for text in (first, second)]
        return bool(verify(parsed[0], parsed[1], timeout_seconds=None)) if all(parsed) else None

    return compare


if __name__ == "__main__":
    main()
