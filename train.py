"""Train a router: `python train.py experiment=recorded records=FILE run_dir=DIR label.beta=0.3`; see README.md."""

import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from zooter import board, entry, pipeline, plan, report
from zooter.settings import live


def plain(config: DictConfig) -> dict[str, Any]:
    """The composed settings without Hydra's types."""
    entry.refuse_missing(OmegaConf.missing_keys(config))
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def train(config: DictConfig) -> float | None:
    """One run; returns the share of the gap closed, for sweepers."""
    with entry.errors_for_people():
        values = plain(config)
        values["run_dir"] = HydraConfig.get().runtime.output_dir
        told = {**values, "overrides": list(HydraConfig.get().overrides.task)}
        # One process of several speaks.
        console = Console(quiet=getattr(rank_zero_only, "rank", 0) > 0)
        settings = entry.build(values)
        if settings.plan:
            console.print(plan.table(plan.plan(live(settings))))
            return None
        found = pipeline.run(settings, told)
        if found is None:
            console.print(f"stopped after {settings.until}: {values['run_dir']}", soft_wrap=True)
            return None
        console.print(report.table(found))
        console.print(report.sentence(found["test"]), markup=False)
        if "compared" in found:
            console.print(board.table(found["compared"]))
        console.print(f"report, plots and export: {values['run_dir']}", soft_wrap=True)
        return cast(float | None, found["test"]["gap_closed"])
    return None


if __name__ == "__main__":
    with entry.errors_for_people():
        if any(argument.startswith("selectors=") for argument in sys.argv):
            sys.argv = entry.selectors(sys.argv, Path(__file__).parent / "conf" / "selector")
        train()
    sys.exit(entry.exit_code())
