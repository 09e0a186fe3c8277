"""Clients' keys: names, limits, and rotation."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.errors import ConfigError
from zooter.serve.http.errors import ApiError
from zooter.serve.http.keys import KeyOwner, Keys
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings
from zooter.serve.workers.shared_memory import SharedMemory


@dataclass
class Clock:
    now: float = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def make_keys(folder: Path, text: str, clock: Clock | None = None) -> Keys:
    path = folder / "keys.yaml"
    path.write_text(text)
    clock = clock or Clock()
    return Keys(ServeSettings(folder, keys_file=path), Metrics(), clock=clock, timer=clock)


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {key}".encode()}


def change(keys: Keys, text: str) -> None:
    path = keys.settings.keys_file
    assert path
    path.write_text(text)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))


def test_a_name_has_several_keys_of_which_a_file_may_hold_the_hash(tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"second").hexdigest()
    keys = make_keys(tmp_path, f"alice: {{keys: [first, 'sha256:{hashed}']}}\nbob: {{keys: [third]}}")
    names = [keys.name(keys.authenticate(bearer(key))) for key in ("first", "second", "third")]
    assert names == ["alice", "alice", "bob"]
    with pytest.raises(ApiError, match="expected a valid key"):
        keys.authenticate(bearer(f"sha256:{hashed}"))


def test_keys_without_names_are_named_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_KEYS", "first, second")
    keys = Keys(ServeSettings(tmp_path, keys_env="CLIENT_KEYS"), Metrics())
    digest = keys.authenticate(bearer("second"))
    assert digest == hashlib.sha256(b"second").digest()
    assert keys.name(digest) == f"key-{digest.hex()[:8]}"


def test_a_minutes_worth_of_requests_may_come_at_once_and_then_one_per_share_of_it(tmp_path: Path) -> None:
    clock = Clock()
    keys = make_keys(tmp_path, "alice: {keys: [a], requests_per_minute: 3}\nbob: {keys: [b]}", clock)
    alice, bob = (keys.authenticate(bearer(key)) for key in "ab")
    for _ in range(3):
        keys.admit(alice)
    with pytest.raises(ApiError, match="at most 3 requests a minute") as caught:
        keys.admit(alice)
    assert (caught.value.status, caught.value.retry_after) == (429, 20)
    for _ in range(50):
        keys.admit(bob)
    clock.now += 20
    keys.admit(alice)
    with pytest.raises(ApiError):
        keys.admit(alice)
    assert keys.metrics.registry.get_sample_value("zooter_key_requests_total", {"key": "alice"}) == 4
    refused = {"key": "alice", "reason": "rate_limit_exceeded"}
    assert keys.metrics.registry.get_sample_value("zooter_key_refusals_total", refused) == 2


def test_spending_is_limited_until_the_next_day(tmp_path: Path) -> None:
    clock = Clock(now=86_400.0 * 100 + 86_000.0)
    keys = make_keys(tmp_path, "alice: {keys: [a], dollars_per_day: 0.5}", clock)
    alice = keys.authenticate(bearer("a"))
    keys.spend(alice, 0.3)
    keys.spend(alice, None)
    keys.admit(alice)
    keys.spend(alice, 0.2)
    with pytest.raises(ApiError, match=r"at most 0\.5 dollars a day") as caught:
        keys.admit(alice)
    assert (caught.value.status, caught.value.retry_after) == (429, 400)
    clock.now += 400
    keys.admit(alice)
    keys.spend(alice, 0.1)
    keys.admit(alice)
    assert keys.metrics.registry.get_sample_value("zooter_key_dollars_total", {"key": "alice"}) == pytest.approx(0.6)


def test_keys_are_rotated_when_their_file_changes_and_names_keep_their_counts(tmp_path: Path) -> None:
    clock = Clock()
    keys = make_keys(tmp_path, "alice: {keys: [old], dollars_per_day: 1}", clock)
    old = keys.authenticate(bearer("old"))
    keys.spend(old, 1.0)
    change(keys, "alice: {keys: [old, new], dollars_per_day: 1}")
    clock.now += 2
    new = keys.authenticate(bearer("new"))
    for digest in (old, new):
        with pytest.raises(ApiError, match="dollars a day"):
            keys.admit(digest)
    change(keys, "alice: {keys: [new], dollars_per_day: 2}")
    clock.now += 2
    keys.admit(keys.authenticate(bearer("new")))
    with pytest.raises(ApiError, match="valid key"):
        keys.authenticate(bearer("old"))


@pytest.mark.parametrize("text", ["alice: {keys: [", "", "alice: {keys: []}", None])
def test_keys_that_cannot_be_used_are_refused_and_the_old_ones_stay(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = make_keys(tmp_path, "alice: {keys: [old]}", clock)
    if text is None:
        (tmp_path / "keys.yaml").unlink()
    else:
        change(keys, text)
    for _ in range(3):
        clock.now += 2
        assert keys.name(keys.authenticate(bearer("old"))) == "alice"
    assert keys.metrics.registry.get_sample_value("zooter_key_reloads_total", {"result": "refused"}) == 1
    assert len(caplog.records) == 1
    change(keys, "bob: {keys: [new]}")
    clock.now += 2
    assert keys.name(keys.authenticate(bearer("new"))) == "bob"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alice: {keys: [sk-secret], dollars_per_day: much}", r"alice\.dollars_per_day to be a valid number"),
        ("alice: {keys: [sk-secret], requests_per_minute: 0}", r"alice\.requests_per_minute to be greater than 0"),
        ("alice: {keys: sk-secret}", r"alice\.keys to be a valid list"),
        ("alice: {key: sk-secret}", r"keys\.yaml: alice"),
        ("[sk-secret]", "found another form"),
        ("alice: {keys: ['sha256:sk-secret']}", "64 hexadecimal digits"),
        ("alice: {keys: [sk-secret, sk-secret]}", "each key once"),
        ("alice: {keys: [sk-secret", "a mistake in line 1"),
    ],
)
def test_a_mistake_in_the_file_is_reported_without_its_keys(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make_keys(tmp_path, text)
    assert "sk-secret" not in str(caught.value)


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 2)), max_size=200), st.floats(0.5, 120.0))
def test_no_key_ever_exceeds_its_rate_whichever_worker_answers(waits: list[tuple[float, int]], rate: float) -> None:
    """A token bucket, which each worker sees whole: one that was empty refuses, and one that was not admits."""
    with TemporaryDirectory() as folder:
        owners = [KeyOwner("a", SharedMemory(Path(folder), worker, 3), rate) for worker in range(3)]
        now, tokens = 1_000_000.0, max(1.0, rate)
        for wait, worker in waits:
            now += wait
            tokens = min(max(1.0, rate), tokens + wait * rate / 60.0)
            if abs(tokens - 1.0) < 1e-5:
                return  # rounding decides
            try:
                owners[worker].admit(now, now)
                assert tokens > 1.0
                tokens -= 1.0
            except ApiError:
                assert tokens < 1.0


def test_a_worker_that_is_started_again_and_the_others_know_what_was_spent(tmp_path: Path) -> None:
    first, second = (KeyOwner("a", SharedMemory(tmp_path, worker, 2), None, 1.0) for worker in range(2))
    first.spend(0.25, 86_400.0)
    second.spend(0.5, 86_401.0)
    again = KeyOwner("a", SharedMemory(tmp_path, 0, 2), None, 1.0)
    again.spend(0.125, 86_402.0)
    assert [owner.spent(86_403.0) for owner in (first, second, again)] == [0.875] * 3
    assert second.spent(2 * 86_400.0) == 0.0
    assert KeyOwner("b", SharedMemory(tmp_path, 0, 2)).spent(86_403.0) == 0.0
