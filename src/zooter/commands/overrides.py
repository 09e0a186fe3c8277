"""Read the command line before Hydra does: the mode, selectors by name, renamed settings."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from zooter.errors import ConfigError

ALWAYS_COMPARED = ("random", "knn")  # selectors that every comparison has
MODE = "mode="
GROUP_OF_SETTING = {"truth": "rewarder", "compare_encoder": "encoder"}  # settings that a second group's file fills
LIVE_RUN = ("reader", "pool", "responder", "rewarder", "truth")
RENAMED_MODES = {"imitate": "to_huggingface"}

# Class → old key → new key.
RENAMED_KEYS: dict[str, dict[str, str]] = {
    "ServeSettings": {
        "sure": "switch_margin",
        "at_once": "max_concurrent_requests",
        "waiting": "max_queue",
        "tries": "max_attempts",
        "pause": "cooldown",
        "longest_pause": "max_cooldown",
        "drain": "shutdown_timeout",
        "reads": "query_from",
    },
    "MarginSelector": {"distinct": "merge_token_variants"},
    "EscalationThreshold": {"running": "online_threshold", "share": "escalation_rate"},
    "RandomSelector": {"share": "escalation_rate"},
    "FrozenRecipe": {"clusters": "clusterings"},
    "FinetuneRecipe": {"clusters": "clusterings"},
}


def read_mode(arguments: Sequence[str], modes: Collection[str], default: str) -> str:
    """Read `mode=…` from the command line.

    Args:
        arguments: the command line.
        modes: the modes that there are.
        default: the mode when none is given.

    Raises:
        ConfigError: there is no such mode.
    """
    requested = [argument.removeprefix(MODE) for argument in arguments if argument.startswith(MODE)]
    mode = RENAMED_MODES.get(requested[-1], requested[-1]) if requested else default
    if mode not in modes:
        close = get_close_matches(mode, modes, 1)
        raise ConfigError(
            expected=f"mode among {sorted(modes)}",
            found=repr(mode),
            do=f"write mode={close[0]}" if close else "correct it, or leave mode out to route queries",
        )
    return mode


def refuse_query(mode: str) -> None:
    """Refuse `query=TEXT` where a mode does not route one query.

    Raises:
        ConfigError: it does not.
    """
    if mode == "route":
        return
    files = f", or give mode={mode} a file of them: queries=FILE" if mode in ("drift", "export") else ""
    raise ConfigError(expected=f"no query=… with mode={mode}", found="one", do=f"leave mode out to route it{files}")


def option_folders(arguments: Sequence[str], folder: Path, group: str) -> list[Path]:
    """List the folders with the files of a choice: zooter's, and that of `--config-dir DIR`.

    Args:
        arguments: the command line.
        folder: zooter's settings.
        group: the choice, such as "selector".
    """
    flags = ("--config-dir", "-cd")
    own = [value for flag, value in pairwise(arguments) if flag in flags]
    own += [argument.partition("=")[2] for argument in arguments if argument.startswith("--config-dir=")]
    return [folder / group, *(Path(path) / group for path in own)]


def expand_selectors(arguments: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Turn `selectors=[routed,margin]` into Hydra overrides that choose a file of some folders for each name.

    `random` and `knn` always stand beside those that are asked for.

    Args:
        arguments: the command line.
        folders: those of selectors' YAML files.

    Raises:
        ConfigError: there is no such file.
    """
    options = sorted({path.stem for folder in folders for path in folder.glob("[!_]*.yaml")})
    others, names = [], []
    for argument in arguments:
        if argument.startswith("selectors="):
            names += [name.strip() for name in argument.removeprefix("selectors=").strip("[]").split(",")]
        else:
            others.append(argument)
    names = list(dict.fromkeys([*filter(None, names), *(name for name in ALWAYS_COMPARED if name in options)]))
    unknown = [name for name in names if name not in options]
    if unknown:
        close = get_close_matches(unknown[0], options, 1)
        raise ConfigError(
            expected=f"selectors among {options}",
            found=f"{unknown}",
            do=f"correct selectors=[…]; did you mean {close[0]}?" if close else "correct selectors=[…]",
        )
    # Beside the other overrides: argparse refuses a second group of them behind an option such as --cfg job.
    last = max((i for i, other in enumerate(others) if "=" in other and not other.startswith("-")), default=-1)
    end = last + 1 or len(others)
    return [*others[:end], *(f"+selector@selectors.{name}={name}" for name in names), *others[end:]]


def expand_short_names(arguments: Sequence[str]) -> list[str]:
    """Turn `truth=verify`, `compare_encoder=minilm` and `pool_file=FILE` into the Hydra overrides they stand for.

    Args:
        arguments: the command line of a mode that asks candidates; `mode=serve` has a setting `pool_file` of its own.
    """
    expanded: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in GROUP_OF_SETTING and equals:
            expanded.append(f"{GROUP_OF_SETTING[key]}@{key}={value}")
        elif key == "pool_file" and equals:
            expanded += ["pool=_file", f"pool.path={value}"]
        else:
            expanded.append(argument)
    return expanded


def refuse_renamed(arguments: Sequence[str], mode: str) -> None:
    """Refuse overrides of settings that were renamed, before Hydra calls them unknown.

    Args:
        arguments: the command line.
        mode: which settings they change.

    Raises:
        ConfigError: an override uses an old name; the message gives the new one.
    """
    for argument in arguments:
        key, equals, _ = argument.lstrip("+~").partition("=")
        *parents, name = key.split(".")
        renamed = _renamed_keys(parents, mode)
        if equals and name in renamed:
            new = ".".join([*parents, renamed[name]])
            raise ConfigError(expected=new, found=f"{key}, its old name", do=f"write {new}=…")


def refuse_null_choices(arguments: Sequence[str], folder: Path) -> None:
    """Refuse `reader=null`, which Hydra only takes in a file: a choice is left out where there is to be none.

    Args:
        arguments: the command line.
        folder: has a folder for each choice.

    Raises:
        ConfigError: a choice is set to null.
    """
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        group, _, setting = key.rpartition("@")
        group = group or GROUP_OF_SETTING.get(setting, setting)
        if value == "null" and group and (folder / group).is_dir():
            options = sorted(path.stem for path in (folder / group).glob("[!_]*.yaml"))
            do = f"leave {setting}=… out to choose none"
            raise ConfigError(expected=f"{setting} among {options}", found="null", do=do)


def refuse_missing(keys: Collection[str]) -> None:
    """Refuse settings in which the values of these keys were left open.

    Raises:
        ConfigError: there is one.
    """
    if keys:
        raise ConfigError(expected=f"a value for {min(keys)}", found="none", do=f"add {min(keys)}=… to the command")


def prefer_records(values: Mapping[str, Any], task: Sequence[str]) -> dict[str, Any]:
    """Leave a preset's live run out where `records=FILE` is on the command line and no `reader=…` is.

    Args:
        values: training settings.
        task: the command line's overrides.

    Returns:
        The settings, without reader, pool, responder, rewarder and truth where a table stands in for them.
    """
    keys = {argument.lstrip("+").partition("=")[0] for argument in task}
    if "records" not in keys or "reader" in keys or values.get("records") is None:
        return dict(values)
    return {**values, **{key: None for key in LIVE_RUN if key in values}}


def check_training_input(values: Mapping[str, Any]) -> None:
    """Refuse training settings without exactly one input, or whose files do not exist.

    Called before anything slow is imported.

    Raises:
        ConfigError: neither a table nor a reader is given, or both are.
        RecordsError: `records` or `queries` names no readable file.
    """
    from zooter.data.arrow_io import data_files  # `zooter route` does without pyarrow
    from zooter.data.formats.sources import list_files

    refuse_unless_one_input(values.get("records") is not None, values.get("reader") is not None)
    for key in ("records", "queries"):
        if isinstance(values.get(key), str):
            path = Path(values[key])
            data_files(path) if key == "queries" or values.get("format") is None else list_files(path)


def refuse_processes_in_jobs(values: Mapping[str, Any]) -> None:
    """Refuse several processes for each job of a sweep: they would all run the whole sweep.

    Args:
        values: settings of a job.

    Raises:
        ConfigError: the trainer's strategy is DDP.
    """
    strategy = str((values.get("trainer") or {}).get("strategy"))
    if strategy.startswith("ddp"):
        raise ConfigError(
            expected="one process for each job of a sweep",
            found=f"trainer.strategy={strategy}",
            do="set trainer=auto, or train once for each setting with trainer=ddp",
        )


def refuse_unless_one_input(has_records: bool, has_reader: bool) -> None:
    """Refuse settings that give both a recorded table and a reader, or neither.

    Raises:
        ConfigError: they do.
    """
    if has_records == has_reader:
        raise ConfigError(
            expected="either records=FILE or a reader=…",
            found="both" if has_records else "neither",
            do="add records=FILE for a recorded table, or reader=file queries=FILE to ask candidates",
        )


def _renamed_keys(parents: Sequence[str], mode: str) -> Mapping[str, str]:
    if mode == "serve" and not parents:
        return RENAMED_KEYS["ServeSettings"]
    if not parents or parents[0] not in ("selector", "selectors"):
        return {}
    if parents[-1] == "threshold":
        return RENAMED_KEYS["EscalationThreshold"]
    return RENAMED_KEYS["MarginSelector"]
