"""Route with an export: `python infer.py export=DIR/export queries=FILE.jsonl out=FILE.jsonl`, or `query="…"`.

`python infer.py mode=serve export=DIR/export pool_file=FILE.yaml` serves it; its settings are those of conf/serve.yaml.
"""

import sys
from typing import Any, cast

import hydra
from omegaconf import DictConfig, OmegaConf

from zooter import entry
from zooter import infer as inference
from zooter.errors import ConfigError

# A query is any text at all; Hydra would read commas, quotes or ${…} in it as its own grammar.
TEXTS = [argument.removeprefix("query=") for argument in sys.argv[1:] if argument.startswith("query=")]
SERVES = "mode=serve" in sys.argv[1:]


@hydra.main(version_base="1.3", config_path="conf", config_name="serve" if SERVES else "infer")
def infer(config: DictConfig) -> None:
    """Print or write one decision per query, or serve."""
    with entry.errors_for_people():
        for key in sorted(OmegaConf.missing_keys(config)):
            raise ConfigError(expected=f"a value for {key}", found="none", do=f"add {key}=… to the command")
        values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
        if TEXTS:
            values["query"] = TEXTS[-1].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if SERVES:
            from zooter.serve import run as server  # its dependencies are an extra

            server.run(entry.build(values), server.load)
            return
        for line in inference.run(entry.build(values)):
            sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.argv = [argument for argument in sys.argv if not argument.startswith("query=") and argument != "mode=serve"]
    infer()
    sys.exit(entry.exit_code())
