"""Plug-ins that let LiteLLM route with an export: nothing is asked of the outside, and LiteLLM does the calling.

In LiteLLM's proxy, a module beside its configuration holds an instance, and the configuration names it:

    router = RoutingPlugin("DIR/export", models={"large": "openai/gpt-4o", "small": "openai/gpt-4o-mini"})

The interfaces are those of `litellm.types.router` in version 1.109; LiteLLM itself is not imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zooter.data.types import Floats
from zooter.errors import ConfigError
from zooter.router.onnx_router import OnnxRouter
from zooter.serve.batcher import NoDecisionError, RouterBatcher
from zooter.serve.decision import query_texts
from zooter.serve.http.chat_request import texts_of


class Context(Protocol):
    """What is used of `litellm.types.router.RoutingContext`."""

    structured_messages: list[dict[str, object]]
    candidate_models: list[str]
    signals: dict[str, object]


@dataclass(frozen=True)
class _Plugin:
    export: str | Path
    reads: str = "last"
    deadline: float = 0.1
    router: Any = None

    @cached_property
    def decider(self) -> RouterBatcher:
        """Decisions of the export; it is read at the first one, unless a router is given."""
        return RouterBatcher(
            self.router or OnnxRouter.load(self.export), batch=32, waiting=1_000, deadline=self.deadline
        )

    async def probs(self, context: Context) -> Floats | None:
        """(m,) probabilities; None where there is no text or no decision in time, which is left in the signals."""
        try:
            texts = query_texts(texts_of(context.structured_messages), self.reads)
            if not texts:
                raise NoDecisionError("no text")
            probs, _ = await self.decider.look(texts)
        except NoDecisionError as error:
            context.signals["zooter"] = {"fault": str(error)}
            return None
        names = self.decider.router.pool.names
        context.signals["zooter"] = {"probabilities": dict(zip(names, probs[0].tolist(), strict=True))}
        return probs[0]

    def names(self, told: Mapping[str, str], what: str) -> Sequence[str]:
        """The export's candidates.

        Raises:
            ConfigError: `told` names another.
        """
        names = self.decider.router.pool.names
        strange = sorted(set(told) - set(names))
        if strange:
            raise ConfigError(
                expected=f"{what} for candidates of the export: {list(names)}", found=str(strange), do="correct them"
            )
        return names


@dataclass(frozen=True)
class RoutingPlugin(_Plugin):
    """Leaves the likeliest of the models that LiteLLM may choose from; `OnnxRouter(plugins=[…])`.

    Attributes:
        export: an export's folder.
        models: candidate → `litellm_params.model`; one that is not named is called the same in both.
        reads: which user text decides: "last", "first" or "all".
        deadline: seconds; later than that, LiteLLM chooses as it would without.
        router: in place of the export's, for tests.
    """

    models: Mapping[str, str] = field(default_factory=dict)

    async def run(self, context: Any) -> Any:
        """Narrow the models of LiteLLM's context to one, the likeliest of those that are in the export's pool."""
        names = self.names(self.models, "models")
        probs = await self.probs(context)
        if probs is None:
            return context
        models = [self.models.get(names[j], names[j]) for j in np.argsort(-probs, kind="stable")]
        chosen = [model for model in models if model in context.candidate_models]
        if chosen:
            context.candidate_models = chosen[:1]
        return context


@dataclass(frozen=True)
class ClassifierPlugin(_Plugin):
    """Names the tier of the likeliest candidate; for LiteLLM's complexity router with `classifier_type: custom`.

    Attributes:
        export, reads, deadline, router: as of `RoutingPlugin`; without a decision, LiteLLM's fallback decides.
        tiers: candidate → tier; candidates may share one, and their probabilities are then added.
    """

    tiers: Mapping[str, str] = field(default_factory=dict)

    async def classify(self, context: Any) -> str | None:
        """The tier with the largest probability; None where there is no decision."""
        names = self.names(self.tiers, "tiers")
        probs = await self.probs(context)
        if probs is None:
            return None
        sums: dict[str, float] = {}
        for name, prob in zip(names, probs, strict=True):
            if name in self.tiers:
                sums[self.tiers[name]] = sums.get(self.tiers[name], 0.0) + float(prob)
        return max(sums, key=lambda tier: sums[tier]) if sums else None
