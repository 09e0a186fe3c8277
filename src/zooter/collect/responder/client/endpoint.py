"""Reach candidates' servers: client, concurrency limit, rate limit and refused parameters of each."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import openai

from zooter.collect.responder.client.failure import error_message
from zooter.collect.responder.client.shared_limit import SharedSlots, shared_exchange
from zooter.data.api_key import read_api_key
from zooter.data.pool import Candidate
from zooter.errors import ConfigError, ResponderError


@dataclass
class Endpoint:
    """One server, shared by all calls to it. Moments are seconds on the running event loop's clock.

    Attributes:
        url: base URL of its API.
        key_env: name of the environment variable with its API key; None sends no key.
        timeout: seconds for one call.
        slots: limits the calls under way: a semaphore, or this process's part of a cluster's limit.
        active: number of calls under way, their retries included.
        successes: number of calls answered.
        rate_limits_in_row: rate limits since the last success.
        resume_at: moment before which no call is made.
        quiet_since: moment of the last success, or of the first call after an idle time.
        refused: model → parameters that the server refuses with it.
        client: the HTTP client.
    """

    url: str
    key_env: str | None
    timeout: float
    slots: "asyncio.Semaphore | SharedSlots"
    active: int = 0
    successes: int = 0
    rate_limits_in_row: int = 0
    resume_at: float = 0.0
    quiet_since: float = 0.0
    refused: dict[str, set[str]] = field(default_factory=dict)
    client: openai.AsyncOpenAI = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The client's own retries give up on a rate limit after a few attempts, so the responder does them itself.
        self.client = openai.AsyncOpenAI(
            base_url=self.url, api_key=self._key() or "none", timeout=self.timeout, max_retries=0
        )
        self.quiet_since = asyncio.get_running_loop().time()

    @classmethod
    def for_candidate(cls, candidate: Candidate, timeout: float, concurrency: int) -> "Endpoint":
        """Build the endpoint of a candidate.

        Args:
            candidate: with `url` and optionally `key_env`.
            timeout: seconds for one call.
            concurrency: calls under way at a time.

        Raises:
            ConfigError: the candidate has no url, or the environment variable of its key is not set.
        """
        if candidate.url is None:
            raise ConfigError(
                expected=f"a url for the candidate {candidate.name!r}",
                found="none",
                do=f"set pool.candidates.{candidate.name}.url to its server, such as http://localhost:8000/v1",
            )
        endpoint = cls(candidate.url, candidate.key_env, timeout, asyncio.Semaphore(concurrency))
        exchange = shared_exchange(f"{candidate.url} {candidate.key_env}", concurrency)
        if exchange is not None:
            endpoint.slots = SharedSlots(exchange, endpoint.seconds_left, endpoint.pause_at_least)
        return endpoint

    def _key(self) -> str | None:
        return read_api_key(self.key_env, self.url)

    def redact(self, text: str) -> str:
        """Mask this server's key, which some servers repeat in their error messages."""
        key = self._key()
        return text.replace(key, "***") if key else text

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the concurrent calls to the server, retries included, while the context is open."""
        async with self.slots:
            if self.active == 0:  # the idle time before this call does not count as silence of the server
                self.quiet_since = asyncio.get_running_loop().time()
            self.active += 1
            try:
                yield
            finally:
                self.active -= 1

    async def wait(self) -> None:
        """Wait until the rate limit has passed, plus jitter so that calls do not resume all at once."""
        loop = asyncio.get_running_loop()
        while (seconds := self.resume_at - loop.time()) > 0:
            await asyncio.sleep(seconds + random.uniform(0.0, min(seconds, 1.0)))

    def seconds_left(self) -> float:
        """Return for how long no call is made, after a rate limit; 0 for none."""
        return max(0.0, self.resume_at - asyncio.get_running_loop().time())

    def pause_at_least(self, seconds: float) -> None:
        """Make no call for so many seconds, because another process has met the rate limit."""
        self.resume_at = max(self.resume_at, asyncio.get_running_loop().time() + seconds)

    def record_success(self) -> None:
        """Note that a call was answered."""
        self.successes += 1
        self.rate_limits_in_row = 0
        self.quiet_since = asyncio.get_running_loop().time()

    def pause(self, seconds: float) -> None:
        """Make no call to this server for so many seconds, after a rate limit."""
        self.rate_limits_in_row += 1
        self.pause_at_least(seconds)

    def fatal_error(self, error: Exception, candidate: Candidate) -> ResponderError:
        """Return the error that ends the run, quoting the server with its key masked.

        Args:
            error: the failure that no further attempt can mend.
            candidate: the candidate that was asked.
        """
        return ResponderError(
            expected=f"{self.url} to answer for {candidate.name!r} (model {candidate.model or candidate.name!r})",
            found=self.redact(error_message(error)),
            do=f"correct the candidate's model, url or key ({self.key_env or 'no key_env is set'}); "
            "what was answered is kept",
        )


@dataclass
class EndpointPool:
    """Endpoints shared by all `respond` calls of one event loop.

    Attributes:
        users: number of contexts that hold the pool open.
        endpoints: (url, key_env) → endpoint.
    """

    users: int = 0
    endpoints: dict[tuple[str | None, str | None], Endpoint] = field(default_factory=dict)

    def get(self, candidate: Candidate, timeout: float, concurrency: int) -> Endpoint:
        """Return the candidate's endpoint, building it on first use; arguments as in `Endpoint.for_candidate`.

        Raises:
            ConfigError: the candidate has no url, or the environment variable of its key is not set.
        """
        address = candidate.url, candidate.key_env
        if address not in self.endpoints:
            self.endpoints[address] = Endpoint.for_candidate(candidate, timeout, concurrency)
        return self.endpoints[address]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(endpoint.client.close() for endpoint in self.endpoints.values()))
