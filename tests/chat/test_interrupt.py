"""Tests of orcac/chat/interrupt.py."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from orcac.chat.interrupt import halt_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_of_one_stop_halt_once_and_a_later_one_takes_its_usual_effect(number: signal.Signals) -> None:
    reasons: list[BaseException] = []
    caught: list[int] = []
    before = signal.signal(number, lambda caught_number, frame: caught.append(caught_number))

    async def send(count: int) -> None:
        for _ in range(count):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.02)

    async def go() -> None:
        with halt_on_signals(reasons.append, debounce_s=3600):
            await send(3)
            assert [str(reason).split(";")[0] for reason in reasons] == [f"stopped by {number.name}"] and not caught
        with halt_on_signals(reasons.append, debounce_s=0):
            await send(1)
            assert len(reasons) == 2 and not caught
            await send(1)
            assert len(reasons) == 2 and caught == [number]

    try:
        usual = signal.getsignal(number)
        asyncio.run(go())
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_another_thread_runs_without_handlers() -> None:
    async def go() -> None:
        with halt_on_signals(lambda reason: None):
            pass

    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(go())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors
