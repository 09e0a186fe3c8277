"""Hold what was decided for one request: which candidates are asked, in which order, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooter.data.pool import Pool
from zooter.data.types import Floats

MAX_TAGS = 5  # that the JSON of a decision lists


@dataclass(frozen=True)
class RoutingDecision:
    """The order in which candidates are asked.

    Attributes:
        order: names of candidates: the chosen one, then the others by descending probability.
        why: "best"; "backup" (the best by the export without a transformer); "next best" (the best has no url); "stays"
            (with the conversation); "asked for" by name; "default"; or "fallback" once the chosen candidate has failed.
        seconds: time that the decision took.
        fault: why the router gave no decision: "deadline", "failed", "crowded" or "no text"; None otherwise.
        probs: (m,) probabilities over candidates; None without the router's output.
        tags: (t,) probabilities over tags; None without the router's output, and from the backup.
        key: hash that identifies the conversation; None if it is not remembered.
    """

    order: tuple[str, ...]
    why: str
    seconds: float = 0.0
    fault: str | None = None
    probs: Floats | None = None
    tags: Floats | None = None
    key: bytes | None = None

    def to_json(self, pool: Pool, tag_names: Sequence[str]) -> dict[str, Any]:
        """Return the decision as JSON values, with the candidates' prices and the most probable tags.

        Args:
            pool: the m candidates.
            tag_names: (t,) names of the tags.
        """
        prices = {candidate.name: candidate.mean_price() for candidate in pool.candidates}
        values: dict[str, Any] = {
            "candidate": self.order[0],
            "price": prices[self.order[0]],
            "why": self.why,
            "fault": self.fault,
            "order": list(self.order),
            "prices": prices,
            "decision_ms": round(self.seconds * 1e3, 2),
        }
        if self.probs is not None:
            values["probabilities"] = dict(zip(pool.names, self.probs.tolist(), strict=True))
        if self.tags is not None:
            top_tags = np.argsort(-self.tags, kind="stable")[:MAX_TAGS]
            values["tags"] = {tag_names[t]: float(self.tags[t]) for t in top_tags}
        return values
