"""Locate or download a hub model's files, and fingerprint those that determine its output."""

import hashlib
import importlib.util
import os
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

from zooter.data.files import sha256
from zooter.data.pool import Candidate
from zooter.errors import ConfigError

PACKAGE = "pkg://"  # of a model inside an installed Python package
CANDIDATE_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".safetensors", ".tiktoken"}
SAFE_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")  # weights and tokenizers; nothing that runs code


def candidate_fingerprint(candidate: Candidate) -> str:
    """Identify the model of a candidate that runs on this machine.

    Args:
        candidate: its `model` (or else its `name`) is a folder or a hub id.

    Returns:
        "MODEL@COMMIT" for a hub model, 32 hexadecimal digits for a folder.

    Raises:
        ConfigError: there is no such folder, and no such model on a reachable hub.
    """
    setting = f"the model of candidate {candidate.name!r}"
    return model_fingerprint(candidate.model or candidate.name, candidate.revision, CANDIDATE_SUFFIXES, setting)


def model_fingerprint(model: str, revision: str | None, suffixes: Collection[str], setting: str) -> str:
    """Identify a model by content: the commit of a hub model, or a hash of the files of a folder.

    Args:
        model: a folder or a hub id.
        revision: the hub commit or tag; None is the hub's default branch.
        suffixes: suffixes of the files that are hashed, such as ".json".
        setting: the setting that holds `model`, for error messages.

    Returns:
        "MODEL@COMMIT" for a hub model, 32 hexadecimal digits for a folder.

    Raises:
        ConfigError: there is no such folder, and no such model on a reachable hub.
    """
    if Path(model).is_dir():
        return folder_fingerprint(Path(model), suffixes)
    # The folder of a snapshot is named after the commit, so downloading one small file is enough.
    return f"{model}@{hub_folder(model, revision, ['config.json'], setting).name}"


def folder_fingerprint(folder: Path, suffixes: Collection[str], salt: str = "") -> str:
    """Hash the names and contents of a model's files; the folder's own path does not count.

    Args:
        folder: a folder with a `config.json`; sub-folders are not searched.
        suffixes: suffixes of the files that are hashed, such as ".json".
        salt: text that is hashed before the files.

    Returns:
        32 hexadecimal digits.

    Raises:
        ConfigError: the folder holds no `config.json`.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.is_file())
    if folder / "config.json" not in paths:
        raise ConfigError(expected="a model's config.json", found=f"none in {folder}", do="give another folder")
    # Within one process, a file is hashed again only if its size or modification time has changed.
    return _fingerprint(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths), salt)


def hub_folder(model: str, revision: str | None, patterns: Sequence[str], setting: str) -> Path:
    """Locate the snapshot folder of a hub model, and download the files that it lacks.

    Args:
        model: the hub id.
        revision: the hub commit or tag; None is the hub's default branch.
        patterns: glob patterns of the files to download.
        setting: the setting that holds `model`, for error messages.

    Returns:
        The snapshot folder, which is named after the commit.

    Raises:
        ConfigError: there is no such model on a reachable hub.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            expected=f"{setting} to be a folder or a reachable hub id",
            found=f"{model!r}{offline}: {reason}",
            do="check the spelling and the network, or give a folder",
        ) from error


@lru_cache(maxsize=64)
def _fingerprint(files: tuple[tuple[str, int, int], ...], salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    for name, _, _ in files:
        digest.update(Path(name).name.encode() + bytes.fromhex(sha256(Path(name))))
    return digest.hexdigest()[:32]


def model_folder(model: str, revision: str | None, patterns: Sequence[str], setting: str) -> Path:
    """Locate a model's files; downloads them where it is a hub id.

    Args:
        model: a folder, a hub id, or `pkg://PACKAGE/FOLDER`.
        revision: the hub commit or tag; None is the hub's default branch.
        patterns: of the files to download.
        setting: that names the model, for errors.

    Raises:
        ConfigError: there is no such folder, package or hub model.
    """
    if model.startswith(PACKAGE):
        return package_folder(model)
    return Path(model) if Path(model).is_dir() else hub_folder(model, revision, patterns, setting)


def model_name(model: str) -> str:
    """Name a model in a report.

    Args:
        model: a folder, a hub id, or `pkg://PACKAGE/FOLDER`.

    Returns:
        The last part of the folder or hub id, or the package.
    """
    package = model.removeprefix(PACKAGE)
    return Path(model).name if package == model else package.split("/")[0]


def package_folder(model: str) -> Path:
    """Locate a folder inside an installed Python package.

    Args:
        model: `pkg://PACKAGE/FOLDER`.

    Raises:
        ConfigError: there is no such package or folder.
    """
    package, _, inside = model.removeprefix(PACKAGE).partition("/")
    # The package is located, not imported: importing it may load a whole framework.
    spec = importlib.util.find_spec(package)
    folder = Path(str(spec.origin)).parent / inside if spec else None
    if folder is None or not folder.is_dir():
        raise ConfigError(
            expected=f"an installed package with the folder of {model}",
            found="none",
            do=f"pip install {package.replace('_', '-')}, or set encoder.model to a folder or hub id",
        )
    return folder
