"""Progress bar of a long stage: cells done, rate, time left, cost and failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Advance(Protocol):
    """Move a progress bar on."""

    def __call__(self, cells: int, dollars: float = 0.0, failed: int = 0) -> None:
        """Add what has happened since the last call.

        Args:
            cells: number of cells finished, failed ones included.
            dollars: their cost in US dollars.
            failed: number of those cells that failed.
        """
        ...


class RateColumn(ProgressColumn):
    """Column with the number of cells per second."""

    def render(self, task: Task) -> Text:
        """Show the recent rate, or a dash before the first cell."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "–/s")


@contextmanager
def progress_bar(title: str | None, total: int, console: Console | None = None) -> Iterator[Advance]:
    """Show a progress bar while the context is open, and remove it at the end.

    Args:
        title: text before the bar; None shows no bar.
        total: number of cells.
        console: where to draw; None is standard error. Nothing is drawn unless it is a terminal.

    Yields:
        A function that moves the bar on.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[summary]}"),
    )  # fmt: skip
    spent, failures = 0.0, 0
    console = console or Console(stderr=True)
    hidden = title is None or not console.is_terminal
    with Progress(*columns, transient=True, console=console, disable=hidden) as progress:
        task = progress.add_task(title or "", total=total, summary="")

        def advance(cells: int, dollars: float = 0.0, failed: int = 0) -> None:
            nonlocal spent, failures
            spent, failures = spent + dollars, failures + failed
            parts = [f"${spent:.4f}" if spent else "", f"{failures} failed" if failures else ""]
            progress.update(task, advance=cells, summary=" ".join(filter(None, parts)))

        yield advance
