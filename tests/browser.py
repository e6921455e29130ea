"""Chromium over its debugging pipe: pages at any width, light or dark, measured and drawn."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--hide-scrollbars"]  # as on a phone, and as in a screenshot
SECONDS = 60.0


class Browser:
    """One page of a headless Chromium (Chrome DevTools Protocol, messages end with a zero byte)."""

    def __init__(self, to_chromium: int, from_chromium: int) -> None:
        self._write, self._read, self._buffer = to_chromium, from_chromium, b""
        self._number, self._session = 0, ""
        self.complaints: list[str] = []
        """What the console said and what scripts threw, since the last `open`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, page: Path, width: int, dark: bool = False) -> None:
        """Show a file in a window `width` CSS pixels wide; waits until it is there."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.complaints.clear()
        self.call("Page.navigate", url=page.as_uri())
        address = json.dumps(page.as_uri())
        self.wait_for(f"document.readyState == 'complete' && location.href == {address}")

    def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page never reached: {condition}")
            time.sleep(0.02)

    def evaluate(self, expression: str) -> Any:
        """The JSON-able value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ValueError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come before it are looked at."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise ValueError(f"{method}: {answer['error']}")
        return answer["result"]

    def _note(self, event: dict[str, Any]) -> None:
        said = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        if event.get("method") in said:
            self.complaints.append(json.dumps(event["params"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], SECONDS)[0]:
                raise TimeoutError("Chromium does not answer")
            if not (part := os.read(self._read, 1 << 20)):
                raise EOFError("Chromium has gone")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser; skips the test where there is none, unless HERMES_REQUIRE_CHROMIUM=1."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("HERMES_REQUIRE_CHROMIUM") == "1":
            pytest.fail("HERMES_REQUIRE_CHROMIUM=1, but there is no chromium on PATH")
        pytest.skip("needs the browser 'chromium' on PATH")
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()
    # The pipe has to be descriptors 3 and 4 of the browser.
    command = f'exec "$@" 3<&{their_input} 4>&{their_output}'
    arguments = [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        ["bash", "-c", command, "bash", *arguments],
        pass_fds=(their_input, their_output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(their_input)
    os.close(their_output)
    try:
        yield Browser(our_output, our_input)
    finally:
        os.close(our_output)  # the browser ends with its pipe
        os.close(our_input)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
