"""Ask one model many texts, once each, and read JSON from its replies: for judges and taggers."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from zooter.collect import progress
from zooter.collect.engine.outcomes import MIN_FIRST_ATTEMPTS
from zooter.collect.responder.protocol import Request, Responder
from zooter.collect.spending import Spending
from zooter.data.cache import ResponseCache
from zooter.data.content_keys import canonical_json, content_key
from zooter.data.pool import Candidate
from zooter.data.shards import KEY
from zooter.data.store import Store
from zooter.data.types import Query, Response
from zooter.errors import ResponderError

log = logging.getLogger(__name__)

MAX_BAD_BRACKETS = 1_000  # brackets of one reply that open no JSON value; a model caught in a loop writes millions
WRITE_BATCH = 256  # replies written together; a killed run asks again for so many at most, and for calls under way

REPLIES = pa.schema(
    [
        (KEY, pa.string()),
        ("reply", pa.string()),
        ("identity", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost", pa.float64()),
    ]
)
_DECODER = json.JSONDecoder(strict=False)  # models put line breaks into strings


@dataclass(frozen=True)
class CachedLLM:
    """One model whose replies are cached as raw text, so that a better parser asks nothing again.

    Attributes:
        responder: makes the calls.
        candidate: the model to ask.
        folder: cache of replies and failures, shared by all runs; None keeps replies in memory only.
        max_failures: share of the calls of one `ask` that may fail, among those made for the first time.
        max_attempts: number of runs in which a failed call is tried before it is given up; `max_failures` then also
            holds for all texts of one `ask` together. None never gives up, for callers that ask only for what is
            missing.
        title: of the progress bar; None shows none.
        replies: content key → reply; None for a call that failed in this run or was given up. No call is made twice.
        spent: calls made so far and their cost.
    """

    responder: Responder
    candidate: Candidate
    folder: Path | None = None
    max_failures: float = 0.0
    max_attempts: int | None = None
    title: str | None = None
    replies: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)
    spent: Spending = field(default_factory=Spending, repr=False, compare=False)

    def ask(self, texts: Sequence[str]) -> list[str | None]:
        """Ask for a reply to each text, from the cache where it is there.

        Args:
            texts: n user messages; equal ones are asked once.

        Returns:
            One reply per text, in order; None where the call failed, which the next run tries again.

        Raises:
            ResponderError: the model cannot be asked, or too many calls failed; finished replies are kept.
        """
        identity, keys = self._keys(texts)
        text_of = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.replies}
        missing = self._load_stored(list(text_of))
        counts = self._cells.failure_counts(missing).tolist() if self._cells else [0] * len(missing)
        attempts = dict(zip(missing, counts, strict=True))
        given_up = [key for key in missing if self.max_attempts is not None and attempts[key] >= self.max_attempts]
        self.replies.update(dict.fromkeys(given_up))
        if given_up:
            log.warning("%d calls of %s have failed %d times and are given up; a larger max_attempts tries them again",
                        len(given_up), self.candidate.name, self.max_attempts)  # fmt: skip
        if open_keys := [key for key in missing if key not in self.replies]:
            requests = [Request(Query(key, text_of[key]), self.candidate) for key in open_keys]
            asyncio.run(self._call(requests, identity, attempts))
        if self.max_attempts is not None:
            self._check_missing(set(keys))
        return [self.replies[key] for key in keys]

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the distinct texts whose reply is not in the cache, in order; nothing is asked.

        Args:
            texts: user messages, as for `ask`.
        """
        _, keys = self._keys(texts)
        text_of = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.replies}
        if self.folder is None:
            return list(text_of.values())
        waiting = list(text_of.values())
        return [waiting[i] for i in Store(self.folder).missing(list(text_of)).tolist()]

    def mean_output_tokens(self) -> float | None:
        """Average the length of the stored replies of this model, in tokens; None if no length is stored."""
        if self.folder is None:
            return None
        identity, _ = self._keys(())
        stored = Store(self.folder).table([KEY, "identity", "output_tokens"])
        if "output_tokens" not in stored.column_names:
            return None
        mean = pc.mean(stored.filter(pc.equal(stored["identity"].cast(pa.string()), identity))["output_tokens"])
        return mean.as_py()

    def _keys(self, texts: Sequence[str]) -> tuple[str, list[str]]:
        """Return the model's identity and the content key of each text."""
        identity = canonical_json(self.responder.identity(self.candidate))
        return identity, [content_key("reply", identity, text) for text in texts]

    @property
    def _cells(self) -> ResponseCache | None:
        return None if self.folder is None else ResponseCache(self.folder)

    def _load_stored(self, keys: list[str]) -> list[str]:
        """Load the replies that are on disk; return the keys of the others."""
        if self.folder is None:
            return keys
        store = Store(self.folder)
        missing = [keys[i] for i in store.missing(keys)]
        stored = sorted(set(keys) - set(missing))
        if stored:
            self.replies.update(zip(stored, store.read(stored)["reply"].to_pylist(), strict=True))
        return missing

    async def _call(self, requests: Sequence[Request], identity: str, attempts: Mapping[str, int]) -> None:
        """Make the calls and store the replies; the queries' ids are the content keys."""
        pending: dict[str, Response] = {}
        errors: Counter[str] = Counter()
        first_attempts = 0
        try:
            with progress.progress_bar(self.title, len(requests)) as advance:
                async with aclosing(self.responder.respond(requests)) as responses:
                    async for response in responses:
                        self.spent.add(response)
                        advance(1, response.cost or 0.0, response.error is not None)
                        self.replies[response.query_id] = None if response.error is not None else response.text
                        pending[response.query_id] = response
                        if len(pending) >= WRITE_BATCH:
                            self._store(pending, identity)
                        # A call that has failed before is likely to fail again, so only first attempts count.
                        if not attempts.get(response.query_id):
                            first_attempts += 1
                            errors.update([response.error] if response.error is not None else [])
                            if first_attempts >= MIN_FIRST_ATTEMPTS:
                                self._check_failures(errors, first_attempts)
        finally:  # also after an interruption or an error: finished replies have been paid for
            self._store(pending, identity)
        self._check_failures(errors, first_attempts)

    def _store(self, pending: dict[str, Response], identity: str) -> None:
        """Write replies and failures to disk, if there is a folder, and empty `pending`."""
        if self._cells is not None and pending:
            replies = [
                {KEY: key, "reply": response.text, "identity": identity,
                 **{name: getattr(response, name) for name in ("input_tokens", "output_tokens", "cost")}}
                for key, response in pending.items() if response.error is None
            ]  # fmt: skip
            if replies:
                Store(self._cells.folder).append(pa.Table.from_pylist(replies, REPLIES))
            failed = [(key, response) for key, response in pending.items() if response.error is not None]
            self._cells.add_responses(failed, {self.candidate.name: identity})
        pending.clear()

    def _check_missing(self, keys: set[str]) -> None:
        """Check failures against all texts of one `ask`; without a folder they were checked as they came."""
        missing = sorted(key for key in keys if self.replies[key] is None)
        if self._cells is not None and missing:
            reason = self._cells.failure_reasons(missing).most_common(1)[0][0]
            self._check_failures(Counter({reason: len(missing)}), len(keys))

    def _check_failures(self, errors: Counter[str], calls: int) -> None:
        """Raise ResponderError when more than `max_failures` of the calls failed."""
        if errors.total() > self.max_failures * calls:
            raise ResponderError(
                expected=f"at most {self.max_failures:.0%} of the calls of {self.candidate.name!r} to fail",
                found=f"{errors.total()} of {calls}, most often: {errors.most_common(1)[0][0]}",
                do="see to its server and run again: finished replies are kept; or allow more with max_failures, or "
                "try given-up calls again with max_attempts",
            )


def json_values(text: str) -> Iterator[Any]:
    """Yield every JSON object and array in a text, in order, whatever stands around it; not those inside others."""
    start = bad_brackets = 0
    while bad_brackets < MAX_BAD_BRACKETS:
        brackets = [position for position in (text.find("{", start), text.find("[", start)) if position >= 0]
        if not brackets:
            return
        try:
            value, start = _DECODER.raw_decode(text, min(brackets))
        except (ValueError, RecursionError):
            start, bad_brackets = min(brackets) + 1, bad_brackets + 1
        else:
            yield value
