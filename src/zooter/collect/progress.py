"""Show the progress of a long stage, as a bar or as log lines: cells done, rate, time left, cost and failures."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from zooter.collect.engine.outcomes import Outcomes

LOG_SECONDS = 10.0  # between two lines where there is no terminal

log = logging.getLogger(__name__)


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
def progress_bar(
    title: str | None, total: int, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """Show a progress bar while the context is open, and remove it at the end.

    Where there is no terminal, a line is logged every `LOG_SECONDS` instead.

    Args:
        title: text before the bar; None shows nothing.
        total: number of cells.
        console: where to draw; None is standard error.
        clock: returns the present time in seconds.

    Yields:
        A function that moves the bar on.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[summary]}"),
    )  # fmt: skip
    console = console or Console(stderr=True)
    state = _Progress(title or "", total, clock())
    with Progress(
        *columns, transient=True, console=console, disable=title is None or not console.is_terminal
    ) as progress:
        task = progress.add_task(title or "", total=total, summary="")

        def advance(cells: int, dollars: float = 0.0, failed: int = 0) -> None:
            """Count finished cells, and move the bar or log a line."""
            state.add(cells, dollars, failed)
            progress.update(task, advance=cells, summary=state.summary())
            if title is not None and not console.is_terminal:
                state.log_when_due(clock())

        yield advance


def describe(title: str, total: int, outcomes: Outcomes, in_flight: int, seconds: float) -> dict[str, object]:
    """Describe how far a stage is, for a line of JSON.

    Args:
        title: of the stage.
        total: number of cells.
        outcomes: of the cells so far.
        in_flight: number of cells that are being computed.
        seconds: since the start.

    Returns:
        Counts, rates per second, US dollars, and seconds left; None where it cannot be estimated yet.
    """
    spending, cells = outcomes.spending, outcomes.cells
    share = cells / total if total else 1.0
    return {
        "at": time.time(), "stage": title, "cells": total, "done": cells, "failed": outcomes.failed,
        "in_flight": in_flight, "cells_per_second": cells / seconds,
        "tokens_per_second": (spending.input_tokens + spending.output_tokens) / seconds, "dollars": spending.dollars,
        "dollars_to_come": spending.dollars * (1 - share) / share if cells else None,
        "seconds_left": seconds * (1 - share) / share if cells else None,
    }  # fmt: skip


@dataclass
class _Progress:
    """Counts of a stage so far, and when a line about them was last logged."""

    title: str
    total: int
    start: float
    cells: int = 0
    dollars: float = 0.0
    failed: int = 0
    last_line: float | None = None

    def add(self, cells: int, dollars: float, failed: int) -> None:
        """Add what has happened since the last call.

        Args:
            cells: finished since the last call.
            dollars: what they cost.
            failed: how many of them failed.
        """
        self.cells, self.dollars, self.failed = self.cells + cells, self.dollars + dollars, self.failed + failed

    def summary(self) -> str:
        """Describe cost and failures, as far as there are any."""
        parts = [f"${self.dollars:.4f}" if self.dollars else "", f"{self.failed} failed" if self.failed else ""]
        return " ".join(filter(None, parts))

    def log_when_due(self, now: float) -> None:
        """Log a line unless the last one is younger than `LOG_SECONDS`.

        Args:
            now: seconds on the clock that gave `start`.
        """
        last = self.start if self.last_line is None else self.last_line
        if now - last < LOG_SECONDS:
            return
        self.last_line = now
        rate = self.cells / (now - self.start)
        left = f", {(self.total - self.cells) / rate:,.0f} s left" if rate else ""
        log.info("%s: %s of %s, %.1f/s%s %s", self.title, f"{self.cells:,}", f"{self.total:,}", rate, left,
                 self.summary())  # fmt: skip
