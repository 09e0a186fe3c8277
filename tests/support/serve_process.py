"""Our server as a process of its own, with a fake router: python serve_process.py '{"export": …}'."""

import json
import sys
from pathlib import Path

from support import fake_router

from zooter.serve import server
from zooter.serve.settings import ServeSettings

if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    folders = {name: Path(told[name]) for name in ("export", "pool_file") if name in told}
    server.run(ServeSettings(**{**told, **folders}), fake_router.load)
