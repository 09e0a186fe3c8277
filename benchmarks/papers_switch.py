"""Test ModelSwitch's claims on the zoo: sample a model, and ask the next one only where it disagrees with itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from papers_zoo import CONF, collect_table, compare, draw, points, sub_pool, table, verdict, zoo

from zooter.collect.rewarder.protocol import Rewarder
from zooter.commands import config
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats
from zooter.evaluation.harness import run_selector
from zooter.evaluation.replay import Replay
from zooter.metrics.routing import answer_entropy, pearson
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.best_of import BestOfSelector
from zooter.selector.voting.consistency import ConsistencySelector
from zooter.selector.voting.self_consistency import SelfConsistencySelector

DEVELOPMENT_QUERIES, TEST_QUERIES = 400, 600  # queries by which candidates are put in order, and tested on
TEMPERATURE = 1.0  # the authors'
BUDGETS = (4, 8, 12, 16)
MAX_CANDIDATES = 5  # candidates
SPLITS = {1: (16,), 2: (8, 8), 3: (6, 6, 4), 4: (4, 4, 4, 4), 5: (4, 3, 3, 3, 3)}  # 6 + 6 + 4 is the authors'
EXTRACT = AnswerExtractor("string")


@dataclass(frozen=True)
class Outcome:
    """Quality (n,) and number of samples (n,) of each query."""

    quality: Floats
    samples: Floats

    def describe(self) -> str:
        """Format the accuracy in percent and the mean number of samples."""
        return f"{points(self.quality)} ({np.mean(self.samples):.1f})"


def rank_candidates(cache: Path) -> list[str]:
    """Rank the zoo's candidates by accuracy of one sample on development queries, the strongest first."""
    dev = collect_table(draw(DEVELOPMENT_QUERIES, "train"), zoo(), cache, TEMPERATURE)
    means = dev.qualities().column_means()
    return [dev.pool.names[j] for j in np.argsort(-means, kind="stable")]


def collect_samples(names: Sequence[str], cache: Path) -> ResponseTable:
    """Collect 16 samples of each candidate, rewarded by the zoo's own reward model."""
    nodes = [yaml.safe_load((CONF / "rewarder" / name).read_text()) for name in ("_classifier.yaml", "zoo.yaml")]
    rewarder: Rewarder = config.build({**nodes[0], "model": nodes[1]["model"], "device": "cpu"})
    return collect_table(draw(TEST_QUERIES, "test"), sub_pool(zoo(), names), cache, TEMPERATURE, 16, rewarder)


def outcome(replay: Replay, selector: Any) -> Outcome:
    """Run a selector on all test queries."""
    selections, quality = run_selector(replay, selector)
    return Outcome(quality, np.array([sum(recorded.ledger.calls.values()) for recorded in selections], dtype=float))


def self_consistency(replay: Replay, name: str, samples: int) -> Outcome:
    """Run self-consistency of one candidate."""
    return outcome(replay, SelfConsistencySelector(name, samples, EXTRACT))


def model_switch(replay: Replay, names: Sequence[str], uneven: Sequence[int]) -> Outcome:
    """Run ModelSwitch."""
    return outcome(replay, ConsistencySelector(tuple(names), uneven=tuple(uneven), extract=EXTRACT))


def section(cache: Path) -> list[str]:
    """Write this part's Markdown."""
    names = rank_candidates(cache)
    test = collect_samples(names[:MAX_CANDIDATES], cache)
    replay = Replay(test)
    once = test.qualities().values
    return [
        "## ModelSwitch: ask the next model where one disagrees with itself",
        "",
        f"Temperature {TEMPERATURE}, {TEST_QUERIES} test queries. Candidates by the accuracy of one sample on"
        f" {DEVELOPMENT_QUERIES} other queries, with their accuracy on the test queries: "
        + ", ".join(f"`{name}` {points(column)} %" for name, column in zip(test.pool.names, once.T, strict=True))
        + ". In brackets: mean samples used. The vote has the authors' entropy weights and no prior weights.",
        "",
        *_against_one(replay, names[:2]),
        *_how_many(replay, names[:MAX_CANDIDATES]),
        *_orders(replay, names[:3]),
        *_rewarded(replay, names[:2]),
        *_entropy(test),
    ]  # fmt: skip


def _against_one(replay: Replay, pair: Sequence[str]) -> list[str]:
    rows, outcomes, saved = [], [], []
    for budget in BUDGETS:
        switched = model_switch(replay, pair, (budget // 2, budget // 2))
        singles = [self_consistency(replay, name, budget) for name in pair]
        best = max(singles, key=lambda result: float(result.quality.mean()))
        difference, sign = compare(switched.quality, best.quality)
        outcomes.append(sign)
        saved.append(1.0 - float(np.mean(switched.samples)) / budget)  # ModelSwitch, "savings"
        rows.append(
            [
                str(budget),
                *(points(result.quality) for result in singles),
                switched.describe(),
                difference,
                f"{saved[-1]:.0%}",
            ]
        )
    head = ["samples", *(f"SC {name}" for name in pair), "ModelSwitch (used)", "ahead of the better SC", "saved"]
    return [
        "### Two models against self-consistency (SC) of each",
        "",
        *table(head, rows),
        f"Claim: more accurate than self-consistency of either model at every budget. {verdict(outcomes)} Claim: about"
        " a third of the samples is saved (of 32, on average over six data sets: 34.8 % with the authors' closed pair,"
        f" 15.8 % with the open one). **Here {np.mean(saved):.0%}** on average over these budgets; 50 % at most.",
        "",
    ]


def _how_many(replay: Replay, names: Sequence[str]) -> list[str]:
    strong = {n: model_switch(replay, names[:n], SPLITS[n]) for n in SPLITS}
    weak = {n: model_switch(replay, names[::-1][:n], SPLITS[n]) for n in SPLITS}
    rows = [[str(n), "+".join(map(str, SPLITS[n])), strong[n].describe(), weak[n].describe()] for n in SPLITS]
    first = [compare(strong[n].quality, weak[n].quality)[1] for n in SPLITS]
    more = [compare(strong[n].quality, strong[2].quality) for n in (3, 4, 5)]
    return [
        "### One to five models, 16 samples at most",
        "",
        *table(["models", "samples", "strong first (used)", "weak first (used)"], rows),
        "Strong first is the authors' advice, not their claim. That it is better than weak first, for 1 to 5 models:"
        f" {verdict(first)} Claim: two models suffice."
        f" Three, four and five, strong first, against two: {', '.join(difference for difference, _ in more)}.",
        "",
    ]


def _orders(replay: Replay, names: Sequence[str]) -> list[str]:
    """Compare all orders of the same two and three models, with equal samples of each."""
    rows, spreads = [], []
    for count, samples in ((2, 8), (3, 5)):
        outcomes = {order: model_switch(replay, order, (samples,) * count) for order in permutations(names[:count])}
        ranked = sorted(outcomes, key=lambda order: -float(outcomes[order].quality.mean()))
        best, worst = outcomes[ranked[0]], outcomes[ranked[-1]]
        spreads.append(compare(best.quality, worst.quality))
        rows += [[" → ".join(order), f"{count} × {samples}", outcomes[order].describe()] for order in ranked]
    return [
        "### All orders of the same models",
        "",
        *table(["order", "samples", "accuracy (used)"], rows),
        "Claim: robust to the order of models. Best order against worst: two models"
        f" {spreads[0][0]}, three models {spreads[1][0]}. The best and the worst were chosen on the same queries, which"
        " makes their difference larger than it is; an interval above 0 refutes robustness only for two models, where"
        " nothing but the sign was chosen."
        f" With two models: {'**refuted here.**' if spreads[0][1] > 0 else '**not refuted.**'}",
        "",
    ]


def _rewarded(replay: Replay, pair: Sequence[str]) -> list[str]:
    outcomes: Mapping[str, Outcome] = {
        f"SC of `{pair[0]}`": self_consistency(replay, pair[0], 16),
        "ModelSwitch": model_switch(replay, pair, (8, 8)),
        f"best of 16 of `{pair[0]}`": outcome(replay, BestOfSelector((pair[0],), 16)),
        "ModelSwitch + reward model": outcome(replay, BestOfSelector(tuple(pair), 8, True, extract=EXTRACT)),
    }
    switched = outcomes["ModelSwitch + reward model"].quality
    others = [name for name in outcomes if name != "ModelSwitch + reward model"]
    difference = {name: compare(switched, outcomes[name].quality) for name in others}
    rows = [
        [name, result.describe(), difference[name][0] if name in difference else ""]
        for name, result in outcomes.items()
    ]
    return [
        "### With the zoo's reward model, 16 samples at most",
        "",
        *table(["selector", "accuracy (used)", "the last one is ahead by"], rows),
        "Claim: with a reward model in the place of the vote, ModelSwitch is better than without it, than"
        f" self-consistency, and than best-of-n of one model. {verdict([sign for _, sign in difference.values()])}",
        "",
    ]


def _entropy(test: ResponseTable) -> list[str]:
    """Correlate the entropy of a model's answers with its accuracy."""
    rows = []
    for j, name in enumerate(test.pool.names):
        samples = [[cell.response for cell in result[name]] for result in test.cells]
        answers = [
            [answer or "" for answer in EXTRACT.answers(query, responses)]
            for query, responses in zip(test.queries, samples, strict=True)
        ]
        rows.append(f"`{name}` {pearson(answer_entropy(answers), test.qualities().values[:, j]):+.2f}")
    return [
        "Claim: the entropy of a model's answers goes with its errors. Pearson's correlation with accuracy over"
        f" queries, 16 samples: {', '.join(rows)}.",
        "",
    ]
