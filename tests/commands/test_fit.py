"""Training from Python, without Hydra."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from support.made_up import CANDIDATES, rows, table

import zooter
from zooter.commands import train
from zooter.data.reward_arrays import table_from_arrays
from zooter.errors import RecordsError
from zooter.router.encoder import Encoder
from zooter.training.recipe import FrozenRecipe

TRAINER = partial(pl.Trainer, accelerator="cpu", devices=1, deterministic=True)


pytestmark = pytest.mark.usefixtures("undrawn_plots")


@pytest.fixture(scope="module")
def options(export: Path) -> dict[str, Any]:
    home = export.parents[1]
    encoder = Encoder(str(home / "encoder"), layers=(1, 2))
    return {
        "encoder": encoder,
        "net": FrozenRecipe(lr=1e-3, epochs=3),
        "trainer": TRAINER,
        "cache_dir": home / "cache",  # has the encoder's graphs
    }


@pytest.fixture(scope="module")
def run(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> zooter.Run:
    path = table(tmp_path_factory.mktemp("table") / "table.parquet")
    return zooter.fit(zooter.read_table(path), beta=0.3, **options)


@pytest.mark.parametrize(
    ("onnx", "keeps_a_cache", "precision"), [(True, False, "auto"), (False, True, "auto"), (False, False, "float32")]
)
def test_the_default_encoder_makes_no_int8_graph_for_embeddings_of_one_fit(
    onnx: bool, keeps_a_cache: bool, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders: list[Encoder] = []

    def stop(settings: Any, *_: Any) -> None:
        encoders.append(settings.encoder)
        raise RecordsError(expected="no training", found="some", do="nothing")

    monkeypatch.setattr(train, "run", stop)
    recorded = table_from_arrays(["p", "q"], np.eye(2), ["a", "b"])
    with pytest.raises(RecordsError, match="no training"):
        zooter.fit(recorded, onnx=onnx, cache_dir=tmp_path if keeps_a_cache else None)
    assert encoders == [Encoder(precision=precision)]  # type: ignore[arg-type]


def arrays() -> tuple[list[str], np.ndarray[Any, Any]]:
    recorded = rows(120)
    queries = [str(row["query"]) for row in recorded[::3]]
    return queries, np.array([row["reward"] for row in recorded], dtype=float).reshape(-1, 3)


def test_a_table_gives_a_report_a_router_and_an_export(run: zooter.Run, tmp_path: Path) -> None:
    assert run.report["test"]["routed"] > run.report["test"]["best_single"]
    assert run.report["settings"]["label"]["beta"] == 0.3
    assert run.router.route(["please rhyme verse"]).chosen_candidates() == ["poet"]
    folder = run.export(tmp_path / "export")
    assert zooter.Router.load(folder).route(["please court judge"]).chosen_candidates() == ["lawyer"]


def test_a_path_is_read_and_a_run_folder_keeps_everything(options: dict[str, Any], tmp_path: Path) -> None:
    path = table(tmp_path / "table.parquet", 60)
    finished = zooter.fit(path, beta=1.0, run_dir=tmp_path / "run", onnx=False, **options)
    assert finished.report["data"]["path"] == str(path)
    assert (tmp_path / "run" / "report.md").exists()


def test_the_router_loads_with_torch_where_a_device_is_named(run: zooter.Run) -> None:
    texts = ["please rhyme verse", "please sum digits"]
    folder = run.run_dir / "export"
    onnx, torch = zooter.Router.load(folder), zooter.Router.load(folder, device="cpu")
    assert type(onnx).__name__ == "OnnxRouter"
    assert type(torch).__name__ == "TorchRouter"
    assert onnx.route(texts).chosen_candidates() == torch.route(texts).chosen_candidates()


def test_the_classifier_predicts_the_candidate_of_a_topic(options: dict[str, Any]) -> None:
    queries, rewards = arrays()
    classifier = zooter.RouterClassifier(beta=0.3, **options).fit(queries, rewards)
    assert list(classifier.classes_) == ["0", "1", "2"]
    with pytest.raises(RecordsError, match="expected a list of texts; found one text, 'hi'"):
        classifier.predict("hi")
    probs = classifier.predict_proba(queries)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0)
    assert classifier.predict(["please add sum"])[0] == str(CANDIDATES.index("calculator"))
    assert classifier.score(queries, rewards) > rewards.mean(axis=0).max() + 0.2


def test_the_classifier_clones_and_works_in_a_pipeline_and_a_grid_search(options: dict[str, Any]) -> None:
    queries, rewards = arrays()
    classifier = zooter.RouterClassifier(beta=0.3, **options)
    assert clone(classifier).get_params()["beta"] == 0.3
    pipeline = Pipeline(
        [("strip", FunctionTransformer(lambda texts: [text.strip() for text in texts])), ("router", classifier)]
    )
    halves = [(np.arange(60), np.arange(60, 120))]
    search = GridSearchCV(pipeline, {"router__beta": [0.3, 1.0]}, cv=halves, error_score="raise").fit(queries, rewards)
    assert search.best_params_["router__beta"] in (0.3, 1.0)
    assert len(search.predict(queries[:2])) == 2


def test_repeated_queries_are_averaged_and_columns_sorted_by_name() -> None:
    rewards = np.array([[1.0, 0.0], [0.0, np.nan], [np.nan, np.nan], [0.5, 0.25]])
    made = table_from_arrays(["q", "q", "none", "p"], rewards, ["b", "a"], [["x"], ["y"], [], ["x"]])
    assert made.queries == ["q", "p"]
    assert made.pool.names == ("a", "b")
    np.testing.assert_array_equal(made.rewards.values, [[0.0, 0.5], [0.25, 0.5]])
    assert made.tags.names == ("x", "y")
    assert made.tags.membership.toarray().tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert made.dropped == 1
    assert made.samples.query.tolist() == [0, 0, 0, 1, 1]
    assert made.samples.reward.tolist() == [0.0, 1.0, 0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("queries", "rewards", "message"),
    [
        (["q", " "], [[1.0, 0.0], [0.0, 1.0]], "found an empty one at row 1"),
        (["q"], [[1.0, np.inf]], "found inf at row 0 for b"),
        (["q"], [[1.0, np.nan]], "expected two or more candidates with rewards; found 1"),
    ],
)
def test_arrays_that_make_no_table_are_refused(queries: list[str], rewards: list[list[float]], message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        table_from_arrays(queries, np.array(rewards), ["a", "b"])


def test_rewards_of_another_length_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(
        RecordsError, match=r"expected rewards of shape \(2, candidates\) for 2 queries; found shape \(1, 2\)"
    ):
        zooter.RouterClassifier(**options).fit(["p", "q"], [[1.0, 0.0]])


def test_one_text_in_place_of_a_list_is_not_trained_on(options: dict[str, Any]) -> None:
    with pytest.raises(RecordsError, match="expected a list of query texts; found one text, 'hi'"):
        zooter.RouterClassifier(**options).fit("hi", [[1.0, 0.0], [0.0, 1.0]])
