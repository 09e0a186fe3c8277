"""Ask candidates behind OpenAI-compatible servers: vLLM, Ollama, llama.cpp, TGI, LiteLLM, OpenAI and others."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, MutableMapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any
from weakref import WeakKeyDictionary

import openai
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from zooter.collect.responder.client.completion import FIRST_TOKENS, BadCompletionError, Completion, parse
from zooter.collect.responder.client.endpoint import Endpoint, EndpointPool
from zooter.collect.responder.client.failure import (
    FailureKind,
    classify,
    error_message,
    refused_parameters,
    retry_after,
)
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.component import component
from zooter.data.pool import Candidate
from zooter.data.types import Response
from zooter.errors import ZooterError


@component
class OpenAIResponder:
    """Ask candidates over HTTP through the official client, many calls at a time.

    Calls of `respond` that overlap in an event loop share connections, rate limits and the number of calls at a time.

    Attributes:
        sampling: how candidates are asked.
        concurrency: calls at a time to one server.
        timeout: seconds from a call to its whole answer.
        retries: further attempts at a call that failed in a way that may pass. Rate limits do not count: they pause
            all calls to that server, for as long as it asks or with growing pauses, and lose nothing.
        backoff: seconds before the second attempt, doubled for each further one, and jittered.
        longest_pause: seconds, where the server does not say how long to wait.
        patience: seconds for which a server may answer nothing but rate limits before its calls fail.
        first_tokens: number of likeliest first tokens to request; 0 for none, 2 suffice for the margin. Servers list
            as many for every token of the response: about 60 bytes each.
        endpoint_pools: event loop → its endpoints, while any call uses them.
    """

    sampling: Sampling = field(default_factory=Sampling)
    concurrency: PositiveInt = 32
    timeout: PositiveFloat = 120.0
    retries: NonNegativeInt = 4
    backoff: NonNegativeFloat = 0.5
    longest_pause: NonNegativeFloat = 60.0
    patience: NonNegativeFloat = 900.0
    first_tokens: NonNegativeInt = FIRST_TOKENS
    endpoint_pools: MutableMapping[asyncio.AbstractEventLoop, EndpointPool] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        """Describe a candidate by its model, revision, extra request fields and sampling."""
        return {
            "responder": "openai",
            "model": candidate.model or candidate.name,
            "revision": candidate.revision,
            "extra": dict(candidate.extra),
            "sampling": self.sampling.to_dict(),
        }

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[EndpointPool]:
        """Keep connections, rate limits and refused parameters for calls of `respond` inside the context."""
        loop = asyncio.get_running_loop()
        pool = self.endpoint_pools.setdefault(loop, EndpointPool())
        pool.users += 1
        try:
            yield pool
        finally:
            pool.users -= 1
            if not pool.users:
                del self.endpoint_pools[loop]
                await pool.close()

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        """Ask all servers side by side, each with `concurrency` workers, and yield responses as they arrive.

        Args:
            requests: of any candidates; those of one server share its limit of concurrent calls.

        Raises:
            ResponderError: no call can succeed, such as with a wrong key, no quota, or a model that does not exist.
            ConfigError: a candidate has no url, or its key's environment variable is not set.
        """
        queues: dict[tuple[str | None, str | None], deque[Request]] = {}
        for request in requests:
            queues.setdefault((request.candidate.url, request.candidate.key_env), deque()).append(request)
        finished: asyncio.Queue[Response | ZooterError] = asyncio.Queue()
        async with self.connections() as pool:
            endpoints = [
                (pool.get(queue[0].candidate, self.timeout, self.concurrency), queue) for queue in queues.values()
            ]
            workers = [
                asyncio.create_task(self._work(endpoint, queue, finished))
                for endpoint, queue in endpoints
                for _ in range(min(self.concurrency, len(queue)))
            ]
            try:
                for _ in requests:
                    result = await finished.get()
                    if isinstance(result, ZooterError):
                        raise result
                    yield result
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(
        self, endpoint: Endpoint, queue: deque[Request], finished: asyncio.Queue[Response | ZooterError]
    ) -> None:
        """Make calls from the queue until it is empty or one of them is fatal."""
        while queue:
            async with endpoint.slot():
                if not queue:  # other workers emptied it while this one waited
                    return
                try:
                    finished.put_nowait(await self._call(endpoint, queue.popleft()))
                except ZooterError as error:
                    finished.put_nowait(error)
                    return

    async def _call(self, endpoint: Endpoint, request: Request) -> Response:
        """Make one call, with as many attempts as it takes and the settings allow."""
        attempts, model = 0, _model(request.candidate)
        while True:
            await endpoint.wait()
            start = time.perf_counter()
            without = frozenset(endpoint.refused.get(model, ()))
            try:
                completion = await self._attempt(endpoint, request, without)
            except (openai.APIError, BadCompletionError, TimeoutError) as error:
                # The client's errors carry the request with its key, so they are not kept as a cause.
                kind, message = classify(error, model, endpoint.successes > 0), endpoint.redact(error_message(error))
                requested_wait = retry_after(error)
                if kind is FailureKind.FATAL:
                    raise endpoint.fatal_error(error, request.candidate) from None
                refused = refused_parameters(error, without)
            else:
                endpoint.record_success()
                return completion.as_response(request, time.perf_counter() - start)
            if kind is FailureKind.PARAMETER_REFUSED and refused - without:
                endpoint.refused.setdefault(model, set()).update(refused)
                continue
            if kind is FailureKind.RATE_LIMITED and await self._pause_endpoint(endpoint, requested_wait):
                continue
            attempts += 1
            if kind is not FailureKind.RETRY or attempts > self.retries:
                return request.failed_response(message)
            await asyncio.sleep(self._pause_seconds(attempts, requested_wait))

    async def _attempt(self, endpoint: Endpoint, request: Request, without: Set[str]) -> Completion:
        # The client's own timeout limits each read; this one ends a server that sends a few bytes for ever.
        async with asyncio.timeout(self.timeout):
            # As bytes: `create` would check every message against a schema and trust the reply's, which costs twice
            # the time of the call itself and hides what a broken server sent.
            raw = await endpoint.client.post(
                "/chat/completions", cast_to=openai.HttpxBinaryResponseContent, body=self._body(request, without)
            )
        return parse(raw.content, self.sampling.labels)

    def _body(self, request: Request, without: Set[str]) -> dict[str, Any]:
        sampling = self.sampling
        body: dict[str, Any] = {
            "model": _model(request.candidate),
            "messages": sampling.messages(request.query),
            "top_p": sampling.top_p,
            # The newer name of the same limit, for models that refuse the older one.
            "max_completion_tokens" if "max_tokens" in without else "max_tokens": sampling.max_new_tokens,
        }
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None and "seed" not in without:
            body["seed"] = sampling.seed_of(request.query, request.sample)
        if self.first_tokens and "logprobs" not in without:
            count = 20 if sampling.labels else self.first_tokens
            body |= {"logprobs": True, "top_logprobs": min(count, 5) if "top_logprobs" in without else count}
        return body | dict(request.candidate.extra)

    async def _pause_endpoint(self, endpoint: Endpoint, requested_wait: float | None) -> bool:
        """Pause the server's calls after a rate limit; False when `patience` has run out."""
        now = asyncio.get_running_loop().time()
        if requested_wait is None and endpoint.resume_at > now:
            return True  # another call of the same burst met the limit first and has set the pause
        seconds = self._pause_seconds(endpoint.rate_limits_in_row + 1, requested_wait)
        if now + seconds - endpoint.quiet_since > self.patience:
            return False
        endpoint.pause(seconds)
        return True

    def _pause_seconds(self, attempts: int, requested_wait: float | None) -> float:
        if requested_wait is not None:
            return requested_wait
        return min(self.longest_pause, self.backoff * 2.0 ** min(attempts - 1, 30)) * random.uniform(0.5, 1.0)


def _model(candidate: Candidate) -> str:
    return candidate.model or candidate.name
