"""Count the requests and the spending of one client over all its keys and all workers, and hold them to its limits."""

import hashlib
import math
from dataclasses import InitVar, dataclass, field

import numpy as np

from zooter.data.types import Floats
from zooter.serve.http.errors import ApiError
from zooter.serve.workers.shared_memory import SharedMemory

_DAY = 86_400.0
_BURST = 60.0  # s; a minute's worth of requests may come at once
_ROUNDING = 1e-6  # s
_USED, _LEAST, _DOLLARS, _ON_DAY = range(4)


@dataclass(eq=False)
class KeyOwner:
    """Everything that is counted under one name, whichever of its keys is used and whichever worker answers.

    The rate is that of a token bucket, by the times that its requests take at the limit's rate. `counts[w]` holds what
    worker w alone writes, so that no lock is needed: the seconds of the requests that it admitted, the least value of
    (all workers' such seconds - time) that it saw, the dollars of its responses, and on which day (since 1970). Each
    worker reads all rows. As many workers as admit a request in the same microseconds may exceed the limit by one each.

    Attributes:
        name: name in metrics and the access log.
        requests_per_minute: maximum rate of requests, of which a minute's worth may come at once; None sets no limit.
        dollars_per_day: maximum spending per day (UTC); the request that exceeds it is still answered.
        counts: (workers, 4), in memory that the workers share.
        worker: this process's row of it.
    """

    name: str
    memory: InitVar[SharedMemory]
    requests_per_minute: float | None = None
    dollars_per_day: float | None = None
    counts: Floats = field(init=False)
    worker: int = field(init=False)

    def __post_init__(self, memory: SharedMemory) -> None:
        file = f"key-{hashlib.sha256(self.name.encode()).hexdigest()}"
        self.worker = memory.worker
        self.counts = np.frombuffer(memory.map(file, memory.workers * 4 * 8), np.float64).reshape(memory.workers, 4)

    def admit(self, now: float, timer: float) -> None:
        """Count one request.

        Args:
            now: seconds since 1970.
            timer: seconds since a moment that all workers share, which never goes back.

        Raises:
            ApiError: 429, a limit is reached, with the time until it is not.
        """
        if self.dollars_per_day is not None and self.spent(now) >= self.dollars_per_day:
            message = f"expected spending of at most {self.dollars_per_day:g} dollars a day with this key"
            kind, wait = "insufficient_quota", math.ceil(_DAY - now % _DAY)
            raise ApiError(429, message, kind, kind, retry_after=wait, body_unread=True)
        if self.requests_per_minute is None:
            return
        seconds = 60.0 / self.requests_per_minute
        counts, own = self.counts, self.counts[self.worker]
        ahead = counts[:, _USED].sum() - timer
        own[_LEAST] = min(own[_LEAST], ahead)
        wait = ahead - counts[:, _LEAST].min() + seconds - max(_BURST, seconds)
        if wait > _ROUNDING:
            message = f"expected at most {self.requests_per_minute:g} requests a minute with this key"
            kinds = "rate_limit_error", "rate_limit_exceeded"
            raise ApiError(429, message, *kinds, retry_after=math.ceil(wait), body_unread=True)
        own[_USED] += seconds

    def spend(self, dollars: float, now: float) -> None:
        """Count the cost of a response.

        Args:
            dollars: 0 or more.
            now: seconds since 1970.
        """
        own, day = self.counts[self.worker], now // _DAY
        own[_DOLLARS] = dollars + (own[_DOLLARS] if own[_ON_DAY] == day else 0.0)
        own[_ON_DAY] = day

    def spent(self, now: float) -> float:
        """Return the dollars spent on this day."""
        return float(self.counts[self.counts[:, _ON_DAY] == now // _DAY, _DOLLARS].sum())
