"""When to leave a candidate alone, and how often to retry at all."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class CircuitBreaker:
    """Takes a candidate out after failures in a row; then one request at a time probes whether it is back.

    Attributes:
        failures: in a row, that take it out.
        pause: seconds that it is left alone; doubled with each failed probe up to `longest`.
        clock: seconds, of any beginning.
    """

    failures: int
    pause: float
    longest: float
    clock: Callable[[], float]
    strikes: int = 0
    _closed_until: float = field(default=-math.inf, init=False)
    _next_pause: float = field(default=0.0, init=False)
    _out: bool = field(default=False, init=False)
    _probing: bool = field(default=False, init=False)

    @property
    def out(self) -> bool:
        """Whether it has been taken out and has not answered since."""
        return self._out

    def wait(self) -> float:
        """Seconds until it may be asked again; 0 when it may be asked now."""
        left = max(0.0, self._closed_until - self.clock())
        return left or (self.pause if self._probing else 0.0)

    def admit(self) -> bool:
        """Whether a request may go to it now; of those after a pause, one does."""
        if self.wait() > 0:
            return False
        self._probing = self._out
        return True

    def succeeded(self) -> None:
        """It answered."""
        self.strikes, self._out, self._probing, self._next_pause = 0, False, False, 0.0

    def failed(self, retry_after: float | None = None) -> None:
        """It did not answer; `retry_after` seconds is what it asks to be left alone for."""
        self.strikes += 1
        late = self._out and not self._probing  # asked before it was taken out: tells nothing new
        if not late and (self._out or self.strikes >= self.failures):
            self._next_pause = min(2 * self._next_pause or self.pause, self.longest)
            self._close(self._next_pause)
        if retry_after:
            self._close(min(retry_after, self.longest))

    def given_up(self) -> None:
        """The client went away before it was known whether it answers."""
        self._probing = False

    def _close(self, seconds: float) -> None:
        self._out, self._probing = True, False
        self._closed_until = max(self._closed_until, self.clock() + seconds)


@dataclass
class RetryBudget:
    """Retries allowed: `share` per request, saved up to `reserve`, so that an outage is not answered with a storm."""

    share: float
    reserve: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.reserve

    def request(self) -> None:
        """A request has come."""
        self.left = min(self.left + self.share, max(self.reserve, 1.0) if self.share else self.reserve)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True
