"""Text features: finite for any text, independent of the batch, and different for different tasks."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zooter.router.text_features import MAX_CHARACTERS, TEXT_FEATURES, text_features


@given(st.lists(st.text(max_size=300), max_size=5))
def test_any_text_has_finite_features_of_one_size(texts: list[str]) -> None:
    features = text_features(texts)
    assert features.shape == (len(texts), TEXT_FEATURES)
    assert np.isfinite(features).all()


@given(st.text(st.sampled_from("aZ A19_.)(é٣、\n-=,?'\x1f\x00")) | st.text())
def test_characters_are_counted_as_regular_expressions_count_them(text: str) -> None:
    features = text_features([text])[0]
    characters, words = max(len(text), 1), max(len(text.split()), 1)
    count = [len(re.findall(regex, text)) for regex in (r"\d", r"[A-Z]", r"[^\w\s]")]
    np.testing.assert_allclose(features[4:7], np.array(count) * 10.0 / characters, rtol=1e-6)
    np.testing.assert_allclose(features[7], text.count(",") / words, rtol=1e-6)
    patterns = (r"\d+", r"[+\-*/^=]", r"[{}\[\]()<>]", r"\b[A-J][.)] ",
                r"\n", r"\$", r"\\", ",", r"\?", '"', "'", "_", ":", r"\. ")  # fmt: skip
    np.testing.assert_allclose(features[8:22], np.log1p([len(re.findall(p, text)) for p in patterns]), rtol=1e-6)


def test_features_do_not_depend_on_the_other_texts_of_a_batch() -> None:
    texts = ["What is 2 + 2?", "def f(x):\n    return x", ""]
    np.testing.assert_array_equal(text_features(texts), np.concatenate([text_features([text]) for text in texts]))


def test_a_question_a_program_and_a_sum_have_different_features() -> None:
    question, program, total = text_features(["Who wrote Faust?", "def f(x):\n    return {x: 1}", "12 + 30 = 42"])
    ends_with_question_mark, is_code = TEXT_FEATURES - 7, TEXT_FEATURES - 2
    assert [row[ends_with_question_mark] for row in (question, program, total)] == [1.0, 0.0, 0.0]
    assert [row[is_code] for row in (question, program, total)] == [0.0, 1.0, 0.0]
    share_of_digits = 4
    assert total[share_of_digits] == np.float32(10.0 * 6 / 12)


def test_text_after_the_first_characters_is_ignored() -> None:
    text = "a" * MAX_CHARACTERS
    np.testing.assert_array_equal(text_features([text]), text_features([text + "?" * 100]))
