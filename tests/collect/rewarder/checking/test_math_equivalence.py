"""Equality by computer algebra, in a process that may be killed."""

import importlib.util
import math
import time
from collections.abc import Iterator

import pytest

from zooter.collect.rewarder.checking.math_equivalence import MathEquivalence
from zooter.collect.rewarder.verify import VerifyRewarder
from zooter.data.types import Query, Response
from zooter.errors import ConfigError

pytest.importorskip("math_verify")


@pytest.fixture(scope="module")
def equivalence() -> Iterator[MathEquivalence]:
    equivalence = MathEquivalence(seconds=20.0)
    yield equivalence
    equivalence.close()


@pytest.mark.parametrize(
    ("reference", "text", "equal"),
    [
        ("1/2", r"The answer is $\frac{1}{2}$.", True),
        (r"\frac{1}{2}", "0.5", True),
        ("x^2+2x+1", "so $(x+1)^2$", True),
        ("x^2+2x+1", "so $(x-1)^2$", False),
        (r"\{1,2\}", r"\boxed{\{2,1\}}", True),
        ("(1,2)", "$(2,1)$", False),
        (r"\sqrt{8}", r"\boxed{2\sqrt{2}}", True),
        ("70000", r"\boxed{70{,}000}", True),
        ("2", "nothing to see", False),
        ("2", "", False),
    ],
)
def test_answers_are_equal_when_their_values_are(
    equivalence: MathEquivalence, reference: str, text: str, equal: bool
) -> None:
    assert equivalence.equal(reference, text) is equal


def test_a_missed_deadline_gives_none_and_the_next_comparison_works() -> None:
    equivalence = MathEquivalence(seconds=0.5)
    assert equivalence.equal("1", "1") is True
    started = time.perf_counter()
    assert equivalence.equal("1", "$9^{9^{9^{9}}}$") is None
    assert time.perf_counter() - started < 3.0
    assert equivalence.equal("2", "2") is True
    equivalence.close()


def test_a_process_that_died_is_started_again() -> None:
    equivalence = MathEquivalence(seconds=20.0)
    assert equivalence.equal("1", "1") is True
    assert equivalence._process is not None
    equivalence._process.kill()
    equivalence._process.wait()
    assert equivalence.equal("1", "1") is None
    assert equivalence.equal("1", "1") is True
    equivalence.close()


def test_math_rewards_are_counted_when_they_miss_their_deadline(caplog: pytest.LogCaptureFixture) -> None:
    rewarder = VerifyRewarder("math", seconds=1.0)
    texts = [r"\boxed{\frac{2}{4}}", "$9^{9^{9^{9}}}$", "3"]
    responses = [Response("q", "a", i, text) for i, text in enumerate(texts)]
    rewards = rewarder.reward([Query("q", "?", "1/2")] * 3, responses)
    assert (rewards[0], rewards[2]) == (1.0, 0.0)
    assert math.isnan(rewards[1])
    assert "1 of 3 responses get no reward: the comparison missed its deadline" in caplog.text


def test_without_math_verify_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'zooter\[math\]'"):
        MathEquivalence().equal("1", "1")
