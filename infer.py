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

from zooter import entry
from zooter import infer as inference

# A query is any text at all; Hydra would read commas, quotes or ${…} in it as its own grammar.
TEXTS = [argument.removeprefix("query=") for argument in sys.argv[1:] if argument.startswith("query=")]
# Modes with settings of their own.
MODE = next((mode for mode in ("serve", "evaluate", "calibrate", "imitate") if f"mode={mode}" in sys.argv[1:]), "infer")
SELECTORS = Path(__file__).parent / "conf" / "selector"


@hydra.main(version_base="1.3", config_path="conf", config_name=MODE)
def infer(config: DictConfig) -> None:
    """Print or write one decision per query, or serve, or compare selectors."""
    with entry.errors_for_people():
        entry.refuse_missing(OmegaConf.missing_keys(config))
        values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
        if TEXTS:
            values["query"] = TEXTS[-1].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if MODE == "serve":
            from zooter.serve import run as server  # its dependencies are an extra

            server.run(entry.build(values), server.load)
        elif MODE == "evaluate":
            evaluate(values)
        elif MODE == "calibrate":
            from zooter import calibrate

            sys.stdout.write(json.dumps(calibrate.run(entry.build(values)), indent=2) + "\n")
        elif MODE == "imitate":
            from zooter import imitate

            sys.stdout.write(json.dumps(imitate.run(entry.build(values)), indent=2) + "\n")
        else:
            for line in inference.run(entry.build(values)):
                sys.stdout.write(line + "\n")


def evaluate(values: dict[str, Any]) -> None:
    """Print how selectors compare."""
    from zooter import board, compare  # routing a query should not wait for what draws

    values["run_dir"] = HydraConfig.get().runtime.output_dir
    found = compare.run(entry.build(values), {**values, "overrides": list(HydraConfig.get().overrides.task)})
    console = Console()
    console.print(board.table(found))
    for sentence in board.sentences(found):
        console.print(sentence, markup=False)
    console.print(f"report, plots and decisions: {values['run_dir']}", soft_wrap=True)


if __name__ == "__main__":
    with entry.errors_for_people():
        sys.argv = [a for a in sys.argv if not a.startswith("query=") and a != f"mode={MODE}"]
        if MODE == "evaluate":
            sys.argv = entry.selectors(sys.argv, SELECTORS)
        infer()
    sys.exit(entry.exit_code())
