"""Read several sources one after the other, each query tagged by its source."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from pydantic import SkipValidation

from zooter.collect.reader.protocol import Reader
from zooter.data.component import component
from zooter.data.types import Query

log = logging.getLogger(__name__)


@component
class SeveralReader:
    """Read several readers, such as the languages of one data set or the tasks of one paper.

    Attributes:
        readers: name → reader. The name becomes the first tag of its queries: for rewarder.by_tag, and means by task.
        method: of VerifyRewarder, where one suits all; rewarder=verify takes it over.
    """

    readers: Mapping[str, SkipValidation[Reader]]
    method: str | None = None

    def read(self) -> list[Query]:
        """Read the distinct queries, reader after reader; of equal texts the first counts.

        Raises:
            RecordsError: a reader's queries cannot be read.
        """
        by_text: dict[str, Query] = {}
        for name, reader in self.readers.items():
            before = len(by_text)
            for query in reader.read():
                by_text.setdefault(query.text, replace(query, tags=(name, *(t for t in query.tags if t != name))))
            log.info("%s: %d queries", name, len(by_text) - before)
        return list(by_text.values())
