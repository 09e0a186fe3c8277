"""Combined rewards, against numbers computed by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from zooter.collect.estimate import estimate_run
from zooter.collect.reader.file import FileReader
from zooter.collect.responder.replay import ReplayResponder
from zooter.collect.rewarder.combined import CombinedRewarder, Scale
from zooter.collect.run import Collector
from zooter.data.pool import Pool
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError

NAN = float("nan")


@dataclass(frozen=True)
class Fixed:
    """Look up rewards by response text."""

    values: tuple[tuple[str, float], ...]

    def identity(self) -> Mapping[str, object]:
        return {"rewarder": "fixed", "values": list(self.values)}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        return np.array([dict(self.values)[response.text] for response in responses])


LOGITS = Fixed((("x", -2.0), ("y", 0.0), ("z", 2.0), ("w", 4.0)))
MARKS = Fixed((("x", 1.0), ("y", 0.0), ("z", 1.0), ("w", NAN)))


def rows(*texts: str) -> tuple[list[Query], list[Response]]:
    return [Query(t, t) for t in texts], [Response(t, "a", 0, t) for t in texts]


def test_each_part_is_standardised_by_its_training_rewards() -> None:
    # Over x and z: logits have mean 0 and deviation 2. Over x and y: marks have mean ½ and deviation ½.
    combined = CombinedRewarder({"logit": LOGITS}).fit(*rows("x", "z"))
    assert combined.scales == {"logit": Scale(0.0, 2.0)}
    assert combined.reward(*rows("w", "y")).tolist() == [2.0, 0.0]


def test_the_weighted_mean_of_two_parts() -> None:
    combined = CombinedRewarder({"logit": LOGITS, "mark": MARKS}, {"logit": 3.0}).fit(*rows("x", "y"))
    # Over x and y: logits −1 ± 1, marks ½ ± ½. z: logit +3, mark +1: (3·3 + 1·1) / 4.
    assert combined.reward(*rows("z")).tolist() == [2.5]


def test_a_response_without_a_reward_from_one_part() -> None:
    strict = CombinedRewarder({"logit": LOGITS, "mark": MARKS}).fit(*rows("x", "y"))
    np.testing.assert_equal(strict.reward(*rows("w")), [NAN])
    partial = CombinedRewarder({"logit": LOGITS, "mark": MARKS}, partial=True).fit(*rows("x", "y"))
    assert partial.reward(*rows("w")).tolist() == [5.0]


def test_existing_rewards_are_combined_without_computing_them_again() -> None:
    table = {
        "logit": np.array([[-2.0, 2.0], [0.0, 4.0], [9.0, NAN]]),
        "mark": np.array([[0.0, 1.0], [1.0, 1.0], [NAN, 0.0]]),
    }
    combined = CombinedRewarder({"logit": LOGITS, "mark": MARKS}).with_scales(table, np.array([True, False, False]))
    assert combined.scales == {"logit": Scale(0.0, 2.0), "mark": Scale(0.5, 0.5)}
    np.testing.assert_equal(combined.combine(table), [[-1.0, 1.0], [0.5, 1.5], [NAN, NAN]])


def test_the_parts_keep_their_own_rewards() -> None:
    rewards = CombinedRewarder({"logit": LOGITS, "mark": MARKS}).reward_by_part(*rows("x", "z"))
    assert {name: values.tolist() for name, values in rewards.items()} == {"logit": [-2.0, 2.0], "mark": [1.0, 1.0]}


def test_reward_before_fit_raises() -> None:
    with pytest.raises(ConfigError, match="call fit first"):
        CombinedRewarder({"logit": LOGITS}).reward(*rows("x"))


@pytest.mark.parametrize("texts", [("x", "z"), ("w",)])
def test_a_part_with_constant_rewards_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="training rewards of 'mark' that differ"):
        CombinedRewarder({"mark": MARKS}).fit(*rows(*texts))


@pytest.mark.parametrize(
    "settings",
    [{"parts": {}}, {"weights": {"other": 1.0}}, {"weights": {"logit": 0.0}}, {"scales": {"b": Scale(0, 1)}}],
)
def test_invalid_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"rewarder\.weights"):
        CombinedRewarder(**{"parts": {"logit": LOGITS}, **settings})  # type: ignore[arg-type]


def test_the_identity_holds_parts_weights_and_scales() -> None:
    combined = CombinedRewarder({"logit": LOGITS})
    fitted = combined.fit(*rows("x", "z"))
    assert combined.identity() != fitted.identity()
    assert fitted.identity() != CombinedRewarder({"logit": LOGITS}, {"logit": 2.0}).fit(*rows("x", "z")).identity()


def collector(folder: Path, rewarder: CombinedRewarder, jsonl: Callable[..., Path]) -> Collector:
    recorded = [
        {"query": f"q{i}", "candidate": name, "reward": 0.0, "response": text}
        for i in range(12)
        for name, text in (("a", "xyz"[i % 3]), ("b", "zxy"[i % 3]))
    ]
    table = jsonl(*recorded, name="recorded.jsonl")
    queries = jsonl(*({"query": f"q{i}"} for i in range(12)), name="queries.jsonl")
    pool = Pool.from_names(["a", "b"])
    return Collector(FileReader(queries), pool, ReplayResponder(table), folder / "cache", rewarder, split=Split())


def test_a_live_run_caches_the_parts_and_writes_the_combination(tmp_path: Path, jsonl: Callable[..., Path]) -> None:
    combined = CombinedRewarder({"logit": LOGITS, "mark": MARKS})
    run = collector(tmp_path, combined, jsonl)
    run.collect(tmp_path / "first.parquet")
    rows = pq.read_table(tmp_path / "first.parquet").to_pylist()
    train_rows = [row for row in rows if not Split().is_test([row["query"]])[0]]
    assert 0 < len(train_rows) < len(rows)
    parts = {name: dict(part.values) for name, part in combined.parts.items()}  # type: ignore[attr-defined]
    for row in rows:
        expected = 0.0
        for values in parts.values():
            training_rewards = np.array([values[other["response"]] for other in train_rows])
            expected += (values[row["response"]] - training_rewards.mean()) / training_rewards.std() / 2
        assert row["reward"] == pytest.approx(expected)
        assert "fixed" in row["rewarder"]


def test_another_weight_computes_no_part_again(
    tmp_path: Path, jsonl: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector(tmp_path, CombinedRewarder({"logit": LOGITS, "mark": MARKS}), jsonl).collect(tmp_path / "first.parquet")
    monkeypatch.setattr(Fixed, "reward", None)
    again = collector(tmp_path, CombinedRewarder({"logit": LOGITS, "mark": MARKS}, {"mark": 3.0}), jsonl)
    assert {line.missing for line in estimate_run(again) if line.stage.startswith("reward")} == {0}
    again.collect(tmp_path / "second.parquet")
    tables = [pq.read_table(tmp_path / f"{name}.parquet")["reward"].to_pylist() for name in ("first", "second")]
    assert tables[0] != tables[1]
