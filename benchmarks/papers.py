"""Test the claims of ZOOTER, Margin Sampling and ModelSwitch on the embedded zoo.

python benchmarks/papers.py --out docs/papers.md

The candidates answer live, and every answer is cached under `--cache`: a second run asks nothing. `--only margin` or
several of the four parts measures these anew; the others stay as the file has them.
"""

import argparse
import logging
import re
import time
from pathlib import Path

import papers_claims
import papers_debate
import papers_margin
import papers_switch
import papers_zooter
import torch

PARTS = {
    "zooter": papers_zooter.section,
    "margin": papers_margin.section,
    "switch": papers_switch.section,
    "debates": papers_debate.section,
}


def main() -> None:
    """Print Markdown, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a file for the Markdown, in place of the screen")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    page = arguments.out.read_text(encoding="utf-8") if arguments.out is not None and arguments.out.exists() else ""
    parts = read_parts(page)
    for name in arguments.only:
        started = time.monotonic()
        parts[name] = PARTS[name](arguments.cache)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    lines = [line for name in PARTS for line in parts.get(name, [])]
    text = "\n".join([*TITLE, *papers_claims.section(lines), *lines]).rstrip() + "\n"
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")


def read_parts(page: str) -> dict[str, list[str]]:
    """Return the lines of the parts that a page has already, so that some can be measured anew."""
    parts: dict[str, list[str]] = {}
    for section in re.split(r"^(?=## )", page, flags=re.MULTILINE):
        name = next((name for name, heading in HEADINGS.items() if section.startswith(heading)), None)
        if name is not None:
            parts[name] = [*section.rstrip().splitlines(), ""]
    return parts


HEADINGS = {
    "zooter": "## ZOOTER", "margin": "## Margin Sampling", "switch": "## ModelSwitch", "debates": "## Both against",
}  # fmt: skip
TITLE = [
    "# What the papers claim, tried on the embedded zoo",
    "",
    "`python benchmarks/papers.py --out docs/papers.md` writes this page. The candidates are the tiny models of"
    " `data/zoo`, right means equal to the reference, and differences are in percentage points with 95 % intervals of a"
    " paired bootstrap over queries. A claim *holds* in a comparison when the interval is above 0; nothing was tuned to"
    " make one hold.",
    "",
]

if __name__ == "__main__":
    main()
