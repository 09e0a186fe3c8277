"""Queries made up from templates, with reference answers: the embedded zoo's."""

from dataclasses import dataclass

from zooter.collect.reader.skills.generate import generate
from zooter.data.types import Query, query_id
from zooter.errors import ConfigError


@dataclass(frozen=True)
class ZooReader:
    """Draws queries that neither the zoo's candidates nor its reward model were taught; `split` divides them anew.

    Attributes:
        count: how many; a larger count only appends.
        seed: another one gives other queries.
    """

    count: int = 5_200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(expected="reader.count of 1 or more", found=str(self.count), do="set reader.count=5200")

    def read(self) -> list[Query]:
        return [
            Query(query_id(query.text), query.text, query.reference, (query.skill,))
            for split, count in (("train", self.count - self.count // 5), ("test", self.count // 5))
            for query in generate(count, self.seed, split)
        ]
