"""Selectors on live candidates."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from zooter.collect.responder.client.completion import Completion
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.cache import ResponseCache
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, ResponderError
from zooter.evaluation.live import LiveAsk, LiveEvaluator
from zooter.selector.baseline.oracle import OracleSelector
from zooter.selector.baseline.random import RandomSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.protocol import Ask, Needs, SampleRequest, Selection, Selector, first_response
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.best_of import BestOfSelector
from zooter.selector.voting.consistency import ConsistencySelector
from zooter.selector.voting.self_consistency import SelfConsistencySelector

QUERIES = [Query(f"q{i}", f"query {i}") for i in range(6)]


@dataclass
class FakeResponder:
    """Answers "NAME:TEXT:SAMPLE" for a dollar; `broken` candidates fail; records the size of each batch."""

    broken: Sequence[str] = ()
    fatal: bool = False
    batches: list[int] = field(default_factory=list)
    sampling: Sampling = field(default_factory=Sampling)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"responder": "test", "model": candidate.name}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        self.batches.append(len(requests))
        await asyncio.sleep(0)
        for request in reversed(requests):
            if self.fatal:
                raise ResponderError(expected="a key", found="none", do="set it")
            name, sample = request.candidate.name, request.sample
            error = "down" if name in self.broken else None
            text = "" if error else f"{name}:{request.query.text}:{sample}"
            yield Response(request.query.id, name, sample, text, cost=None if error else 1.0, error=error)


@dataclass(frozen=True)
class Longest:
    """Rewards the length of a response."""

    def identity(self) -> Mapping[str, object]:
        return {"rewarder": "longest"}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        return np.array([len(response.text) for response in responses], dtype=float)


@dataclass(frozen=True)
class Twice:
    """Asks the first candidate, then the first and the second side by side, then for rewards of all."""

    needs: ClassVar[Needs] = Needs()

    async def select(self, query: Query, ask: Ask) -> Selection:
        first = await ask("a")
        parts = await ask.ask_many([SampleRequest("a", 2), SampleRequest("bb")])
        every = [*first, *parts[0], *parts[1]]
        rewards = await ask.reward(every)
        return Selection(every[int(np.nanargmax(rewards))], float(np.nanmax(rewards)))


@dataclass(frozen=True)
class First:
    needs: ClassVar[Needs] = Needs()

    async def select(self, query: Query, ask: Ask) -> Selection:
        return Selection(await first_response(ask, ["a", "bb"]))


@dataclass(frozen=True)
class OwnWords:
    needs: ClassVar[Needs] = Needs(live=True)

    async def select(self, query: Query, ask: Ask) -> Selection:
        parts = await ask.ask_many(
            [
                SampleRequest("a", text="be brief"),
                SampleRequest("a", text="be kind"),
                SampleRequest("a", text="be brief"),
            ]
        )
        return Selection(parts[0][0], why=" | ".join(part[0].text for part in parts))


def evaluator(responder: FakeResponder, **options: object) -> LiveEvaluator:
    return LiveEvaluator(Pool.from_names(["a", "bb"]), responder, **options)  # type: ignore[arg-type]


def test_requests_of_all_queries_in_flight_are_sent_in_one_batch() -> None:
    responder = FakeResponder()
    decided = asyncio.run(evaluator(responder, rewarder=Longest()).run(Twice(), QUERIES))
    assert responder.batches == [6, 18]
    assert [recorded.query.id for recorded in decided] == [query.id for query in QUERIES]
    for recorded in decided:
        assert [len(part) for part in recorded.ledger.rounds] == [1, 3]
        assert recorded.ledger.calls == {"a": 3, "bb": 1}
        assert recorded.ledger.cost == 4.0
        assert [fee.name for fee in recorded.ledger.fees] == ["rewarder"]
        assert recorded.selection.response is not None
        assert recorded.selection.response.text == f"bb:{recorded.query.text}:0"
        assert [r.sample for part in recorded.ledger.rounds for r in part if r.candidate == "a"] == [0, 1, 2]


def test_at_most_in_flight_queries_are_asked_about_at_a_time() -> None:
    responder = FakeResponder()
    asyncio.run(evaluator(responder, in_flight=2).run(First(), QUERIES))
    assert max(responder.batches) <= 2
    assert sum(responder.batches) == 6


def test_a_failed_call_falls_back_to_the_next_candidate_and_is_in_the_ledger() -> None:
    decided = asyncio.run(evaluator(FakeResponder(broken=["a"])).run(First(), QUERIES[:1]))[0]
    assert decided.selection.response is not None
    assert decided.selection.response.candidate == "bb"
    assert (decided.ledger.failed, decided.ledger.cost) == (1, 1.0)


def test_all_calls_failing_gives_no_response() -> None:
    decided = asyncio.run(evaluator(FakeResponder(broken=["a", "bb"])).run(First(), QUERIES[:1]))[0]
    assert decided.selection.response is None
    assert decided.ledger.failed == 2


def test_a_fatal_error_stops_the_run_with_the_servers_message() -> None:
    with pytest.raises(ResponderError, match="a key"):
        asyncio.run(evaluator(FakeResponder(fatal=True)).run(First(), QUERIES))


def test_responses_are_cached_and_not_asked_for_again(tmp_path: Path) -> None:
    first, second = FakeResponder(), FakeResponder()
    before = asyncio.run(evaluator(first, cache=ResponseCache(tmp_path)).run(First(), QUERIES))
    after = asyncio.run(evaluator(second, cache=ResponseCache(tmp_path)).run(First(), QUERIES))
    assert second.batches == []
    assert [recorded.selection.response for recorded in after] == [recorded.selection.response for recorded in before]


def test_samples_of_a_selectors_own_messages_are_counted_separately() -> None:
    decided = asyncio.run(evaluator(FakeResponder()).run(OwnWords(), QUERIES[:2]))
    for recorded in decided:
        assert recorded.selection.why == "a:be brief:0 | a:be kind:0 | a:be brief:1"
        assert all(response.query_id == recorded.query.id for response in recorded.ledger.rounds[0])


def test_measurements_for_the_oracle_are_not_charged() -> None:
    decided = asyncio.run(evaluator(FakeResponder(), truth=Longest()).run(OracleSelector(), QUERIES[:1]))[0]
    assert decided.selection.response is not None
    assert decided.selection.response.candidate == "bb"
    assert decided.ledger.calls == {"bb": 1}


def test_rewards_without_a_rewarder_are_refused() -> None:
    with pytest.raises(ConfigError, match="a rewarder"):
        asyncio.run(evaluator(FakeResponder()).run(Twice(), QUERIES[:1]))


def test_no_query_in_flight_is_refused() -> None:
    with pytest.raises(ConfigError, match="in_flight of 1 or more"):
        evaluator(FakeResponder(), in_flight=0)


TEXT = AnswerExtractor("string")


@pytest.mark.parametrize(
    ("selector", "calls"),
    [
        (SingleSelector("a"), {"a": 1, "bb": 1}),
        (RandomSelector(("a", "bb"), escalation_rate=0.0), {"a": 1, "bb": 1}),
        (MarginSelector(("a", "bb")), {"a": 1, "bb": 1}),
        (ConsistencySelector(("a", "bb"), samples=3, extract=TEXT), {"a": 3, "bb": 3}),
        (SelfConsistencySelector("a", 3, extract=TEXT), {"a": 3, "bb": 1}),
        (BestOfSelector(), {"a": 1, "bb": 1}),
        (BestOfSelector(("a",), 2), {"a": 2, "bb": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_selector_falls_back_to_the_next_candidate(selector: Selector, calls: dict[str, int]) -> None:
    decided = asyncio.run(evaluator(FakeResponder(broken=["a"]), rewarder=Longest()).run(selector, QUERIES[:3]))
    for recorded in decided:
        assert recorded.selection.response is not None
        assert recorded.selection.response.candidate == "bb"
        assert (recorded.ledger.calls, recorded.ledger.failed) == (calls, calls["a"])
    nothing = asyncio.run(evaluator(FakeResponder(broken=["a", "bb"]), rewarder=Longest()).run(selector, QUERIES[:3]))
    assert [recorded.selection.response for recorded in nothing] == [None] * 3


def test_several_samples_of_greedy_candidates_are_refused() -> None:
    @dataclass(frozen=True)
    class Sampling3:
        needs: ClassVar[Needs] = Needs(samples=3)

        async def select(self, query: Query, ask: Ask) -> Selection:
            return Selection((await ask("a", 3))[0])

    greedy = FakeResponder(sampling=Sampling(temperature=0.0))
    with pytest.raises(ConfigError, match="temperature above 0 for the 3 samples of Sampling3"):
        asyncio.run(evaluator(greedy).run(Sampling3(), QUERIES))


def test_the_price_of_a_call_is_the_mean_so_far_and_before_any_call_the_configured_price() -> None:
    live = evaluator(FakeResponder(), prices={"a": 3.0})
    ask = LiveAsk(live, QUERIES[0])
    assert (ask.price("a"), np.isnan(ask.price("bb"))) == (3.0, True)
    asyncio.run(live.run(First(), QUERIES[:2]))
    assert ask.price("a") == 1.0


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while anything is to be done, and jumps to the next timer when nothing is."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def test_a_live_cascade_keeps_its_server_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 queries at 200 ms a call, 40 % go on, 32 calls at a time: at most 1.3 times what 280 calls take."""
    running, peak = 0, 0

    async def answer(self: OpenAIResponder, endpoint: object, request: Request, without: object) -> Completion:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.2)
        running -= 1
        return Completion("A", "stop", 0.1 if int(request.query.text) % 5 < 2 else 0.8, None, 1, 1)

    monkeypatch.setattr(OpenAIResponder, "_attempt", answer)
    pool = Pool(tuple(Candidate(name, price=1.0, url="http://localhost:1/v1") for name in ("small", "large")))
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(online_threshold=False, fixed=(0.5,)))
    queries = [Query(f"q{i}", str(i)) for i in range(200)]
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        decided = runner.run(LiveEvaluator(pool, OpenAIResponder(concurrency=32)).run(selector, queries))
        seconds = runner.get_loop().time()
    assert sum(selection.ledger.calls.total() for selection in decided) == 280
    assert peak == 32
    assert seconds <= 1.3 * 280 * 0.2 / 32
