"""Clients of which some misbehave, for soak.py, and a check of what the others are answered."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field

NAMES = ("small", "large", "tiny")
CLIENTS = 48
PATIENCE = 30.0  # seconds after which a request counts as stuck
MISTAKES = ("leave", "leave late", "half body", "no JSON", "no key", "long head", "reset")


@dataclass
class Clients:
    """Clients that send one request after another, each on a new connection or the last one's.

    Attributes:
        port: port of the server.
        outcomes: outcome → number of requests.
        lost: what was wrong with requests that got neither their answer nor an error.
    """

    port: int
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(2))

    async def run(self, numbers: range) -> None:
        """Send these requests from `CLIENTS` clients at once."""
        remaining = iter(numbers)

        async def client() -> None:
            for number in remaining:
                mistake = self.dice.choice(MISTAKES) if self.dice.random() < 0.1 else ""
                try:
                    async with asyncio.timeout(PATIENCE):
                        self.outcomes[await self.send(number, mistake)] += 1
                except TimeoutError:
                    self.lost.append(f"{number} ({mistake or 'no mistake'}): no end after {PATIENCE:g} s")
                except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                    self.lost.append(f"{number} ({mistake or 'no mistake'}): {type(error).__name__}: {error}")

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def send(self, number: int, mistake: str) -> str:
        """Send one request and return its outcome."""
        text = f"number {number} for {NAMES[number % 3]} " + "x" * self.dice.randrange(2_000)
        stream = self.dice.random() < 0.5
        model = NAMES[number % 3] if self.dice.random() < 0.1 else "zooter"
        body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
        key = b"wrong" if mistake == "no key" else b"soak"
        if mistake == "no JSON":
            body = body[:-1]
        more = b"a: b\r\n" * 10_000 if mistake == "long head" else b""
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\n%s" % (key, more)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(head + b"content-length: %d\r\n\r\n" % len(body))
            if mistake == "half body":
                writer.write(body[: len(body) // 2])
                return "left with half a body sent"
            writer.write(body)
            await writer.drain()
            if mistake in ("leave", "reset"):
                await asyncio.sleep(self.dice.random() * 0.05)
                if mistake == "reset":
                    writer.transport.abort()
                return "left before the answer"
            if mistake == "long head":
                # The answer may be lost to the reset that follows it, as the client is still sending.
                await asyncio.gather(reader.read(), return_exceptions=True)
                return "too long a head"
            answer = await reader.readuntil(b"\r\n\r\n")
            if mistake == "leave late":
                return "left within the answer"
            return check(answer, await read_body(reader, answer), text, stream)
        finally:
            writer.close()


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Read a response's body to its end."""
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    if length:
        return await reader.readexactly(int(length))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return b"".join(pieces)


def check(head: bytes, body: bytes, text: str, stream: bool) -> str:
    """Return the outcome of a complete response.

    Raises:
        ValueError: it is neither the client's own answer nor an error in OpenAI's form.
    """
    status = int(head.split()[1])
    if status != 200:
        message = json.loads(body)["error"]["message"]
        if not message:
            raise ValueError(f"status {status} without a message")
        return f"status {status}"
    if not stream:
        if json.loads(body)["choices"][0]["message"]["content"] != text:
            raise ValueError("another request's answer")
        return "answered"
    events = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: ")]
    if events[-1] != b"[DONE]":
        if "error" not in json.loads(events[-1]):
            raise ValueError("a stream without an end")
        return "stream broken by its upstream, with an error event"
    deltas = [json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1]]
    if deltas != [text[i::5] for i in range(5)]:
        raise ValueError("another request's stream")
    return "streamed"
