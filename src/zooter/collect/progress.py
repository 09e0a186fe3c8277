"""The bar of a long stage: how far, how fast, how much longer, and what it has cost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.progress import ProgressColumn as Column
from rich.text import Text


class Rate(Column):
    """Cells a second."""

    def render(self, task: Task) -> Text:
        """Of the last moments; nothing before the first cell."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "–/s")


@contextmanager
def progress_bar(title: str, total: int, console: Console | None = None) -> Iterator[Callable[[int, float, int], None]]:
    """A bar for `total` cells; gives a function that takes cells done, US dollars spent and failures, all of them new.

    It is shown on a terminal only and leaves nothing behind.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )  # fmt: skip
    spent, failures = 0.0, 0
    console = console or Console(stderr=True)
    with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, told="")

        def advance(cells: int, dollars: float = 0.0, failed: int = 0) -> None:
            nonlocal spent, failures
            spent, failures = spent + dollars, failures + failed
            told = [f"${spent:.4f}" if spent else "", f"{failures} failed" if failures else ""]
            progress.update(task, advance=cells, told=" ".join(filter(None, told)))

        yield advance
