"""A real browser without a window: Chromium, driven by its own protocol (Chrome DevTools Protocol) over a WebSocket.

with Browser(directory) as browser:
    browser.open("http://web-1a2b.localhost:8080")
    browser.wait_for("hello")
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

WAIT_S = 120.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # we are root, in namespaces of the test's own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


class Browser:
    """One page. `directory` gets its profile, which nobody else has."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Browser:
        with contextlib.ExitStack() as stack:
            log = stack.enter_context((self._directory / "browser.log").open("wb"))
            command = ["chromium", *_OPTIONS, f"--user-data-dir={self._directory / 'profile'}", "about:blank"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(_end, process)
            self._stream = stack.enter_context(connect(self._address(process), max_size=None))
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, url: str) -> None:
        """What is at `url` becomes the page; an address that gives no answer at all fails."""
        found = self._call("Page.navigate", self._session, url=url)
        assert not found.get("errorText"), f"open {url}: {found['errorText']}"

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page; None while one page takes the place of another."""
        found = self._call("Runtime.evaluate", self._session, expression=expression, returnByValue=True)
        return found.get("result", {}).get("value")

    def wait_for(self, text: str) -> None:
        """Until the page shows it."""
        deadline = time.monotonic() + WAIT_S
        shown = None
        while text not in (shown or ""):
            assert time.monotonic() < deadline, f"the page does not show {text!r}, but {shown!r}"
            time.sleep(0.05)
            shown = self.evaluate("document.body && document.body.innerText")

    def _address(self, process: subprocess.Popen[bytes]) -> str:
        """It writes a file with its port and the path."""
        told = self._directory / "profile" / "DevToolsActivePort"
        deadline = time.monotonic() + WAIT_S
        while not told.exists() or len(told.read_text().splitlines()) < 2:
            assert process.poll() is None, (self._directory / "browser.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the browser does not come up"
            time.sleep(0.05)
        port, path = told.read_text().splitlines()
        return f"ws://127.0.0.1:{port}{path}"

    def _call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._stream.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._stream.recv(WAIT_S))
            if answer.get("id") == number:
                # An error: the page that was asked has just gone.
                return dict(answer.get("result", {}))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
