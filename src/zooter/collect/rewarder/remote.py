"""A reward model behind an HTTP server: vLLM or Text Embeddings Inference (TEI), held to its local twin."""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
import numpy as np

from zooter.collect.rewarder.classifier import ClassifierRewarder
from zooter.collect.rewarder.protocol import answered_rows
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, RewarderError

log = logging.getLogger(__name__)

PATHS = {"vllm-classify": "/classify", "vllm-pooling": "/pooling", "tei-predict": "/predict"}
WORDS = 200  # characters of a server's own words in a message
Row = tuple[str, str]


@dataclass(frozen=True)
class RemoteRewarder:
    """Asks a server for raw outputs, and checks its first rows against the same model loaded here.

    Servers squash outputs, cut rows or write templates in their own ways, and orders of responses flip unseen. So rows
    are cut, put into the template and for vLLM also tokenized here; and the first ones are computed here as well.

    Attributes:
        local: the same model; its tokenizer reads every row, its weights only the first ones.
        url: such as http://localhost:8000.
        api: "vllm-classify", "vllm-pooling" or "tei-predict".
        served: the model's name at the server; None is `local.model`.
        key_env: name of the environment variable with the server's key; None for a server that wants none.
        parity_rows: rows that are computed here as well; 0 trusts the server.
        tolerance: largest difference accepted on them, in units of the reward.
        batch: rows per call; TEI takes 32 unless told otherwise.
        concurrency: calls at a time.
        timeout: seconds of one call.
        retries: further tries of a call that failed in a way that may pass.
        pause: seconds before the second try, doubled for each further one.
    """

    local: ClassifierRewarder
    url: str
    api: str = "vllm-classify"
    served: str | None = None
    key_env: str | None = None
    parity_rows: int = 8
    tolerance: float = 0.05
    batch: int = 32
    concurrency: int = 4
    timeout: float = 60.0
    retries: int = 3
    pause: float = 0.5
    _checked: list[bool] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.api not in PATHS:
            raise ConfigError(expected=f"rewarder.api among {list(PATHS)}", found=self.api, do="choose one")
        # It is not shown: a key may be part of it.
        if not re.fullmatch(r"https?://[^@?#\s]+", self.url):
            raise ConfigError(
                expected="rewarder.url as http(s)://HOST:PORT without user, password or query",
                found="something else (not shown: it may hold a key)",
                do="correct it, and give keys by key_env",
            )
        for name, least in (("batch", 1), ("concurrency", 1), ("retries", 0), ("parity_rows", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    expected=f"rewarder.{name} of {least} or more", found=str(getattr(self, name)), do="correct it"
                )

    def identity(self) -> Mapping[str, object]:
        """The local twin's; a server rounds in its own way, so its rewards are not taken for those made here."""
        return {**self.local.identity(), "rewarder": "remote"}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """(n,) raw outputs; NaN for failed responses and where the server gives no finite number.

        Raises:
            RewarderError: the server cannot be reached, refuses, answers in another form, or is too far from `local`.
            ConfigError: the local model cannot be loaded, or the key's variable is not set.
        """
        rows = answered_rows(responses)
        texts = [self.local.fit(queries[i].text, responses[i].text) for i in rows]
        batches = [texts[start : start + self.batch] for start in range(0, len(texts), self.batch)]
        # Tokenizers change state while they read, so only the calls run in threads.
        bodies = [(self._body(batch), len(batch)) for batch in batches]
        rewards = np.full(len(responses), np.nan)
        client = httpx.Client(timeout=self.timeout, headers=self._headers())
        with client, ThreadPoolExecutor(self.concurrency) as pool:
            calls = pool.map(lambda batch: self._call(client, *batch), bodies)
            found = [value for values in calls for value in values]
        rewards[rows] = np.where(np.isfinite(found), found, np.nan) if found else []
        if rows and not self._checked:
            self._check(queries, responses, rewards)
            self._checked.append(True)
        return rewards

    def _check(self, queries: Sequence[Query], responses: Sequence[Response], rewards: Floats) -> None:
        rows = list(islice(answered_rows(responses), self.parity_rows))
        if not rows:
            log.warning(
                "rewarder.parity_rows=0: nobody checks that %s gives the rewards of %s", self.url, self.local.model
            )
            return
        here = self.local.reward([queries[i] for i in rows], [responses[i] for i in rows])
        apart = np.abs(rewards[rows] - here)
        # A number missing on one side only is a difference, too.
        worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
        if not apart[worst] <= self.tolerance:
            raise RewarderError(
                expected=f"rewards from {self.url} within {self.tolerance:g} of {self.local.model} loaded here",
                found=f"{rewards[rows[worst]]:.4f} there and {here[worst]:.4f} here",
                do="serve the same model and precision without an activation (vLLM: use_activation=false), or raise "
                "rewarder.tolerance",
            )
        log.info("%s agrees with %s on %d rows to %.2g", self.url, self.local.model, len(rows), apart[worst])

    def _call(self, client: httpx.Client, body: Mapping[str, Any], count: int) -> list[float]:
        for attempt in range(self.retries + 1):
            try:
                reply = client.post(self.url.rstrip("/") + PATHS[self.api], json=body)
                if reply.status_code == httpx.codes.OK:
                    return _numbers(_READERS[self.api], reply.json(), count)
                found = f"status {reply.status_code}: {self._words(reply.text)}"
                may_pass = reply.status_code == httpx.codes.TOO_MANY_REQUESTS or reply.is_server_error
            except httpx.TransportError as error:
                found, may_pass = f"{type(error).__name__}: {self._words(str(error))}", True
            except (ValueError, KeyError, TypeError, IndexError) as error:
                found, may_pass = f"another form of answer ({type(error).__name__}: {self._words(str(error))})", True
            if not may_pass or attempt == self.retries:
                break
            time.sleep(self.pause * 2.0**attempt)
        raise RewarderError(
            expected=f"rewards of {count} rows from {self.url} ({self.api})",
            found=f"{found}, {attempt + 1} times",
            do="see to the server and to rewarder.url, api and served; finished cells are kept",
        )

    def _body(self, texts: Sequence[Row]) -> dict[str, Any]:
        if self.api == "tei-predict":
            return {"inputs": [self._tei_input(*row) for row in texts], "raw_scores": True, "truncate": False}
        ids = [self.local.encode(*row)["input_ids"] for row in texts]
        body = {"model": self.served or self.local.model, "input": ids, "use_activation": False}
        return body | ({"task": "classify"} if self.api == "vllm-pooling" else {})

    def _tei_input(self, query: str, response: str) -> list[str]:
        text = self.local.render(query, response)
        if text is None:
            return [query, response]
        # TEI writes the tokenizer's own first token; one from the template as well would be read twice.
        first = self.local.tokenizer.bos_token
        writes_it = bool(first) and self.local.tokenizer("x")["input_ids"][0] == self.local.tokenizer.bos_token_id
        return [text.removeprefix(first) if writes_it else text]

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key()}"} if self.key_env else {}

    def _key(self) -> str:
        key = os.environ.get(self.key_env or "", "")
        if self.key_env and not key:
            raise ConfigError(
                expected=f"a key in the environment variable {self.key_env}",
                found="none",
                do=f"export {self.key_env}=…",
            )
        return key

    def _words(self, text: str) -> str:
        """A server's own words, short, and without the key in case it repeats it."""
        key = self._key()
        return " ".join((text.replace(key, "***") if key else text).split())[:WORDS]


def _numbers(read: Callable[[Any], list[Any]], answer: Any, count: int) -> list[float]:
    """The numbers of one answer; a null is NaN.

    Raises:
        ValueError, KeyError, TypeError, IndexError: the answer is not of the form documented.
    """
    rows = read(answer)
    if len(rows) != count:
        raise ValueError(f"{len(rows)} rewards for {count} rows")
    for row in rows:
        if len(row) != 1:
            raise ValueError(f"{len(row)} outputs per row, not one")
    return [np.nan if row[0] is None else float(row[0]) for row in rows]


def _in_order(answer: Any) -> list[Any]:
    return sorted(answer["data"], key=lambda row: int(row["index"]))


def _pooled(data: Any) -> Any:
    """One row of `/pooling`: [x], or [[x]] from servers that give one list per token read."""
    return data[-1] if data and isinstance(data[-1], list) else data


_READERS: dict[str, Callable[[Any], list[Any]]] = {
    "vllm-classify": lambda answer: [row["probs"] for row in _in_order(answer)],
    "vllm-pooling": lambda answer: [_pooled(row["data"]) for row in _in_order(answer)],
    "tei-predict": lambda answer: [[prediction["score"] for prediction in row] for row in answer],
}
