"""Margin Sampling: a small model answers, and a larger one where the small one was unsure of its first token.

Ramírez, Birch & Titov, *Optimising Calls to Large Language Models with Uncertainty-Based Two-Tier Selection* (COLM
2024). The margins are in `zooter.data.token_margin`, the threshold and the budget in `zooter.selector.budget`. With
more than two tiers, each one but the last decides in the same way by its own margins.

Where the answer is one of a few labels, ask with `responder.sampling.labels`, so that the margin is of the labels'
first tokens; the responder refuses labels that share one.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.token_margin import logit_margin, probability_margin, without_variants
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, RecordsError
from zooter.router import manifest
from zooter.selector.budget import BudgetState, CascadeStep, EscalationThreshold
from zooter.selector.ordering import choose_two_tiers, mean_rewards
from zooter.selector.protocol import Ask, Needs, Selection, refuse_unknown
from zooter.selector.routing import price_target

log = logging.getLogger(__name__)

SIGNALS = ("probability", "logit")
SHARES = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class MarginSelector:
    """Asks the tiers one after the other, until one is sure.

    Attributes:
        order: two candidates or more, the first one asked first. Empty: `fit` takes the cheapest, and then the one
            with the best mean reward of the others.
        signal: "probability" (the paper's margin) or "logit" (its code's).
        distinct: tokens that begin the same free answer as the likeliest (" Paris", "paris") do not count as the
            second; as the code has it for question answering.
        threshold: how many go on.
        export: folder of an export that was calibrated with `mode=calibrate selector=margin`: its order and thresholds.
        budget: US dollars per query on average; None has the threshold's share decide alone.
        queries: length of the stream. With a budget, it is then never exceeded.
        prices, means: candidate → US dollars of one call on average, and mean reward, on training rows; from `fit`.
        own: candidate → its fixed threshold, for `follow`; from `held_each`.
    """

    order: tuple[str, ...] = ()
    signal: str = "probability"
    distinct: bool = False
    threshold: EscalationThreshold = field(default_factory=EscalationThreshold)
    export: Path | None = None
    budget: float | None = None
    queries: int | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)
    started: dict[str, BudgetState] = field(default_factory=dict, init=False, repr=False, compare=False)
    silent: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))  # YAML has lists
        if self.signal not in SIGNALS:
            raise ConfigError(expected=f"selector.signal among {SIGNALS}", found=repr(self.signal), do="correct it")

    @property
    def needs(self) -> Needs:
        """Margins, or first tokens, of every tier but the last."""
        tiers = self.order[:-1]
        if self.signal == "probability" and not self.distinct:
            return Needs(margins=True, candidates=tiers)
        return Needs(first_tokens=True, candidates=tiers)

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "MarginSelector":
        """Prices and mean rewards of training rows, an order where none is given, and fixed thresholds, if they do
        not run and none are given, for `threshold.share` of the validation rows.

        Raises:
            RecordsError: a tier has no margin at all.
            ConfigError: the export has no calibrated thresholds.
        """
        told = self if self.export is None else self.of_export(self.export)
        means = mean_rewards(training)
        order = told.order or choose_two_tiers(training.pool, training.prices, means)
        refuse_unknown("margin", order, training.pool, least=2)
        fitted = replace(told, order=order, prices=training.prices, means=means)
        fitted.scores(training)
        is_held = fitted.threshold.running or fitted.threshold.fixed is not None
        return fitted if is_held else fitted.with_fixed_threshold(validation, fitted.threshold.share)

    def of_export(self, folder: Path) -> "MarginSelector":
        """With the order and the thresholds that an export was calibrated to.

        Raises:
            ConfigError: it was not.
            ExportError: the calibration has changed, or was made for another router or other data.
        """
        told = price_target.read(folder, manifest.MARGIN)
        if told is None:
            raise ConfigError(
                expected=f"thresholds of a margin cascade in {folder}", found="none",
                do="python infer.py mode=calibrate selector=margin export=… records=… target.share=0.2, say",
            )  # fmt: skip
        threshold = replace(self.threshold, running=False, fixed=tuple(told["thresholds"]))
        return replace(
            self, order=tuple(told["order"]), signal=told["signal"], distinct=told["distinct"], threshold=threshold
        )

    def with_fixed_threshold(self, validation: ResponseTable, share: float) -> "MarginSelector":
        """With fixed thresholds that pass on a share of the validation rows at each tier."""
        threshold = replace(self.threshold, share=share).fitted(self.scores(validation))
        return replace(self, threshold=threshold)

    def with_fixed_thresholds(self, validation: ResponseTable, share: float) -> "MarginSelector":
        """With a fixed threshold for each candidate, which passes on a share of all its validation rows."""
        names = validation.pool.names
        columns = replace(self, order=(*names, "")).scores(validation).T
        rule = replace(self.threshold, share=share)
        own = {name: rule.fitted(column[:, None]).fixed for name, column in zip(names, columns, strict=True)}
        return replace(self, own={name: fixed[0] for name, fixed in own.items() if fixed})

    def settings(self, validation: ResponseTable) -> Sequence["MarginSelector"]:
        """Shares that go on, from none to all."""
        if not self.threshold.running:
            return [self.with_fixed_threshold(validation, share) for share in SHARES]
        return [replace(self, threshold=replace(self.threshold, share=share)) for share in SHARES]

    def at(self, budget: float, queries: int) -> "MarginSelector":
        """For a stream of so many queries at US dollars per query on average; the threshold runs."""
        return replace(self, budget=budget, queries=queries, threshold=replace(self.threshold, running=True))

    def scores(self, recorded: ResponseTable) -> Floats:
        """(n, tiers - 1) margins of each query's first response; NaN where it is not known.

        Raises:
            RecordsError: a tier has no margin at all.
        """
        tiers = self.order[:-1]
        values = np.array(
            [[self.score(of[name][0].response) if of.get(name) else np.nan for name in tiers] for of in recorded.cells]
        ).reshape(-1, len(tiers))
        silent = [name for name, column in zip(tiers, values.T, strict=True) if np.isnan(column).all()]
        if silent:
            raise RecordsError(
                expected=f"margins or first tokens of {silent}",
                found="none",
                do="record them, or give another selector.order",
            )
        return values

    def score(self, response: Response) -> float:
        """The margin; NaN where it is not known."""
        plain = self.signal == "probability" and not self.distinct
        if plain and response.margin is not None:
            return response.margin
        tokens = response.first_tokens
        if tokens is not None and self.distinct:
            tokens = without_variants(tokens)
        margin = probability_margin(tokens) if self.signal == "probability" else logit_margin(tokens)
        return float("nan") if margin is None else margin

    def _told(self, response: Response) -> tuple[float, float | None]:
        """The margin, and again with None for one that is not known, of which a log tells once."""
        margin = self.score(response)
        if margin == margin:
            return margin, margin
        if response.candidate not in self.silent:
            self.silent.add(response.candidate)
            log.warning("%r tells no first tokens to take a margin from; such queries go on", response.candidate)
        return margin, None

    async def select(self, query: Query, ask: Ask) -> Selection:
        stream = self._stream(ask)
        turn = stream.turn()
        if turn.first is None:
            return Selection(None, why="the budget is spent")
        return await self._run_cascade(ask, turn, turn.first)

    async def _run_cascade(self, ask: Ask, turn: CascadeStep, first: int) -> Selection:
        kept, confidence, tier = None, None, first
        while True:
            response = (await ask(self.order[tier]))[0]
            turn.stream.settle(tier, response.cost)
            if response.error is None:
                kept = response
                if tier + 1 == len(self.order):
                    break
                margin, confidence = self._told(response)
                if not turn.escalates(tier, margin):
                    break
            elif not turn.pays(tier + 1):
                break
            tier += 1
        if kept is None:  # those that were passed over are still there
            for tier in range(first):
                if turn.pays(tier):
                    response = (await ask(self.order[tier]))[0]
                    turn.stream.settle(tier, response.cost)
                    if response.error is None:
                        kept = response
                        break
        return Selection(kept, confidence, "every call failed" if kept is None else f"tier {tier + 1}")

    async def select_in_order(self, query: Query, ask: Ask, order: Sequence[str]) -> Selection:
        """The selection with tiers in this order, whatever it is for other queries; without a budget."""
        kept, confidence = None, None
        for place, name in enumerate(order):
            response = (await ask(name))[0]
            if response.error is not None:
                continue
            kept = response
            if place + 1 == len(order):
                break
            margin, confidence = self._told(response)
            if not self._of(name).turn().escalates(0, margin):
                break
        return Selection(kept, confidence, "every call failed" if kept is None else f"tier {place + 1}")

    def _of(self, name: str) -> BudgetState:
        """The stream of one candidate, which has a next one or has not."""
        if name not in self.started:
            fixed = (self.own[name],) if name in self.own else self.threshold.fixed
            self.started[name] = replace(self.threshold, fixed=fixed).stream((math.nan, math.nan))
        return self.started[name]

    def _stream(self, ask: Ask) -> BudgetState:
        if "" not in self.started:
            refuse_unknown("margin", self.order, ask.pool, least=2)
            prices = [self.prices[name] if name in self.prices else ask.price(name) for name in self.order]
            known = all(name in self.means for name in self.order)
            means = [self.means[name] for name in self.order] if known else None
            self.started[""] = self.threshold.stream(prices, self.budget, self.queries, means)
        return self.started[""]
