"""Read queries of any data set that the library `datasets` loads: from the hub, or from files here."""

import importlib.util
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from pydantic import PositiveInt

from zooter.collect.reader.template import ColumnFormatter
from zooter.data.component import component
from zooter.data.types import Query, query_id
from zooter.errors import ConfigError, RecordsError

log = logging.getLogger(__name__)

FILE_FORMATS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json"}
SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves in a folder
SHUFFLE_BUFFER = 10_000  # rows among which a streamed data set is shuffled


@component
class HubReader:
    """Read a data set, and make a query of each row by templates.

    Code of a data set is never run: one that is published as a script has to be given as files.

    Attributes:
        path: hub id (org/name), a folder or file of Parquet, CSV or JSON Lines, or a folder that `save_to_disk` wrote.
        name: configuration of the data set, such as a subject; None for its default.
        split: part of the data set; a single file has only one.
        revision: commit or tag at the hub. None takes the present state of the main branch, which may change.
        query: the query's text, with columns in braces (`template.ColumnFormatter`); blanks at its ends are cut.
        reference: the right answer, in the same way; a column that is a list gives several. None for none.
        tags: tags of a query, in the same way, also from lists; null ones are left out.
        skip_blank: leave out rows whose query is blank or null, which are counted in the log; False refuses them.
        where: column → value, or a list of values; other rows are left out before anything is drawn.
        sample: number of rows, drawn at random; None takes all.
        seed: of the draw.
        streaming: read row after row from the hub instead of downloading everything first, for large data sets.
        method: of VerifyRewarder, as suits the references; rewarder=verify takes it over. With None, rewarder.method
            has to be chosen.
        labels: the answers of a classification; responder.sampling.labels takes them over, for margins over the labels.
    """

    path: str | None = None
    name: str | None = None
    split: str = "test"
    revision: str | None = None
    query: str = "{question}"
    reference: str | None = None
    tags: Sequence[str] = ()
    where: Mapping[str, Any] | None = None
    skip_blank: bool = False
    sample: PositiveInt | None = None
    seed: int = 0
    streaming: bool = False
    method: str | None = None
    labels: Sequence[str] = ()

    def read(self) -> list[Query]:
        """Read the distinct queries in the order of the data set, or of the draw.

        Raises:
            ConfigError: no data set is named, a column or form of a template does not exist, or the library is missing.
            RecordsError: the data set cannot be loaded, has no row, or a query is blank.
        """
        rows, formatter = self._load()
        by_text: dict[str, Query] = {}
        count = blank = 0
        for count, row in enumerate(rows, start=1):
            query = self._query(row, formatter, count)
            if query is None:
                blank += 1
            else:
                by_text.setdefault(query.text, query)
        if not by_text:
            raise RecordsError(expected=f"at least one row in {self._title}", found="none", do="choose another split")
        if count > len(by_text):
            log.info("%d rows hold %d different queries; %d are blank", count, len(by_text), blank)
        return list(by_text.values())

    @property
    def _title(self) -> str:
        return ", ".join(filter(None, (self.path, self.name, f"split {self.split}", self.revision)))

    def _query(self, row: Mapping[str, Any], formatter: ColumnFormatter, number: int) -> Query | None:
        try:
            text = formatter.fill(self.query, row)
            references = [] if self.reference is None else formatter.fill_list(self.reference, row)
            tags = tuple(tag for template in self.tags for tag in formatter.fill_list(template, row) if tag)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise ConfigError(
                expected=f"templates of the columns {sorted(row)} of {self._title}",
                found=f"{error} in one of {[self.query, self.reference, *self.tags]}",
                do="correct reader.query, reader.reference or reader.tags",
            ) from error
        text = (text or "").strip()
        if not text and self.skip_blank:
            return None
        if not text:
            raise RecordsError(
                expected=f"a query in every row of {self._title}",
                found=f"a blank one in row {number}",
                do="correct reader.query or the data set, or set reader.skip_blank=true",
            )
        first = references[0] if references else None
        return Query(query_id(text), text, first, tags, tuple(references[1:]))

    def _load(self) -> tuple[Iterable[Mapping[str, Any]], ColumnFormatter]:
        """Load the data set; return its rows, and a formatter that knows its class labels."""
        if self.path is None:
            raise ConfigError(
                expected="a data set with reader=hub", found="none", do="add reader.path=ORG/NAME, a folder or a file"
            )
        if importlib.util.find_spec("datasets") is None:
            raise ConfigError(
                expected="the library `datasets`, for reader=hub", found="not installed", do="pip install datasets"
            )
        import datasets

        try:
            table = self._load_table(self.path, datasets)
            if self.where:
                table = table.filter(self._matches)
            if self.sample is not None and self.streaming:
                table = table.shuffle(seed=self.seed, buffer_size=SHUFFLE_BUFFER)
            elif self.sample is not None:
                table = table.shuffle(seed=self.seed)
            labels = {
                column: feature.names
                for column, feature in (table.features or {}).items()
                if isinstance(feature, datasets.ClassLabel)
            }
            return list(islice(table, self.sample)), ColumnFormatter(labels)
        except (
            OSError,
            ValueError,
            KeyError,
            RuntimeError,
            httpx.HTTPError,
            datasets.exceptions.DatasetsError,
        ) as error:
            raise RecordsError(
                expected=f"the data set {self._title}",
                found=(str(error).splitlines() or [type(error).__name__])[0],
                do="check reader.path, name, split and revision; where no hub can be reached, give a folder or a file",
            ) from error

    def _matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has the values of `where`; a column that does not exist raises KeyError."""
        return all(
            row[column] in value if isinstance(value, list | tuple) else row[column] == value
            for column, value in (self.where or {}).items()
        )

    def _load_table(self, path: str, datasets: Any) -> Any:
        local = Path(path)
        if local.is_dir() and any((local / name).exists() for name in SAVED):
            saved = datasets.load_from_disk(path)
            return saved[self.split] if isinstance(saved, dict) else saved
        if local.is_file():
            if local.suffix not in FILE_FORMATS:
                raise ValueError(f"a file that ends in {local.suffix or 'nothing'}, not in {list(FILE_FORMATS)}")
            options = {"sep": "\t"} if local.suffix == ".tsv" else {}
            kind = FILE_FORMATS[local.suffix]
            return datasets.load_dataset(kind, data_files=path, split="train", streaming=self.streaming, **options)
        return datasets.load_dataset(
            path, self.name, split=self.split, revision=self.revision, streaming=self.streaming
        )
