"""``hammer.py`` under the eyes of a test: how fast it is, and whether it came to harm."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HAMMER = Path(__file__).with_name("hammer.py")


class Hammer:
    """The client process, and what it says."""

    def __init__(self, uri: str, seconds: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HAMMER), uri, str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> Iterator[dict[str, float]]:
        """Its progress, line by line, as it comes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def rate(self, seconds: float) -> float:
        """Requests a second over the next while; what it said before now is passed over."""
        begin = time.time()
        lines = self.said()
        first = next(line for line in lines if line["at"] >= begin)
        for last in lines:
            if last["at"] - first["at"] >= seconds:
                return (last["done"] - first["done"]) / (last["at"] - first["at"])
        raise AssertionError("the client ended")

    def finish(self) -> dict[str, object]:
        """End it; its verdict."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=30)
        return dict(json.loads(output.splitlines()[-1]))

    def assert_unharmed(self) -> None:
        """No error, no wrong byte, and it did work."""
        verdict = self.finish()
        assert verdict["errors"] == []
        assert verdict["wrong"] == []
        assert int(str(verdict["done"])) > 0
