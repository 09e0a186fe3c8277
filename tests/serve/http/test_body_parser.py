"""Parsing of bodies: none of an allowed size stalls the event loop."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from zooter.serve import server
from zooter.serve.http import chat_request
from zooter.serve.http.body_parser import MAX_TEXT, THREAD_BODY, BodyParser
from zooter.serve.http.chat_request import MAX_VALUES, ChatRequest
from zooter.serve.http.errors import ApiError

MAX_STALL = 0.05  # s
CHAT = b'{"model": "zooter", "messages": [{"role": "user", "content": "hello"}]'
SIZE = 15 * 2**20
LONG_BODIES = {
    "text": CHAT.replace(b"hello", b"word " * (SIZE // 5)) + b"}",
    "other letters": CHAT.replace(b"hello", "aé日😀".encode() * (SIZE // 10)) + b"}",
    "escapes": CHAT.replace(b"hello", b"\\n\\u0041" * (SIZE // 8)) + b"}",
    "quotes": CHAT.replace(b"hello", b'\\",[' * (SIZE // 4)) + b"}",
    "spaces": CHAT + b" " * SIZE + b"}",
    "members": CHAT + b"".join(b',"%d":1' % i for i in range(1_200_000)) + b"}",
    "lists": CHAT + b',"a":[' + b"[]," * (SIZE // 3) + b"1]}",
    "allowed values": CHAT + b',"a":{' + b",".join(b'"%d":{}' % i for i in range(MAX_VALUES // 2 - 9)) + b"}}",
}


@pytest.fixture(scope="module")
def parser() -> Iterator[BodyParser]:
    """A parser whose process has started."""
    parser = BodyParser()
    asyncio.run(parser.run(chat_request.parse_chat_request, CHAT + b" " * THREAD_BODY + b"}"))
    yield parser
    parser.close()


@contextmanager
def short_switches() -> Iterator[None]:
    """Let threads take turns as in the server."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(server.SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def heartbeat(gaps: list[float]) -> None:
    """Append the processor time that this process takes between two turns of the event loop.

    Processor time: other programs on the machine do not count, nor does the process that parses.
    """
    while True:
        before = time.process_time()
        await asyncio.sleep(0.001)
        gaps.append(time.process_time() - before)


async def parse(parser: BodyParser, name: str) -> float:
    """Parse a body, and return the longest stall of the event loop in seconds."""
    gaps: list[float] = []
    beating = asyncio.create_task(heartbeat(gaps))
    await asyncio.sleep(0.01)
    if name in ("members", "lists"):
        with pytest.raises(ApiError, match="expected a body of at most 50000 JSON values"):
            await parser.run(chat_request.parse_chat_request, LONG_BODIES[name])
    else:
        chat = await parser.run(chat_request.parse_chat_request, LONG_BODIES[name])
        assert len(b"".join(chat.body_parts("m", {}))) == len(LONG_BODIES[name]) - len("zooter") + len("m")
    await asyncio.sleep(0.01)
    beating.cancel()
    return max(gaps)


def test_no_body_of_an_allowed_size_stalls_the_event_loop(parser: BodyParser) -> None:
    async def stalls() -> dict[str, float]:
        return {name: await parse(parser, name) for name in LONG_BODIES}

    with short_switches():
        seconds = asyncio.run(stalls())
    assert max(seconds.values()) < MAX_STALL, seconds  # 2 s for members and 1 s for spaces when parsed on the loop


def test_a_long_request_is_the_same_wherever_it_is_parsed_but_for_the_length_of_its_texts(
    parser: BodyParser,
) -> None:
    body = CHAT.replace(b"hello", "é".encode() * THREAD_BODY) + b',"stream": true}'
    there = asyncio.run(parser.run(partial(chat_request.parse_chat_request, endpoint="completions"), body))
    here = chat_request.parse_chat_request(body, "completions")
    assert there.texts == tuple(text[:MAX_TEXT] for text in here.texts)
    for name in ChatRequest.__dataclass_fields__:
        assert name == "texts" or getattr(there, name) == getattr(here, name), name


def end_process(body: bytes) -> ChatRequest:
    """End the process that parses, as a lack of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_process_that_dies_over_a_body_costs_that_request_alone(
    parser: BodyParser, caplog: pytest.LogCaptureFixture
) -> None:
    body = CHAT + b" " * THREAD_BODY + b"}"

    async def both() -> ChatRequest:
        with pytest.raises(ApiError, match="could not be parsed") as refusal:
            await parser.run(end_process, body)
        assert (refusal.value.status, refusal.value.retry_after) == (503, 1)
        return await parser.run(chat_request.parse_chat_request, body)

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(both()).texts == ("hello",)
    message = "the process that parses long bodies has ended, and is started again"
    assert [record.getMessage() for record in caplog.records] == [message] * 2


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    for text in (b",[{" * MAX_VALUES, b'\\",' * MAX_VALUES, b"\\\\" * 2**18 + b"," * 2 * MAX_VALUES):
        body = CHAT.replace(b"hello", text) + b"}"
        assert len(chat_request.parse_chat_request(body).texts) == 1
    for offset in range(4):  # escaped backslashes and quotes
        body = b" " * offset + CHAT.replace(b"hello", b'\\\\\\"' * 2**17) + b',"a": [' + b"1," * MAX_VALUES + b"1]}"
        with pytest.raises(ApiError, match="at most 50000 JSON values"):
            chat_request.parse_chat_request(body)


def test_a_wrong_byte_far_inside_is_named_by_its_position() -> None:
    for before in (b"x" * 2**18, b"x" * (2**18 - len(CHAT) + 8) + "日".encode()[:2]):
        body = CHAT.replace(b"hello", before + b"\xff") + b"}"
        with pytest.raises(UnicodeDecodeError) as whole:
            body.decode()
        with pytest.raises(ApiError, match=f"found a wrong byte at {whole.value.start}$"):
            chat_request.parse_chat_request(body)
