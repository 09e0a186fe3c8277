"""Command line: `zooter train FILE`, `zooter route EXPORT "text"`, …; `zooter --help` lists the commands.

Only `zooter route`, `serve` and `inspect` go without the extra `train`; nothing here imports what a command may lack.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooter.commands import cli_hydra
from zooter.errors import ConfigError, ZooterError

if TYPE_CHECKING:
    from zooter.serve.settings import ServeSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: the command line without the program's name; None takes that of the process.

    Returns:
        2 when an expected error was shown, else 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and "=" in arguments[0]:  # Lightning starts further processes with the overrides of the first
        arguments = ["train", *arguments]
    parser = argparse.ArgumentParser(prog="zooter", description="Train a router for language models, and use it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_import(commands)
    _add_analyze(commands)
    cli_hydra.add_commands(commands)
    _add_route(commands)
    _add_serve(commands)
    _add_inspect(commands)
    _add_clean(commands)
    options, extra = parser.parse_known_args(arguments)
    unknown = [] if "passes_flags" in options else [argument for argument in extra if argument.startswith("-")]
    if extra and (unknown or "arguments" not in options):
        parser.error(f"unrecognized arguments: {' '.join(unknown or extra)}")
    if extra:  # argparse leaves here what stands behind an option
        options.arguments = [*options.arguments, *extra]
    try:
        return options.run(options) or 0
    except ZooterError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("zooter"):
            raise
        sys.stderr.write(f"expected the package {error.name}; found none; pip install 'zooter[train,serve]'\n")
        return 2


def _add_import(commands: Any) -> None:
    from_others = commands.add_parser("import", help="turn evaluations of other tools into a recorded table")
    from_others.add_argument("format", metavar="FORMAT", help="auto recognises it; docs/import.md lists all")
    from_others.add_argument(
        "arguments", nargs="+", metavar="PATH…", help="files or folders, then options: out=records.parquet …"
    )
    from_others.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> None:
    from zooter.commands import import_

    import_.main([options.format, *options.arguments])


def _add_analyze(commands: Any) -> None:
    analyze = commands.add_parser("analyze", help="what routing can gain on a recorded table, before training")
    analyze.add_argument(
        "arguments",
        nargs="+",
        metavar="FILE",
        help="a table, then options: out=page.html prices.NAME=0.5 format=auto",
    )
    analyze.set_defaults(run=_analyze)


def _analyze(options: argparse.Namespace) -> None:
    from zooter.commands import analyze

    analyze.main(options.arguments)


def _add_route(commands: Any) -> None:
    route = commands.add_parser("route", help="decide which candidate answers a text")
    route.add_argument("export", type=Path, metavar="EXPORT", help="an export's folder")
    route.add_argument("arguments", nargs="*", metavar="TEXT", help="queries; without any, lines of standard input")
    route.add_argument("--queries", type=Path, metavar="FILE", help="or Parquet or JSON Lines with a column `query`")
    route.add_argument("--out", type=Path, metavar="FILE", help="JSON Lines to write (standard output)")
    route.add_argument("--device", help="cpu, cuda or auto: route with torch there (ONNX Runtime)")
    route.set_defaults(run=_route)


def _route(options: argparse.Namespace) -> None:
    from zooter.commands import route

    for line in route.route_command(options.export, options.arguments, options.queries, options.out, options.device):
        sys.stdout.write(line + "\n")


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser("serve", help="an OpenAI-compatible server in front of the candidates")
    serve.add_argument("export", type=Path, metavar="DIR", help="an export's folder")
    serve.add_argument(
        "--pool", dest="pool_file", type=Path, metavar="FILE.yaml", help="how candidates are reached, as in conf/pool"
    )
    serve.add_argument(
        "--backup", type=Path, metavar="DIR", help="an export of encoder=ngrams that decides where the first is late"
    )
    serve.add_argument("--host", help="where to listen; other than loopback needs keys (127.0.0.1)")
    serve.add_argument("--port", type=int, help="where to listen (8080)")
    serve.add_argument("--workers", type=int, help="processes that answer on the port (1)")
    serve.add_argument("--config", type=Path, metavar="FILE.yaml", help="any setting of conf/serve.yaml")
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    from zooter.serve import server

    server.run(serve_settings(options), server.load_router)


def serve_settings(options: argparse.Namespace) -> "ServeSettings":
    """Read the server's settings: those of `--config`, overridden by the other options.

    Raises:
        ConfigError: the file cannot be read, or a setting cannot be used.
    """
    from zooter.commands import config

    values: dict[str, Any] = _read_yaml(options.config) if options.config else {}
    overrides = {name: getattr(options, name) for name in ("export", "backup", "pool_file", "host", "port", "workers")}
    values |= {name: value for name, value in overrides.items() if value is not None}
    return config.build({config.TARGET: "zooter.serve.settings.ServeSettings", **values})


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser("inspect", help="what is in an export, and whether it is whole")
    inspect.add_argument("export", type=Path, metavar="DIR", help="an export's folder")
    inspect.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from rich.console import Console

    from zooter.router.inspect import describe

    Console().print(describe(options.export))


def _add_clean(commands: Any) -> None:
    clean = commands.add_parser("clean", help="list runs and caches with their sizes, or remove them")
    clean.add_argument(
        "arguments", nargs="*", metavar="PATH", help="runs, sweeps, caches, or folders of such (runs and the cache)"
    )
    clean.add_argument("--remove", action="store_true", help="remove what is listed")
    clean.set_defaults(run=_clean)


def _clean(options: argparse.Namespace) -> None:
    from zooter.commands import clean

    clean.main([Path(argument) for argument in options.arguments], options.remove)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(expected=f"a YAML file at {path}", found=str(error), do="check it") from error
    if not isinstance(values, dict):
        raise ConfigError(expected=f"settings in {path}", found=type(values).__name__, do="write `port: 8080`, …")
    # A copy of conf/serve.yaml is such a file, with its keys for Hydra.
    return {str(key): value for key, value in values.items() if key not in ("_target_", "hydra")}
