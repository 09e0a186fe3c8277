"""Cache local models that stay in memory from one call to the next."""

import gc
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class SizedModel(Protocol):
    """A loaded model of known size."""

    @property
    def bytes(self) -> int:
        """Return the size of its weights in bytes."""
        ...


Model = TypeVar("Model", bound=SizedModel)

_keeps_last = False


def keep_last_model(keep: bool = True) -> None:
    """Let the model that was used last stay loaded between calls in this process, as an actor's shards follow another.

    Args:
        keep: False ends it.
    """
    global _keeps_last
    _keeps_last = keep


@dataclass
class ModelCache(Generic[Model]):
    """Least-recently-used cache of models.

    Attributes:
        users: number of contexts that hold the cache open.
        models: source → model, the least recently used first.
    """

    users: int = 0
    models: dict[Hashable, Model] = field(default_factory=dict)

    def get(self, source: Hashable, load: Callable[[], Model]) -> Model:
        """Return the model of a source, loading it on a miss, and mark it as the most recently used.

        Args:
            source: what identifies the model, such as its name, revision and template.
            load: called when the model is not in the cache.
        """
        model = self.models.pop(source, None)
        if model is None and _keeps_last and self.models:
            self.models.clear()  # memory may be too small for two
            gc.collect()
        self.models[source] = load() if model is None else model
        return self.models[source]

    def shrink(self, max_bytes: float) -> None:
        """Drop models, the least recently used first, until their weights take at most `max_bytes`.

        Args:
            max_bytes: of weights, over all models.
        """
        while self.models and sum(model.bytes for model in self.models.values()) > max_bytes:
            del self.models[next(iter(self.models))]

    def drop(self) -> None:
        """Drop all models, except for the last one where `keep_last_model` keeps it."""
        for source in list(self.models)[: -1 if _keeps_last else None]:
            del self.models[source]
