"""Tags by a model whose replies the tests write."""

import json
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
from support.processes import PROCESSES

from zooter.collect.llm import WRITE_BATCH
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request
from zooter.data.pool import Candidate
from zooter.data.shards import KEY
from zooter.data.store import Store
from zooter.data.types import Response, Tags
from zooter.errors import ConfigError, ResponderError
from zooter.training.tagger.instag import InstagTagger, normalise_tag, parse_tags

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


def tagger(replies: dict[str, str | Exception], **more: object) -> InstagTagger:
    responder = FakeResponder(lambda text: replies[text.rpartition("User query: ")[2]])
    return InstagTagger(responder, Candidate("tagger"), **{"least": 1, **more})  # type: ignore[arg-type]


def tagged(instag: InstagTagger, *queries: str) -> list[list[str]]:
    tags = instag.tag(queries, NONE, Tags.empty(len(queries)))
    return [[tags.names[j] for j in np.flatnonzero(row)] for row in tags.membership.toarray()]


def fit(instag: InstagTagger, *queries: str) -> InstagTagger:
    return instag.fit(queries, NONE, Tags.empty(len(queries)))


@pytest.mark.parametrize(
    ("text", "names"),
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
def test_tags_are_parsed_from_well_formed_and_broken_replies(text: str, names: list[str] | None) -> None:
    assert parse_tags(text) == names


def test_tags_lose_case_punctuation_and_blanks() -> None:
    assert normalise_tag(" Creative-Writing_(Poem) ") == "creative writing poem"
    assert normalise_tag("ＰＯＥＭ　ﬁ") == "poem fi"
    assert normalise_tag("écriture 創作") == "écriture 創作"


def test_rare_tags_are_dropped_by_the_training_queries_alone() -> None:
    replies = {"a": reply("x", "y"), "b": reply("x"), "c": reply("y", "z")}
    instag = fit(tagger(replies, least=2), "a", "b")
    assert tagged(instag, "a", "b", "c") == [["x"], ["x"], []]


def test_near_duplicates_take_the_more_frequent_name_before_rare_tags_are_dropped() -> None:
    near = Vectors(poem=(1.0, 0.0), poetry=(0.9, 0.4359), law=(0.0, 1.0))  # cosine of poem and poetry 0.9
    replies = {"a": reply("poem"), "b": reply("poem"), "c": reply("poetry"), "d": reply("law")}
    instag = fit(tagger(replies, encoder=near, least=2, similarity=0.85), *"abcd")
    assert instag.tag_by_spelling == {"poem": "poem", "poetry": "poem"}
    assert tagged(instag, "c", "d") == [["poem"], []]
    apart = fit(tagger(replies, encoder=near, least=1, similarity=0.95), *"abcd")
    assert tagged(apart, "c", "d") == [["poetry"], ["law"]]


def test_the_columns_are_the_same_at_each_call() -> None:
    instag = fit(tagger({"a": reply("x"), "b": reply("y")}), "a", "b")
    assert instag.tag(["a"], NONE, Tags.empty(1)).names == instag.tag(["b"], NONE, Tags.empty(1)).names == ("x", "y")
    assert instag.tag([], NONE, Tags.empty(0)).membership.shape == (0, 2)


def test_a_reply_that_cannot_be_read_is_no_tag_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    instag = fit(tagger({"a": reply("x"), "b": "I cannot."}), "a", "b")
    assert tagged(instag, "a", "b") == [["x"], []]
    assert "1 of 2 queries carry no tag" in caplog.text


def test_each_query_is_asked_once_and_never_again_from_the_cache(tmp_path: Path) -> None:
    replies: dict[str, str | Exception] = {"a": reply("x"), "b": reply("y"), "c": reply("x")}
    first = tagger(replies, cache_dir=tmp_path)
    tagged(fit(first, "a", "b", "a"), "a", "b")
    assert sorted(first.responder.asked) == sorted(first.instruction.replace("{query}", q) for q in "ab")  # type: ignore[attr-defined]
    second = tagger(replies, cache_dir=tmp_path)
    assert tagged(fit(second, "a", "b", "c"), "a", "b", "c") == [["x"], ["y"], ["x"]]
    assert [text[-1] for text in second.responder.asked] == ["c"]  # type: ignore[attr-defined]
    other = tagger(replies, cache_dir=tmp_path, instruction="Other. User query: {query}")
    fit(other, "a")
    assert len(other.responder.asked) == 1  # type: ignore[attr-defined]


def test_without_a_cache_nothing_is_asked_twice_either() -> None:
    instag = tagger({"a": reply("x")})
    tagged(fit(instag, "a"), "a", "a")
    assert len(instag.responder.asked) == 1  # type: ignore[attr-defined]


def test_a_failed_call_is_no_tag_now_and_is_asked_again_in_the_next_run(tmp_path: Path) -> None:
    replies: dict[str, str | Exception] = {"a": reply("x"), "b": RuntimeError("refused")}
    instag = tagger(replies, cache_dir=tmp_path, max_failures=0.5)
    assert tagged(fit(instag, "a", "b"), "a", "b") == [["x"], []]
    assert len(instag.responder.asked) == 2  # type: ignore[attr-defined]
    again = tagger(replies | {"b": reply("x")}, cache_dir=tmp_path)
    assert tagged(fit(again, "a", "b"), "a", "b") == [["x"], ["x"]]
    assert len(again.responder.asked) == 1  # type: ignore[attr-defined]


def test_a_call_that_keeps_failing_is_given_up_after_some_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replies: dict[str, str | Exception] = {"a": reply("x"), "b": RuntimeError("refused")}

    def run(**more: object) -> tuple[list[str], list[list[str]]]:
        instag = tagger(replies, cache_dir=tmp_path, max_failures=0.5, max_attempts=2, **more)
        tags = tagged(fit(instag, "a", "b"), "a", "b")
        return [text[-1] for text in instag.responder.asked], tags  # type: ignore[attr-defined]

    assert [run()[0] for _ in range(4)] == [["b", "a"], ["b"], [], []]
    assert "1 calls of tagger have failed 2 times and are given up" in caplog.text
    assert run()[1] == [["x"], []]
    replies["b"] = reply("x")
    instag = tagger(replies, cache_dir=tmp_path, max_attempts=3)
    assert tagged(fit(instag, "a", "b"), "a", "b") == [["x"], ["x"]]


def test_calls_that_failed_before_stop_a_run_only_by_their_share_of_all(tmp_path: Path) -> None:
    replies: dict[str, str | Exception] = dict.fromkeys("abcd", reply("x")) | {"e": RuntimeError("refused")}
    for _ in range(2):  # of the calls of the second run all fail, but one in five of all is what may
        instag = tagger(replies, cache_dir=tmp_path, max_failures=0.2)
        assert tagged(fit(instag, *"abcde"), *"abcde") == [["x"]] * 4 + [[]]
    with pytest.raises(ResponderError, match=r"found 1 of 5, most often: refused.*max_attempts"):
        fit(tagger(replies, cache_dir=tmp_path, max_failures=0.1, max_attempts=2), *"abcde")
    assert len(Store(tmp_path / "tags" / "failures").table([KEY])) == 2, "the third run has asked nothing"


def test_too_many_failures_stop_and_keep_what_was_answered(tmp_path: Path) -> None:
    replies: dict[str, str | Exception] = {"a": reply("x"), "b": RuntimeError("no route")}
    with pytest.raises(ResponderError, match="found 1 of 2, most often: no route"):
        fit(tagger(replies, cache_dir=tmp_path), "a", "b")
    again = tagger(replies | {"b": reply("y")}, cache_dir=tmp_path)
    fit(again, "a", "b")
    assert len(again.responder.asked) == 1  # type: ignore[attr-defined]


class BreakingResponder(FakeResponder):
    """A responder whose server goes away for good after three answers."""

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        count = 0
        async for response in super().respond(requests):
            if count == 3:
                raise ResponderError(expected="a server", found="none", do="start it")
            count += 1
            yield response


def test_replies_before_the_server_went_away_are_kept(tmp_path: Path) -> None:
    queries = [f"q{i}" for i in range(10)]
    broken = InstagTagger(BreakingResponder(lambda text: reply("x")), Candidate("tagger"), cache_dir=tmp_path, least=1)
    with pytest.raises(ResponderError, match="expected a server"):
        fit(broken, *queries)
    again = tagger(dict.fromkeys(queries, reply("x")), cache_dir=tmp_path)
    fit(again, *queries)
    assert len(again.responder.asked) == 7  # type: ignore[attr-defined]


def test_a_server_that_never_answers_is_given_up_after_fifty_calls() -> None:
    queries = [f"q{i}" for i in range(500)]
    instag = tagger(dict.fromkeys(queries, RuntimeError("no route")))
    with pytest.raises(ResponderError, match="found 50 of 50, most often: no route"):
        fit(instag, *queries)
    assert len(instag.responder.asked) == 50  # type: ignore[attr-defined]


QUERIES, CONCURRENCY = 700, 8


def answer(body: dict[str, Any], number: int) -> Reply:
    return chat(reply(f"topic {len(body['messages'][-1]['content']) % 7}"), delay=0.004)


def tag_many(url: str, cache: Path) -> list[list[str]]:
    """Tag all queries, in the child process and again in the parent."""
    responder = OpenAIResponder(concurrency=CONCURRENCY)
    instag = InstagTagger(responder, Candidate("tagger", url=url), cache_dir=cache, least=1)
    queries = [f"{'long ' * (i % 9)}query {i}" for i in range(QUERIES)]
    return tagged(fit(instag, *queries), *queries)


def test_a_killed_run_resumes_and_repeats_no_more_than_a_batch_of_calls(tmp_path: Path) -> None:
    """`kill -9` of a real process, after its first replies have landed."""
    with serving(answer) as server:
        store = Store(tmp_path / "killed" / "tags")
        child = PROCESSES.Process(target=tag_many, args=(server.url, tmp_path / "killed"))
        child.start()
        assert child.pid is not None
        while not len(store.table([KEY])):
            assert child.is_alive()
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        landed, asked = len(store.table([KEY])), len(server.bodies)
        assert 0 < landed < QUERIES, "it was killed in the middle"
        assert asked <= landed + WRITE_BATCH + CONCURRENCY
        tags = tag_many(server.url, tmp_path / "killed")
        assert len(server.bodies) - asked == QUERIES - landed
        assert tags == tag_many(server.url, tmp_path / "whole")


@pytest.mark.parametrize(
    "settings", [{"instruction": "tag it"}, {"least": 0}, {"max_attempts": 0}, {"similarity": 0.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"expected (tagger|InstagTagger)\."):
        tagger({}, **settings)


def test_tagging_before_fitting_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="call fit first"):
        tagged(tagger({"a": reply("x")}), "a")
