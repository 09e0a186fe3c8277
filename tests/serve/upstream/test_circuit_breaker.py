"""When a candidate is left alone, by a clock that the test moves."""

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
    return CircuitBreaker(failures, pause=5.0, longest=12.0, clock=clock)


def test_failures_in_a_row_take_it_out_and_a_success_between_them_does_not() -> None:
    one = breaker(Clock())
    for _ in range(2):
        one.failed()
    one.succeeded()
    for _ in range(2):
        one.failed()
    assert one.admit()
    one.failed()
    assert (one.out, one.admit(), one.wait()) == (True, False, 5.0)


def test_after_the_pause_one_request_probes_and_each_failed_probe_doubles_the_pause() -> None:
    clock = Clock()
    one = breaker(clock, failures=1)
    one.failed()
    waits = []
    for _ in range(3):
        clock.now += one.wait()
        assert (one.admit(), one.admit()) == (True, False)
        one.failed()
        waits.append(one.wait())
    assert waits == [10.0, 12.0, 12.0]
    clock.now += 12.0
    assert one.admit()
    one.succeeded()
    assert (one.out, one.admit(), one.admit()) == (False, True, True)


def test_failures_of_requests_that_were_under_way_do_not_lengthen_the_pause() -> None:
    one = breaker(Clock(), failures=1)
    for _ in range(16):
        one.failed()
    assert one.wait() == 5.0


def test_a_probe_that_was_given_up_leaves_the_next_request_to_probe() -> None:
    clock = Clock()
    one = breaker(clock, failures=1)
    one.failed()
    clock.now = 5.0
    assert one.admit()
    one.given_up()
    assert one.admit()


def test_it_is_left_alone_for_as_long_as_it_asks_within_the_limit() -> None:
    clock = Clock()
    one = breaker(clock)
    one.failed(retry_after=7.0)
    assert one.wait() == 7.0
    one.failed(retry_after=3_600.0)
    assert one.wait() == 12.0


@given(st.lists(st.booleans(), max_size=200), st.floats(0.0, 1.0), st.floats(1.0, 20.0))
def test_retries_never_pass_their_share_and_the_reserve(asks: list[bool], share: float, reserve: float) -> None:
    budget = RetryBudget(share, reserve)
    spent = 0
    for i, asked in enumerate(asks, 1):
        budget.request()
        spent += asked and budget.spend()
        assert spent <= reserve + share * i + 1e-6
