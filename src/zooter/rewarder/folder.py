"""Where a reward model's files are, and what tells them from any others."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from zooter.errors import ConfigError

HUB_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
READ = {".json", ".txt", ".model", ".jinja", ".safetensors", ".py", ".bin"}


def digest(folder: Path) -> str:
    """A hash of the files that can change what a model says; where the folder lies changes nothing."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in READ:
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:32]


def hub_folder(model: str, revision: str | None, files: Sequence[str]) -> Path:
    """The folder of a hub model's files, downloaded where they are not here; it has the commit's name.

    Raises:
        ConfigError: there is no such model on a reachable hub.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise ConfigError(
            expected="rewarder.model to be a folder or a reachable hub id",
            found=f"{model!r}{offline}: {str(error).splitlines()[0]}",
            do="check the spelling and the network, or give a folder",
        ) from error
