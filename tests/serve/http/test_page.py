"""The page at `/` in a headless browser, where one is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support.upstreams import running_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(url: str, folder: Path, *more: str) -> str:
    """Return the page's DOM after its script has run."""
    assert CHROMIUM
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
         f"--user-data-dir={folder / 'browser'}", "--window-size=1000,1250", "--virtual-time-budget=4000", *more,
         "--dump-dom", url],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_shows_the_choice_its_probabilities_prices_tags_and_counts(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        front.chat("one for tiny")
        dom = browse(f"{front.url}/?query=code%20for%20large%20%3Cimg%20src%3Dx%3E", tmp_path)
    assert '<div id="choice">large</div>' in dom
    assert '<tr class="best"><td>large</td>' in dom
    for text in ("60 %", "30 %", "10 %", "0.2", "code", "90 %"):
        assert f">{text}</td>" in dom, text
    assert '<b>1</b><span class="dim">chats</span>' in dom
    assert '<b>2</b><span class="dim">decisions</span>' in dom
    assert "<img" not in dom


def test_the_page_may_run_its_own_script_and_nothing_else(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        answer = front.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in answer.text.split("<script>")[1]  # nothing from elsewhere
