"""Where the project's folders are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SHARED = ROOT.parent / "shared"  # real tables, where there are any
ZOO = ROOT / "data" / "zoo"
