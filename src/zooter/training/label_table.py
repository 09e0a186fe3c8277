"""Tags and labels as a table on disk, for a run that stops after `tag` or `label`."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zooter.data.files import write_atomically
from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.types import Labels, Tags

_TEXT = pa.large_string()
SCHEMA = pa.schema(
    [("query_id", _TEXT), ("query", _TEXT), ("part", pa.string()), ("tags", pa.list_(_TEXT)), ("candidate", _TEXT),
     ("reward", pa.float64()), ("label", pa.float64())]
)  # fmt: skip


def write(path: Path, table: RewardTable, part: Part, tags: Tags, labels: Labels | None) -> None:
    """One row per query and candidate; null in `reward` where there is none, in `label` where none was made."""
    names, m = table.pool.names, len(table.pool.names)
    of = np.empty(len(table.queries), dtype=object)
    for name in ("train", "val", "test"):
        of[getattr(part, name)] = name
    member = tags.membership
    carried = [[tags.names[j] for j in member.indices[member.indptr[i] : member.indptr[i + 1]]] for i in range(len(of))]
    reward = table.rewards.values.ravel()
    label = np.full(reward.shape, np.nan) if labels is None else labels.values.ravel()
    rows = np.repeat(np.arange(len(of)), m)
    columns = [
        pa.array(table.query_ids, _TEXT).take(pa.array(rows)),
        pa.array(table.queries, _TEXT).take(pa.array(rows)),
        pa.array(of, pa.string()).take(pa.array(rows)),
        pa.array(carried, pa.list_(_TEXT)).take(pa.array(rows)),
        pa.array(list(names) * len(of), _TEXT),
        pa.array(reward, mask=np.isnan(reward)),
        pa.array(label, mask=np.isnan(label)),
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), buffer)
    write_atomically(path, buffer.getvalue())
