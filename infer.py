"""Route with an export: `python infer.py export=DIR/export queries=FILE.jsonl out=FILE.jsonl`, or `query="…"`.

`python infer.py mode=serve export=DIR/export pool_file=FILE.yaml` serves it; its settings are those of conf/serve.yaml.
`python infer.py mode=evaluate selectors=[routed,margin] records=FILE run_dir=DIR` compares selectors.
`python infer.py mode=calibrate export=DIR/export records=FILE target.mean_price=0.001` weighs prices in an export.
`python infer.py mode=imitate export=DIR/export records=FILE` gives an export its Hugging Face form.
"""

import json
import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from zooter.commands import config
from zooter.commands import route as inference

# A query is any text at all; Hydra would read commas, quotes or ${…} in it as its own grammar.
TEXTS = [argument.removeprefix("query=") for argument in sys.argv[1:] if argument.startswith("query=")]
# Modes with settings of their own.
MODE = next((mode for mode in ("serve", "evaluate", "calibrate", "imitate") if f"mode={mode}" in sys.argv[1:]), "infer")
SELECTORS = Path(__file__).parent / "conf" / "selector"


@hydra.main(version_base="1.3", config_path="conf", config_name=MODE)
def main(cfg: DictConfig) -> None:
    """Print or write one decision per query, or serve, or compare selectors."""
    with config.errors_for_people():
        config.refuse_missing(OmegaConf.missing_keys(cfg))
        values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
        if TEXTS:
            values["query"] = TEXTS[-1].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if MODE == "serve":
            from zooter.serve import server  # its dependencies are an extra

            server.run(config.build(values), server.load)
        elif MODE == "evaluate":
            evaluate(values)
        elif MODE == "calibrate":
            from zooter.commands import calibrate

            sys.stdout.write(json.dumps(calibrate.run(config.build(values)), indent=2) + "\n")
        elif MODE == "imitate":
            from zooter.commands import to_huggingface

            sys.stdout.write(json.dumps(to_huggingface.run(config.build(values)), indent=2) + "\n")
        else:
            for line in inference.run(config.build(values)):
                sys.stdout.write(line + "\n")


def evaluate(values: dict[str, Any]) -> None:
    """Print how selectors compare."""
    from zooter.commands import evaluate as comparison
    from zooter.evaluation import selector_report  # routing a query should not wait for what draws

    values["run_dir"] = HydraConfig.get().runtime.output_dir
    found = comparison.run(config.build(values), {**values, "overrides": list(HydraConfig.get().overrides.task)})
    console = Console()
    console.print(selector_report.table(found))
    for sentence in selector_report.sentences(found):
        console.print(sentence, markup=False)
    console.print(f"report, plots and decisions: {values['run_dir']}", soft_wrap=True)


if __name__ == "__main__":
    with config.errors_for_people():
        sys.argv = [a for a in sys.argv if not a.startswith("query=") and a != f"mode={MODE}"]
        if MODE == "evaluate":
            sys.argv = config.selectors(sys.argv, SELECTORS)
        main()
    sys.exit(config.exit_code())
