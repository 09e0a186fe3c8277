"""Test the claims of ZOOTER, Margin Sampling and ModelSwitch on the embedded zoo.

python benchmarks/papers.py --out docs/papers.md

The candidates answer live, and every answer is cached under `--cache`: a second run asks nothing. `--only margin switch
debates` runs some of the four parts, without the table of claims.
"""

import argparse
import logging
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
    lines: list[str] = []
    for name in arguments.only:
        started = time.monotonic()
        lines += PARTS[name](arguments.cache)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    claims = papers_claims.section(lines) if len(arguments.only) == len(PARTS) else []
    text = "\n".join([*TITLE, *claims, *lines]).rstrip() + "\n"
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")


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
