"""List the runs, sweeps and caches in some folders with their sizes, and remove them.

Only files that zooter writes are listed and removed, by their names and places. Whatever else lies in a run's folder
stays, and with it the folder; so do links, and runs that were killed before they had a report.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zooter.errors import ConfigError, StoreError

# Sub-folders of a cache → what is in them, and whether it may have been paid for.
STORES = {
    "responses": ("responses of candidates", True),
    "failures": ("failed calls", True),
    "rewards": ("rewards", True),
    "judged": ("replies of judges", True),
    "tags": ("tags of a tagging model", True),
    "embeddings": ("embeddings of queries", False),
    "graphs": ("ONNX graphs of encoders", False),
}
_HASH = "[0-9a-f]{32}"
_STORE_FILE = re.compile(rf"(.+/)?(\.?{_HASH}\.parquet(\.{_HASH}\.tmp)?|{_HASH}/((float32|int8)\.onnx|manifest\.json))")
_RUN_FILE = re.compile(
    r"report\.(json|md|html)|failure\.json|(records|labels|decisions)\.parquet|(train|infer)(_ddp_process_\d+)?\.log"
    r"|plots/[^/]+\.png|metrics/(metrics\.csv|hparams\.yaml)|checkpoints/.+\.ckpt|export/.+|wandb/.+"
    r"|compared/(report\.(json|md|html)|decisions\.parquet|plots/[^/]+\.png)"
)
_SWEEP_FILE = re.compile(rf"sweep\.(csv|md|png|html)|multirun\.yaml|\d+/({_RUN_FILE.pattern})")


@dataclass(frozen=True)
class Leftover:
    """A run, a sweep or a part of a cache.

    Attributes:
        kind: what it is, for people.
        folder: where it is.
        files: those of zooter, which are removed.
        others: number of other files in the folder, which stay.
        locked: folders that a process at work in it holds.
        is_paid: it may hold what candidates or judges were paid for.
    """

    kind: str
    folder: Path
    files: tuple[Path, ...]
    others: int
    locked: tuple[Path, ...]
    is_paid: bool = False

    @property
    def size(self) -> int:
        """Size of its files in bytes."""
        return sum(file.lstat().st_size for file in self.files)

    @property
    def modified(self) -> float:
        """Time of its last change, in seconds since the epoch."""
        return max(file.lstat().st_mtime for file in self.files)


def main(paths: Sequence[Path], remove_all: bool, console: Console | None = None) -> None:
    """Print what there is in folders, and remove it if that is wanted.

    Args:
        paths: runs, sweeps, caches, parts of caches, or folders that hold such; empty: `runs` and the cache.
        remove_all: remove what is listed, except parts of a cache that may have been paid for and are not in `paths`.
        console: None is the terminal.

    Raises:
        ConfigError: there is nothing of zooter in one of the paths.
        StoreError: a process is at work in one of the folders, or a file cannot be removed.
    """
    console = console or Console()
    leftovers = list_leftovers(paths)
    if not leftovers:
        console.print("no run, sweep or cache here; name other folders: zooter clean FOLDER …")
        return
    console.print(_table(leftovers))
    named = {path.resolve() for path in paths}
    kept = [item for item in leftovers if item.is_paid and item.folder.resolve() not in named]
    removed = [item for item in leftovers if item not in kept]
    if kept:
        names = " ".join(str(item.folder) for item in kept)
        console.print(f"may have been paid for, and is only removed by name: {names}", soft_wrap=True, markup=False)
    if not remove_all:
        console.print("nothing was removed; `zooter clean --remove` removes these, `zooter clean PATH --remove` one")
        return
    for item in removed:
        freed = _megabytes(item.size)
        remove(item)
        stays = f"; {item.others} other files stay" if item.others else ""
        console.print(f"removed {item.folder}, {freed}{stays}", soft_wrap=True, markup=False, highlight=False)


def list_leftovers(paths: Sequence[Path]) -> list[Leftover]:
    """List runs, sweeps and parts of caches.

    Args:
        paths: such folders, or folders that directly hold such; empty: `runs` and the cache, where they exist.

    Raises:
        ConfigError: there is none in one of the paths.
    """
    leftovers: dict[Path, Leftover] = {}
    for path in paths or [Path("runs"), Path(os.environ.get("ZOOTER_CACHE", "cache"))]:
        items = list(_in_folder(path))
        if not items and path.is_dir() and not path.is_symlink():
            items = [item for child in sorted(path.iterdir()) for item in _in_folder(child)]
        if paths and not items:
            raise ConfigError(
                expected=f"a run, a sweep or a cache of zooter in {path}",
                found="none" if path.is_dir() else "no such folder",
                do="name the folder of a finished run, or remove it yourself",
            )
        leftovers |= {item.folder.resolve(): item for item in items}
    return list(leftovers.values())


def remove(item: Leftover) -> None:
    """Remove the files of a run, a sweep or a part of a cache, and the folders that are empty then.

    Raises:
        StoreError: a process is at work there, and nothing was removed; or a file cannot be removed.
    """
    from zooter.data.locks import exclusive  # needs filelock, which a base install has not

    with ExitStack() as locks:
        for folder in item.locked:
            locks.enter_context(exclusive(folder, "folder to be removed"))
        for file in item.files:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(
                    expected=f"to remove {file}", found=error.strerror or str(error), do="change its rights"
                ) from error
    for name, _, _ in os.walk(item.folder, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(name).rmdir()
    if item.folder.name in STORES:
        with suppress(OSError):
            item.folder.parent.rmdir()


def _in_folder(folder: Path) -> Iterator[Leftover]:
    """List what a folder is: a run, a sweep, a part of a cache, or a cache, with all its parts."""
    if folder.is_symlink() or not folder.is_dir():
        return
    stores = [folder] if folder.name in STORES else [folder / name for name in STORES]
    for store in stores:
        kind, is_paid = STORES[store.name]
        files, others = _sort_files(store, _STORE_FILE)
        if files:
            yield Leftover(f"cache: {kind}", store, files, others, (store.parent,), is_paid)
    if _is_job(folder):
        yield Leftover("run", folder, *_sort_files(folder, _RUN_FILE), (folder,))
        return
    jobs = tuple(path for path in sorted(folder.glob("[0-9]*")) if path.name.isdecimal() and _is_job(path))
    if jobs:
        yield Leftover(f"sweep of {len(jobs)} jobs", folder, *_sort_files(folder, _SWEEP_FILE), jobs)


def _is_job(folder: Path) -> bool:
    """Whether there is a report of zooter in a folder, or the reason why a job of a sweep failed."""
    for name, keys in (("report.json", {"data", "settings", "seconds"}), ("failure.json", {"overrides", "reason"})):
        with suppress(OSError, ValueError):
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(content, dict) and keys <= content.keys():
                return True
    return False


def _sort_files(folder: Path, pattern: re.Pattern[str]) -> tuple[tuple[Path, ...], int]:
    """List the files below a folder whose relative path matches; count the others, but for locks."""
    files, others = [], 0
    if folder.is_symlink():
        return (), 0
    for parent, folders, names in os.walk(folder):
        others += sum((Path(parent) / name).is_symlink() for name in folders)
        for path in (Path(parent) / name for name in names):
            if pattern.fullmatch(path.relative_to(folder).as_posix()) and not path.is_symlink():
                files.append(path)
            else:
                others += path.name not in (".lock", ".lock.json")
    return tuple(files), others


def _table(leftovers: Sequence[Leftover]) -> Table:
    view = Table()
    for name in ("what", "folder"):
        view.add_column(name, overflow="fold")
    for name in ("size", "changed", "other files"):
        view.add_column(name, justify="right", no_wrap=True)
    for item in sorted(leftovers, key=lambda item: item.size, reverse=True):
        changed = f"{datetime.fromtimestamp(item.modified):%Y-%m-%d %H:%M}"
        view.add_row(item.kind, Text(str(item.folder)), _megabytes(item.size), changed, str(item.others or ""))
    view.caption = f"{_megabytes(sum(item.size for item in leftovers))} in all"
    return view


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
