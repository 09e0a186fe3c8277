"""Admit clients by bearer keys: names, limits of requests and spending, and rotation without a restart."""

import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from zooter.data.component import component
from zooter.errors import ConfigError, FieldError
from zooter.serve.http.errors import ApiError
from zooter.serve.http.key_owner import KeyOwner
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings
from zooter.serve.workers.shared_memory import SharedMemory

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0  # between two looks at whether the file has changed
_HASHED = "sha256:"
_Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


@component
class _Entry:
    """One name in a YAML file of keys."""

    keys: Annotated[list[str], Field(min_length=1)] = field(repr=False)
    requests_per_minute: _Limit = None
    dollars_per_day: _Limit = None


@dataclass
class Keys:
    """Bearer keys that admit clients.

    Counts are kept in memory, by name: they outlive a change of the keys and the end of a worker, not of the server.

    Attributes:
        settings: settings that name the variable or file with the keys.
        metrics: metrics of the server.
        memory: what the workers share.
        clock: returns the seconds since 1970.
        timer: returns the seconds since a moment that all workers share, and never goes back.
        owners: SHA-256 of each key → its owner; empty admits requests from this machine without a key.
    """

    settings: ServeSettings
    metrics: Metrics
    memory: SharedMemory = field(default_factory=SharedMemory)
    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic
    owners: dict[bytes, KeyOwner] = field(init=False)
    _state: tuple[int, int] | None = field(default=None, init=False)
    _checked: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._state, self.owners = self._file_state(), read_keys(self.settings, self.memory)

    def reload(self) -> None:
        """Read the keys again; the old ones stay if the new ones cannot be used. Counts of names that stay are kept."""
        self._state = self._file_state()
        try:
            owners = read_keys(self.settings, self.memory)
        except ConfigError as error:
            log.error("the new keys are refused, the old ones stay: %s", error)
            self.metrics.key_reloads.labels("refused").inc()
            return
        before = {owner.name: owner for owner in self.owners.values()}
        for owner in owners.values():
            if (old := before.get(owner.name)) is not None:
                owner.counts = old.counts
        self.owners = owners
        self.metrics.key_reloads.labels("taken").inc()

    def authenticate(self, headers: Mapping[bytes, bytes]) -> bytes:
        """Check a request's bearer key, after reading the file again if it has changed.

        Args:
            headers: headers of the request.

        Returns:
            The SHA-256 of the request's key; empty if no key is needed.

        Raises:
            ApiError: 401, the key is missing or invalid.
        """
        if self.settings.keys_file is not None and abs(self.clock() - self._checked) >= CHECK_SECONDS:
            self._checked = self.clock()
            if self._file_state() != self._state:
                self.reload()
        if not self.owners:
            return b""
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        # All keys are compared, each in constant time.
        matches = [hmac.compare_digest(digest, allowed) for allowed in self.owners]
        if scheme.lower() != b"bearer" or not any(matches):
            raise ApiError(
                401, "expected a valid key as `Authorization: Bearer …`", "invalid_request_error", "invalid_api_key"
            )
        return digest

    def admit(self, digest: bytes) -> None:
        """Count a request against the limits of its key.

        Args:
            digest: SHA-256 of the bearer key.

        Raises:
            ApiError: 429, a limit is reached.
        """
        owner = self.owners.get(digest)
        if owner is None:
            return
        try:
            owner.admit(self.clock(), self.timer())
        except ApiError as error:
            self.metrics.key_refusals.labels(owner.name, str(error.code)).inc()
            raise
        self.metrics.key_requests.labels(owner.name).inc()

    def spend(self, digest: bytes, dollars: float | None) -> None:
        """Count the cost of an answered request; None where it is not known, which counts nothing.

        Args:
            digest: SHA-256 of the bearer key.
            dollars: 0 or more.
        """
        owner = self.owners.get(digest)
        if owner is not None and dollars is not None:
            owner.spend(dollars, self.clock())
            self.metrics.key_dollars.labels(owner.name).inc(dollars)

    def name(self, digest: bytes) -> str | None:
        """Return the name of a key's owner; None without keys."""
        owner = self.owners.get(digest)
        return None if owner is None else owner.name

    def _file_state(self) -> tuple[int, int] | None:
        if self.settings.keys_file is None:
            return None
        try:
            stat = self.settings.keys_file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size


def read_keys(settings: ServeSettings, memory: SharedMemory) -> dict[bytes, KeyOwner]:
    """Return the owner of each bearer key that admits clients, by the key's SHA-256; empty if no key is needed.

    Args:
        settings: names the environment variable or the files that hold the keys.
        memory: what the workers share.

    Raises:
        ConfigError: a variable or file is set and holds no key, or a file of names cannot be used.
    """
    keys: list[str] = []
    owners: dict[bytes, KeyOwner] = {}
    if settings.keys_env is not None:
        keys += re.split(r"[,\s]+", os.environ.get(settings.keys_env, "").strip())
    if settings.keys_file is not None:
        text = _read_text(settings.keys_file)
        if settings.keys_file.suffix in (".yaml", ".yml"):
            owners = _named_keys(settings.keys_file, text, memory)
        else:
            keys += [line.strip() for line in text.splitlines()]
    for key in filter(None, keys):
        digest = hashlib.sha256(key.encode()).digest()
        owners.setdefault(digest, KeyOwner(f"key-{digest.hex()[:8]}", memory))
    if not owners and (settings.keys_env or settings.keys_file):
        raise ConfigError(
            expected=f"bearer keys in {settings.keys_env or settings.keys_file}", found="none", do="put one there"
        )
    return owners


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(expected=f"a file with bearer keys at {path}", found=str(error), do="check it") from error


def _named_keys(path: Path, text: str, memory: SharedMemory) -> dict[bytes, KeyOwner]:
    try:
        entries: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:  # its message would quote the file, which holds keys
        where = getattr(error, "problem_mark", None)
        place = "a mistake" if where is None else f"a mistake in line {where.line + 1}"
        raise ConfigError(expected=f"YAML in {path}", found=place, do="correct it") from None
    if not isinstance(entries, dict) or not all(isinstance(values, dict) for values in entries.values()):
        raise ConfigError(expected=f"NAME: {{keys: [KEY, …]}} in {path}", found="another form", do="write it like that")
    owners: dict[bytes, KeyOwner] = {}
    for name, values in entries.items():
        try:
            entry = _Entry(**values)
        except FieldError as error:
            raise error.at(f"{path}: {name}") from None
        owner = KeyOwner(str(name), memory, entry.requests_per_minute, entry.dollars_per_day)
        for key in entry.keys:
            digest = _digest(key, f"{path}: {name}.keys")
            if digest in owners:
                raise ConfigError(
                    expected=f"each key once in {path}",
                    found=f"one of {owners[digest].name!r} again under {name!r}",
                    do="remove one of them",
                )
            owners[digest] = owner
    return owners


def _digest(key: str, path: str) -> bytes:
    """Return the SHA-256 of a key, which the file may hold in the key's place."""
    if not key.startswith(_HASHED):
        return hashlib.sha256(key.encode()).digest()
    if not re.fullmatch(r"[0-9a-f]{64}", key.removeprefix(_HASHED)):
        raise ConfigError(
            expected=f"64 hexadecimal digits after {_HASHED} in {path}",
            found="something else",
            do="printf %s KEY | sha256sum",
        )
    return bytes.fromhex(key.removeprefix(_HASHED))
