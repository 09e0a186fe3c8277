"""Ask candidates over HTTP from a fake server."""

import asyncio
from typing import Any

from support.fake_server import Answer, Reply, Server, chat, serving

from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request
from zooter.data.pool import Candidate
from zooter.data.types import Query, Response

QUICK = {"timeout": 0.3, "retries": 2, "backoff": 0.001}


def ask(url: str, n: int = 1, candidate: dict[str, Any] | None = None, **settings: Any) -> list[Response]:
    """Send n queries to one candidate; responses are in the order of the queries."""
    target = Candidate(**{"name": "small", "url": url, **(candidate or {})})
    requests = [Request(Query(str(i), f"query {i}"), target) for i in range(n)]

    async def collect() -> list[Response]:
        return [response async for response in OpenAIResponder(**{**QUICK, **settings}).respond(requests)]

    return sorted(asyncio.run(collect()), key=lambda response: int(response.query_id))


def ask_server(answer: Answer, n: int = 1, **settings: Any) -> tuple[list[Response], Server]:
    """Send n queries to a server with these replies; the server keeps what it received."""
    with serving(answer) as server:
        return ask(server.url, n, **settings), server


def in_turn(*replies: Reply) -> Answer:
    """Send the replies one after the other, then a good one every time."""
    return lambda body, number: replies[number] if number < len(replies) else chat("good")
