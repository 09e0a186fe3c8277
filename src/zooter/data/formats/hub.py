"""Fetch a data set of the Hugging Face hub into a folder, which is then imported as any other."""

import importlib.util
import re
from pathlib import Path

from zooter.errors import ConfigError, RecordsError

_ADDRESS = re.compile(r"hf:([\w.-]+/[\w.-]+)")


def hub_id(path: Path) -> str | None:
    """Read the id of a data set from its address hf:ORG/NAME; None for a path of this machine.

    The prefix is asked for, so that a mistyped path is never sent to the hub.
    """
    match = _ADDRESS.fullmatch(str(path))
    return None if match is None or path.exists() else match[1]


def fetch(identifier: str, folder: Path) -> Path:
    """Load all parts of a data set with the library `datasets`, and save them.

    Code of a data set is never run.

    Args:
        identifier: ORG/NAME; a data set with several configurations has to be saved by hand.
        folder: a new sub-folder of it gets the data set, as `save_to_disk` writes it.

    Returns:
        That sub-folder.

    Raises:
        ConfigError: the library is not installed.
        RecordsError: it cannot be loaded.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError(
            expected=f"the library `datasets`, to load {identifier} from the hub",
            found="not installed",
            do="pip install 'zooter[train]'",
        )
    import datasets

    saved = folder / identifier
    try:
        datasets.load_dataset(identifier).save_to_disk(str(saved))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise RecordsError(
            expected=f"a data set {identifier} on a reachable hub",
            found=(str(error).splitlines() or [type(error).__name__])[0][:300],
            do="check the id, or load it where the hub is reached, and import the folder that save_to_disk writes",
        ) from error
    return saved
