"""The pages of runs, comparisons, sweeps and analyses in Chromium: on a screen and a phone, light and dark."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import CHROMIUM, browser
from support.made_up import table

from zooter.commands.analyze_page import page
from zooter.data.files import write_atomically
from zooter.evaluation import html_report, selector_report, sweep
from zooter.evaluation.router_plots import save_plots
from zooter.evaluation.table_analysis import analyse_table

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

SCREEN, PHONE = 1280, 390
NAMES = [f"a-provider/a-model-with-a-long-name-{i}-instruct" for i in range(30)]
TAGS = [f"a benchmark, subject {i}" for i in range(57)]
QUERY = "Which of these is right? " + "x" * 300  # a long query of one long word
SMALL = """[...document.querySelectorAll('p, td, th, li, h1, h2, pre')].filter(
    e => parseFloat(getComputedStyle(e).fontSize) < 12).length"""
NARROW = "[...document.querySelectorAll('img, svg')].filter(e => e.getBoundingClientRect().width < 450).length"
OUTSIDE = """[...document.querySelectorAll('body *')].filter(
    e => !e.closest('.wide, pre, svg') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""


def example() -> dict[str, Any]:
    return {
        "query": QUERY,
        "routed": NAMES[0],
        "routed_reward": 1.0,
        "best_single": NAMES[1],
        "best_single_reward": 0.0,
    }


@pytest.fixture
def pages(report: dict[str, Any], compared: dict[str, Any], tmp_path: Path) -> dict[str, Path]:
    """Write one page of each kind, with 30 candidates and 57 tags where it has such."""
    test, shares = report["test"], dict.fromkeys(NAMES[:3], 1 / 3)
    some = next(iter(test["candidates"].values()))
    test["candidates"] = dict.fromkeys(NAMES, some)
    test["tags"] = [{**test["tags"][0], "tag": tag, "candidates": [0.5] * 30} for tag in TAGS]
    report["choices_by_tag"] = [{"tag": tag, "queries": 3, "chosen": shares} for tag in TAGS]
    report["examples"] = {"differing": 20, "better": 10, "worse": 10, "rows": [example()] * 20}
    html_report.write_router_page(report, tmp_path / "run", save_plots(test, tmp_path / "run" / "plots"))
    compared["choices_by_tag"] = {
        name: [{"tag": "t|1", "queries": 40, "chosen": shares}] for name in compared["selectors"]
    }
    compared["examples"] = {"selector": "margin", **report["examples"]}
    plots = selector_report.write(compared, tmp_path / "compared")
    html_report.write_selectors_page(compared, tmp_path / "compared", plots)
    numbers = dict.fromkeys(sweep.METRICS, 0.5) | {"failure": None}
    sweep.write_summary([{"label.beta": i / 20, **numbers} for i in range(21)], tmp_path)
    write_atomically(tmp_path / "analysis.html", page(analyse_table(table(tmp_path / "table.parquet"), {})))
    return {
        "run": tmp_path / "run" / "report.html", "comparison": tmp_path / "compared" / "report.html",
        "sweep": tmp_path / "sweep.html", "analysis": tmp_path / "analysis.html",
    }  # fmt: skip


@pytest.mark.parametrize("width", [SCREEN, PHONE])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_readable(pages: dict[str, Path], width: int, dark: bool) -> None:
    async def look() -> None:
        async with browser() as tab:
            for name, path in pages.items():
                await tab.open(path, width, dark)
                assert await tab.value("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
                assert await tab.value(OUTSIDE) == [], name
                assert await tab.value(SMALL) == 0, name
                assert await tab.value(NARROW) == 0, name
                assert await tab.value("[...document.images].every(i => i.naturalWidth > 0)"), name
                assert await tab.value("document.images.length + document.querySelectorAll('svg').length") >= 1, name
                await check_colours(tab, dark, name)
            loaded = {event["request"]["url"] for method, event in tab.events if method == "Network.requestWillBeSent"}
            assert {url.partition(":")[0] for url in loaded} <= {"file", "data"}
            assert not [event for method, event in tab.events if method == "Log.entryAdded"]

    async def check_colours(tab: Any, dark: bool, name: str) -> None:
        corner = (await tab.pixels())[:8, :8].mean()
        assert corner < 0.2 if dark else corner > 0.9, name
        text = await tab.value("getComputedStyle(document.body).color")
        brightness = np.mean([int(part) for part in text.removeprefix("rgb(").rstrip(")").split(",")]) / 255
        assert abs(brightness - corner) > 0.6, f"{name}: {text} on {corner}"

    asyncio.run(look())


def test_the_choice_by_tag_stands_on_the_pages(pages: dict[str, Path]) -> None:
    async def look() -> None:
        async with browser() as tab:
            for name in ("run", "comparison"):
                await tab.open(pages[name], SCREEN, dark=False)
                headings = await tab.value("[...document.querySelectorAll('h2')].map(e => e.innerText)")
                assert "Choice by tag" in headings, name
                cell = await tab.value("document.querySelector('td.text').innerText")
                assert cell == ", ".join(f"{candidate} 33%" for candidate in NAMES[:3])

    asyncio.run(look())
