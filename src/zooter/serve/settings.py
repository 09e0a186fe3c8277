"""Every setting of the server: one flat dataclass, whose fields are the keys of conf/serve.yaml and `--config`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zooter.errors import ConfigError

QUERY_SOURCES = ("last", "first", "all")
AFFINITIES = ("memory", "replay", "none")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class ServeSettings:
    """What to serve, and what the server promises. Times are seconds, sizes bytes unless said otherwise.

    Attributes:
        export: an export's folder.
        pool_file: YAML file that says how candidates are reached (`candidates: {NAME: {url: …, key_env: …}}`, as in
            conf/pool); without one the server only decides.
        host, port: where to listen; port 0 takes a free one.
        precision: of the router's network: "auto", "int8" or "float32".
        threads: that decide, each a batch at a time.
        watch: how often to look for a new export in the folder; None leaves it to SIGHUP.
        default: the candidate that answers when there is no decision; None: the one chosen most often in training.
        selectors: name → selector, as in conf/selector; asked for as model "zooter:NAME". One that routes and names no
            export does so with this one.
        reads: which user text decides: the "last" message, the "first", or "all" of them.
        deadline: of a decision; later than that, the default candidate answers.
        batch: most texts that are decided in one go; fewer where few wait.
        waiting: most decisions that wait for their turn; more go to the default candidate at once.
        sticky: how a conversation stays with its candidate: "memory" remembers who answered, "replay" decides anew
            from all its user texts (any number of servers agree, at the price of routing `turns` texts), "none".
        sure: a conversation changes its candidate when another's probability is larger by this much.
        conversations: how many are remembered; the longest unused is forgotten first.
        turns: most user texts that "replay" reads: the first and the newest ones.
        connect, first_byte, idle, total: timeouts of a candidate's server: for connecting, until its answer begins,
            between two pieces of it, and for all of it. A candidate's own `timeout` goes before `first_byte`.
        largest_reply: of one response.
        tries: most candidates asked for one request.
        retry_share: retries allowed per request, over time; `retry_reserve` of them can be saved up.
        failures: how many in a row take a candidate out.
        pause: how long it is left alone then; doubled with each failed probe up to `longest_pause`.
        keys_env: name of an environment variable with the bearer keys that clients need, divided by commas or spaces.
        keys_file: a file with one bearer key a line. Without any key, only loopback addresses are listened on.
        largest_body, largest_head: of a request, and of its line and headers.
        body_seconds, head_seconds: for a client to send them.
        slow_client: for a client to take what it is sent.
        at_once: most requests at work; more are told to come back.
        drain: for requests at work to finish after SIGTERM.
        access_log: a file for one JSON object a request; "-" is standard error, None writes none.
        log_text: whether the access log holds query texts.
        decisions: a folder for the decision log, Parquet in the recorded-table format; None writes none.
        decisions_rows, decisions_seconds: a file of it is written after so many rows or so long.
        decisions_bytes: of all its files; the oldest are deleted.
        decisions_responses: whether it holds responses, which rewarders need.
    """

    export: Path
    pool_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    precision: str = "auto"
    threads: int = 2
    watch: float | None = None
    default: str | None = None
    selectors: Mapping[str, Any] = field(default_factory=dict)
    reads: str = "last"
    deadline: float = 0.1
    batch: int = 8
    waiting: int = 1_000
    sticky: str = "memory"
    sure: float = 0.2
    conversations: int = 100_000
    turns: int = 8
    connect: float = 2.0
    first_byte: float = 60.0
    idle: float = 60.0
    total: float = 600.0
    largest_reply: int = 64 * 2**20
    tries: int = 3
    retry_share: float = 0.2
    retry_reserve: float = 20.0
    failures: int = 5
    pause: float = 5.0
    longest_pause: float = 60.0
    keys_env: str | None = None
    keys_file: Path | None = None
    largest_body: int = 16 * 2**20
    largest_head: int = 32 * 2**10
    body_seconds: float = 30.0
    head_seconds: float = 10.0
    slow_client: float = 30.0
    at_once: int = 1_024
    drain: float = 30.0
    access_log: str | None = "-"
    log_text: bool = False
    decisions: Path | None = None
    decisions_rows: int = 1_000
    decisions_seconds: float = 60.0
    decisions_bytes: int = 2**30
    decisions_responses: bool = True

    def __post_init__(self) -> None:
        self._check("reads", self.reads in QUERY_SOURCES, f"one of {QUERY_SOURCES}")
        self._check("sticky", self.sticky in AFFINITIES, f"one of {AFFINITIES}")
        self._check("port", 0 <= self.port < 2**16, "a port from 0 to 65535")
        self._check("sure", 0 <= self.sure <= 1, "a difference of probabilities from 0 to 1")
        for name in ("deadline", "connect", "first_byte", "idle", "total", "pause", "longest_pause"):
            self._check(name, getattr(self, name) > 0, "more than 0 seconds")
        for name in ("body_seconds", "head_seconds", "slow_client", "drain", "decisions_seconds"):
            self._check(name, getattr(self, name) > 0, "more than 0 seconds")
        for name in ("threads", "batch", "waiting", "conversations", "turns", "tries", "failures", "at_once"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("largest_reply", "largest_body", "largest_head", "decisions_rows", "decisions_bytes"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        self._check("retry_share", self.retry_share >= 0, "0 or more")
        self._check("retry_reserve", self.retry_reserve >= 0, "0 or more")
        self._check("watch", self.watch is None or self.watch > 0, "null or more than 0 seconds")
        if self.keys_env is not None and not _VARIABLE.fullmatch(self.keys_env):
            raise ConfigError(  # the value is not shown: it may be a key
                expected="the name of an environment variable as keys_env",
                found="something else (not shown: it may be a key)",
                do="put the keys into a variable and give the variable's name",
            )
        if self.keys_env is None and self.keys_file is None and not is_loopback(self.host):
            raise ConfigError(
                expected=f"bearer keys for a server that listens on {self.host}",
                found="neither keys_env nor keys_file",
                do="give one of them, or listen on 127.0.0.1 only",
            )

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise ConfigError(expected=f"{name}: {expected}", found=repr(getattr(self, name)), do="correct the setting")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
