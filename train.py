"""Train a router: `python train.py experiment=recorded records=FILE run_dir=DIR label.beta=0.3`; see README.md."""

import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from zooter.collect import estimate
from zooter.commands import config, train
from zooter.commands.train_settings import collector
from zooter.evaluation import router_report, selector_report


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The composed settings without Hydra's types."""
    config.refuse_missing(OmegaConf.missing_keys(cfg))
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """One run; returns the share of the gap closed, for sweepers."""
    with config.errors_for_people():
        values = plain(cfg)
        values["run_dir"] = HydraConfig.get().runtime.output_dir
        told = {**values, "overrides": list(HydraConfig.get().overrides.task)}
        # One process of several speaks.
        console = Console(quiet=getattr(rank_zero_only, "rank", 0) > 0)
        settings = config.build(values)
        if settings.plan:
            console.print(estimate.estimate_table(estimate.estimate_run(collector(settings))))
            return None
        found = train.run(settings, told)
        if found is None:
            console.print(f"stopped after {settings.until}: {values['run_dir']}", soft_wrap=True)
            return None
        console.print(router_report.table(found))
        console.print(router_report.sentence(found["test"]), markup=False)
        if "compared" in found:
            console.print(selector_report.table(found["compared"]))
        console.print(f"report, plots and export: {values['run_dir']}", soft_wrap=True)
        return cast(float | None, found["test"]["gap_closed"])
    return None


if __name__ == "__main__":
    with config.errors_for_people():
        if any(argument.startswith("selectors=") for argument in sys.argv):
            sys.argv = config.selectors(sys.argv, Path(__file__).parent / "conf" / "selector")
        main()
    sys.exit(config.exit_code())
