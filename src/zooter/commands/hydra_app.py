"""Run what Hydra configures: training, and the modes of `infer.py`. Only this module and `hydra_errors` import Hydra.

`train.py`, `infer.py` and `zooter train`, `sweep`, `evaluate` and `infer` call it, so that they behave alike.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zooter.commands import config, overrides
from zooter.commands.hydra_errors import errors_of_settings
from zooter.commands.remote_folders import local_copies
from zooter.evaluation.sweep import SweepSummary, recorded_failure

# Mode → its settings in conf/, and the module of zooter.commands that runs it.
MODES = {
    "route": ("infer", "route"),
    "drift": ("drift", "drift"),
    "export": ("export", "export"),
    "serve": ("serve", "serve"),
    "evaluate": ("evaluate", "evaluate"),
    "calibrate": ("calibrate", "calibrate"),
    "to_huggingface": ("to_huggingface", "to_huggingface"),
}
QUERY = "query="
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # variables that number processes, of torchrun, Lightning and Slurm

_IN_WHEEL = Path(__file__).parents[1] / "conf"
CONF = _IN_WHEEL if _IN_WHEEL.is_dir() else Path(__file__).parents[3] / "conf"  # a checkout has it at the top


def train(arguments: Sequence[str]) -> int:
    """Train a router, or with `-m` one for each job of a sweep.

    Args:
        arguments: Hydra's overrides and flags.

    Returns:
        2 when an expected error was shown, else 0.
    """
    with config.errors_for_people():
        overrides.refuse_renamed(arguments, "train")
        arguments = overrides.expand_short_names(arguments)
        overrides.refuse_null_choices(arguments, CONF)
        if any(argument.startswith("selectors=") for argument in arguments):
            arguments = overrides.expand_selectors(arguments, overrides.option_folders(arguments, CONF, "selector"))
        with local_copies(arguments) as arguments:
            _run(_train, "train", arguments)
    return 2 if SweepSummary.has_failures else config.exit_code()


def infer(arguments: Sequence[str]) -> int:
    """Run a mode of `infer.py`: route queries, serve, compare selectors, calibrate, ….

    Args:
        arguments: `mode=…`, Hydra's overrides and flags.

    Returns:
        2 when an expected error was shown, else 0.
    """
    with config.errors_for_people():
        mode = overrides.read_mode(arguments, MODES, "route")
        overrides.refuse_renamed(arguments, mode)
        overrides.refuse_null_choices(arguments, CONF)
        # A query is any text at all; Hydra would read commas, quotes or ${…} in it as its own grammar.
        texts = [argument.removeprefix(QUERY) for argument in arguments if argument.startswith(QUERY)]
        if texts:
            overrides.refuse_query(mode)
        arguments = [a for a in arguments if not a.startswith((QUERY, overrides.MODE))]
        if mode != "serve":
            arguments = overrides.expand_short_names(arguments)
        if mode == "evaluate":
            arguments = overrides.expand_selectors(arguments, overrides.option_folders(arguments, CONF, "selector"))
        config_name, module = MODES[mode]

        def run(cfg: DictConfig) -> None:
            """Run the mode with the settings that Hydra has composed."""
            with config.errors_for_people():
                values = _plain(cfg)
                if texts:
                    values["query"] = texts[-1].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                if "run_dir" in values:
                    values["run_dir"] = HydraConfig.get().runtime.output_dir
                task = list(HydraConfig.get().overrides.task)
                importlib.import_module(f"zooter.commands.{module}").main(values, task)
                return
            if "run_dir" in cfg:
                _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))

        with local_copies(arguments) as arguments:
            _run(run, config_name, arguments)
    return config.exit_code()


def _run(task: Callable[[DictConfig], Any], config_name: str, arguments: Sequence[str]) -> None:
    """Call a function with the settings that Hydra composes; Hydra reads the process's command line."""
    command_line = sys.argv

    def run_task(cfg: DictConfig) -> Any:
        """Run the function under the command line as it was typed, from which Lightning starts further processes."""
        sys.argv = command_line
        return task(cfg)

    # Of several processes that train one net, the first one writes the log.
    is_first = all(int(os.environ.get(name, 0)) == 0 for name in RANKS)
    quiet = [] if is_first else ["hydra/hydra_logging=none", "hydra/job_logging=none"]
    sys.argv = [sys.argv[0], *arguments, *quiet]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise errors, which are shown as ours, instead of printing them
    with errors_of_settings([*(path.name for path in CONF.iterdir() if path.is_dir()), *overrides.GROUP_OF_SETTING]):
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run_task)()


def _train(cfg: DictConfig) -> float | None:
    """Run one training; returns the share of the gap closed on validation queries, for sweepers."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    is_job = hydra_config.mode == RunMode.MULTIRUN
    with config.errors_for_people(), recorded_failure(folder if is_job else None, list(hydra_config.overrides.task)):
        values = overrides.prefer_records(_plain(cfg), list(hydra_config.overrides.task))
        values["run_dir"] = str(folder)
        if is_job:
            overrides.refuse_processes_in_jobs(values)
        if is_job and not values["selectors"] and not values["export"]["each_job"]:
            values["export"] = None  # a comparison of selectors needs it
        overrides.check_training_input(values)
        from zooter.commands import train  # loads PyTorch: a mistyped key should not wait for it

        return train.main(values, list(hydra_config.overrides.task))
    _remove_if_empty(folder)
    return None


def _remove_if_empty(folder: Path) -> None:
    """Remove the run folder that Hydra made for a refused command, if nothing was written there."""
    with suppress(OSError):  # it has files
        folder.rmdir()


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """Turn composed settings into plain Python types; refuse those in which a value was left open."""
    overrides.refuse_missing(OmegaConf.missing_keys(cfg))
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
