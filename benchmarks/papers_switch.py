"""ModelSwitch's claims on the zoo: sample a model, and ask the next one only where it disagrees with itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from papers_zoo import CONF, ahead, asked, draw, points, some, table, verdict, zoo

from zooter.collect.rewarder.protocol import Rewarder
from zooter.commands import config
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats
from zooter.evaluation.harness import run_selector
from zooter.evaluation.replay import Replay
from zooter.metrics.routing import answer_entropy, pearson, samples_saved
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.best_of import BestOfSelector
from zooter.selector.voting.consistency import ConsistencySelector
from zooter.selector.voting.self_consistency import SelfConsistencySelector

DEV, TEST = 400, 600  # queries by which candidates are put in order, and tested on
TEMPERATURE = 1.0  # the authors'
BUDGETS = (4, 8, 12, 16)
MOST = 5  # candidates
SPLITS = {1: (16,), 2: (8, 8), 3: (6, 6, 4), 4: (4, 4, 4, 4), 5: (4, 3, 3, 3, 3)}  # 6 + 6 + 4 is the authors'
EXTRACT = AnswerExtractor("string")


@dataclass(frozen=True)
class Outcome:
    """(n,) quality and samples of each query."""

    quality: Floats
    samples: Floats

    def told(self) -> str:
        """Accuracy in percent and mean samples."""
        return f"{points(self.quality)} ({np.mean(self.samples):.1f})"


def order(cache: Path) -> list[str]:
    """The zoo's candidates by accuracy of one sample on development queries, the strongest first."""
    dev = asked(draw(DEV, "train"), zoo(), cache, TEMPERATURE)
    means = dev.qualities().column_means()
    return [dev.pool.names[j] for j in np.argsort(-means, kind="stable")]


def tested(names: Sequence[str], cache: Path) -> ResponseTable:
    """16 samples of each of these, rewarded by the zoo's own reward model."""
    nodes = [yaml.safe_load((CONF / "rewarder" / name).read_text()) for name in ("_classifier.yaml", "zoo.yaml")]
    rewarder: Rewarder = config.build({**nodes[0], "model": nodes[1]["model"], "device": "cpu"})
    return asked(draw(TEST, "test"), some(zoo(), names), cache, TEMPERATURE, 16, rewarder)


def outcome(replay: Replay, selector: Any) -> Outcome:
    """The selector on all test queries."""
    decided, quality = run_selector(replay, selector)
    return Outcome(quality, np.array([sum(one.ledger.calls.values()) for one in decided], dtype=float))


def alone(replay: Replay, name: str, samples: int) -> Outcome:
    """Self-consistency."""
    return outcome(replay, SelfConsistencySelector(name, samples, EXTRACT))


def switch(replay: Replay, names: Sequence[str], uneven: Sequence[int]) -> Outcome:
    """ModelSwitch."""
    return outcome(replay, ConsistencySelector(tuple(names), uneven=tuple(uneven), extract=EXTRACT))


def section(cache: Path) -> list[str]:
    """Markdown."""
    names = order(cache)
    test = tested(names[:MOST], cache)
    replay = Replay(test)
    once = test.qualities().values
    return [
        "## ModelSwitch: ask the next model where one disagrees with itself",
        "",
        f"Temperature {TEMPERATURE}, {TEST} test queries. Candidates by the accuracy of one sample on {DEV} other"
        " queries, with their accuracy on the test queries: "
        + ", ".join(f"`{name}` {points(column)} %" for name, column in zip(test.pool.names, once.T, strict=True))
        + ". In brackets: mean samples used. The vote has the authors' entropy weights and no prior weights.",
        "",
        *_against_one(replay, names[:2]),
        *_how_many(replay, names[:MOST]),
        *_rewarded(replay, names[:2]),
        *_entropy(test),
    ]  # fmt: skip


def _against_one(replay: Replay, pair: Sequence[str]) -> list[str]:
    rows, outcomes, saved = [], [], []
    for budget in BUDGETS:
        ours = switch(replay, pair, (budget // 2, budget // 2))
        singles = [alone(replay, name, budget) for name in pair]
        best = max(singles, key=lambda of: float(of.quality.mean()))
        told, sign = ahead(ours.quality, best.quality)
        outcomes.append(sign)
        saved.append(samples_saved(ours.samples, budget))
        rows.append([str(budget), *(points(of.quality) for of in singles), ours.told(), told, f"{saved[-1]:.0%}"])
    head = ["samples", *(f"SC {name}" for name in pair), "ModelSwitch (used)", "ahead of the better SC", "saved"]
    return [
        "### Two models against self-consistency (SC) of each",
        "",
        *table(head, rows),
        f"Claim: more accurate than self-consistency of either model at every budget. {verdict(outcomes)} Claim: about"
        f" a third of the samples is saved (34 % and 16 % in the authors' two pairs). Here {np.mean(saved):.0%} on"
        " average, out of at most 50 %.",
        "",
    ]


def _how_many(replay: Replay, names: Sequence[str]) -> list[str]:
    strong = {n: switch(replay, names[:n], SPLITS[n]) for n in SPLITS}
    weak = {n: switch(replay, names[::-1][:n], SPLITS[n]) for n in SPLITS}
    rows = [[str(n), "+".join(map(str, SPLITS[n])), strong[n].told(), weak[n].told()] for n in SPLITS]
    first = [ahead(strong[n].quality, weak[n].quality)[1] for n in SPLITS]
    more = [ahead(strong[n].quality, strong[2].quality) for n in (3, 4, 5)]
    return [
        "### One to five models, 16 samples at most",
        "",
        *table(["models", "samples", "strong first (used)", "weak first (used)"], rows),
        f"Claim: strong first is better than weak first, for 1 to 5 models. {verdict(first)} Claim: two models suffice."
        f" Three, four and five, strong first, against two: {', '.join(told for told, _ in more)}.",
        "",
    ]


def _rewarded(replay: Replay, pair: Sequence[str]) -> list[str]:
    found: Mapping[str, Outcome] = {
        f"SC of `{pair[0]}`": alone(replay, pair[0], 16),
        "ModelSwitch": switch(replay, pair, (8, 8)),
        f"best of 16 of `{pair[0]}`": outcome(replay, BestOfSelector((pair[0],), 16)),
        "ModelSwitch + reward model": outcome(replay, BestOfSelector(tuple(pair), 8, True, extract=EXTRACT)),
    }
    ours = found["ModelSwitch + reward model"].quality
    others = [name for name in found if name != "ModelSwitch + reward model"]
    told = {name: ahead(ours, found[name].quality) for name in others}
    rows = [[name, of.told(), told[name][0] if name in told else ""] for name, of in found.items()]
    return [
        "### With the zoo's reward model, 16 samples at most",
        "",
        *table(["selector", "accuracy (used)", "the last one is ahead by"], rows),
        "Claim: with a reward model in the place of the vote, ModelSwitch is better than without it, than"
        f" self-consistency, and than best-of-n of one model. {verdict([sign for _, sign in told.values()])}",
        "",
    ]


def _entropy(test: ResponseTable) -> list[str]:
    """The law that the method rests on: the more a model agrees with itself, the more often it is right."""
    rows = []
    for j, name in enumerate(test.pool.names):
        samples = [[cell.response for cell in of[name]] for of in test.cells]
        answers = [
            [answer or "" for answer in EXTRACT.answers(query, said)]
            for query, said in zip(test.queries, samples, strict=True)
        ]
        rows.append(f"`{name}` {pearson(answer_entropy(answers), test.qualities().values[:, j]):+.2f}")
    return [
        "Claim: the entropy of a model's answers goes with its errors. Pearson's correlation with accuracy over"
        f" queries, 16 samples: {', '.join(rows)}.",
        "",
    ]
