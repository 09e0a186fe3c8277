"""Candidates' servers that fail at random, for soak.py: `python benchmarks/soak_upstream.py PORT`."""

import asyncio
import json
import random
import sys
import time
from email.utils import formatdate
from typing import Any

import uvloop

FAULTS = (
    "500", "429", "date", "400", "404", "context", "empty", "error", "text", "reset", "cut", "hang", "header",
    "half stream", "error event", "no event", "packed", "slow",
)  # fmt: skip


class FaultyUpstream:
    """Answers with the text that it is asked to repeat, or fails at random."""

    def __init__(self) -> None:
        self.dice, self.is_faulty = random.Random(1), True

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                body = json.loads(await reader.readexactly(int(length or 0)) or b"{}")
                if head.startswith(b"POST /recover"):
                    self.is_faulty = False
                    writer.write(whole(b"{}"))
                    continue
                fault = self.dice.choice(FAULTS) if self.is_faulty and self.dice.random() < 1 / 3 else ""
                if fault in ("429", "date") and self.dice.random() < 0.95:
                    fault = ""  # each of them closes a candidate for as long as it asks
                await self.answer(writer, body, fault)
                await writer.drain()
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            pass  # the server has hung up, which uvloop reports as a RuntimeError
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter, body: dict[str, Any], fault: str) -> None:
        """Write one answer, with a fault or (an empty text) without."""
        text = body["messages"][-1]["content"]
        error = json.dumps({"error": {"message": "no"}}).encode()
        if fault == "hang":
            await asyncio.sleep(1.0)
        elif fault in ("500", "400", "404"):
            writer.write(whole(error, int(fault)))
        elif fault in ("429", "date"):
            wait = "0.2" if fault == "429" else formatdate(time.time() + 1, usegmt=True)
            writer.write(whole(error, 429, f"retry-after: {wait}\r\n"))
        elif fault == "context":
            writer.write(whole(b'{"error": {"message": "maximum context length is 8 tokens"}}', 400))
        elif fault in ("empty", "error", "text", "packed"):
            answers = {"empty": b"{}", "error": error, "text": b"<html>", "packed": b"\x1f\x8b"}
            writer.write(whole(answers[fault], 200, "content-encoding: gzip\r\n" if fault == "packed" else ""))
        elif fault == "reset":
            writer.transport.abort()
        elif fault == "cut":
            writer.write(whole(completion(text))[:-20])
            await writer.drain()
            writer.transport.abort()
        elif body.get("stream"):
            await self.stream(writer, text, fault)
        else:
            await asyncio.sleep(0.2 if fault == "slow" else 0.01)
            writer.write(whole(completion(text), 200, "openai-version: caf\xe9\r\n" if fault == "header" else ""))

    async def stream(self, writer: asyncio.StreamWriter, text: str, fault: str) -> None:
        """Write an answer as five events."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if fault == "error event":
            writer.write(chunk(b'data: {"error": {"message": "no"}}\n\n'))
        if fault not in ("no event", "error event"):
            for i in range(5):
                piece = {"choices": [{"index": 0, "delta": {"content": text[i::5]}}], "id": "x"}
                writer.write(chunk(b"data: " + json.dumps(piece).encode() + b"\n\n"))
                await asyncio.sleep(0.05 if fault == "slow" else 0.002)
                if fault == "half stream" and i == 2:
                    writer.transport.abort()
                    return
            writer.write(chunk(b"data: [DONE]\n\n"))
        writer.write(b"0\r\n\r\n")


def completion(text: str) -> bytes:
    """Encode a whole completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def whole(body: bytes, status: int = 200, more: str = "") -> bytes:
    """Encode a whole HTTP response."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """Encode one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(port: int) -> None:
    """Answer for all candidates on a port."""
    running = await asyncio.start_server(FaultyUpstream().handle, "127.0.0.1", port, backlog=2_048)
    await running.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
