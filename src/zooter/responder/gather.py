"""Asking one model many things, once each, and reading the JSON in what it says: for judges and taggers."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from zooter import progress
from zooter.cells import key, told
from zooter.errors import ResponderError
from zooter.pool import Candidate
from zooter.responder.protocol import Request, Responder
from zooter.store import KEY, Store
from zooter.types import Query

MOST_TRIES = 1_000  # brackets of one reply that open no JSON value; a model caught in a loop writes millions
LANDED_TOGETHER = 256  # replies; what a killed run has to ask again, at most, beside calls in flight
ENOUGH = 50  # calls from which the share of failures says something

_DECODER = json.JSONDecoder(strict=False)  # models put line breaks into strings


@dataclass(frozen=True)
class Replies:
    """What one model says to texts. Replies are kept as they came, so that reading them better asks nothing again.

    Attributes:
        folder: keeps replies for all runs; None keeps them for this one.
        max_failures: share of the calls of one `to` that may fail.
        title: of a progress bar; None shows none.
        known: content key → reply, None for a call that failed in this run: none is made twice.
    """

    responder: Responder
    candidate: Candidate
    folder: Path | None = None
    max_failures: float = 0.0
    title: str | None = None
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
        if missing:
            asyncio.run(self._ask([Request(Query(k, text_of[k]), self.candidate) for k in missing], identity))
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

    async def _ask(self, requests: Sequence[Request], identity: str) -> None:
        """Ask and keep; queries' ids are the keys."""
        waiting: dict[str, str] = {}
        errors: Counter[str] = Counter()
        done = 0
        try:
            with self._bar(len(requests)) as advance:
                async with aclosing(self.responder.respond(requests)) as responses:
                    async for one in responses:
                        advance(1, one.cost or 0.0, one.error is not None)
                        done += 1
                        self.known[one.query_id] = None if one.error is not None else one.text
                        if one.error is not None:
                            errors[one.error] += 1
                        else:
                            waiting[one.query_id] = one.text
                        if len(waiting) >= LANDED_TOGETHER:
                            self._land(waiting, identity)
                        if done >= ENOUGH:
                            self._refuse_if_too_many(errors, done)
        finally:  # also what came before an interruption or an error is kept: it has been paid for
            self._land(waiting, identity)
        self._refuse_if_too_many(errors, done)

    def _bar(self, total: int) -> AbstractContextManager[Callable[[int, float, int], None]]:
        return progress.bar(self.title, total) if self.title else nullcontext(lambda cells, dollars, failed: None)

    def _land(self, waiting: dict[str, str], identity: str) -> None:
        if self.folder is not None and waiting:
            cells = {KEY: list(waiting), "reply": list(waiting.values()), "identity": [identity] * len(waiting)}
            Store(self.folder).append(pa.table(cells))
        waiting.clear()

    def _refuse_if_too_many(self, errors: Counter[str], done: int) -> None:
        if errors.total() > self.max_failures * done:
            raise ResponderError(
                expected=f"at most {self.max_failures:.0%} of the calls of {self.candidate.name!r} to fail",
                found=f"{errors.total()} of {done}, most often: {errors.most_common(1)[0][0]}",
                do="see to its server and run again, or raise max_failures; finished replies are kept",
            )


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
