"""Equality of mathematical answers by math-verify, in a subprocess with a deadline.

math-verify's own time limits use signals, which work only in a main thread, and computer algebra may run for hours or
exhaust the memory. A subprocess is limited from outside.
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
START_SECONDS = 60.0  # importing SymPy takes seconds, more on a busy machine


@dataclass
class MathEquivalence:
    """Compare answers in a subprocess, which starts at first use and again after each missed deadline.

    Attributes:
        seconds: deadline of one comparison.
    """

    seconds: float = 5.0
    _process: "subprocess.Popen[str] | None" = field(default=None, repr=False, compare=False)

    def equal(self, reference: str, text: str) -> bool | None:
        """Compare the last answer in a text with a reference.

        Args:
            reference: the right answer, as LaTeX or as an expression.
            text: a response, or an answer alone.

        Returns:
            Whether they are equal in value; None if the deadline was missed.

        Raises:
            ConfigError: math-verify is not installed.
        """
        if self._process is None:
            self._process = _start_worker()
            if self._compare("1", "1", START_SECONDS) is not True:
                raise ConfigError(
                    expected="math-verify to compare 1 with 1", found="no answer", do="pip install 'zooter[math]'"
                )
        return self._compare(reference, text, self.seconds)

    def close(self) -> None:
        """Stop the subprocess; the next comparison starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _compare(self, reference: str, text: str, seconds: float) -> bool | None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps([reference, text]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self.close()
            return None
        return bool(json.loads(line))


def _start_worker() -> "subprocess.Popen[str]":
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
