"""Local models that stay in memory from one call to the next."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class SizedModel(Protocol):
    """A loaded model."""

    @property
    def bytes(self) -> int:
        """Of its weights."""
        ...


Model = TypeVar("Model", bound=SizedModel)


@dataclass
class ModelCache(Generic[Model]):
    """Models by what they were loaded from, the least lately asked first.

    Attributes:
        users: how many count on them.
    """

    users: int = 0
    models: dict[Hashable, Model] = field(default_factory=dict)

    def of(self, source: Hashable, load: Callable[[], Model]) -> Model:
        """The model from this source, loaded where it is not there."""
        model = self.models.pop(source, None)
        self.models[source] = load() if model is None else model  # the last one now
        return self.models[source]

    def shrink(self, most: float) -> None:
        """Let go of models, those that were asked least lately first, until they have at most so many bytes."""
        while self.models and sum(model.bytes for model in self.models.values()) > most:
            del self.models[next(iter(self.models))]
