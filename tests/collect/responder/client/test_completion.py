"""First tokens and their margins."""

import math

import pytest

from zooter.collect.responder.client.completion import first_token_margin, likeliest_tokens
from zooter.errors import ConfigError


def logprobs(**probs: float) -> list[tuple[str, float]]:
    """Tokens with these probabilities; an underscore in a name is a blank."""
    return [(token.replace("_", " "), math.log(prob)) for token, prob in probs.items()]


def test_first_tokens_are_the_likeliest_in_order_and_at_most_ten() -> None:
    assert likeliest_tokens([("b", -2.0), ("a", -1.0), ("c", 1e-9), ("x", float("nan")), ("y", -math.inf)]) == (
        ("c", 0.0), ("a", -1.0), ("b", -2.0),
    )  # fmt: skip
    assert likeliest_tokens([(str(i), -float(i)) for i in range(12)]) == tuple((str(i), -float(i)) for i in range(10))


def test_margins_are_gaps_of_probabilities() -> None:
    assert first_token_margin(likeliest_tokens(logprobs(B=0.3, A=0.6, C=0.1))) == pytest.approx(0.3)
    assert first_token_margin(likeliest_tokens(logprobs(A=0.6))) is None
    assert first_token_margin(()) is None


def test_labels_take_the_sum_of_the_tokens_that_they_begin_with_and_ignore_all_others() -> None:
    labels = ("no", "yes", "maybe")
    tokens = likeliest_tokens(logprobs(The=0.5, _yes=0.2, ye=0.1, n=0.05), labels)
    assert [name for name, _ in tokens] == ["yes", "no"]
    assert [math.exp(logprob) for _, logprob in tokens] == pytest.approx([0.3, 0.05])
    assert first_token_margin(tokens, labels) == pytest.approx(0.25)
    assert first_token_margin(likeliest_tokens(logprobs(_yes=0.2), labels), labels) == pytest.approx(0.2)
    assert first_token_margin(likeliest_tokens(logprobs(The=0.5), labels), labels) is None


def test_labels_that_share_a_first_token_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 'no' and 'none', which share 'n'"):
        likeliest_tokens(logprobs(n=0.5), ("no", "none"))
