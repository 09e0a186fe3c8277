"""A fake router that reads its choice from the text, and a fake export."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zooter.data.pool import Pool
from zooter.data.types import Floats, RouterOutput
from zooter.errors import ExportError
from zooter.serve.settings import ServeSettings

NAMES = ("small", "large", "tiny")
PROBS = {"small": (0.6, 0.3, 0.1), "large": (0.3, 0.6, 0.1), "tiny": (0.2, 0.2, 0.6), "unsure": (0.45, 0.5, 0.05)}


@dataclass
class FakeRouter:
    """Chooses the candidate that a text names; a word of `delays` takes its seconds, "broken" fails."""

    folder: Path
    pool: Pool = field(default_factory=lambda: Pool.from_names(NAMES, {"small": 0.2, "large": 2.0, "tiny": 0.1}))
    tag_names: tuple[str, ...] = ("code", "chat")
    facts: dict[str, Any] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=lambda: {"slowest": 3.0, "slow": 0.5})

    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Return the choices alone."""
        return self.route_with_tags(texts)[0]

    def route_with_tags(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        """Return probabilities of the last-named candidate's row of PROBS; "small" unless one is named."""
        time.sleep(
            max([seconds for word, seconds in self.delays.items() if any(word in t for t in texts)], default=0.0)
        )
        if any("broken" in text for text in texts):
            raise ExportError(expected="a text", found="a broken one", do="mend it")
        rows = [PROBS[max(PROBS, key=lambda name: (text.rfind(name), name == "small"))] for text in texts]
        tags = [(0.9, 0.1) if "code" in text else (0.2, 0.8) for text in texts]
        return RouterOutput(np.array(rows, dtype=float).reshape(-1, 3), NAMES), np.array(tags, dtype=float).reshape(
            -1, 2
        )


def write(folder: Path, encoder: str = "minilm") -> None:
    """Write a complete fake export."""
    folder.mkdir(exist_ok=True)
    (folder / "fake.json").write_text(json.dumps({"whole": True, "encoder": encoder}))
    reference = {"choices": {"small": 0.5, "large": 0.3, "tiny": 0.2}, "probable_tags": [0.4, 0.6]}
    (folder / "reference.json").write_text(json.dumps(reference))


def load(settings: ServeSettings) -> FakeRouter:
    """Load the fake router of a folder with `fake.json`, which says whether it is complete, and its encoder."""
    try:
        content = json.loads((settings.export / "fake.json").read_text())
    except (OSError, ValueError) as error:
        raise ExportError(expected="a whole export", found="half of one", do="copy it again") from error
    if not content["whole"]:
        raise ExportError(expected="a whole export", found="a broken one", do="copy it again")
    return FakeRouter(settings.export, facts={"encoder": {"model": content.get("encoder", "minilm")}})
