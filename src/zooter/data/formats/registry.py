"""List the formats by name, with their options, and decide which of them a path is."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from zooter.data.formats import alpaca_eval, every_eval_ever, helm, lm_eval, mt_bench
from zooter.data.formats.alpaca_eval import AlpacaEval
from zooter.data.formats.arena import Arena
from zooter.data.formats.every_eval_ever import EveryEvalEver
from zooter.data.formats.helm import Helm
from zooter.data.formats.hub import fetch, hub_id
from zooter.data.formats.inspect_log import InspectLog
from zooter.data.formats.langfuse import Langfuse
from zooter.data.formats.litellm import LiteLLM
from zooter.data.formats.lm_eval import LmEval
from zooter.data.formats.long import Long
from zooter.data.formats.mt_bench import MTBench
from zooter.data.formats.opentelemetry import OpenTelemetry
from zooter.data.formats.protocol import Format, Note, Preview
from zooter.data.formats.sources import column_names, kind, list_files, read_objects
from zooter.data.formats.wide import Wide
from zooter.errors import ConfigError, RecordsError

log = logging.getLogger(__name__)

AUTO = "auto"
# In the order in which a path is recognised: from the particular to the general.
_ORDER = (
    LmEval, InspectLog, Helm, EveryEvalEver, AlpacaEval, MTBench, Arena, LiteLLM, OpenTelemetry, Langfuse, Long, Wide,
)  # fmt: skip
FORMATS: dict[str, type[Format]] = {format.name: format for format in _ORDER}

# Of formats that read some files of a folder by their names: whether a file is one of these.
_IS_READ: dict[str, Callable[[Path], bool]] = {
    LmEval.name: lm_eval.is_read, AlpacaEval.name: alpaca_eval.is_read, Helm.name: helm.is_read,
    EveryEvalEver.name: every_eval_ever.is_read, MTBench.name: mt_bench.is_read,
}  # fmt: skip


def build(name: str, options: Mapping[str, Any] | None = None) -> Format:
    """Build a format with options.

    Args:
        name: a key of `FORMATS`.
        options: field of the format → value.

    Raises:
        ConfigError: there is no such format or option.
    """
    if name not in FORMATS:
        raise ConfigError(expected=f"a format among {[AUTO, *FORMATS]}", found=repr(name), do="correct it")
    options = dict(options or {})
    allowed = [field.name for field in fields(FORMATS[name])]  # type: ignore[arg-type]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(
            expected=f"options of format {name} among {allowed}" if allowed else f"no option of format {name}",
            found=f"{unknown}",
            do="correct or remove them",
        )
    return FORMATS[name](**options)


def recognise(path: Path, options: Mapping[str, Any] | None = None) -> Format:
    """Find the format of a path by its beginning.

    Args:
        path: a file or folder.
        options: as of `build`; a format that does not have them is left out.

    Raises:
        RecordsError: it is none of them, holds two of them, or cannot be read.
        ConfigError: no format has these options.
    """
    source = _recognise(_preview(path), options)
    if path.is_dir():
        _refuse_other_formats(path, source)
    return source


def _refuse_other_formats(path: Path, source: Format) -> None:
    """Refuse a folder in which the format would leave out a file that another format reads."""
    is_read = _IS_READ.get(source.name)
    left_out = [] if is_read is None else [file for file in list_files(path) if not is_read(file)]
    for file in left_out:
        try:
            other = _recognise(_preview(file), {}).name
        except RecordsError:  # no evaluations
            continue
        if other != source.name:
            raise RecordsError(
                expected=f"one format in {path}",
                found=f"{source.name!r}, and {other!r} in {file}",
                do=f"import each by its own path, or name the format: zooter import {source.name} {path}",
            )


def _recognise(preview: Preview, options: Mapping[str, Any] | None) -> Format:
    path, options = preview.path, dict(options or {})
    having = [name for name, kind in FORMATS.items() if set(options) <= {f.name for f in fields(kind)}]  # type: ignore[arg-type]
    if not having:
        raise ConfigError(
            expected="options of one format", found=f"{sorted(options)}", do="name the format or correct them"
        )
    for name in having:
        candidate = build(name, options)
        if candidate.recognises(preview):
            return candidate
    raise RecordsError(
        expected=f"evaluations in one of the formats {having} at {path}",
        found=f"{preview.file} with {list(preview.columns)[:20]}" if preview.columns else f"{preview.file}",
        do="name the format (zooter import FORMAT PATH), or the columns: columns.query=… columns.candidate=…",
    )


def read(
    path: Path, name: str = AUTO, options: Mapping[str, Any] | None = None, note: Note = log.info
) -> Iterator[pa.RecordBatch]:
    """Read evaluations as rows of a recorded table.

    Args:
        path: a file or folder, or the address of a data set of the hub, hf:ORG/NAME.
        name: the format, or "auto" to recognise it.
        options: of the format.
        note: called with what was assumed or left out.

    Yields:
        Batches with the columns of `protocol.ROWS`.

    Raises:
        RecordsError: the data cannot be used; the message names the file and the row.
        ConfigError: there is no such format or option.
    """
    identifier = hub_id(path)
    if identifier is not None:
        with tempfile.TemporaryDirectory() as folder:
            yield from read(fetch(identifier, Path(folder)), name, options, note)
        return
    if name == AUTO:
        source = recognise(path, options)
        note(f"{path} is taken for the format {source.name!r}")
    else:
        source = build(name, options)
        list_files(path)  # a path that is not there is refused by its name
    yield from source.read(path, note)


def _preview(path: Path) -> Preview:
    file = list_files(path)[0]
    if kind(file) == "archive":
        return Preview(path, file)
    columns = tuple(column_names(file))
    first = next((row for _, row in read_objects(file)), {})
    return Preview(path, file, columns, first)
