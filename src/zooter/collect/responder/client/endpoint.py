"""One server that candidates are reached at: its client, its rate limit, and what to do after each kind of failure."""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

import openai

from zooter.collect.responder.client.completion import BadCompletionError, quote
from zooter.data.pool import Candidate
from zooter.errors import ConfigError, ResponderError

# Parameters that a server may refuse without making a request pointless.
OPTIONAL = ("logprobs", "top_logprobs", "seed", "max_tokens")
_PROBABILITIES = {"logprobs", "top_logprobs"}
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance")
_NO_MODEL = ("model_not_found", "invalid_model", "unknown_model")
_NO_KEY = ("invalid_api_key", "invalid_authentication")


class FailureKind(Enum):
    """What a failed try means."""

    FATAL = "no call can succeed"
    LIMIT = "the server asks to slow down"
    AGAIN = "another try may succeed"
    WITHOUT = "a parameter is not known here"
    NO = "this query will not be answered"


@dataclass
class Endpoint:
    """A server while anybody asks it. Times are those of the running loop, in seconds.

    Attributes:
        free: lets so many calls at a time through, of all that ask.
        busy: calls under way.
    """

    url: str
    key_env: str | None
    timeout: float
    free: asyncio.Semaphore
    busy: int = 0
    successes: int = 0
    strikes: int = 0  # rate limits in a row
    resume_at: float = 0.0
    quiet_since: float = 0.0  # the last success, or the start
    refused: dict[str, set[str]] = field(default_factory=dict)  # model → parameters it does not know
    client: openai.AsyncOpenAI = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Retries are ours: the client's own give up on a rate limit after a few.
        self.client = openai.AsyncOpenAI(
            base_url=self.url, api_key=self._key() or "none", timeout=self.timeout, max_retries=0
        )
        self.quiet_since = asyncio.get_running_loop().time()

    @classmethod
    def of(cls, candidate: Candidate, timeout: float, concurrency: int) -> "Endpoint":
        """Where a candidate is reached.

        Raises:
            ConfigError: it has no url, or its key's variable is not set.
        """
        if candidate.url is None:
            raise ConfigError(
                expected=f"a url for the candidate {candidate.name!r}",
                found="none",
                do=f"set pool.candidates.{candidate.name}.url to its server, such as http://localhost:8000/v1",
            )
        return cls(candidate.url, candidate.key_env, timeout, asyncio.Semaphore(concurrency))

    def _key(self) -> str | None:
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise ConfigError(
                expected=f"a key in the environment variable {self.key_env}, for {self.url}",
                found="none",
                do=f"export {self.key_env}=… and run again",
            )
        return key

    def redact(self, words: str) -> str:
        """The words without this server's key, which some servers repeat in their complaints."""
        key = self._key()
        return words.replace(key, "***") if key else words

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One of the calls that the server is asked at a time, its further tries included."""
        async with self.free:
            if self.busy == 0:  # a server that nobody asked has not been silent
                self.quiet_since = asyncio.get_running_loop().time()
            self.busy += 1
            try:
                yield
            finally:
                self.busy -= 1

    async def wait(self) -> None:
        """Until the server's rate limit lets calls through again, spread out so that they do not come at once."""
        loop = asyncio.get_running_loop()
        while (left := self.resume_at - loop.time()) > 0:
            await asyncio.sleep(left + random.uniform(0.0, min(left, 1.0)))

    def succeeded(self) -> None:
        """Note that a call was answered."""
        self.successes += 1
        self.strikes = 0
        self.quiet_since = asyncio.get_running_loop().time()

    def limited(self, pause: float) -> None:
        """Hold all calls to this server for so many seconds."""
        self.strikes += 1
        self.resume_at = max(self.resume_at, asyncio.get_running_loop().time() + pause)

    def judge(self, error: Exception, model: str) -> FailureKind:
        """What a failed try means for the rest."""
        if not isinstance(error, openai.APIStatusError):
            return FailureKind.AGAIN
        status, code = error.status_code, str(error.code or "")
        if status in (401, 404) or code in (*_NO_MONEY, *_NO_MODEL, *_NO_KEY):
            return FailureKind.FATAL
        if status in (400, 422) and not self.successes and _doubts_the_model(error_message(error), model):
            return FailureKind.FATAL
        if status == 403:  # a wrong key; or one refused query, when others have been answered
            return FailureKind.NO if self.successes else FailureKind.FATAL
        if status == 429 or (status in (503, 529) and retry_after(error) is not None):
            return FailureKind.LIMIT
        if status in (408, 409) or status >= 500:
            return FailureKind.AGAIN
        return FailureKind.WITHOUT if status in (400, 422) and refused_parameters(error) else FailureKind.NO

    def fatal(self, error: Exception, candidate: Candidate) -> ResponderError:
        """The end of the run, with the server's words."""
        return ResponderError(
            expected=f"{self.url} to answer for {candidate.name!r} (model {candidate.model or candidate.name!r})",
            found=self.redact(error_message(error)),
            do=f"correct the candidate's model, url or key ({self.key_env or 'no key_env is set'}); "
            "what was answered is kept",
        )


@dataclass
class EndpointPool:
    """What all calls of one event loop share, from the first that asks to the last."""

    users: int = 0
    endpoints: dict[tuple[str | None, str | None], Endpoint] = field(default_factory=dict)

    def of(self, candidate: Candidate, timeout: float, concurrency: int) -> Endpoint:
        """The candidate's server, as others have left it."""
        where = candidate.url, candidate.key_env
        if where not in self.endpoints:
            self.endpoints[where] = Endpoint.of(candidate, timeout, concurrency)
        return self.endpoints[where]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(endpoint.client.close() for endpoint in self.endpoints.values()))


def error_message(error: Exception) -> str:
    """Why a try failed, in the server's words where it had any."""
    if isinstance(error, openai.APIStatusError):
        body = error.body
        told = (body.get("message") or body.get("detail")) if isinstance(body, dict) else None
        return f"HTTP {error.status_code}: {quote(str(told or body or error.response.text) or 'no words')}"
    if isinstance(error, BadCompletionError):
        return f"a reply with {error}"
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return "no answer in time"
    cause = error.__cause__
    return f"no connection: {quote(str(cause) or type(cause).__name__)}" if cause else quote(str(error))


def _doubts_the_model(words: str, model: str) -> bool:
    """Whether a complaint is about the model's name: LiteLLM and transformers answer 400 where others answer 404."""
    of_query = ("context", "length", "token", "maximum", "content", "parameter")
    named = re.search(rf"(?<![\w-]){re.escape(model)}(?![\w-])", words)
    return named is not None and not any(word in words.lower() for word in of_query)


def retry_after(error: Exception) -> float | None:
    """Seconds that the server asks to wait for; None when it does not say."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue  # absent, or a date
        if 0 <= seconds < float("inf"):
            return seconds
    return _until(headers.get("retry-after", ""))


def _until(date: str) -> float | None:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(then.tzinfo or UTC)).total_seconds()) if then.tzinfo else None


def refused_parameters(error: Exception, without: Set[str] = frozenset()) -> set[str]:
    """Those of our optional parameters that a complaint names.

    Args:
        without: what the call already did without. Probabilities are refused in two steps, for many servers only
            refuse so many of them: without `top_logprobs` fewer are asked for, without `logprobs` none.
    """
    named = {name for name in OPTIONAL if name in error_message(error) or name == getattr(error, "param", None)}
    if named & _PROBABILITIES:
        named = named - _PROBABILITIES | {"logprobs" if "top_logprobs" in without else "top_logprobs"}
    return named
