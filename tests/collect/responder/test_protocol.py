"""How candidates are asked."""

import math
from typing import Any

import pytest

from zooter.collect.responder.client.completion import likeliest_tokens, margin_of
from zooter.collect.responder.protocol import Sampling
from zooter.data.types import Query
from zooter.errors import ConfigError


def test_a_query_is_put_in_as_it_is() -> None:
    query = Query("1", "what is {query} or {system}?")
    assert Sampling(message="Q: {query}").messages(query)[0]["content"] == "Q: what is {query} or {system}?"
    assert Sampling(system="S").text(query, "{system}|{query}") == "S|what is {query} or {system}?"


def test_seeds_differ_by_query_sample_and_seed_and_stay_the_same_otherwise() -> None:
    query, other = Query("1", "q"), Query("1", "r")
    seeds = [Sampling().seed_of(query, 0), Sampling().seed_of(query, 1), Sampling().seed_of(other, 0)]
    assert len({*seeds, Sampling(seed=1).seed_of(query, 0)}) == 4
    assert Sampling().seed_of(Query("2", "q"), 0) == seeds[0]
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -0.1}, {"top_p": 0.0}, {"max_new_tokens": 0}, {"message": "no place"}, {"stop": ("",)},
     {"labels": ("a",)}, {"labels": ("a", "a")}],
)  # fmt: skip
def test_a_sampling_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected sampling with"):
        Sampling(**wrong)


def logs(**probs: float) -> list[tuple[str, float]]:
    return [(token.replace("_", " "), math.log(prob)) for token, prob in probs.items()]


def test_first_tokens_are_the_likeliest_in_order_and_at_most_ten() -> None:
    assert likeliest_tokens([("b", -2.0), ("a", -1.0), ("c", 1e-9), ("x", float("nan")), ("y", -math.inf)]) == (
        ("c", 0.0), ("a", -1.0), ("b", -2.0),
    )  # fmt: skip
    assert likeliest_tokens([(str(i), -float(i)) for i in range(12)]) == tuple((str(i), -float(i)) for i in range(10))


def test_margins_are_gaps_of_probabilities() -> None:
    assert margin_of(likeliest_tokens(logs(B=0.3, A=0.6, C=0.1))) == pytest.approx(0.3)
    assert margin_of(likeliest_tokens(logs(A=0.6))) is None
    assert margin_of(()) is None


def test_labels_take_the_sum_of_the_tokens_that_they_begin_with_and_ignore_all_others() -> None:
    labels = ("no", "yes", "maybe")
    found = likeliest_tokens(logs(The=0.5, _yes=0.2, ye=0.1, n=0.05), labels)
    assert [name for name, _ in found] == ["yes", "no"]
    assert [math.exp(logprob) for _, logprob in found] == pytest.approx([0.3, 0.05])
    assert margin_of(found, labels) == pytest.approx(0.25)
    assert margin_of(likeliest_tokens(logs(_yes=0.2), labels), labels) == pytest.approx(0.2)
    assert margin_of(likeliest_tokens(logs(The=0.5), labels), labels) is None


def test_labels_that_share_a_first_token_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 'no' and 'none', which share 'n'"):
        likeliest_tokens(logs(n=0.5), ("no", "none"))
