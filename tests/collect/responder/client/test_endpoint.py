"""Connections and rate limits that overlapping calls share."""

import asyncio

import pytest
from support.fake_server import chat, error_reply, serving
from support.http_candidates import QUICK, in_turn

from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request
from zooter.data.pool import Candidate
from zooter.data.types import Query, Response
from zooter.errors import ResponderError


async def several(responder: OpenAIResponder, url: str, calls: int, n: int, apart: float = 0.0) -> list[Response]:
    """Run so many overlapping `respond` calls of n queries each, started `apart` seconds after one another."""
    candidate = Candidate("small", url=url)

    async def respond_once(call: int) -> list[Response]:
        await asyncio.sleep(call * apart)
        requests = [Request(Query(f"{call}-{i}", "query"), candidate) for i in range(n)]
        return [response async for response in responder.respond(requests)]

    return [
        response for part in await asyncio.gather(*(respond_once(call) for call in range(calls))) for response in part
    ]


def test_calls_that_overlap_share_the_limit_and_the_connections() -> None:
    responder = OpenAIResponder(concurrency=4)
    with serving(lambda body, number: chat("good", delay=0.02)) as server:
        responses = asyncio.run(several(responder, server.url, calls=5, n=4))
    assert len({response.query_id for response in responses}) == 20
    assert not [response for response in responses if response.error is not None]
    assert (server.max_concurrent, server.connections) == (4, 4)
    assert not responder.endpoint_pools


def test_a_rate_limit_pauses_overlapping_calls_too() -> None:
    async def warmed_up(responder: OpenAIResponder, url: str) -> list[Response]:
        async with responder.connections():
            await several(responder, url, calls=1, n=1)
            return await several(responder, url, calls=2, n=1, apart=0.15)

    with serving(in_turn(chat("warm"), error_reply(429, "slow down", retry_after="0.6"))) as server:
        responses = asyncio.run(warmed_up(OpenAIResponder(), server.url))
    assert [response.text for response in responses] == ["good", "good"]
    assert all(moment - server.times[1] >= 0.6 for moment in server.times[2:])


def test_connections_stay_for_later_calls_only_inside_connections() -> None:
    async def twice(responder: OpenAIResponder, url: str) -> None:
        for _ in range(2):
            await several(responder, url, calls=1, n=1)

    async def kept_open(responder: OpenAIResponder, url: str) -> None:
        async with responder.connections():
            await twice(responder, url)

    for ask_twice, connections in ((twice, 2), (kept_open, 1)):
        with serving(in_turn()) as server:
            asyncio.run(ask_twice(OpenAIResponder(), server.url))
        assert server.connections == connections


def test_a_wrong_key_leaves_no_connection_open() -> None:
    responder = OpenAIResponder(**QUICK)
    with serving(lambda body, number: error_reply(401, "wrong key")) as server, pytest.raises(ResponderError):
        asyncio.run(several(responder, server.url, calls=3, n=2))
    assert not responder.endpoint_pools


def test_idle_time_does_not_count_against_the_patience() -> None:
    async def after_a_pause(responder: OpenAIResponder, url: str) -> list[Response]:
        async with responder.connections():
            await several(responder, url, calls=1, n=1)
            await asyncio.sleep(0.3)
            return await several(responder, url, calls=1, n=1)

    replies = in_turn(chat("good"), error_reply(429, "slow down", retry_after="0.1"))
    with serving(replies) as server:
        responses = asyncio.run(after_a_pause(OpenAIResponder(patience=0.2), server.url))
    assert [response.text for response in responses] == ["good"]
