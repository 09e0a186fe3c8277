"""Define the server's settings: one flat dataclass, whose fields are the keys of conf/serve.yaml and `--config`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt

from zooter.data.component import Fraction, PathField, component
from zooter.errors import ConfigError

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Headers that hold keys, that HTTP itself uses, or that the server sets.
_OWN_HEADERS = (
    "authorization|proxy-.*|cookie|set-cookie|host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|"
    "content-.*|accept-encoding|origin|x-zooter-.*|x-request-id"
)


def _check_header_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]+", name) or re.fullmatch(_OWN_HEADERS, name):
        raise ValueError("the name of a header in lower case, and none of keys, of HTTP itself or of zooter")
    return name


HeaderName = Annotated[str, AfterValidator(_check_header_name)]


@component
class ServeSettings:
    """Settings of one server. Times are in seconds and sizes in bytes unless said otherwise.

    Attributes:
        export: folder of the export.
        pool_file: YAML file with the candidates' addresses (`candidates: {NAME: {url: …, key_env: …}}`, as in
            conf/pool). None: the server only decides.
        backup: folder of an export of the same candidates without a transformer (`encoder=ngrams`), which decides where
            the first one fails or is not in time. None: the default candidate answers then.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        precision: precision of the router's network: "auto", "int8" or "float32".
        workers: processes that answer on the port. Each has a router and `threads` of its own, and limits of what is in
            flight; conversations, keys' limits and metrics are shared.
        threads: threads that run the router, one batch at a time each.
        watch: interval at which the export's folder is checked for a new export. None: only on SIGHUP.
        default: candidate that answers when there is no decision, not by the backup either. None: the one chosen most
            often in training.
        selectors: name → selector, as in conf/selector; clients ask for model "zooter:NAME". A selector that routes
            and names no export uses the served one.
        query_from: user text that is routed: the "last" message, the "first", or "all" of them.
        deadline: time limit of a decision; the default candidate answers after it.
        batch: maximum number of texts in a batch; batches are smaller while the queue is short.
        max_queue: maximum number of decisions in the queue; further ones go to the default candidate at once.
        sticky: how a conversation stays with its candidate: "memory" remembers who answered; "replay" routes all its
            user texts again, so that any number of servers agree, at the cost of up to `turns` texts per request;
            "none" decides each turn by itself.
        switch_margin: difference of probabilities, 0 to 1, from which a conversation changes its candidate.
        conversations: maximum number of conversations remembered; the least recently used is dropped first.
        turns: maximum number of user texts that "replay" routes: the first and the newest ones.
        connect: timeout for a connection to a candidate's server.
        first_byte: timeout until a response begins. A candidate's own `timeout` takes precedence.
        idle: timeout between two pieces of a response.
        total: timeout for a whole response.
        largest_reply: maximum size of a response.
        max_attempts: maximum number of candidates asked for one request.
        retry_share: retries allowed per request, on average.
        retry_reserve: maximum number of unused retries that are saved up.
        hedge_after: time without a response after which the next server is asked too, at the cost of a retry; the first
            to begin is taken. None asks one server after the other.
        pass_headers: names of further headers that are passed on, from clients to candidates and back. Passed on anyway
            are traceparent, tracestate and Idempotency-Key, and back x-ratelimit-*.
        failures: failures in a row that open a candidate's circuit breaker.
        cooldown: time for which it stays open at first; doubled with each failed probe.
        max_cooldown: upper limit of that time.
        keys_env: name of an environment variable with the bearer keys of clients, separated by commas or spaces.
        keys_file: file with one bearer key per line; or, if its name ends in .yaml, with names, their keys and their
            limits. It is read again once it has changed. Without any key the server listens on loopback addresses only.
        largest_body: maximum size of a request's body.
        largest_head: maximum size of a request's line and headers.
        body_seconds: time for a client to send the body.
        head_seconds: time for a client to send the line and headers.
        slow_client: time for a client to take a piece of the response.
        max_concurrent_requests: maximum number of requests in flight; further ones get status 503.
        shutdown_timeout: time for requests in flight to finish after SIGTERM.
        access_log: file for one JSON object per request; "-" is standard error, None writes none.
        traces: whether requests are traced with OpenTelemetry, which the extra `otel` installs; its own environment
            variables say where spans are sent.
        log_text: whether the access log holds query texts.
        decisions: folder for the decision log, Parquet in the recorded-table format; None writes none.
        decisions_rows: number of rows after which a file of the decision log is written.
        decisions_seconds: time after which one is written.
        decisions_bytes: maximum size of all its files; the oldest are deleted.
        decisions_responses: whether it holds responses, which rewarders need.
        decisions_texts: whether it holds queries and responses; without them a row has the query's hash only.
        decisions_redact: regular expressions; what they match in queries and responses is replaced by ***.
        bodies_bytes: maximum size of the bodies of all requests in flight, of which bodies above 64 KiB may take half;
            further ones get status 503. A body takes up to four times its size in memory.
        max_concurrent_per_key: maximum number of requests in flight with one key; further ones get status 429. None
            sets no limit.
    """

    export: PathField
    pool_file: PathField | None = None
    backup: PathField | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, lt=2**16)] = 8080
    precision: Literal["auto", "int8", "float32"] = "auto"
    workers: PositiveInt = 1
    threads: PositiveInt = 2
    watch: Seconds | None = None
    default: str | None = None
    selectors: Mapping[str, Any] = field(default_factory=dict)
    query_from: Literal["last", "first", "all"] = "last"
    deadline: Seconds = 1.0
    batch: PositiveInt = 8
    max_queue: PositiveInt = 1_000
    sticky: Literal["memory", "replay", "none"] = "memory"
    switch_margin: Fraction = 0.2
    conversations: PositiveInt = 100_000
    turns: PositiveInt = 8
    connect: Seconds = 2.0
    first_byte: Seconds = 60.0
    idle: Seconds = 60.0
    total: Seconds = 600.0
    largest_reply: PositiveInt = 64 * 2**20
    max_attempts: PositiveInt = 3
    retry_share: Number = 0.2
    retry_reserve: Number = 20.0
    hedge_after: Seconds | None = None
    pass_headers: list[HeaderName] = field(default_factory=list)
    failures: PositiveInt = 5
    cooldown: Seconds = 5.0
    max_cooldown: Seconds = 60.0
    keys_env: str | None = field(default=None, repr=False)
    keys_file: PathField | None = None
    largest_body: PositiveInt = 16 * 2**20
    largest_head: PositiveInt = 32 * 2**10
    body_seconds: Seconds = 30.0
    head_seconds: Seconds = 10.0
    slow_client: Seconds = 30.0
    max_concurrent_requests: PositiveInt = 1_024
    shutdown_timeout: Seconds = 30.0
    access_log: str | None = "-"
    traces: bool = False
    log_text: bool = False
    decisions: PathField | None = None
    decisions_rows: PositiveInt = 1_000
    decisions_seconds: Seconds = 60.0
    decisions_bytes: PositiveInt = 2**30
    decisions_responses: bool = True
    decisions_texts: bool = True
    decisions_redact: list[str] = field(default_factory=list)
    bodies_bytes: PositiveInt = 256 * 2**20
    max_concurrent_per_key: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.keys_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.keys_env):
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


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
