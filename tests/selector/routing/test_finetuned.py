"""Selectors with a fine-tuned encoder, on a tiny random one and texts of three topics."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.made_up import TOPICS, encoder_folder
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.errors import ConfigError
from zooter.evaluation.harness import run_selector
from zooter.evaluation.replay import Replay
from zooter.router.encoder import Encoder
from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.frugal import FrugalSelector
from zooter.selector.routing.finetuned import Finetuning
from zooter.selector.routing.hybrid import HybridSelector
from zooter.selector.routing.predicted import PredictedSelector
from zooter.selector.shared_encoder import CachedEmbedder

QUICK = Finetuning(lr=3e-3, weight_decay=0.0, epochs=5, batch_size=8)
ARITHMETIC, POETRY = TOPICS["arithmetic"].split(), TOPICS["poetry"].split()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(str(encoder_folder(tmp_path_factory.mktemp("encoder"))), layers=(-1,), device="cpu")


def texts(seed: int, n: int = 48) -> tuple[list[str], list[bool]]:
    """Texts of two topics, and whether they are arithmetic."""
    rng = np.random.default_rng(seed)
    is_arithmetic = [i % 2 == 0 for i in range(n)]
    chosen = [rng.choice(ARITHMETIC if flag else POETRY, 5) for flag in is_arithmetic]
    return [f"please {' '.join(words)}" for words in chosen], is_arithmetic


def table(seed: int) -> ResponseTable:
    """The small candidate is right on arithmetic alone, the large one on poetry alone."""
    rows: Sequence[dict[str, Any]] = [
        {
            "small": [{"text": "poem" if not flag else "plus", "reward": float(flag), "cost": 1.0}],
            "large": [{"text": "poem", "reward": float(not flag), "cost": 5.0}],
        }
        for flag in texts(seed)[1]
    ]
    made = recorded(list(rows))
    return replace(
        made, queries=tuple(replace(q, text=text) for q, text in zip(made.queries, texts(seed)[0], strict=True))
    )  # fmt: skip


def test_soft_labels_are_learned_and_the_encoder_moves(encoder: Encoder) -> None:
    train, flags = texts(0)
    labels = np.where(flags, 0.9, 0.2)
    classifier = QUICK.classifier(CachedEmbedder(encoder), train, labels)
    unseen, kinds = texts(1)
    np.testing.assert_allclose(classifier.probability(unseen), np.where(kinds, 0.9, 0.2), atol=0.15)
    assert classifier.probability([]).shape == (0,)
    before, after = encoder.backbone().state_dict(), classifier.net.backbone.state_dict()
    assert any(not before[name].equal(after[name]) for name in before), "the encoder was not trained"
    assert not classifier.net.backbone.training
    again = QUICK.classifier(encoder, train, labels)
    np.testing.assert_array_equal(again.probability(unseen[:4]), classifier.probability(unseen[:4]))


def test_rewards_of_candidates_are_learned_without_missing_cells(encoder: Encoder) -> None:
    training = table(0)
    cells = [{**row, "large": ()} if i < 12 else row for i, row in enumerate(training.cells)]
    predictor = QUICK.predictor(encoder, replace(training, cells=tuple(cells)))
    test = table(1)
    np.testing.assert_allclose(predictor.estimate(test.queries), test.rewards().values, atol=0.3)


@pytest.mark.parametrize(
    "selector",
    [
        HybridSelector(
            net="finetune",
            finetune=QUICK,
            label="det",
            threshold=EscalationThreshold(online_threshold=False, fixed=(0.5,)),
        ),
        PredictedSelector(net="finetune", finetune=QUICK),
        FrugalSelector(net="finetune", finetune=QUICK),
    ],
    ids=lambda selector: type(selector).__name__,
)
def test_a_selector_learns_with_a_fine_tuned_encoder(selector: Any, encoder: Encoder) -> None:
    fitted = replace(selector, encoder=encoder).fit(table(0), table(2))
    quality = run_selector(Replay(table(1)), fitted)[1]
    assert quality.mean() > 0.9, "half of the queries go to each candidate"


def test_an_encoder_that_cannot_be_trained_is_refused() -> None:
    class Constant:
        def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
            return np.ones((len(texts), 1), dtype=np.float32)

    with pytest.raises(ConfigError, match=r"selector\.net=frozen"):
        QUICK.classifier(Constant(), ["x"], np.ones(1))
