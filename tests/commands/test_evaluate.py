"""Comparisons from the settings to the files, on a table and on live candidates."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.parsed_page import read_page

from zooter.collect.responder.protocol import Request, Sampling
from zooter.commands import evaluate
from zooter.commands.evaluate import EvaluateSettings
from zooter.data.pool import Candidate, Pool
from zooter.data.response_table import ResponseTable
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, RecordsError
from zooter.selector.baseline.random import RandomSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.ordering import mean_rewards, rank_by_mean_reward
from zooter.selector.protocol import Ask, Needs, Selection, first_response

pytestmark = pytest.mark.usefixtures("undrawn_plots")

SPLIT = Split(val=0.2, test=0.4)


@dataclass(frozen=True)
class Spy:
    """Learns nothing and remembers what it was shown; asks the first candidate."""

    shown: dict[str, list[str]] = field(default_factory=dict)
    needs: ClassVar[Needs] = Needs()

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "Spy":
        self.shown.update(training=training.texts, validation=validation.texts)
        return self

    async def select(self, query: Query, ask: Ask) -> Selection:
        self.shown.setdefault("test", []).append(query.text)
        return Selection((await ask(ask.pool.names[0]))[0])


@dataclass(frozen=True)
class Retells:
    """Tells the second candidate what the first one said."""

    needs: ClassVar[Needs] = Needs(live=True)

    async def select(self, query: Query, ask: Ask) -> Selection:
        first = (await ask("small"))[0]
        return Selection((await ask("large", text=f"{first.text}?"))[0])


def table(path: Path, n: int = 60, **changes: Any) -> Path:
    """Queries that `small` answers rightly when its margin is above a half, and `large` in three of four cases."""
    rows = []
    for i in range(n):
        margin = (i * 7 % n) / n
        row = {"query": f"query {i}", "query_id": f"q{i}", "tags": [f"t{i % 2}"], "sample": 0, "response": "x"}
        rows += [
            {**row, "candidate": "small", "reward": float(margin > 0.5), "margin": margin, "cost": 0.001, **changes},
            {**row, "candidate": "large", "reward": float(i % 4 > 0), "margin": 0.5, "cost": 0.004},
        ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def settings(folder: Path, **given: Any) -> EvaluateSettings:
    return EvaluateSettings(folder / "run", folder / "cache", split=SPLIT, **given)


def test_selectors_are_compared_on_the_test_part_and_all_files_are_written(tmp_path: Path) -> None:
    selectors = {"margin": MarginSelector(("small", "large")), "small": SingleSelector("small")}
    given = settings(tmp_path, records=table(tmp_path / "table.parquet"), selectors=selectors)
    returned = evaluate.run(given, {"told": True})
    texts = [f"query {i}" for i in range(60)]
    assert returned["queries"] == int(SPLIT.is_test(texts).sum())
    assert returned["trained_on"] == len(SPLIT.parts(texts)[0].train)
    assert list(returned["selectors"]) == ["best_single", "oracle", "margin", "small"]
    assert returned["best_single"] == "large"
    assert returned["selectors"]["small"]["cost"]["mean"] == pytest.approx(0.001)
    assert list(returned["curves"]) == ["margin"]
    assert len(returned["curves"]["margin"]["budgets"]) == 100
    assert (returned["weak"], returned["strong"], returned["notes"]) == ("small", "large", [])
    assert returned["settings"] == {"told": True}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["selectors"] == returned["selectors"]
    assert (tmp_path / "run" / "plots" / "budgets.png").exists()
    assert "margin is " in (tmp_path / "run" / "report.md").read_text()
    page = read_page((tmp_path / "run" / "report.html").read_text())
    assert report["examples"]["selector"] in ("margin", "small")
    for row in report["examples"]["rows"]:
        assert row["query"] in page.text


def test_every_mean_can_be_recomputed_from_the_decisions(tmp_path: Path) -> None:
    selectors = {"margin": MarginSelector(("small", "large"))}
    given = settings(tmp_path, records=table(tmp_path / "table.parquet"), selectors=selectors, curves=False)
    report = evaluate.run(given, {})
    rows = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    for name, summary in report["selectors"].items():
        mine = [row for row in rows if row["selector"] == name]
        assert np.mean([row["quality"] for row in mine]) == pytest.approx(summary["quality"]["mean"])
        assert np.mean([row["cost"] for row in mine]) == pytest.approx(summary["cost"]["mean"])
        calls = [sum(json.loads(row["calls"]).values()) for row in mine]
        assert np.mean(calls) == pytest.approx(summary["samples"])
    assert report["curves"] == {}


def test_nothing_that_learns_sees_a_test_query(tmp_path: Path) -> None:
    spy = Spy()
    evaluate.run(settings(tmp_path, records=table(tmp_path / "t.parquet"), selectors={"spy": spy}), {})
    part = SPLIT.parts(texts := [f"query {i}" for i in range(60)])[0]
    assert spy.shown["training"] == [texts[i] for i in part.train]
    assert spy.shown["validation"] == [texts[i] for i in part.val]
    assert spy.shown["test"] == [texts[i] for i in part.test]


def test_what_a_table_lacks_is_told_before_anything_runs_and_nothing_is_written(tmp_path: Path) -> None:
    spy = Spy()
    path = table(tmp_path / "table.parquet", margin=None)
    selectors = {"spy": spy, "margin": MarginSelector(("small", "large"))}
    with pytest.raises(RecordsError, match=r"margin: expected margin in every row .* found none for the query"):
        evaluate.run(settings(tmp_path, records=path, selectors=selectors), {})
    assert spy.shown == {}
    assert not (tmp_path / "run").exists()


def test_without_costs_quality_is_compared_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    path = table(tmp_path / "table.parquet", cost=None)
    report = evaluate.run(
        settings(tmp_path, records=path, selectors={"margin": MarginSelector(("small", "large"))}), {}
    )
    assert report["notes"][0].startswith("no cost is recorded for responses of 'small', first for the query")
    assert report["selectors"]["margin"]["quality"]["mean"] is not None
    assert report["selectors"]["margin"]["cost"]["mean"] is None
    assert report["curves"]["margin"]["budgets"] is None  # shares that go on instead
    assert report["curves"]["margin"]["apgr"]["mean"] is not None
    priced = settings(tmp_path, records=path, selectors={}, call_prices={"small": 1.0, "large": 2.0})
    assert evaluate.run(priced, {})["selectors"]["oracle"]["cost"]["mean"] >= 1.0


def test_a_selector_with_messages_of_its_own_is_refused_on_a_table(tmp_path: Path) -> None:
    given = settings(tmp_path, records=table(tmp_path / "table.parquet"), selectors={"retells": Retells()})
    with pytest.raises(ConfigError, match="expected live candidates for a selector that writes messages of its own"):
        evaluate.run(given, {})


@dataclass(frozen=True)
class Trained(Spy):
    """Has an export."""

    export: Path = Path()


def sealed(folder: Path, split: dict[str, Any] | None) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({} if split is None else {"split": split}))
    return folder


@pytest.mark.parametrize("change", [{"folds": 5}, {"salt": "1"}, {"test": 0.3}])
def test_a_router_that_was_trained_on_test_queries_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    export = sealed(tmp_path / "export", {"val": 0.1, "test": 0.4, "salt": "0", "folds": None, **change})
    given = settings(tmp_path, records=table(tmp_path / "t.parquet"), selectors={"routed": Trained(export=export)})
    with pytest.raises(ConfigError, match=r"expected a router that has never seen the test queries .* found routed"):
        evaluate.run(given, {})


@pytest.mark.parametrize(("test", "notes"), [(0.4, 0), (0.5, 0), (None, 1)])
def test_a_router_that_kept_them_out_is_not_and_one_that_does_not_tell_is_noted(
    tmp_path: Path, test: float | None, notes: int
) -> None:
    split = None if test is None else {"val": 0.1, "test": test, "salt": "0", "folds": None}
    selectors = {"routed": Trained(export=sealed(tmp_path / "export", split))}
    report = evaluate.run(settings(tmp_path, records=table(tmp_path / "t.parquet"), selectors=selectors), {})
    assert len(report["notes"]) == notes


@pytest.mark.parametrize(("given", "found"), [({}, "neither"), ({"records": Path("x"), "reader": object()}, "both")])
def test_a_table_or_a_reader_is_wanted(tmp_path: Path, given: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=f"expected either records=FILE or a reader=…; found {found}"):
        settings(tmp_path, **given)


def test_a_tie_everywhere_has_no_gap_and_is_told_as_such(tmp_path: Path) -> None:
    rows = [
        {"query": f"query {i}", "candidate": name, "reward": 1.0, "cost": 0.001, "margin": 0.5, "response": "x"}
        for i in range(60)
        for name in ("small", "large")
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tied.parquet")
    selectors = {"margin": MarginSelector(("small", "large"))}
    report = evaluate.run(settings(tmp_path, records=tmp_path / "tied.parquet", selectors=selectors), {})
    summary = report["selectors"]["margin"]
    assert (summary["quality"]["mean"], summary["gap_closed"]["mean"], summary["over_best_single"]["ci"]) == (
        1.0,
        None,
        [0, 0],
    )
    assert report["curves"]["margin"]["budgets"] is None  # they would have no range; shares that go on instead
    assert report["curves"]["margin"]["apgr"]["mean"] is None  # the strong candidate is not stronger
    assert "margin is not distinguishable from" in (tmp_path / "run" / "report.md").read_text()


def test_a_table_without_any_reward_or_with_too_few_queries_is_refused(tmp_path: Path) -> None:
    row = {"query": "one", "candidate": "a", "cost": 1.0}
    pq.write_table(pa.Table.from_pylist([{**row, "reward": None}]), tmp_path / "none.parquet")
    with pytest.raises(RecordsError, match="expected a reward or a truth in some row"):
        evaluate.run(settings(tmp_path, records=tmp_path / "none.parquet"), {})
    pq.write_table(pa.Table.from_pylist([{**row, "reward": 1.0}]), tmp_path / "one.parquet")
    with pytest.raises(ConfigError, match="expected at least one query in the"):
        evaluate.run(settings(tmp_path, records=tmp_path / "one.parquet"), {})


@dataclass(frozen=True)
class FallsBack:
    """Asks the candidates in the order of their training rewards: a router that fell back to the best single one."""

    order: tuple[str, ...] = ()
    needs: ClassVar[Needs] = Needs()

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "FallsBack":
        return FallsBack(rank_by_mean_reward(mean_rewards(training)))

    async def select(self, query: Query, ask: Ask) -> Selection:
        return Selection(await first_response(ask, self.order))


def test_on_a_sparse_table_a_router_that_fell_back_is_no_better_than_the_best_single_candidate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    means = np.linspace(0.1, 0.7, 9)[
        [4, 8, 0, 6, 2, 7, 1, 5, 3]
    ]  # in alphabetical order the bad ones are among the first
    rows = [
        {"query": f"query {i}", "candidate": f"c{j}", "reward": float(rng.random() < means[j])}
        for i in range(1500)
        for j in rng.choice(9, 2, replace=False)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "sparse.parquet")
    given = settings(tmp_path, records=tmp_path / "sparse.parquet", selectors={"routed": FallsBack()}, curves=False)
    report = evaluate.run(given, {})
    routed, single = report["selectors"]["routed"], report["selectors"]["best_single"]
    assert routed["over_best_single"]["mean"] == 0.0
    assert routed["over_best_single"]["ci"] == [0.0, 0.0]
    assert routed["quality"] == single["quality"]
    assert routed["queries"] == single["queries"] == routed["over_best_single"]["queries"]
    assert 0.15 < routed["queries"] / report["queries"] < 0.30  # two cells of nine
    assert routed["chosen"][report["best_single"]] == 1.0
    assert report["missing_cells"] == {"missing": 7 * report["queries"], "cells": 9 * report["queries"]}
    assert any("(77.8%) of the test queries are missing" in note for note in report["notes"])
    decisions = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    recorded = [row for row in decisions if row["selector"] == "routed" and row["quality"] is not None]
    assert len(recorded) == routed["queries"]


# -- live


@dataclass(frozen=True)
class Read:
    def read(self) -> list[Query]:
        return [Query(f"q{i}", f"query {i}", reference=str(i % 2)) for i in range(30)]


@dataclass
class Responds:
    """`small` says 1, `large` says what is right; what it is told beside queries comes back with a mark."""

    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=1.0))
    asked: list[str] = field(default_factory=list)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"responder": "test", "model": candidate.name}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in requests:
            self.asked.append(request.query.text)
            name, text = request.candidate.name, "1"
            if not request.query.text.startswith("query"):
                text = f"told {request.query.text}"
            elif name == "large":
                text = str(int(request.query.text.split()[1]) % 2)
            cost = request.candidate.cost(1, 1)
            yield Response(request.query.id, name, request.sample, text, None, None, 1, 1, cost, 0.5)


@dataclass(frozen=True)
class Judge:
    """1 for what is right, a half for what was told."""

    def identity(self) -> Mapping[str, object]:
        return {"rewarder": "test"}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        return np.array(
            [0.5 if "told" in r.text else float(r.text == q.reference) for q, r in zip(queries, responses, strict=True)]
        )


def live(folder: Path, responder: Responds, **given: Any) -> EvaluateSettings:
    pool = Pool((Candidate("small", price=1.0), Candidate("large", price=4.0)))
    return settings(folder, reader=Read(), pool=pool, responder=responder, rewarder=Judge(), **given)


def test_live_selectors_ask_for_themselves_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    responder = Responds()
    selectors = {"small": SingleSelector("small"), "retells": Retells()}
    report = evaluate.run(live(tmp_path, responder, selectors=selectors), {})
    summaries = report["selectors"]
    assert summaries["best_single"]["quality"]["mean"] == summaries["oracle"]["quality"]["mean"] == 1.0
    assert summaries["small"]["quality"]["mean"] == pytest.approx(report["candidates"]["singles"]["small"]["quality"])
    assert summaries["small"]["cost"]["mean"] == pytest.approx(2e-6)
    assert summaries["retells"]["quality"]["mean"] == 0.5  # judged though no table has it
    assert summaries["retells"]["calls"] == {"small": 1.0, "large": 1.0}
    assert (summaries["retells"]["rounds"], summaries["retells"]["seconds"]) == (2.0, 1.0)
    assert len([text for text in responder.asked if text.startswith("query")]) == 60
    before = len(responder.asked)
    dearer = Pool((Candidate("small", price=2.0), Candidate("large", price=4.0)))
    again = evaluate.run(replace(live(tmp_path, responder, selectors=selectors), pool=dearer), {})["selectors"]
    assert len(responder.asked) == before
    assert again["retells"]["quality"] == summaries["retells"]["quality"]
    assert again["small"]["cost"]["mean"] == pytest.approx(4e-6)  # at today's prices


def test_as_many_samples_are_asked_as_the_selectors_need(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Thrice:
        needs: ClassVar[Needs] = Needs(samples=3)

        async def select(self, query: Query, ask: Ask) -> Selection:
            return Selection((await ask("small", samples=3))[2])

    report = evaluate.run(live(tmp_path, responder := Responds(), selectors={"thrice": Thrice()}), {})
    assert report["selectors"]["thrice"]["samples"] == 3.0
    assert len(responder.asked) == 30 * 2 * 3
    assert set(report["agreement"]) == {"small", "large"}


def test_by_chance_is_the_mean_of_all_draws_live_too(tmp_path: Path) -> None:
    report = evaluate.run(live(tmp_path, Responds(), selectors={"random": RandomSelector()}), {})
    singles = [single["quality"] for single in report["candidates"]["singles"].values()]
    assert report["selectors"]["random"]["quality"]["mean"] == pytest.approx(np.mean(singles))


def test_a_live_comparison_wants_everything_that_asks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a pool, a responder and a rewarder beside the reader"):
        evaluate.run(settings(tmp_path, reader=Read()), {})
