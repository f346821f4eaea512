"""Chromium without a window, driven by its DevTools protocol over a websocket."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root has no other way
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
MODEL = "Bokeh.documents[0].get_model_by_name({name!r})"
WAIT_S = 240.0


class Browser:
    """One tab of 1280 x 800."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._numbers = count(1)
        self._socket = loop.run_until_complete(self._open_tab(port))
        self.errors: list[str] = []
        """What the page's scripts threw."""
        self.send("Page.enable")
        self.send("Runtime.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)

    @staticmethod
    async def _open_tab(port: int) -> WebSocketClientConnection:
        request = HTTPRequest(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT", body="")
        answer = await AsyncHTTPClient().fetch(request)
        return await websocket_connect(json.loads(answer.body)["webSocketDebuggerUrl"], max_message_size=1 << 28)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command. Raises AssertionError where it refuses."""
        return self._loop.run_until_complete(self._send(method, params))

    async def _send(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(await asyncio.wait_for(self._socket.read_message(), WAIT_S))
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"])[:2000])
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def open(self, url: str) -> Self:
        """Load a page, and wait until Bokeh has drawn it."""
        self.send("Page.navigate", url=url)
        self.wait_for("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        return self

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; None of what cannot be sent, and where it throws."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value") if "exceptionDetails" not in answer else None

    def wait_for(self, script: str, timeout_s: float = WAIT_S) -> Any:
        """The value of an expression, once it is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, f"it did not come: {script}; the page's errors: {self.errors}"
            time.sleep(0.1)
        return value

    def text(self, name: str) -> str:
        """The HTML of one of the page's parts."""
        return str(self.evaluate(f"{MODEL.format(name=name)}.text"))

    def wait_for_text(self, name: str, text: str, timeout_s: float = WAIT_S) -> str:
        """The HTML of a part, once it holds ``text``."""
        self.wait_for(f"{MODEL.format(name=name)}.text.includes({json.dumps(text)})", timeout_s)
        return self.text(name)

    def choose(self, name: str, value: str) -> None:
        """Choose from a list, as a user's hand does."""
        self.evaluate(f"{MODEL.format(name=name)}.value = {json.dumps(value)}")

    def click_map(self, x: float, y: float) -> None:
        """Click on the map at a place in its own coordinates."""
        place = self.evaluate(
            f"(() => {{ const view = Bokeh.index.find_one({MODEL.format(name='map')});"
            "const box = view.el.getBoundingClientRect();"
            f"return [box.left + view.frame.x_scale.compute({x}), box.top + view.frame.y_scale.compute({y})] }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def screenshot(self, path: Path) -> Path:
        """What is seen, as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser of its own; it is ended with the block."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program is not None, "no chromium on the path: apt-get install chromium"
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        loop = asyncio.new_event_loop()
        try:
            browser = Browser(_port(Path(folder, "DevToolsActivePort")), loop)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.terminate()
            process.wait(20)
            loop.close()


def _port(file: Path) -> int:
    deadline = time.monotonic() + WAIT_S
    while not (file.exists() and file.read_text().count("\n")):
        assert time.monotonic() < deadline, "chromium did not start"
        time.sleep(0.1)
    return int(file.read_text().splitlines()[0])
