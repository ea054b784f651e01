"""A headless Chromium for tests of pages, driven over its DevTools protocol with the HTTP client that orcac has."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from patience import PATIENCE_S

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


class Browser:
    """One tab. `problems` has every console error, exception and refused load since the last `open`."""

    def __init__(self, runner: asyncio.Runner, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._runner, self._socket = runner, socket
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        self._loaded = False

    async def _send(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._next()
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]

    async def _next(self) -> dict[str, Any]:
        message = await self._socket.receive_json(timeout=PATIENCE_S)
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.problems.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.problems.append(str(params["entry"]["text"]))
            case "Page.loadEventFired":
                self._loaded = True
        return message

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        return self._runner.run(self._send(method, **params))

    def open(self, address: str, width: int = 1400, height: int = 900, *, dark: bool = False) -> None:
        """Open a page in a window of this size, and wait until it is loaded."""
        self.problems.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])
        for place in ("about:blank", address):  # an address that differs in its fragment alone would load nothing
            self._runner.run(self._navigate(place))

    async def _navigate(self, address: str) -> None:
        self._loaded = False
        await self._send("Page.navigate", url=address)
        while not self._loaded:
            await self._next()

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; of a promise, the value that it is resolved with."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        poll = (
            f"new Promise(done => {{const look = () => ({expression}) ? done(true) : setTimeout(look, 20); look();}})"
        )
        assert self.evaluate(poll)

    def wait_for_reload(self, expression: str) -> None:
        """Wait until an expression is true, on a page that may be loaded anew meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(AssertionError):  # the page is being left
                found = self.call("Runtime.evaluate", expression=f"!!({expression})", returnByValue=True)
                if found["result"].get("value") is True:
                    return
            assert time.monotonic() < end, f"not true: {expression}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(shot["data"]))

    def print_pdf(self, path: Path) -> None:
        """Write the page as it prints."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Yield a browser with its profile in `folder`."""
    assert CHROMIUM
    line = [CHROMIUM, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"]
    line += ["--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    line += ["--no-sandbox"] if os.geteuid() == 0 else []
    process = subprocess.Popen([*line, "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr
    try:
        found = next(filter(None, (re.search(r"ws://(\S+?)/devtools", line) for line in process.stderr)), None)
        assert found, "the browser did not start"
        with asyncio.Runner() as runner:
            session = runner.run(_new_session())
            try:
                socket = runner.run(_connect(session, found[1]))
                browser = Browser(runner, socket)
                for domain in ("Page", "Runtime", "Log"):
                    browser.call(f"{domain}.enable")
                yield browser
            finally:
                runner.run(session.close())
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _find_socket(session: aiohttp.ClientSession, host: str) -> str:
    async with session.get(f"http://{host}/json/list") as reply:
        tabs = await reply.json()
    return str(next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"])


async def _connect(session: aiohttp.ClientSession, host: str) -> aiohttp.ClientWebSocketResponse:
    return await session.ws_connect(await _find_socket(session, host), max_msg_size=0)
