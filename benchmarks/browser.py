"""Headless Chromium over its DevTools protocol, by a pipe: no driver and no port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-sync",
        "--remote-debugging-pipe",
    ),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1300,900"),
)


class Tab:
    """A page of the browser.

    Attributes:
        problems: What it has complained of on its console: errors, and exceptions that nobody caught.
    """

    def __init__(self, to: int, out: int) -> None:
        self._to, self._out = to, out
        self._rest, self._count = b"", 0
        self._session: str | None = None
        self.problems: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Performance.enable", timeDomain="threadTicks")

    def ask(self, method: str, timeout_s: float = 300.0, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command of the protocol."""
        self._count += 1
        asked = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            told = self._next()
            if told.get("id") == self._count:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                return told["result"]
        raise TimeoutError(method)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            self._rest += os.read(self._out, 2**20)
        text, self._rest = self._rest.split(b"\0", 1)
        told = json.loads(text)
        about = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.problems.append(about["exceptionDetails"]["text"])
        if told.get("method") == "Runtime.consoleAPICalled" and about["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.problems.append(
                " ".join(str(one.get("value", one.get("description"))) for one in about["args"])
            )
        if told.get("method") == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.problems.append(about["entry"]["text"])
        return told

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript, or the promise that it is, comes to."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", "?"))
        return answer["result"].get("value")

    def processor_s(self) -> float:
        """Return the processor time of the page's main thread [s]."""
        metrics = self.ask("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")


@contextmanager
def tab() -> Iterator[Tab]:
    """Start a browser and yield an empty page of it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("needs Chromium")
    (for_browser, to), (out, from_browser) = os.pipe(), os.pipe()

    def as_3_and_4() -> None:
        high = [os.dup(for_browser), os.dup(from_browser)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [browser, *FLAGS, f"--user-data-dir={Path(profile)}"]
        started = subprocess.Popen(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=as_3_and_4,
            pass_fds=(3, 4),
        )
        os.close(for_browser)
        os.close(from_browser)
        try:
            yield Tab(to, out)
        finally:
            started.terminate()
            started.wait()
            os.close(to)
            os.close(out)
