"""Margin Sampling: ask a small model, and a larger one where the small one was unsure of its first token.

Ramírez, Birch & Titov, *Optimising Calls to Large Language Models with Uncertainty-Based Two-Tier Selection* (COLM
2024). For every query:

1. Ask the small model. Its margin is P(k1*) − P(k2*), of the two most likely first tokens (`first_token_margin`).
2. Add the margin to those of all past queries of the stream.
3. Set the threshold to the quantile of these margins that the budget allows (`zooter.selector.budget`).
4. Return the small model's answer, or below the threshold ask the large model and return its answer.

The budget guards of the authors' code come before step 1: with too little money left the large model, or both, are
left out; with enough for all remaining queries the large model is asked at once. With more than two tiers, each one but
the last decides in the same way by its own margins.

Where the answer is one of a few labels, ask with `responder.sampling.labels`, so that the margin is of the labels'
first tokens; the responder refuses labels that share one.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from zooter.data.component import PathField, TupleField, component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError
from zooter.router import manifest
from zooter.selector.budget import ESCALATION_RATES, BudgetState, CascadeStep, EscalationThreshold, StreamState
from zooter.selector.cascade.first_token_margin import response_margin, table_margins
from zooter.selector.ordering import choose_two_tiers, mean_rewards
from zooter.selector.protocol import Ask, Needs, Selection, check_candidates
from zooter.selector.routing import price_target

log = logging.getLogger(__name__)


@dataclass(slots=True)
class MarginState(StreamState):
    """What a margin cascade remembers of one stream.

    Attributes:
        by_candidate: candidate → its own past margins, where the order of tiers differs from query to query.
        warned: candidates whose missing margins have been logged.
    """

    by_candidate: dict[str, BudgetState] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)


@component
class MarginSelector:
    """Ask the tiers one after the other, until one is sure.

    Attributes:
        order: two candidates or more, the first asked first. Empty: `fit` takes the cheapest, then the best of the
            others by mean reward.
        signal: "probability" (the paper's margin) or "logit" (its code's).
        merge_token_variants: tokens that begin the same free answer as the most likely one (" Paris", "paris") do not
            count as the second, as in the authors' code for question answering.
        threshold: the escalation rule.
        export: folder of an export calibrated with `mode=calibrate selector=margin`: its order and thresholds.
        budget: US dollars per query on average; None leaves `threshold.escalation_rate` to decide alone.
        queries: length of the stream. With a budget, the budget is then never exceeded.
        prices: candidate → US dollars of one call on average, on training rows; from `fit`.
        means: candidate → mean training reward; from `fit`.
        own: candidate → its fixed threshold, for `select_in_order`; from `with_thresholds_per_candidate`.
        state: of the current stream; every copy made by `dataclasses.replace` starts a new one.
    """

    order: TupleField[str] = ()
    signal: Literal["probability", "logit"] = "probability"
    merge_token_variants: bool = False
    threshold: EscalationThreshold = field(default_factory=EscalationThreshold)
    export: PathField | None = None
    budget: float | None = None
    queries: int | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)
    state: MarginState = field(default_factory=MarginState, init=False, repr=False, compare=False)

    @property
    def needs(self) -> Needs:
        """Require margins, or first tokens, of every tier but the last."""
        tiers = self.order[:-1]
        if self.signal == "probability" and not self.merge_token_variants:
            return Needs(margins=True, candidates=tiers)
        return Needs(first_tokens=True, candidates=tiers)

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask tier after tier, the first one as the budget guards decide, until a margin reaches its threshold."""
        step = self.state.get_or_start(lambda: self._start_stream(ask)).step()
        if step.first is None:
            return Selection(None, why="the budget is spent")
        return await self._run_cascade(ask, step, step.first)

    async def _run_cascade(self, ask: Ask, step: CascadeStep, first: int) -> Selection:
        selected, confidence, tier = None, None, first
        while True:
            response = await self._ask_tier(ask, step, tier)  # step 1
            if response is not None:
                selected = response
                if tier + 1 == len(self.order):
                    break
                margin, confidence = self._margin_and_confidence(response)
                if not step.escalates(tier, margin):  # steps 2 to 4
                    break
            elif not step.pay_if_affordable(tier + 1):  # a failed call escalates
                break
            tier += 1
        if selected is None:  # every call so far failed: fall back on the tiers that the guards left out
            for tier in range(first):
                if step.pay_if_affordable(tier) and (selected := await self._ask_tier(ask, step, tier)) is not None:
                    break
        return Selection(selected, confidence, "every call failed" if selected is None else f"tier {tier + 1}")

    async def _ask_tier(self, ask: Ask, step: CascadeStep, tier: int) -> Response | None:
        """Return the tier's response, whose cost is settled; None for a failed call."""
        response = (await ask(self.order[tier]))[0]
        step.state.settle(tier, response.cost)
        return response if response.error is None else None

    async def select_in_order(self, query: Query, ask: Ask, order: Sequence[str]) -> Selection:
        """Select with the tiers in this query's own order, without a budget.

        Args:
            query: answered by the selection.
            ask: asks candidates about the query.
            order: candidates, the first asked first; each has its own threshold.
        """
        selected, confidence = None, None
        for place, name in enumerate(order):
            response = (await ask(name))[0]
            if response.error is not None:
                continue
            selected = response
            if place + 1 == len(order):
                break
            margin, confidence = self._margin_and_confidence(response)
            if not self._candidate_state(name).step().escalates(0, margin):
                break
        return Selection(selected, confidence, "every call failed" if selected is None else f"tier {place + 1}")

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "MarginSelector":
        """Take prices and mean rewards from training rows; choose the order and fixed thresholds where they are open.

        Args:
            training: decides the order, where none is set.
            validation: decides fixed thresholds for `threshold.escalation_rate`, where they are used and not set.

        Raises:
            RecordsError: a tier has no margin in any row.
            ConfigError: the export has no calibrated thresholds.
        """
        selector = self if self.export is None else self.with_export_thresholds(self.export)
        means = mean_rewards(training)
        order = selector.order or choose_two_tiers(training.pool, training.prices, means)
        check_candidates("margin", order, training.pool, minimum=2)
        fitted = replace(selector, order=order, prices=training.prices, means=means)
        fitted.scores(training)  # refuses a table without margins
        if fitted.threshold.online_threshold or fitted.threshold.fixed is not None:
            return fitted
        return fitted.with_fixed_thresholds(validation, fitted.threshold.escalation_rate)

    def with_export_thresholds(self, folder: Path) -> "MarginSelector":
        """Return a copy with the order and the thresholds that an export was calibrated to.

        Args:
            folder: an export that `mode=calibrate` has calibrated.

        Raises:
            ConfigError: the export has no calibrated thresholds.
            ExportError: the calibration has changed, or was made for another router or other data.
        """
        calibration = price_target.read_calibration(folder, manifest.MARGIN)
        if calibration is None:
            raise ConfigError(
                expected=f"thresholds of a margin cascade in {folder}", found="none",
                do="python infer.py mode=calibrate selector=margin export=… records=… target.share=0.2, say",
            )  # fmt: skip
        return replace(
            self,
            order=tuple(calibration["order"]),
            signal=calibration["signal"],
            merge_token_variants=calibration["distinct"],
            threshold=replace(self.threshold, online_threshold=False, fixed=tuple(calibration["thresholds"])),
        )

    def with_fixed_thresholds(self, validation: ResponseTable, rate: float) -> "MarginSelector":
        """Return a copy with one fixed threshold per tier, which escalates the fraction `rate` of validation rows.

        Args:
            validation: rows with margins.
            rate: share of a tier's rows that go on to the next tier, in [0, 1].
        """
        threshold = replace(self.threshold, escalation_rate=rate).fit_fixed(self.scores(validation))
        return replace(self, threshold=threshold)

    def with_thresholds_per_candidate(self, validation: ResponseTable, rate: float) -> "MarginSelector":
        """Return a copy with a fixed threshold for each candidate, which escalates the fraction `rate` of all rows.

        Args:
            validation: rows with margins.
            rate: share of all rows that go on from a candidate, in [0, 1].
        """
        names = validation.pool.names
        columns = replace(self, order=(*names, "")).scores(validation).T
        rule = replace(self.threshold, escalation_rate=rate)
        fixed = {name: rule.fit_fixed(column[:, None]).fixed for name, column in zip(names, columns, strict=True)}
        return replace(self, own={name: thresholds[0] for name, thresholds in fixed.items() if thresholds})

    def operating_points(self, validation: ResponseTable) -> Sequence["MarginSelector"]:
        """Return one copy per escalation rate, from 0 to 1.

        Args:
            validation: rows with margins, whose quantiles are the thresholds.
        """
        if not self.threshold.online_threshold:
            return [self.with_fixed_thresholds(validation, rate) for rate in ESCALATION_RATES]
        return [replace(self, threshold=replace(self.threshold, escalation_rate=rate)) for rate in ESCALATION_RATES]

    @property
    def budget_candidates(self) -> tuple[str, ...]:
        """Return the tiers, between whose prices budgets make a difference."""
        return self.order

    def with_budget(self, budget: float, queries: int) -> "MarginSelector":
        """Return a copy for a stream of so many queries at US dollars per query on average, with online thresholds.

        Args:
            budget: US dollars per query on average.
            queries: length of the stream.
        """
        threshold = replace(self.threshold, online_threshold=True)
        return replace(self, budget=budget, queries=queries, threshold=threshold)

    def scores(self, recorded: ResponseTable) -> Floats:
        """Return the margins (n, tiers − 1) of each query's first responses; NaN where they are not known.

        Args:
            recorded: n rows.

        Raises:
            RecordsError: a tier has no margin in any row.
        """
        return table_margins(recorded, self.order[:-1], self.signal, self.merge_token_variants)

    def score(self, response: Response) -> float:
        """Return the margin of one response; NaN where it is not known."""
        return response_margin(response, self.signal, self.merge_token_variants)

    def _margin_and_confidence(self, response: Response) -> tuple[float, float | None]:
        """Return the margin twice, NaN and None where it is not known; a candidate's first such time is logged."""
        margin = self.score(response)
        if margin == margin:
            return margin, margin
        if response.candidate not in self.state.warned:
            self.state.warned.add(response.candidate)
            log.warning("%r tells no first tokens to take a margin from; such queries go on", response.candidate)
        return margin, None

    def _start_stream(self, ask: Ask) -> BudgetState:
        """Start the state of the fixed order's tiers."""
        check_candidates("margin", self.order, ask.pool, minimum=2)
        prices = [self.prices[name] if name in self.prices else ask.price(name) for name in self.order]
        has_means = all(name in self.means for name in self.order)
        means = [self.means[name] for name in self.order] if has_means else None
        return self.threshold.start_stream(prices, self.budget, self.queries, means)

    def _candidate_state(self, name: str) -> BudgetState:
        """Return the state of one candidate, as the first of two tiers without prices."""
        if name not in self.state.by_candidate:
            fixed = (self.own[name],) if name in self.own else self.threshold.fixed
            rule = replace(self.threshold, fixed=fixed)
            self.state.by_candidate[name] = rule.start_stream((math.nan, math.nan))
        return self.state.by_candidate[name]
