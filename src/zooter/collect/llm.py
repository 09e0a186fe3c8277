"""Asking one model many things, once each, and reading the JSON in what it says: for judges and taggers."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from zooter.collect import progress
from zooter.collect.responder.protocol import Request, Responder
from zooter.data.cache import ResponseCache, canonical_json, content_key
from zooter.data.pool import Candidate
from zooter.data.store import KEY, Store
from zooter.data.types import Query, Response
from zooter.errors import ResponderError

log = logging.getLogger(__name__)

MAX_TRIES = 1_000  # brackets of one reply that open no JSON value; a model caught in a loop writes millions
WRITE_BATCH = 256  # replies; what a killed run has to ask again, at most, beside calls in flight
MIN_CALLS_TO_JUDGE = 50  # first tries from which the share of failures says something

_DECODER = json.JSONDecoder(strict=False)  # models put line breaks into strings


@dataclass(frozen=True)
class CachedLLM:
    """What one model says to texts. Replies are kept as they came, so that reading them better asks nothing again.

    Attributes:
        folder: keeps replies, and which calls have failed, for all runs; None keeps them for this one.
        max_failures: share of the calls of one `to` that may fail, of those that are made for the first time.
        max_attempts: runs in which a failed call is tried before it is given up, and then `max_failures` holds for all
            texts of one `to` together; None leaves both to a caller who asks only for what is missing.
        title: of a progress bar; None shows none.
        known: content key → reply, None for a call that failed in this run: none is made twice.
    """

    responder: Responder
    candidate: Candidate
    folder: Path | None = None
    max_failures: float = 0.0
    max_attempts: int | None = None
    title: str | None = None
    known: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def to(self, texts: Sequence[str]) -> list[str | None]:
        """One reply per text; None where the call failed, which the next run tries again.

        Raises:
            ResponderError: the model cannot be asked, or more calls failed than may; finished replies are kept.
        """
        identity = canonical_json(self.responder.identity(self.candidate))
        keys = [content_key("reply", identity, text) for text in texts]
        text_of = {k: text for k, text in zip(keys, texts, strict=True) if k not in self.known}
        missing = self._unread(list(text_of))
        attempts = self._cells.attempts(missing) if self._cells else Counter()
        given_up = [k for k in missing if self.max_attempts is not None and attempts[k] >= self.max_attempts]
        self.known.update(dict.fromkeys(given_up))
        if given_up:
            log.warning("%d calls of %s have failed %d times and are given up; a larger max_attempts tries them again",
                        len(given_up), self.candidate.name, self.max_attempts)  # fmt: skip
        if open_ := [k for k in missing if k not in self.known]:
            requests = [Request(Query(k, text_of[k]), self.candidate) for k in open_]
            asyncio.run(self._ask(requests, identity, attempts))
        if self.max_attempts is not None:
            self._refuse_if_too_many_are_missing(set(keys))
        return [self.known[k] for k in keys]

    @property
    def _cells(self) -> ResponseCache | None:
        return None if self.folder is None else ResponseCache(self.folder)

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

    async def _ask(self, requests: Sequence[Request], identity: str, attempts: Mapping[str, int]) -> None:
        """Ask and keep; queries' ids are the keys."""
        waiting: dict[str, Response] = {}
        errors: Counter[str] = Counter()
        first = 0
        try:
            with self._bar(len(requests)) as advance:
                async with aclosing(self.responder.respond(requests)) as responses:
                    async for one in responses:
                        advance(1, one.cost or 0.0, one.error is not None)
                        self.known[one.query_id] = None if one.error is not None else one.text
                        waiting[one.query_id] = one
                        if len(waiting) >= WRITE_BATCH:
                            self._land(waiting, identity)
                        # A call that has failed before is likely to fail again: only first tries say whether to go on.
                        if not attempts.get(one.query_id):
                            first += 1
                            errors.update([one.error] if one.error is not None else [])
                            if first >= MIN_CALLS_TO_JUDGE:
                                self._refuse_if_too_many(errors, first)
        finally:  # also what came before an interruption or an error is kept: it has been paid for
            self._land(waiting, identity)
        self._refuse_if_too_many(errors, first)

    def _bar(self, total: int) -> AbstractContextManager[Callable[[int, float, int], None]]:
        return (
            progress.progress_bar(self.title, total) if self.title else nullcontext(lambda cells, dollars, failed: None)
        )

    def _land(self, waiting: dict[str, Response], identity: str) -> None:
        if self._cells is not None and waiting:
            good = {k: one.text for k, one in waiting.items() if one.error is None}
            if good:
                cells = {KEY: list(good), "reply": list(good.values()), "identity": [identity] * len(good)}
                Store(self._cells.folder).append(pa.table(cells))
            failed = [(k, one) for k, one in waiting.items() if one.error is not None]
            self._cells.keep(failed, {self.candidate.name: identity})
        waiting.clear()

    def _refuse_if_too_many_are_missing(self, keys: set[str]) -> None:
        """Against all texts of one `to`; what failed for want of a folder was refused as it failed."""
        missing = sorted(k for k in keys if self.known[k] is None)
        if self._cells is not None and missing:
            reason = self._cells.reasons(missing).most_common(1)[0][0]
            self._refuse_if_too_many(Counter({reason: len(missing)}), len(keys))

    def _refuse_if_too_many(self, errors: Counter[str], of: int) -> None:
        if errors.total() > self.max_failures * of:
            raise ResponderError(
                expected=f"at most {self.max_failures:.0%} of the calls of {self.candidate.name!r} to fail",
                found=f"{errors.total()} of {of}, most often: {errors.most_common(1)[0][0]}",
                do="see to its server and run again: finished replies are kept; or allow more with max_failures, or "
                "try given-up calls again with max_attempts",
            )


def json_values(text: str) -> Iterator[Any]:
    """Every JSON object and array in a text, in order, whatever stands around it; not again those inside others."""
    start = tries = 0
    while tries < MAX_TRIES:
        places = [place for place in (text.find("{", start), text.find("[", start)) if place >= 0]
        if not places:
            return
        try:
            value, start = _DECODER.raw_decode(text, min(places))
        except (ValueError, RecursionError):
            start, tries = min(places) + 1, tries + 1
        else:
            yield value
