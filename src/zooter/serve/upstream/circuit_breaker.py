"""Stop calls to a candidate's server after failures (a circuit breaker), and limit retries by a budget."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class CircuitBreaker:
    """Open after failures in a row; after a cooldown, one request at a time probes whether the server is back.

    Attributes:
        failures: number of failures in a row that open it.
        cooldown: seconds that it stays open at first; doubled with each failed probe.
        max_cooldown: upper limit of that time.
        clock: returns the time in seconds, from any origin.
        failure_count: number of failures since the last success.
    """

    failures: int
    cooldown: float
    max_cooldown: float
    clock: Callable[[], float]
    failure_count: int = 0
    _open_until: float = field(default=-math.inf, init=False)
    _cooldown: float = field(default=0.0, init=False)
    _open: bool = field(default=False, init=False)
    _probing: bool = field(default=False, init=False)

    @property
    def is_open(self) -> bool:
        """Return whether it has opened and no call has succeeded since."""
        return self._open

    def wait(self) -> float:
        """Return the seconds until a request is admitted; 0 if one is admitted now."""
        seconds = max(0.0, self._open_until - self.clock())
        return seconds or (self.cooldown if self._probing else 0.0)

    def admit(self) -> bool:
        """Return whether a request may be sent now; after a cooldown, that is one request, the probe."""
        if self.wait() > 0:
            return False
        self._probing = self._open
        return True

    def record_success(self) -> None:
        """Close, because a call succeeded."""
        self.failure_count, self._open, self._probing, self._cooldown = 0, False, False, 0.0

    def record_failure(self, retry_after: float | None = None) -> None:
        """Count a failed call, and open if it is one too many.

        Args:
            retry_after: seconds that the server asks to wait, which opens it at once; None if it does not ask.
        """
        self.failure_count += 1
        outdated = self._open and not self._probing  # sent before it opened: tells nothing new
        if not outdated and (self._open or self.failure_count >= self.failures):
            self._cooldown = min(2 * self._cooldown or self.cooldown, self.max_cooldown)
            self._open_for(self._cooldown)
        if retry_after:
            self._open_for(min(retry_after, self.max_cooldown))

    def cancel_probe(self) -> None:
        """Let the next request probe, because an admitted one ended without a result."""
        self._probing = False

    def _open_for(self, seconds: float) -> None:
        self._open, self._probing = True, False
        self._open_until = max(self._open_until, self.clock() + seconds)


@dataclass
class RetryBudget:
    """Limit retries, so that they do not multiply the load of an outage.

    Attributes:
        share: retries earned per request.
        reserve: maximum number of retries saved up.
        balance: retries available now.
    """

    share: float
    reserve: float
    balance: float = field(init=False)

    def __post_init__(self) -> None:
        self.balance = self.reserve

    def record_request(self) -> None:
        """Earn the share of one request."""
        self.balance = min(self.balance + self.share, max(self.reserve, 1.0) if self.share else self.reserve)

    def spend(self) -> bool:
        """Take one retry; return whether there was one."""
        if self.balance < 1.0:
            return False
        self.balance -= 1.0
        return True
