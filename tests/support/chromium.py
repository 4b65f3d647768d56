"""A browser for tests: Chromium without a window, driven by its own protocol through two pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

import pytest

NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome", "chromium-headless-shell"]
PATH = next(filter(None, map(shutil.which, NAMES)), None) if os.name == "posix" else None
REASON = "no Chromium on the PATH (Debian, Ubuntu: apt install chromium)"


class Chromium:
    """One browser; its pages are `Page`."""

    def __init__(self, folder):
        ours_read, theirs_write = os.pipe()
        theirs_read, ours_write = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
        options += ["--disable-gpu", "--no-first-run", "--hide-scrollbars", "--mute-audio"]
        options += ["--disable-dev-shm-usage", "--disable-background-networking"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # which root cannot have
        # It reads commands from descriptor 3 and writes answers to 4.
        moves = 'exec 8<&0 9>&1 0</dev/null 1>/dev/null; exec "$@" 3<&8 4>&9 8<&- 9>&-'
        self.process = subprocess.Popen(
            ["sh", "-c", moves, "sh", PATH, *options],
            stdin=theirs_read,
            stdout=theirs_write,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self.reader, self.writer = ours_read, ours_write
        self.buffer, self.count, self.events = b"", 0, []

    def call(self, method, session=None, timeout=300, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.writer, data) :]
        deadline = time.monotonic() + timeout
        while (answer := self.receive(deadline, method)).get("id") != message["id"]:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def receive(self, deadline, method):
        while b"\0" not in self.buffer:
            ready = select.select([self.reader], [], [], max(0, deadline - time.monotonic()))[0]
            part = os.read(self.reader, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError(f"{method}: no answer from {PATH}")
            self.buffer += part
        line, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(line)

    def page(self, address, **options):
        return Page(self, address, **options)

    def close(self):
        with contextlib.suppress(Exception):
            self.call("Browser.close", timeout=5)
        os.close(self.reader)
        os.close(self.writer)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    """A page that is open, what it says to its console, and what it asks of the network."""

    def __init__(self, browser, address, size=(1280, 800), media=None, ratio=1):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.target = target
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(*size, ratio)
        features = [{"name": k, "value": v} for k, v in (media or {}).items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def resize(self, width, height, ratio=1):
        size = {"width": width, "height": height, "deviceScaleFactor": ratio}
        self.call("Emulation.setDeviceMetricsOverride", mobile=width < 600, **size)

    def run(self, expression):
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression[:200]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never: {condition}"
            time.sleep(0.02)

    def settle(self):
        """Until the page has drawn twice."""
        self.run("new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")

    def mouse(self, kind, x, y, buttons=1):
        options = {"button": "left", "buttons": buttons, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **options)

    def touch(self, kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)

    def key(self, key, code=None, text=None, shift=False):
        numbers = {"Tab": 9, "Enter": 13, " ": 32, "Delete": 46}
        numbers |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        options = {"key": key, "code": code or key, "modifiers": 8 * shift}
        options["windowsVirtualKeyCode"] = numbers.get(key, ord(key[0].upper()))
        text = text or {" ": " ", "Enter": "\r"}.get(key)
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down, **options)
        self.call("Input.dispatchKeyEvent", type="keyUp", **options)

    def screenshot(self, path, whole=True):
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def heard(self, *methods):
        """What the browser has reported since the page was opened."""
        self.run("0")  # so that what came before has come
        mine = [e for e in self.browser.events if e.get("sessionId") == self.session]
        return [e["params"] for e in mine if e["method"] in methods]

    def complaints(self):
        """Errors and everything that was written to the console."""
        return self.heard("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")

    def requests(self):
        """Addresses that were asked for, over a network or not."""
        return [e["request"]["url"] for e in self.heard("Network.requestWillBeSent")]

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One browser for all tests; skipped, visibly, where there is none."""
    if PATH is None:
        pytest.skip(REASON)
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
