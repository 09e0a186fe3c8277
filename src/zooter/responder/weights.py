"""Where a local model's files are, and what tells them from any others."""

import hashlib
from functools import lru_cache
from pathlib import Path

from zooter.errors import ConfigError
from zooter.pool import Candidate

READ = {".json", ".jinja", ".txt", ".model", ".safetensors", ".tiktoken"}


def fingerprint(candidate: Candidate) -> str:
    """The commit of a hub model, or a hash of the files of a folder: where the folder lies changes nothing.

    Raises:
        ConfigError: there is no such folder, and no such model on a reachable hub.
    """
    model = candidate.model or candidate.name
    if Path(model).is_dir():
        # Names, sizes and times stand for the contents between two readings by one process.
        files = tuple(sorted(path for path in Path(model).iterdir() if path.suffix in READ and path.is_file()))
        return _digest(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))
    return _commit(model, candidate.revision)


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    if not any(name.endswith("config.json") for name, _, _ in files):
        folder = Path(files[0][0]).parent if files else "the folder"
        raise ConfigError(expected="a model's config.json", found=f"none in {folder}", do="give another folder")
    digest = hashlib.sha256()
    for name, _, _ in files:
        path = Path(name)
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


@lru_cache(maxsize=64)
def _commit(model: str, revision: str | None) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        # The folder of a cached file is named after its commit; only this small file is fetched.
        config = Path(hf_hub_download(model, "config.json", revision=revision))
    except (OSError, HFValidationError) as error:
        raise ConfigError(
            expected=f"{model!r} to be a folder or a model of a reachable hub",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            do="check the spelling and the network, or set the candidate's `model` to a folder",
        ) from error
    return f"{model}@{config.parent.name}"
