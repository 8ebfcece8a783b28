"""Headless Chromium over its debugging pipe: opens local pages, takes pictures, collects console errors. For
tests and screenshots.

Needs a ``chromium``, ``chromium-browser`` or ``google-chrome`` on the path (Debian and Ubuntu: ``apt install
chromium``). Not Playwright: its package brings a Node of its own (163 MB beside every user's environment) and
is made for browsers that it downloads itself, while all that is needed here is to open a file, evaluate an
expression and take a picture. Every wait has a limit, and the browser dies with its owner's ``close``.
"""

from __future__ import annotations

import _project  # noqa: F401

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from azr.errors import AzrError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_S = 60.0


class BrowserError(AzrError, RuntimeError):
    """No browser is installed, or it does not answer."""


def find_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One open page; ``errors`` grows as its console does."""

    browser: Browser
    session: str
    errors: list[str] = field(default_factory=list)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON.

        Raises:
            BrowserError: the expression throws.
        """
        reply = self.browser.call(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True}, self.session
        )
        if "exceptionDetails" in reply:
            raise BrowserError(f"the page throws: {reply['exceptionDetails'].get('text', '')}")
        return reply["result"].get("value")

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """Writes a PNG of the first ``height`` pixels of the page; the whole page if None."""
        size = self.browser.call("Page.getLayoutMetrics", {}, self.session)["cssContentSize"]
        width = self.evaluate("window.innerWidth")
        clip = {
            "x": 0,
            "y": 0,
            "width": width,
            "height": min(height or size["height"], size["height"]),
            "scale": 1,
        }
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            base64.b64decode(self.browser.call("Page.captureScreenshot", options, self.session)["data"])
        )

    def move_pointer(self, x: float, y: float) -> None:
        self.browser.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y}, self.session)


class Browser:
    """with Browser() as browser: page = browser.open(path, width=390, dark=True)"""

    def __init__(self) -> None:
        """Raises:
        BrowserError: none is installed.
        """
        program = find_browser()
        if program is None:
            raise BrowserError("no Chromium found; install one, on Debian or Ubuntu: apt install chromium")
        self._profile = tempfile.TemporaryDirectory(prefix="azr-browser-", ignore_cleanup_errors=True)
        to_child, from_us = os.pipe()
        to_us, from_child = os.pipe()
        flags = [
            "--headless=new",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses its own sandbox to root; it only opens files that we wrote
            flags.append("--no-sandbox")
        # Chromium reads commands from descriptor 3 and answers on 4.
        shell = f'exec "$0" "$@" 3<&{to_child} 4>&{from_child}'
        command = [
            "bash",
            "-c",
            shell,
            program,
            *flags,
            f"--user-data-dir={self._profile.name}",
            "about:blank",
        ]
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command,
            pass_fds=(to_child, from_child),
            start_new_session=True,
            stdin=silent,
            stdout=silent,
            stderr=silent,
        )
        os.close(to_child)
        os.close(from_child)
        self._write, self._read = from_us, to_us
        self._buffer = b""
        self._next_id = 0
        self._pages: dict[str, Page] = {}
        self._loaded: set[str] = set()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for descriptor in (self._write, self._read):
            os.close(descriptor)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=60)
        self._profile.cleanup()

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1.0
    ) -> Page:
        """Opens a local file and waits until it is loaded. Network access is refused.

        Raises:
            BrowserError: there is no such file, instead of which Chromium would show a page that says so.
        """
        if not path.is_file():
            raise BrowserError(f"{path} is not a file")
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", {}, session)
        self.call(
            "Network.emulateNetworkConditions",
            {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
            session,
        )
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", metrics, session)
        media = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.call("Emulation.setEmulatedMedia", media, session)
        self.call("Page.navigate", {"url": path.resolve().as_uri()}, session)
        deadline = time.monotonic() + LIMIT_S
        while session not in self._loaded:
            self._receive(deadline)
        return page

    def call(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One command of the DevTools protocol.

        Raises:
            BrowserError: it failed, or there was no answer in time.
        """
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        try:
            os.write(self._write, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise BrowserError("the browser ended; it may lack libraries or rights") from error
        deadline = time.monotonic() + LIMIT_S
        while True:
            reply = self._receive(deadline)
            if reply.get("id") == self._next_id:
                if "error" in reply:
                    raise BrowserError(f"{method}: {reply['error'].get('message')}")
                return reply["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._read, 1 << 16) if ready else b""
            if not data:
                raise BrowserError(
                    "the browser ended" if ready else f"the browser did not answer within {LIMIT_S:.0f} s"
                )
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        """Keeps load events and console errors."""
        session, method, parameters = (
            message.get("sessionId", ""),
            message.get("method"),
            message.get("params", {}),
        )
        page = self._pages.get(session)
        if page is None:
            return
        if method == "Page.loadEventFired":
            self._loaded.add(session)
        elif method == "Runtime.exceptionThrown":
            page.errors.append(str(parameters["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled" and parameters.get("type") in (
            "error",
            "warning",
            "assert",
        ):
            page.errors.append(json.dumps(parameters.get("args")))
        elif method == "Log.entryAdded" and parameters["entry"].get("level") in ("error", "warning"):
            page.errors.append(str(parameters["entry"].get("text")))
