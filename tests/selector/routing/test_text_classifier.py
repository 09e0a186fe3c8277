"""A question about texts that is answered by a probability."""

import numpy as np
from support.parity import ParityEncoder

from zooter.selector.routing.text_classifier import TextClassifier

TEXTS = [f"query {i}" for i in range(10, 90)]


def test_soft_labels_are_learned_as_probabilities() -> None:
    yes = np.array([0.9 if i % 2 else 0.2 for i in range(10, 90)])
    probabilities = TextClassifier.fit(ParityEncoder(), TEXTS, yes).probability(["query 33", "query 34"])
    np.testing.assert_allclose(probabilities, [0.9, 0.2], atol=0.05)


def test_one_answer_for_all_is_learned_too_and_no_text_is_no_answer() -> None:
    constant = TextClassifier.fit(ParityEncoder(), TEXTS, np.ones(80))
    assert constant.probability(["query 33"])[0] > 0.9
    assert constant.probability([]).shape == (0,)
