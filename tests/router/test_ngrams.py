"""N-grams by hashes weigh what scikit-learn's vectorisers weigh, and an embedding is a text's own."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from support.made_up import rows

from zooter.errors import ConfigError, ExportError
from zooter.router.ngram_encoder import NgramEncoder
from zooter.router.ngrams import CHARACTERS, PAIRS, SHAPES, NgramEmbedding, Projection, hash_ngrams
from zooter.router.text_features import MAX_CHARACTERS

TEXTS = sorted({str(row["query"]) for row in rows(60)})
AWKWARD = ["\x00", "👩‍👩‍👧‍👦🏳️‍🌈", "مرحبا", "a\ud83d b", "x", "İ" * MAX_CHARACTERS, "word " * 20_000, "。？！"]


@pytest.fixture(scope="module")
def encoder() -> NgramEncoder:
    return NgramEncoder(topics=12, shape_topics=4).fit(TEXTS)


words = st.text("abcdEFgh12_", min_size=1, max_size=5)
sentences = st.lists(words, min_size=1, max_size=8).map(" ".join)


def shape(text: str) -> str:
    """Reduce runs by regular expressions."""
    for run, one, several in (("[A-Z]", "A", "B"), (r"[0-9]", "0", "1")):
        text = re.sub(f"({run})+", lambda match, s=(one, several): s[len(match.group()) > 1], text)  # type: ignore[misc]
    return re.sub("[a-z\x80-\U0010ffff]+", "a", text)


@settings(max_examples=15)
@given(st.lists(sentences, min_size=3, max_size=8))
def test_weights_are_those_of_scikit_learn(texts: list[str]) -> None:
    vectorisers = [
        TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        TfidfVectorizer(analyzer="char", ngram_range=(2, 4), sublinear_tf=True, min_df=2),
        TfidfVectorizer(preprocessor=shape, analyzer="char", ngram_range=(1, 5), sublinear_tf=True, min_df=2),
    ]
    expected: list[list[float]] = [[] for _ in texts]
    for vectoriser in vectorisers:
        try:
            weights = vectoriser.fit_transform(texts).toarray()
        except ValueError:  # no n-gram of two texts
            continue
        for row, values in zip(expected, weights, strict=True):
            row += values[values > 0].tolist()
    vocabulary = NgramEncoder()._fit_vocabulary(texts)
    for text, values in zip(texts, expected, strict=True):
        np.testing.assert_allclose(np.sort(vocabulary.tfidf(text)[1]), np.sort(values), rtol=1e-5)


@given(sentences, words, sentences)
def test_an_ngram_has_one_bucket_wherever_it_stands(before: str, word: str, after: str) -> None:
    own, around = hash_ngrams(word), hash_ngrams(f"{before} {word.upper()} {after}")
    assert set(own[own < SHAPES.start]) <= set(around)
    assert set(own) <= set(hash_ngrams(f"{before} {word} {after}"))
    assert (own < PAIRS.start).sum() == 1, "a word is among the words"
    of_characters = own[own >= CHARACTERS.start]
    assert (of_characters < SHAPES.start).sum() == sum(max(0, len(word) - size + 1) for size in (2, 3, 4))


def test_the_most_frequent_ngrams_of_two_or_more_queries_are_kept() -> None:
    texts = ["sum of two", "sum of sums", "sum or verse", "a verse"]
    of_sum, of_verse, of_two = (hash_ngrams(text)[0] for text in ("sum", "verse", "two"))
    vocabulary = NgramEncoder(words=1, pairs=1, characters=2, shapes=3)._fit_vocabulary(texts)
    assert vocabulary.buckets[0] == of_sum
    assert vocabulary.ends == (1, 2, 4, 7)
    every = NgramEncoder()._fit_vocabulary(texts)
    assert of_verse in every.buckets
    assert of_two not in every.buckets
    assert every.idf[every.buckets == of_sum] == pytest.approx(np.log(5 / 4) + 1)


def test_an_embedding_does_not_depend_on_the_other_texts(encoder: NgramEncoder) -> None:
    together = encoder.embed([*TEXTS, *AWKWARD])
    assert together.shape == (len(TEXTS) + len(AWKWARD), 16)
    assert np.isfinite(together).all()
    for text, row in zip([*TEXTS, *AWKWARD], together, strict=True):
        np.testing.assert_array_equal(encoder.embed([text])[0], row)
    assert encoder.embed([]).shape == (0, 16)


def test_rounding_to_8_bits_hardly_moves_an_embedding(encoder: NgramEncoder) -> None:
    assert encoder.embedding is not None
    vocabulary = encoder.embedding.vocabulary
    exact = np.random.default_rng(0).normal(size=(len(vocabulary.buckets), 16)).astype(np.float32)
    rounded = Projection.from_matrix(exact)
    for text in TEXTS[:5]:
        columns, weights = vocabulary.tfidf(text)
        expected = weights @ exact[columns]
        assert np.linalg.norm(rounded.apply(columns, weights) - expected) < 0.02 * np.linalg.norm(expected)


def test_queries_of_one_topic_are_closer_than_others(encoder: NgramEncoder) -> None:
    poem, other_poem, law = encoder.embed(["please rhyme verse", "please verse stanza rhyme", "please court judge law"])
    assert poem @ other_poem > 2.0 * poem @ law


def test_what_is_written_is_read_again(encoder: NgramEncoder, tmp_path: Path) -> None:
    encoder.write(tmp_path)
    again = NgramEncoder.read(tmp_path)
    np.testing.assert_array_equal(again.embed(TEXTS), encoder.embed(TEXTS))
    assert again.fingerprint == encoder.fingerprint
    assert again.fingerprint != NgramEncoder(topics=12, shape_topics=4).fit(TEXTS[1:]).fingerprint
    assert NgramEncoder(topics=12, shape_topics=4).fit(TEXTS).fingerprint == encoder.fingerprint


def test_what_is_cut_off_is_not_read() -> None:
    short = NgramEncoder(topics=4, max_characters=20).fit(TEXTS)
    np.testing.assert_array_equal(short.embed([TEXTS[0][:20] + " anything"]), short.embed([TEXTS[0][:20]]))


def test_an_encoder_that_was_not_fitted_says_so() -> None:
    with pytest.raises(ConfigError, match=r"call its fit\(texts\) first"):
        NgramEncoder().embed(["please"])


def test_a_run_of_letters_or_digits_is_one_symbol_of_the_shape() -> None:
    def shapes(text: str) -> list[int]:
        buckets = hash_ngrams(text)
        return buckets[buckets >= SHAPES.start].tolist()

    assert shapes("Is 17 > 3?") == shapes("No 2025 > 9?")
    assert shapes("aé") == shapes("b")
    assert len(shapes("Is 17")) == 4 + 3 + 2 + 1, "A, a, a blank and 1"
    for other in ("is 17 > 3?", "IS 17 > 3?", "Is 7 > 3?", "Is 17 < 3?", "Is 17 >> 3?"):
        assert shapes(other) != shapes("Is 17 > 3?")


def test_all_dimensions_of_topics_vary_alike(encoder: NgramEncoder) -> None:
    deviations = encoder.embed(TEXTS).std(axis=0)
    for part in (deviations[:12], deviations[12:]):
        assert part.max() < 10.0 * part.min()


def test_texts_without_common_ngrams_have_an_empty_embedding() -> None:
    embedding = NgramEncoder().fit(["a"]).embed(["a", "b c"])
    np.testing.assert_array_equal(embedding, np.zeros((2, 2)))


def test_a_file_of_another_version_is_refused(encoder: NgramEncoder, tmp_path: Path) -> None:
    encoder.write(tmp_path)
    with np.load(tmp_path / "ngrams.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "version"}
    np.savez(tmp_path / "ngrams.npz", **arrays)
    with pytest.raises(ExportError, match=r"expected n-grams of version 2 .* found version 1.* train again"):
        NgramEmbedding.load(tmp_path / "ngrams.npz")
