"""Import evaluations of other tools into a recorded table: `zooter import FORMAT PATH… out=records.parquet`."""

import dataclasses
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zooter.data.files import atomic_path
from zooter.data.formats import registry
from zooter.data.formats.protocol import ROWS, Note
from zooter.errors import ConfigError, RecordsError
from zooter.metrics.coverage import Coverage, CoverageCounter

_OPTION = re.compile(r"([a-z_]+)(?:\.(\w+))?=(.*)", re.DOTALL)
ROW_GROUP, ROW_GROUP_BYTES = 131_072, 2**27  # rows that are written together, unless they are larger
SHOWN_CANDIDATES = 40


@dataclass(frozen=True)
class ImportSettings:
    """What to import, and where to.

    Attributes:
        paths: files or folders, one after the other.
        format: a key of `zooter.data.formats.registry.FORMATS`, or "auto" to recognise each path.
        out: the Parquet file to write.
        overwrite: replace `out` if it exists.
        options: options of the format.
    """

    paths: tuple[Path, ...]
    format: str = registry.AUTO
    out: Path = Path("records.parquet")
    overwrite: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> None:
    """Import with settings from the command line, and print what the table covers.

    Args:
        arguments: FORMAT, paths, and options such as out=FILE or columns.query=question.
    """
    settings = parse(arguments)
    console = Console()
    if not settings.overwrite and settings.out.exists():
        raise ConfigError(
            expected=f"no file at {settings.out}", found="one", do="choose another out=FILE, or add overwrite=true"
        )
    with console.status("reading") as status:  # seen in a terminal only
        coverage = run(
            settings,
            lambda text: console.print(f"· {escape(text)}", soft_wrap=True),
            lambda rows: status.update(f"{rows:,} rows"),
        )
    show(coverage, settings.out, console)


def parse(arguments: Sequence[str]) -> ImportSettings:
    """Read the command line.

    Args:
        arguments: a format or "auto", one or more paths, and options as KEY=VALUE.

    Raises:
        ConfigError: there is no path, or an option is unknown or has a value of the wrong kind.
    """
    name, *rest = arguments
    paths: list[Path] = []
    options: dict[str, Any] = {}
    for argument in rest:
        match = _OPTION.fullmatch(argument)
        if match is None or Path(argument).exists():
            paths.append(Path(argument))
        elif match[2] is not None:
            options.setdefault(match[1], {})[match[2]] = match[3]
        else:
            options[match[1]] = match[3]
    if not paths:
        raise ConfigError(expected="a path to import", found="none", do="write zooter import FORMAT PATH out=FILE")
    out = Path(options.pop("out", "records.parquet"))
    overwrite = options.pop("overwrite", "false")
    if overwrite not in ("true", "false"):
        raise ConfigError(expected="overwrite=true or overwrite=false", found=overwrite, do="correct it")
    return ImportSettings(tuple(paths), name, out, overwrite == "true", typed_options(name, options))


def typed_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options from the texts of a command line to the types of a format's fields.

    Args:
        name: a format, or "auto", which has the options of every format.
        options: field → text, or a mapping of texts.

    Raises:
        ConfigError: a value has the wrong kind. Unknown options are left for the format to refuse.
    """
    formats = list(registry.FORMATS.values()) if name == registry.AUTO else [registry.FORMATS.get(name)]
    kinds = {
        f.name: typing.get_type_hints(kind)[f.name]
        for kind in formats
        if kind is not None
        for f in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    return {key: _typed(key, value, kinds.get(key)) for key, value in options.items()}


def _typed(key: str, value: Any, kind: Any) -> Any:
    is_mapping = typing.get_origin(kind) is Mapping or kind == Mapping[str, str]
    if kind is not None and is_mapping != isinstance(value, Mapping):
        raise ConfigError(
            expected=f"{key}.NAME=VALUE" if is_mapping else f"{key}=VALUE", found=f"{key}={value}", do="correct it"
        )
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in value.strip("[]").split(",") if part.strip())
    if kind in (int, bool):
        choices = {"true": True, "false": False} if kind is bool else {value: int(value)} if value.isdecimal() else {}
        if value not in choices:
            expected = "true or false" if kind is bool else "a whole number"
            raise ConfigError(expected=f"{expected} as {key}", found=repr(value), do="correct it")
        return choices[value]
    return Path(value) if kind == Path | None else value


def run(settings: ImportSettings, note: Note, progress: Callable[[int], None] = lambda rows: None) -> Coverage:
    """Write the recorded table, completely or not at all.

    Args:
        settings: what to import.
        note: called with what was assumed or left out.
        progress: called with the number of rows read so far.

    Returns:
        What the table covers.

    Raises:
        RecordsError: the data cannot be used, or hold no row.
        ConfigError: there is no such format or option.
    """
    counter, row_count = CoverageCounter(), 0
    with atomic_path(settings.out) as whole, atomic_path(settings.out.with_suffix(".rows")) as rows:
        with pq.ParquetWriter(rows, ROWS, compression="zstd") as writer:
            for path in settings.paths:
                for table in _row_groups(path, settings, note, counter):
                    writer.write_table(table)
                    row_count += len(table)
                    progress(row_count)
        if not counter.cells:
            raise RecordsError(
                expected=f"at least one row in {', '.join(map(str, settings.paths))}", found="none",
                do="give evaluations with rows",
            )  # fmt: skip
        samples = counter.free_samples()
        if samples is None:
            rows.replace(whole)
        else:
            _renumber(rows, whole, samples)
            rows.unlink()
    return counter.summarise()


def _row_groups(path: Path, settings: ImportSettings, note: Note, counter: CoverageCounter) -> Iterator[pa.Table]:
    """Collect a path's batches into tables that are written as one row group each."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in registry.read(path, settings.format, settings.options, note):
        if len(batch):
            counter.add(batch)
            waiting.append(batch)
            rows, size = rows + len(batch), size + batch.nbytes
        if rows >= ROW_GROUP or size > ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _renumber(source: Path, target: Path, samples: NDArray[np.int64]) -> None:
    """Copy a table with other numbers of samples."""
    column = ROWS.get_field_index("sample")
    start = 0
    with pq.ParquetWriter(target, ROWS, compression="zstd") as writer:
        for batch in pq.ParquetFile(source).iter_batches(batch_size=ROW_GROUP):
            numbers = pa.array(samples[start : start + len(batch)])
            writer.write_batch(batch.set_column(column, ROWS.field("sample"), numbers))
            start += len(batch)


def show(coverage: Coverage, out: Path, console: Console) -> None:
    """Print what a table covers, what is wrong with it, and the next command.

    Args:
        coverage: what the written table covers.
        out: the table that was written.
        console: where it is printed.
    """
    console.print(_counts(coverage, out))
    console.print(_candidates(coverage))
    for line in coverage.warnings():
        console.print(f"[bold]Warning:[/bold] {escape(line)}", soft_wrap=True)
    console.print(f"Next: [bold]{escape(next_command(coverage, out))}[/bold]", soft_wrap=True)


def next_command(coverage: Coverage, out: Path) -> str:
    """Name the command that follows an import."""
    if not coverage.rewards.sum():
        return f"python train.py reader=file queries={out} responder=replay responder.recorded={out} rewarder=… pool=…"
    return f"zooter analyze {out}" if len(coverage.candidates) > 1 else "record another candidate on the same queries"


def _counts(coverage: Coverage, out: Path) -> Table:
    n, m = coverage.queries, len(coverage.candidates)
    table = Table(
        "", "", title=f"{out}: {coverage.rows:,} rows", box=SIMPLE_HEAD, show_header=False, title_style="bold"
    )
    lines: list[tuple[str, str]] = [
        ("queries × candidates", f"{n:,} × {m}"),
        ("queries with every candidate", f"{coverage.complete:,} ({coverage.complete / n:.1%})"),
        ("missing cells", f"{coverage.missing:,} ({coverage.missing / (n * m):.1%})"),
        ("repeated cells", f"{coverage.duplicates:,} with the same reward, {coverage.conflicts:,} with another"),
        ("rewards", "none" if np.isnan(coverage.lowest) else f"{coverage.lowest:g} … {coverage.highest:g}"),
    ]
    if coverage.compared:
        lines += [
            ("queries with two best or more", f"{coverage.ties:,} ({coverage.ties / coverage.compared:.1%})"),
            ("queries on which all are equal", f"{coverage.equal:,} ({coverage.equal / coverage.compared:.1%})"),
        ]
    for line in lines:
        table.add_row(*line)
    return table


def _candidates(coverage: Coverage) -> Table:
    order = np.argsort(-np.nan_to_num(coverage.means, nan=-np.inf), kind="stable")
    table = Table(box=SIMPLE_HEAD)
    table.add_column("candidate", overflow="fold")
    for heading in ("rewarded queries", "mean reward", "best or tied"):
        table.add_column(heading, justify="right")
    for j in order[:SHOWN_CANDIDATES]:
        share = f"{coverage.wins[j] / coverage.compared:.1%}" if coverage.compared else "–"
        mean = "–" if np.isnan(coverage.means[j]) else f"{coverage.means[j]:.4f}"
        table.add_row(escape(coverage.candidates[j]), f"{coverage.rewards[j]:,}", mean, share)
    if len(order) > SHOWN_CANDIDATES:
        table.caption = f"and {len(order) - SHOWN_CANDIDATES} more candidates"
    return table
