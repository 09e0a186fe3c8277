"""Circuit breaker and retry budget, with a clock that the test moves."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from zooter.serve.upstream.circuit_breaker import CircuitBreaker, RetryBudget


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock, failures: int = 3) -> CircuitBreaker:
    return CircuitBreaker(failures, cooldown=5.0, max_cooldown=12.0, clock=clock)


def test_failures_in_a_row_open_the_breaker_and_a_success_between_them_resets_the_count() -> None:
    circuit = breaker(Clock())
    for _ in range(2):
        circuit.record_failure()
    circuit.record_success()
    for _ in range(2):
        circuit.record_failure()
    assert circuit.admit()
    circuit.record_failure()
    assert (circuit.is_open, circuit.admit(), circuit.wait()) == (True, False, 5.0)


def test_after_the_cooldown_one_request_probes_and_each_failed_probe_doubles_the_cooldown() -> None:
    clock = Clock()
    circuit = breaker(clock, failures=1)
    circuit.record_failure()
    waits = []
    for _ in range(3):
        clock.now += circuit.wait()
        assert (circuit.admit(), circuit.admit()) == (True, False)
        circuit.record_failure()
        waits.append(circuit.wait())
    assert waits == [10.0, 12.0, 12.0]
    clock.now += 12.0
    assert circuit.admit()
    circuit.record_success()
    assert (circuit.is_open, circuit.admit(), circuit.admit()) == (False, True, True)


def test_failures_of_requests_in_flight_do_not_lengthen_the_cooldown() -> None:
    circuit = breaker(Clock(), failures=1)
    for _ in range(16):
        circuit.record_failure()
    assert circuit.wait() == 5.0


def test_after_a_cancelled_probe_the_next_request_probes() -> None:
    clock = Clock()
    circuit = breaker(clock, failures=1)
    circuit.record_failure()
    clock.now = 5.0
    assert circuit.admit()
    circuit.cancel_probe()
    assert circuit.admit()


def test_retry_after_is_honoured_up_to_the_maximum_cooldown() -> None:
    clock = Clock()
    circuit = breaker(clock)
    circuit.record_failure(retry_after=7.0)
    assert circuit.wait() == 7.0
    circuit.record_failure(retry_after=3_600.0)
    assert circuit.wait() == 12.0


@given(st.lists(st.booleans(), max_size=200), st.floats(0.0, 1.0), st.floats(1.0, 20.0))
def test_retries_never_exceed_their_share_and_the_reserve(asks: list[bool], share: float, reserve: float) -> None:
    budget = RetryBudget(share, reserve)
    spent = 0
    for i, asked in enumerate(asks, 1):
        budget.record_request()
        spent += asked and budget.spend()
        assert spent <= reserve + share * i + 1e-6
