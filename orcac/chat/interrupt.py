"""SIGINT and SIGTERM as a request to finish: answers in flight are paid for, so they are worth a few seconds more.

One stop may arrive as several signals, for example if a whole process group is stopped and `orcac run` also forwards
the signal.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def halt_on_signals(halt: Callable[[BaseException], None], *, debounce_s: float = 1.0) -> Iterator[None]:
    """Call `halt` once, with a KeyboardInterrupt, on the first signal.

    Signals within `debounce_s` of the first count as the same stop. After that time, and at the end of the block, the
    previous handlers are restored, so another signal takes its usual effect. Outside the main thread, which alone can
    have signal handlers, the block runs without any.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, is_stopped = asyncio.get_running_loop(), False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)

    def stop(number: signal.Signals) -> None:
        nonlocal is_stopped
        if not is_stopped:
            is_stopped = True
            loop.call_later(debounce_s, restore)
            halt(KeyboardInterrupt(f"stopped by {number.name}; all answers in flight are kept"))

    for number in before:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        restore()
