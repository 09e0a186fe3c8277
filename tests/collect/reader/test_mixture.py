"""Sources mixed as DivInstruct was, on queries small enough to draw by hand."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from omegaconf import OmegaConf
from support.paths import CONF

from zooter.collect.reader.mixture import MixtureReader, draw_per_tag
from zooter.collect.reader.several import SeveralReader
from zooter.commands import config
from zooter.data.types import Query, Tags, query_id
from zooter.errors import RecordsError


@dataclass(frozen=True)
class Listed:
    """Reader of given texts, with the same tags each."""

    texts: tuple[str, ...]
    tags: tuple[str, ...] = ()

    def read(self) -> list[Query]:
        return [Query(query_id(text), text, None, self.tags) for text in self.texts]


@dataclass(frozen=True)
class FirstWord:
    """Tagger by the first word."""

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "FirstWord":
        return self

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        return Tags.from_rows([[text.split()[0]] for text in queries])


def texts(reader: MixtureReader) -> list[str]:
    return [query.text for query in reader.read()]


TEST = Listed(("Which of these is the capital of France?", "Add them"))


def test_what_shares_six_words_with_a_test_query_is_left_out() -> None:
    source = Listed(
        (
            "Tell me: which of THESE is the capital?",  # which of these is the capital: six words
            "Which of these is a capital?",  # five in a row, and then another
            "add, them!",  # shorter than six words, and equal to a test query
            "Add them all",
        ),
        ("t",),
    )
    assert texts(MixtureReader({"a": source}, {"test": TEST})) == ["Which of these is a capital?", "Add them all"]
    assert len(texts(MixtureReader({"a": source}, {}))) == 4


def test_counts_of_every_step_are_logged_by_source(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = Listed(("one", "two", "three"), ("t",))
    second = Listed(("two", "four", "Add them"), ("u",))
    third = Listed(("five",))
    mixed = MixtureReader({"first": first, "second": second, "third": third}, {"test": TEST}, per_tag=2).read()
    assert len(mixed) == 3  # two of t, one of u
    assert [query.tags for query in mixed] == [("t",), ("t",), ("u",)]
    lines = [" ".join(record.message.split()) for record in caplog.records]
    assert lines == [
        "source read equal overlapping untagged drawn", "first 3 0 0 0 2", "second 3 1 1 0 1", "third 1 0 0 1 0",
        "all 7 1 1 1 3", "2 tags",
    ]  # fmt: skip


def test_a_tagger_tags_what_is_left() -> None:
    source = Listed(("draw a cat", "draw a dog", "sing a song", "add them"))
    mixed = MixtureReader({"a": source}, {"test": TEST}, per_tag=1, tagger=FirstWord()).read()
    assert sorted(query.tags for query in mixed) == [("draw",), ("sing",)]


def test_without_any_tag_it_is_refused() -> None:
    with pytest.raises(RecordsError, match="1 queries and 0 tags"):
        MixtureReader({"a": Listed(("one",))}, {}).read()


@given(
    st.lists(st.sets(st.sampled_from("abcde"), max_size=3), min_size=1, max_size=30), st.integers(1, 4), st.integers(0)
)
def test_each_tag_has_its_draw_and_no_query_comes_without_one(rows: list[set[str]], per_tag: int, seed: int) -> None:
    queries = [Query(str(i), str(i), None, tuple(sorted(tags))) for i, tags in enumerate(rows)]
    drawn = draw_per_tag(queries, per_tag, seed)
    for tag in "abcde":
        members = {i for i, tags in enumerate(rows) if tag in tags}
        assert len(members & drawn) >= min(per_tag, len(members))
    assert all(rows[i] for i in drawn)
    assert len(drawn) <= per_tag * len(set().union(*rows))
    assert drawn == draw_per_tag(queries, per_tag, seed)


def test_several_readers_tag_their_queries_by_name() -> None:
    reader = SeveralReader({"first": Listed(("one", "two"), ("x", "first")), "second": Listed(("two", "three"))})
    assert [(query.text, query.tags) for query in reader.read()] == [
        ("one", ("first", "x")), ("two", ("first", "x")), ("three", ("second",)),
    ]  # fmt: skip


def test_divinstruct_compares_with_bare_questions_and_is_tagged_by_instagger() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose("train", ["reader=divinstruct", "run_dir=some"]), resolve=True)
    node = values["reader"]
    reader = config.build(node)
    assert isinstance(reader, MixtureReader)
    assert (reader.per_tag, reader.ngram, len(reader.sources)) == (10, 6, 12)
    assert {name: source["query"] for name, source in node["exclude"].items()} == {
        "alpaca_eval": "{instruction}", "flask": "{text}", "mt_bench": "{prompt[0]}", "mmlu": "{question}",
        "gsm8k": "{question}", "humaneval": "{prompt}",
    }  # fmt: skip
    assert type(reader.tagger).__name__ == "InstagTagger"
    assert Path(node["tagger"]["cache_dir"]) == Path(values["cache_dir"])
