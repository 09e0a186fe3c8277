"""Progress bars."""

import io

import pytest
from rich.console import Console

from zooter.collect import progress
from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.spending import Spending


def test_it_shows_cells_done_cost_and_failures() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with progress.progress_bar("asking", 10, console) as advance:
        advance(4, 0.25, 0)
        advance(3, 0.25, 1)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("asking", "7/10", "$0.5000", "1 failed"):
        assert part in shown


def test_nothing_is_drawn_outside_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with progress.progress_bar("asking", 10, console) as advance:
        advance(10, 0.0, 0)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_without_a_terminal_a_line_is_logged_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times = iter([0.0, 4.0, 10.0, 19.9, 20.0, 21.0])
    console = Console(file=io.StringIO(), force_terminal=False)
    with progress.progress_bar("asking", 1_200, console, lambda: next(times)) as advance:
        for _ in range(5):
            advance(20, 0.25, 1)
    lines = [" ".join(record.message.split()) for record in caplog.records]
    assert lines == [
        "asking: 40 of 1,200, 4.0/s, 290 s left $0.5000 2 failed",
        "asking: 80 of 1,200, 4.0/s, 280 s left $1.0000 4 failed",
    ]


def test_a_stage_without_a_title_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times = iter([0.0, 60.0])
    with progress.progress_bar(None, 10, Console(file=io.StringIO()), lambda: next(times)) as advance:
        advance(1)
    assert not caplog.records


def test_a_line_of_json_has_counts_rates_and_what_is_to_come() -> None:
    spending = Spending(calls=4, input_tokens=60, output_tokens=20, dollars=0.5)
    line = progress.describe("asking", 16, Outcomes(cells=4, failed=1, spending=spending), in_flight=8, seconds=2.0)
    assert line.pop("at")
    assert line == {
        "stage": "asking", "cells": 16, "done": 4, "failed": 1, "in_flight": 8, "cells_per_second": 2.0,
        "tokens_per_second": 40.0, "dollars": 0.5, "dollars_to_come": 1.5, "seconds_left": 6.0,
    }  # fmt: skip
    before = progress.describe("asking", 16, Outcomes(), in_flight=0, seconds=2.0)
    assert (before["cells_per_second"], before["dollars_to_come"], before["seconds_left"]) == (0.0, None, None)
