"""Candidates behind OpenAI-compatible servers: vLLM, Ollama, llama.cpp, TGI, LiteLLM, OpenAI and others."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, MutableMapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import openai

from zooter.collect.responder.client.completion import FIRST_TOKENS, BadCompletionError, Completion, parse
from zooter.collect.responder.client.endpoint import (
    Endpoint,
    EndpointPool,
    FailureKind,
    error_message,
    refused_parameters,
    retry_after,
)
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.pool import Candidate
from zooter.data.types import Response
from zooter.errors import ConfigError, ZooterError


@dataclass(frozen=True)
class OpenAIResponder:
    """Asks over HTTP through the official client, many calls at a time.

    Calls of `respond` that overlap in an event loop share connections, rate limits and the number of calls at a time.

    Attributes:
        sampling: how candidates are asked.
        concurrency: calls at a time to one server.
        timeout: seconds from a call to its whole answer.
        retries: further tries of a call that failed in a way that may pass. Rate limits do not count: they hold back
            all calls to that server, for as long as it says or ever longer, and lose nothing.
        backoff: seconds before the second try, doubled for each further one, and jittered.
        longest_pause: seconds, where the server does not say how long to wait.
        patience: seconds for which a server may answer nothing but rate limits before its calls fail.
        first_tokens: how many of the likeliest first tokens to ask for; 0 for none, 2 suffice for the margin. Servers
            list as many for every token of the response: about 60 bytes each.
    """

    sampling: Sampling = field(default_factory=Sampling)
    concurrency: int = 32
    timeout: float = 120.0
    retries: int = 4
    backoff: float = 0.5
    longest_pause: float = 60.0
    patience: float = 900.0
    first_tokens: int = FIRST_TOKENS
    shared: MutableMapping[asyncio.AbstractEventLoop, EndpointPool] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name, least in (
            ("concurrency", 1), ("timeout", 0.001), ("retries", 0), ("backoff", 0.0), ("first_tokens", 0)
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(
                    expected=f"responder.{name} of {least} or more", found=str(getattr(self, name)), do="correct it"
                )

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {
            "responder": "openai",
            "model": candidate.model or candidate.name,
            "revision": candidate.revision,
            "extra": dict(candidate.extra),
            "sampling": self.sampling.told(),
        }

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[EndpointPool]:
        """Keeps connections, and what was learned of the servers, for calls of `respond` inside."""
        loop = asyncio.get_running_loop()
        servers = self.shared.setdefault(loop, EndpointPool())
        servers.users += 1
        try:
            yield servers
        finally:
            servers.users -= 1
            if not servers.users:
                del self.shared[loop]
                await servers.close()

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        queues: dict[tuple[str | None, str | None], deque[Request]] = {}
        for request in requests:
            queues.setdefault((request.candidate.url, request.candidate.key_env), deque()).append(request)
        finished: asyncio.Queue[Response | ZooterError] = asyncio.Queue()
        async with self.connections() as servers:
            asked = [
                (servers.of(queue[0].candidate, self.timeout, self.concurrency), queue) for queue in queues.values()
            ]
            workers = [
                asyncio.create_task(self._work(endpoint, queue, finished))
                for endpoint, queue in asked
                for _ in range(min(self.concurrency, len(queue)))
            ]
            try:
                for _ in requests:
                    found = await finished.get()
                    if isinstance(found, ZooterError):
                        raise found
                    yield found
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(
        self, endpoint: Endpoint, queue: deque[Request], finished: asyncio.Queue[Response | ZooterError]
    ) -> None:
        while queue:
            async with endpoint.turn():
                if not queue:  # emptied by the others while this one waited
                    return
                try:
                    finished.put_nowait(await self._answer(endpoint, queue.popleft()))
                except ZooterError as error:
                    finished.put_nowait(error)
                    return

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        tries = 0
        while True:
            await endpoint.wait()
            started = time.perf_counter()
            without = frozenset(endpoint.refused.get(_model(request.candidate), ()))
            try:
                reply = await self._try(endpoint, request, without)
            except (openai.APIError, BadCompletionError, TimeoutError) as error:
                # The client's errors carry the request with its key, so they are not kept as a cause.
                verdict, words, asked = (
                    endpoint.judge(error, _model(request.candidate)),
                    endpoint.redact(error_message(error)),
                    retry_after(error),
                )
                if verdict is FailureKind.FATAL:
                    raise endpoint.fatal(error, request.candidate) from None
                refused = refused_parameters(error, without)
            else:
                endpoint.succeeded()
                return _response(request, reply, time.perf_counter() - started)
            if verdict is FailureKind.WITHOUT and refused - without:
                endpoint.refused.setdefault(_model(request.candidate), set()).update(refused)
                continue
            if verdict is FailureKind.LIMIT and await self._is_held_back(endpoint, asked):
                continue
            tries += 1
            if verdict is not FailureKind.AGAIN or tries > self.retries:
                return _failed(request, words)
            await asyncio.sleep(self._pause(tries, asked))

    async def _try(self, endpoint: Endpoint, request: Request, without: Set[str]) -> Completion:
        # The client's own limit is on each read; a server that drips forever has to end too.
        async with asyncio.timeout(self.timeout):
            # As bytes: `create` would check every message against a schema and trust the reply's, which costs twice
            # the time of the call itself and hides what a broken server said.
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
            most = 20 if sampling.labels else self.first_tokens
            body |= {"logprobs": True, "top_logprobs": min(most, 5) if "top_logprobs" in without else most}
        return body | dict(request.candidate.extra)

    async def _is_held_back(self, endpoint: Endpoint, asked: float | None) -> bool:
        """Hold the server's calls; False when its patience is over."""
        now = asyncio.get_running_loop().time()
        if asked is None and endpoint.resume_at > now:
            return True  # another call of the same burst was told so and has set the pause
        pause = self._pause(endpoint.strikes + 1, asked)
        if now + pause - endpoint.quiet_since > self.patience:
            return False
        endpoint.limited(pause)
        return True

    def _pause(self, tries: int, asked: float | None) -> float:
        if asked is not None:
            return asked
        return min(self.longest_pause, self.backoff * 2.0 ** min(tries - 1, 30)) * random.uniform(0.5, 1.0)


def _model(candidate: Candidate) -> str:
    return candidate.model or candidate.name


def _response(request: Request, reply: Completion, seconds: float) -> Response:
    return Response(
        query_id=request.query.id,
        candidate=request.candidate.name,
        sample=request.sample,
        text=reply.text,
        finish_reason=reply.finish_reason,
        margin=reply.margin,
        first_tokens=reply.first_tokens,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cost=request.candidate.cost(reply.input_tokens, reply.output_tokens),
        seconds=seconds,
    )


def _failed(request: Request, words: str) -> Response:
    return Response(request.query.id, request.candidate.name, request.sample, "", error=words)
