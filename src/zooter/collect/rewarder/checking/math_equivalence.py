"""Whether two mathematical answers are equal, by math-verify in a process of its own with a deadline.

math-verify's own time limits rest on signals, which work only in a main thread, and computer algebra may run for hours
or eat all memory: both are held from outside.
"""

import importlib.util
import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from zooter.errors import ConfigError

MATH_WORKER = Path(__file__).with_name("math_worker.py")
START_SECONDS = 60.0  # importing the algebra takes seconds, more on a busy machine


@dataclass
class MathEquivalence:
    """A process that compares answers one by one; it starts at first use, and again after each deadline missed.

    Attributes:
        seconds: deadline of one comparison.
    """

    seconds: float = 5.0
    _process: "subprocess.Popen[str] | None" = field(default=None, repr=False, compare=False)

    def holds(self, reference: str, text: str) -> bool | None:
        """Whether the last answer in `text` equals `reference`; None where the deadline came first.

        Raises:
            ConfigError: math-verify is not installed.
        """
        if self._process is None:
            self._process = _start()
            if self._ask("1", "1", START_SECONDS) is not True:
                raise ConfigError(
                    expected="math-verify to compare 1 with 1", found="no answer", do="pip install 'zooter[math]'"
                )
        return self._ask(reference, text, self.seconds)

    def close(self) -> None:
        """End the process; the next comparison starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, reference: str, text: str, seconds: float) -> bool | None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps([reference, text]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            self.close()
            return None
        return bool(json.loads(answer))


def _start() -> "subprocess.Popen[str]":
    if importlib.util.find_spec("math_verify") is None:
        raise ConfigError(
            expected="math-verify, for method `math`", found="not installed", do="pip install 'zooter[math]'"
        )
    return subprocess.Popen(
        [sys.executable, "-I", str(MATH_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        text=True,
        encoding="utf-8",
    )
