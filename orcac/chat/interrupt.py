"""SIGINT and SIGTERM as a request to finish: what is in flight is paid for and worth a few seconds more.

One request may come as several signals: of whoever stops a whole process group, and of `orcac run`, which hands it on.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ONE_S = 1.0  # signals within so long are one


@contextmanager
def halt_on_signals(halt: Callable[[BaseException], None]) -> Iterator[None]:
    """Call `halt` with a KeyboardInterrupt on the first signal.

    From a second later on, and at the end, the handlers are as they were before: another signal does what it always
    did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can have signal handlers
        return
    loop, stopped = asyncio.get_running_loop(), False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)

    def stop(number: signal.Signals) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            loop.call_later(_ONE_S, restore)
            halt(KeyboardInterrupt(f"stopped by {number.name}; what was in flight is kept"))

    for number in before:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        restore()
