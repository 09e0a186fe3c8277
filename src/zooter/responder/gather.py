"""Asking one model many things, once each, and reading the JSON in what it says: for judges and taggers."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from zooter.cells import key, told
from zooter.errors import ResponderError
from zooter.pool import Candidate
from zooter.responder.protocol import Request, Responder
from zooter.store import KEY, Store
from zooter.types import Query, Response

MOST_TRIES = 1_000  # brackets of one reply that open no JSON value; a model caught in a loop writes millions
ASKED_TOGETHER = 1_024  # texts whose replies land on disk together

_DECODER = json.JSONDecoder(strict=False)  # models put line breaks into strings


@dataclass(frozen=True)
class Replies:
    """What one model says to texts. Replies are kept as they came, so that reading them better asks nothing again.

    Attributes:
        folder: keeps replies for all runs; None keeps them for this one.
        max_failures: share of the calls of one `to` that may fail.
        known: content key → reply, None for a call that failed in this run: none is made twice.
    """

    responder: Responder
    candidate: Candidate
    folder: Path | None = None
    max_failures: float = 0.0
    known: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def to(self, texts: Sequence[str]) -> list[str | None]:
        """One reply per text; None where the call failed, which the next run tries again.

        Raises:
            ResponderError: the model cannot be asked, or more calls failed than may; finished replies are kept.
        """
        identity = told(self.responder.identity(self.candidate))
        keys = [key("reply", identity, text) for text in texts]
        text_of = {k: text for k, text in zip(keys, texts, strict=True) if k not in self.known}
        missing = self._unread(list(text_of))
        errors: Counter[str] = Counter()
        for start in range(0, len(missing), ASKED_TOGETHER):
            batch = missing[start : start + ASKED_TOGETHER]
            errors += self._ask(batch, [text_of[k] for k in batch], identity)
        if errors.total() > self.max_failures * len(missing):
            raise ResponderError(
                expected=f"at most {self.max_failures:.0%} of the calls of {self.candidate.name!r} to fail",
                found=f"{errors.total()} of {len(missing)}, most often: {errors.most_common(1)[0][0]}",
                do="see to its server and run again, or raise max_failures; finished replies are kept",
            )
        return [self.known[k] for k in keys]

    def _unread(self, keys: list[str]) -> list[str]:
        """Those that the disk has no reply for; the others become known."""
        if self.folder is None:
            return keys
        store = Store(self.folder)
        missing = [keys[i] for i in store.missing(keys)]
        stored = sorted(set(keys) - set(missing))
        if stored:
            self.known.update(zip(stored, store.read(stored)["reply"].to_pylist(), strict=True))
        return missing

    def _ask(self, keys: Sequence[str], texts: Sequence[str], identity: str) -> Counter[str]:
        """Ask and keep; the reasons of the calls that failed."""
        queries = [Query(str(i), text) for i, text in enumerate(texts)]
        requests = [Request(query, self.candidate) for query in queries]
        found = {one.query_id: one for one in asyncio.run(_gather(self.responder, requests))}
        replies = {k: found[query.id] for k, query in zip(keys, queries, strict=True)}
        self.known.update({k: None if one.error is not None else one.text for k, one in replies.items()})
        landed = {k: one.text for k, one in replies.items() if one.error is None}
        if self.folder is not None and landed:
            cells = {KEY: list(landed), "reply": list(landed.values()), "identity": [identity] * len(landed)}
            Store(self.folder).append(pa.table(cells))
        return Counter(one.error for one in found.values() if one.error is not None)


async def _gather(responder: Responder, requests: Sequence[Request]) -> list[Response]:
    return [response async for response in responder.respond(requests)]


def json_values(text: str) -> Iterator[Any]:
    """Every JSON object and array in a text, in order, whatever stands around it; not again those inside others."""
    start = tries = 0
    while tries < MOST_TRIES:
        places = [place for place in (text.find("{", start), text.find("[", start)) if place >= 0]
        if not places:
            return
        try:
            value, start = _DECODER.raw_decode(text, min(places))
        except (ValueError, RecursionError):
            start, tries = min(places) + 1, tries + 1
        else:
            yield value
