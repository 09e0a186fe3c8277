"""Read instance-level results of Every Eval Ever: JSON Lines, a line per model and sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import kind, list_files


def is_read(file: Path) -> bool:
    """Tell whether a file holds instance-level results."""
    return kind(file) == "json lines"


@dataclass(frozen=True)
class EveryEvalEver:
    """Read instance-level results; aggregate results (.json beside them) are left out."""

    name: ClassVar[str] = "every-eval-ever"

    def recognises(self, preview: Preview) -> bool:
        """Tell whether lines have a model, an evaluation's name and a sample."""
        lines = [file for file in list_files(preview.path) if is_read(file)]
        first = next(read_items(lines[0]), None) if lines else None
        keys = first.values.keys() if first is not None else ()
        return {"model_id", "evaluation_name", "sample_id", "evaluation"} <= set(keys)

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file of lines at the path; see `Format`."""
        for file in list_files(path):
            if is_read(file):
                yield from to_batches(_row(item) for item in read_items(file))


def _row(item: Item) -> dict[str, Any]:
    name = item.text("evaluation_name")
    milliseconds = item.number_or_none("performance.latency_ms")
    failed = item.text_or_none("error") is not None
    return item.row({
        "query": item.text("input.raw"), "query_id": f"{name}/{item.text('sample_id')}",
        "candidate": item.text("model_id"), "tags": [name],
        "reward": item.number_or_none("evaluation.score") if failed else item.number("evaluation.score"),
        "response": item.first_text("output.raw"), "reference": item.first_text("input.reference"),
        "input_tokens": item.count_or_none("token_usage.input_tokens"),
        "output_tokens": item.count_or_none("token_usage.output_tokens"),
        "seconds": None if milliseconds is None else milliseconds / 1_000,
    })  # fmt: skip
