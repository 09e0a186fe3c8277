"""Read annotations of AlpacaEval: a judge compared each model's output with that of a reference model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import list_files

NULL_MODEL = "NullModel"  # an attack on the judge, with one constant output


@dataclass(frozen=True)
class AlpacaEval:
    """Read `annotations.json`: the reward is the probability that the candidate beats the reference model.

    The reference itself gets no rows: against itself it would have ½ everywhere.
    """

    name: ClassVar[str] = "alpaca-eval"

    def recognises(self, preview: Preview) -> bool:
        """Tell whether annotations have two generators and a preference."""
        required = {"instruction", "generator_1", "generator_2", "preference"}
        first = next(read_items(_files(preview.path)[0]), None) if preview.path.is_dir() else None
        return required <= set(first.values if first else preview.columns)

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file of annotations at the path; see `Format`."""
        references: dict[str, None] = {}
        for file in _files(path):
            yield from to_batches(row for item in read_items(file) for row in _rows(item, references))
        note(f"rewards are the probability of beating {', '.join(map(repr, references))} (½ would be as good)")


def is_read(file: Path) -> bool:
    """Tell whether a file of a folder holds annotations; a folder of results holds the models' outputs beside them."""
    return "annotation" in file.name


def _files(path: Path) -> list[Path]:
    files = list_files(path)
    return [file for file in files if is_read(file)] or files


def _rows(item: Item, references: dict[str, None]) -> Iterator[dict[str, Any]]:
    preference = item.number_or_none("preference")
    if preference is not None and preference != 0 and not 1 <= preference <= 2:
        raise item.error("a number from 1 to 2 as 'preference' (0 is a tie)", preference)
    if item.text("generator_2") == NULL_MODEL:
        return
    references[item.text("generator_1")] = None
    dataset = item.text_or_none("dataset")
    yield item.row({
        "query": item.text("instruction"), "candidate": item.text("generator_2"),
        # Annotators of the first version wrote 0 for a draw.
        "reward": None if preference is None else 0.5 if preference == 0 else preference - 1,
        "response": item.text_or_none("output_2"), "tags": [dataset] if dataset else None,
    })  # fmt: skip
