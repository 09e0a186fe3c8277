"""Open a page in Chromium, without a window and without a network, through its DevTools protocol."""

import asyncio
import base64
import io
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from matplotlib import image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--remote-debugging-port=0",
)  # fmt: skip


@dataclass
class Tab:
    """A tab of the browser.

    Attributes:
        socket: to its debugger.
        events: what it reported so far: (method, parameters).
    """

    socket: aiohttp.ClientWebSocketResponse
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _numbers: itertools.count = field(default_factory=itertools.count)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, and return its result."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await asyncio.wait_for(self.socket.receive_json(), 60)
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self.events.append((message["method"], message["params"]))

    async def open(self, path: Path, width: int, dark: bool) -> None:
        """Show a file at a width in CSS pixels, light or dark."""
        await self.send("Page.enable")
        await self.send("Log.enable")
        await self.send("Network.enable")
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Page.navigate", url=path.as_uri())
        while not await self.value("document.readyState === 'complete' && [...document.images].every(i => i.complete)"):
            await asyncio.sleep(0.05)

    async def value(self, expression: str) -> Any:
        """Evaluate a JavaScript expression."""
        result = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def pixels(self) -> np.ndarray:
        """Take a picture of what is visible: (height, width, 3) in [0, 1]."""
        data = (await self.send("Page.captureScreenshot", format="png"))["data"]
        return np.asarray(image.imread(io.BytesIO(base64.b64decode(data))))[..., :3]


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """Start Chromium and yield a tab of it."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.DEVNULL
        )
        try:
            port = await asyncio.wait_for(_port(Path(profile) / "DevToolsActivePort"), 60)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as response:
                    tabs = await response.json()
                address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            process.terminate()
            await process.wait()


async def _port(file: Path) -> int:
    """Wait until the browser has written on which port it listens."""
    while not (file.exists() and file.read_text().count("\n")):
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])
