"""Tags by a model that says what the test tells it to."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_responder import FakeResponder
from support.fake_server import Reply, chat, serving

from zooter.collect.llm import WRITE_BATCH
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request
from zooter.data.pool import Candidate
from zooter.data.store import KEY, Store
from zooter.data.types import Response, Tags
from zooter.errors import ConfigError, ResponderError
from zooter.training.tagger.instag import InstagTagger, clean, tags

NONE = np.empty((0, 0), dtype=np.float32)


class Vectors:
    """An encoder whose embeddings a test writes; a text that is not among them is far from all others."""

    def __init__(self, **vectors: tuple[float, float]) -> None:
        self.vectors = {name.replace("_", " "): vector for name, vector in vectors.items()}

    def embed(self, texts: list[str], cache: Path | None = None) -> np.ndarray:
        far = [np.eye(len(texts))[i] for i in range(len(texts))]
        return np.array([[*self.vectors.get(text, (0, 0)), *(far[i] * (text not in self.vectors))]
                         for i, text in enumerate(texts)], dtype=np.float32)  # fmt: skip


def reply(*names: str) -> str:
    return json.dumps([{"tag": name, "explanation": "…"} for name in names])


def tagger(said: dict[str, str | Exception], **more: object) -> InstagTagger:
    responder = FakeResponder(lambda text: said[text.rpartition("User query: ")[2]])
    return InstagTagger(responder, Candidate("tagger"), **{"least": 1, **more})  # type: ignore[arg-type]


def tagged(made: InstagTagger, *queries: str) -> list[list[str]]:
    found = made.tag(queries, NONE, Tags.none(len(queries)))
    return [[found.names[j] for j in np.flatnonzero(row)] for row in found.membership.toarray()]


def fit(made: InstagTagger, *queries: str) -> InstagTagger:
    return made.fit(queries, NONE, Tags.none(len(queries)))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (reply("Poetry", "creative-writing"), ["poetry", "creative writing"]),
        ('{"tag": "poetry", "explanation": "a"}, {"tag": "rhyme", "explanation": "b"}', ["poetry", "rhyme"]),
        ('Sure!\n```json\n[{"tag": "poetry", "explanation": "it says \\"poem\\""}]\n```', ["poetry"]),
        ('{"tags": ["poetry", {"tag": "rhyme"}]}', ["poetry", "rhyme"]),
        ('["poetry", "rhyme"]', ["poetry", "rhyme"]),
        ('[{"tag": "poetry", "explanation": "unclosed', ["poetry"]),
        (
            '[{"tag": "poetry", "explanation": "a "quoted" word"}, {"tag": "rhyme", "explanation": "b"}]',
            ["poetry", "rhyme"],
        ),
        (reply("Poetry", "poetry ", "POETRY!"), ["poetry"]),
        (reply("x" * 61, "", "?"), []),
        ("[]", []),
        ("I cannot tag this.", None),
        ("", None),
        ('{"error": 5}', None),
    ],
)
def test_replies_are_read_with_tolerance(said: str, names: list[str] | None) -> None:
    assert tags(said) == names


def test_tags_lose_case_punctuation_and_blanks() -> None:
    assert clean(" Creative-Writing_(Poem) ") == "creative writing poem"
    assert clean("ＰＯＥＭ　ﬁ") == "poem fi"
    assert clean("écriture 創作") == "écriture 創作"


def test_rare_tags_are_dropped_by_the_training_queries_alone() -> None:
    said = {"a": reply("x", "y"), "b": reply("x"), "c": reply("y", "z")}
    made = fit(tagger(said, least=2), "a", "b")
    assert tagged(made, "a", "b", "c") == [["x"], ["x"], []]


def test_near_duplicates_take_the_more_frequent_name_before_the_floor() -> None:
    near = Vectors(poem=(1.0, 0.0), poetry=(0.9, 0.4359), law=(0.0, 1.0))  # cosine of poem and poetry 0.9
    said = {"a": reply("poem"), "b": reply("poem"), "c": reply("poetry"), "d": reply("law")}
    made = fit(tagger(said, encoder=near, least=2, similarity=0.85), *"abcd")
    assert made.merged == {"poem": "poem", "poetry": "poem"}
    assert tagged(made, "c", "d") == [["poem"], []]
    apart = fit(tagger(said, encoder=near, least=1, similarity=0.95), *"abcd")
    assert tagged(apart, "c", "d") == [["poetry"], ["law"]]


def test_the_columns_are_the_same_at_each_call() -> None:
    made = fit(tagger({"a": reply("x"), "b": reply("y")}), "a", "b")
    assert made.tag(["a"], NONE, Tags.none(1)).names == made.tag(["b"], NONE, Tags.none(1)).names == ("x", "y")
    assert made.tag([], NONE, Tags.none(0)).membership.shape == (0, 2)


def test_a_reply_that_cannot_be_read_is_no_tag_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    made = fit(tagger({"a": reply("x"), "b": "I cannot."}), "a", "b")
    assert tagged(made, "a", "b") == [["x"], []]
    assert "1 of 2 queries carry no tag" in caplog.text


def test_each_query_is_asked_once_and_never_again_from_the_cache(tmp_path: Path) -> None:
    said: dict[str, str | Exception] = {"a": reply("x"), "b": reply("y"), "c": reply("x")}
    first = tagger(said, cache_dir=tmp_path)
    tagged(fit(first, "a", "b", "a"), "a", "b")
    assert sorted(first.responder.asked) == sorted(first.instruction.replace("{query}", q) for q in "ab")  # type: ignore[attr-defined]
    second = tagger(said, cache_dir=tmp_path)
    assert tagged(fit(second, "a", "b", "c"), "a", "b", "c") == [["x"], ["y"], ["x"]]
    assert [text[-1] for text in second.responder.asked] == ["c"]  # type: ignore[attr-defined]
    other = tagger(said, cache_dir=tmp_path, instruction="Other. User query: {query}")
    fit(other, "a")
    assert len(other.responder.asked) == 1  # type: ignore[attr-defined]


def test_without_a_cache_nothing_is_asked_twice_either() -> None:
    made = tagger({"a": reply("x")})
    tagged(fit(made, "a"), "a", "a")
    assert len(made.responder.asked) == 1  # type: ignore[attr-defined]


def test_a_failed_call_is_no_tag_now_and_is_asked_again_in_the_next_run(tmp_path: Path) -> None:
    said: dict[str, str | Exception] = {"a": reply("x"), "b": RuntimeError("refused")}
    made = tagger(said, cache_dir=tmp_path, max_failures=0.5)
    assert tagged(fit(made, "a", "b"), "a", "b") == [["x"], []]
    assert len(made.responder.asked) == 2  # type: ignore[attr-defined]
    again = tagger(said | {"b": reply("x")}, cache_dir=tmp_path)
    assert tagged(fit(again, "a", "b"), "a", "b") == [["x"], ["x"]]
    assert len(again.responder.asked) == 1  # type: ignore[attr-defined]


def test_a_call_that_keeps_failing_is_given_up_after_some_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: dict[str, str | Exception] = {"a": reply("x"), "b": RuntimeError("refused")}

    def run(**more: object) -> tuple[list[str], list[list[str]]]:
        made = tagger(said, cache_dir=tmp_path, max_failures=0.5, max_attempts=2, **more)
        found = tagged(fit(made, "a", "b"), "a", "b")
        return [text[-1] for text in made.responder.asked], found  # type: ignore[attr-defined]

    assert [run()[0] for _ in range(4)] == [["b", "a"], ["b"], [], []]
    assert "1 calls of tagger have failed 2 times and are given up" in caplog.text
    assert run()[1] == [["x"], []]
    said["b"] = reply("x")
    made = tagger(said, cache_dir=tmp_path, max_attempts=3)
    assert tagged(fit(made, "a", "b"), "a", "b") == [["x"], ["x"]]


def test_calls_that_failed_before_stop_a_run_only_by_their_share_of_all(tmp_path: Path) -> None:
    said: dict[str, str | Exception] = dict.fromkeys("abcd", reply("x")) | {"e": RuntimeError("refused")}
    for _ in range(2):  # of the calls of the second run all fail, but one in five of all is what may
        made = tagger(said, cache_dir=tmp_path, max_failures=0.2)
        assert tagged(fit(made, *"abcde"), *"abcde") == [["x"]] * 4 + [[]]
    with pytest.raises(ResponderError, match=r"found 1 of 5, most often: refused.*max_attempts"):
        fit(tagger(said, cache_dir=tmp_path, max_failures=0.1, max_attempts=2), *"abcde")
    assert len(Store(tmp_path / "tags" / "failures").table([KEY])) == 2, "the third run has asked nothing"


def test_too_many_failures_stop_and_keep_what_was_answered(tmp_path: Path) -> None:
    said: dict[str, str | Exception] = {"a": reply("x"), "b": RuntimeError("no route")}
    with pytest.raises(ResponderError, match="found 1 of 2, most often: no route"):
        fit(tagger(said, cache_dir=tmp_path), "a", "b")
    again = tagger(said | {"b": reply("y")}, cache_dir=tmp_path)
    fit(again, "a", "b")
    assert len(again.responder.asked) == 1  # type: ignore[attr-defined]


class Breaking(FakeResponder):
    """A responder whose server goes away for good after some answers."""

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        count = 0
        async for response in super().respond(requests):
            if count == 3:
                raise ResponderError(expected="a server", found="none", do="start it")
            count += 1
            yield response


def test_what_came_before_the_end_of_all_calls_is_kept(tmp_path: Path) -> None:
    queries = [f"q{i}" for i in range(10)]
    broken = InstagTagger(Breaking(lambda text: reply("x")), Candidate("tagger"), cache_dir=tmp_path, least=1)
    with pytest.raises(ResponderError, match="expected a server"):
        fit(broken, *queries)
    again = tagger(dict.fromkeys(queries, reply("x")), cache_dir=tmp_path)
    fit(again, *queries)
    assert len(again.responder.asked) == 7  # type: ignore[attr-defined]


def test_a_server_that_answers_nothing_is_left_after_fifty_calls() -> None:
    queries = [f"q{i}" for i in range(500)]
    made = tagger(dict.fromkeys(queries, RuntimeError("no route")))
    with pytest.raises(ResponderError, match="found 50 of 50, most often: no route"):
        fit(made, *queries)
    assert len(made.responder.asked) == 50  # type: ignore[attr-defined]


MANY, ATONCE = 700, 8


def says(body: dict[str, Any], number: int) -> Reply:
    return chat(reply(f"topic {len(body['messages'][-1]['content']) % 7}"), delay=0.004)


def tag_many(url: str, cache: Path) -> list[list[str]]:
    """What the child process does, and the parent in the end."""
    made = InstagTagger(OpenAIResponder(concurrency=ATONCE), Candidate("tagger", url=url), cache_dir=cache, least=1)
    queries = [f"{'long ' * (i % 9)}query {i}" for i in range(MANY)]
    return tagged(fit(made, *queries), *queries)


def test_killed_it_goes_on_where_it_was_and_asks_no_more_than_a_batch_again(tmp_path: Path) -> None:
    """`kill -9` of a real process, after its first replies have landed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "test_instag"])
    with serving(says) as server:
        store = Store(tmp_path / "killed" / "tags")
        child = context.Process(target=tag_many, args=(server.url, tmp_path / "killed"))
        child.start()
        assert child.pid is not None
        while not len(store.table([KEY])):
            assert child.is_alive()
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        landed, asked = len(store.table([KEY])), len(server.bodies)
        assert 0 < landed < MANY, "it was killed in the middle"
        assert asked <= landed + WRITE_BATCH + ATONCE
        found = tag_many(server.url, tmp_path / "killed")
        assert len(server.bodies) - asked == MANY - landed
        assert found == tag_many(server.url, tmp_path / "whole")


@pytest.mark.parametrize(
    "settings", [{"instruction": "tag it"}, {"least": 0}, {"max_attempts": 0}, {"similarity": 0.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"expected tagger\."):
        tagger({}, **settings)


def test_tagging_before_fitting_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="call fit first"):
        tagged(tagger({"a": reply("x")}), "a")
