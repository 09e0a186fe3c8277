"""Progress bars."""

import io

from rich.console import Console

from zooter.collect import progress


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
