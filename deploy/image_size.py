"""Add up the image's layers from the sizes of installed packages: `python deploy/image_size.py`.

Of each package that the image installs count the files that its wheel lists, less those of `unused.txt`, which the
Dockerfile deletes. It wants an environment with `zooter[serve,otel]`. The exit status is 1 above `LIMIT`.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

EXTRAS = ("serve", "otel")
BASE = 125.0  # MB of python:3.12-slim, unpacked
LIMIT = 400.0  # MB
FOLDER = Path(__file__).parent


def names(requirements: Iterable[str]) -> set[str]:
    """Return the packages that requirements name, without those of extras and of Windows."""
    required = set()
    for line in requirements:
        requirement, _, marker = line.partition(";")
        if "extra" not in marker and not re.search(r"== *.win32", marker):
            required.add(re.split(r"[\s<>=!~\[(]", requirement.strip())[0].lower())
    return required


def installed() -> set[str]:
    """Return the packages that the image installs beside zooter."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][extra] for extra in EXTRAS]
    waiting, packages = names(sum(extras, project["dependencies"])) - {"zooter"}, set[str]()
    while waiting:
        package = waiting.pop()
        try:
            required = names(metadata.requires(package) or ())
        except metadata.PackageNotFoundError:
            continue  # for another version of Python or another system
        packages.add(package)
        waiting |= required - packages
    return packages


def files(package: str) -> Iterator[tuple[str, int]]:
    """Yield the paths and sizes of a package's files, as its wheel lists them; without compiled ones."""
    for file in metadata.files(package) or []:
        if not str(file).endswith(".pyc"):
            yield str(file), file.size or 0


def unused_patterns() -> list[str]:
    """Return the patterns of files that the image does not need."""
    return [line for line in (FOLDER / "unused.txt").read_text().splitlines() if line and not line.startswith("#")]


def sizes() -> dict[str, tuple[float, float]]:
    """Return package → its megabytes, and those that are kept."""
    patterns, result = unused_patterns(), {}
    for package in installed():
        listed = list(files(package))
        kept = [size for path, size in listed if not any(fnmatch(path, pattern) for pattern in patterns)]
        result[package] = sum(size for _, size in listed) / 1e6, sum(kept) / 1e6
    return result


def main() -> int:
    """Print the sizes."""
    packages = sizes()
    for package, (whole, kept) in sorted(packages.items(), key=lambda item: -item[1][1])[:12]:
        print(f"{package:24} {kept:6.1f} MB of {whole:6.1f}")
    total = BASE + sum(kept for _, kept in packages.values())
    print(f"{len(packages)} packages and {BASE:g} MB of Python: {total:.0f} MB, limit {LIMIT:g}")
    return int(total > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
