"""What the entry points share: plain settings → components, and errors for people instead of tracebacks.

A component's YAML node names its class under `_target_`; its other keys are the class's fields. Hydra composes the
settings and stays outside: here they are plain dictionaries.
"""

import importlib
import inspect
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from zooter.errors import ConfigError, ZooterError

TARGET, PARTIAL = "_target_", "_partial_"
TRUSTED = ("zooter.", "pytorch_lightning.")
BESIDE = ("random", "knn")  # selectors that every comparison has

_failures: list[str] = []


def build(node: Any, path: str = "") -> Any:
    """The component that a node describes; nodes inside it first. A node without `_target_` stays as it is.

    With `_partial_: true` the component is called later, with more arguments.

    Raises:
        ConfigError: the class does not exist or is outside zooter and Lightning, a key is not one of its fields, a
            field has no value, or a value is not of the field's type.
    """
    if isinstance(node, list):
        return [build(item, f"{path}[{i}]") for i, item in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    values = {key: build(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()}
    if TARGET not in values:
        return values
    later = values.pop(PARTIAL, False)
    make = locate(values.pop(TARGET), path)
    values = bind(make, values, path, partially=later)
    return partial(make, **values) if later else make(**values)


def locate(target: str, path: str) -> Any:
    """The class or function that a `_target_` names."""
    module, _, name = str(target).rpartition(".")
    if not str(target).startswith(TRUSTED):
        raise ConfigError(
            expected=f"{path}.{TARGET} inside {TRUSTED}", found=str(target), do="choose an option of zooter"
        )
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ConfigError(
            expected=f"{target} to be importable, for {path}", found=str(error), do="install what it needs"
        ) from error
    if not callable(found):
        raise ConfigError(expected=f"{path}.{TARGET} to exist", found=target, do="correct the name")
    return found


def bind(make: Any, values: dict[str, Any], path: str, partially: bool = False) -> dict[str, Any]:
    """The values, checked against the signature of `make` and its annotations; texts become paths where wanted."""
    parameters = inspect.signature(make).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [key for key in values if key not in parameters and not open_ended]
    if unknown:
        raise ConfigError(
            expected=f"keys of {path or 'the settings'} among {sorted(parameters)}",
            found=f"{unknown}",
            do="correct or remove them",
        )
    lacking = [
        n for n, p in parameters.items() if p.default is p.empty and n not in values and p.kind is not p.VAR_KEYWORD
    ]
    if lacking and not partially:
        raise ConfigError(expected=f"values for {lacking} of {path}", found="none", do="set them")
    hints = typing.get_type_hints(make) if str(make.__module__).startswith("zooter") else {}
    return {key: _convert(value, hints.get(key), f"{path}.{key}" if path else key) for key, value in values.items()}


def _convert(value: Any, hint: Any, path: str) -> Any:
    is_union = isinstance(hint, types.UnionType)
    options = typing.get_args(hint) if is_union else (hint,)
    if Path in options and isinstance(value, str):
        return Path(value)
    simple = {
        float: (float, int), int: (int,), bool: (bool,), str: (str,), Path: (Path,), types.NoneType: (types.NoneType,)
    }  # fmt: skip
    if not all(option in simple for option in options):
        return value
    allowed = tuple(kind for option in options for kind in simple[option])
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        wanted = " or ".join("null" if o is types.NoneType else o.__name__ for o in options)
        raise ConfigError(expected=f"{path} of type {wanted}", found=repr(value), do="correct the value")
    return value


def selectors(arguments: Sequence[str], folder: Path) -> list[str]:
    """Arguments for Hydra in which `selectors=[routed,margin]` chooses a file of `folder` for each name.

    `random` and `knn` always stand beside those that are asked for.

    Raises:
        ConfigError: there is no such file.
    """
    known = sorted(path.stem for path in folder.glob("[!_]*.yaml"))
    rest, names = [], []
    for argument in arguments:
        if argument.startswith("selectors="):
            names += [name.strip() for name in argument.removeprefix("selectors=").strip("[]").split(",")]
        else:
            rest.append(argument)
    names = list(dict.fromkeys([*filter(None, names), *(name for name in BESIDE if name in known)]))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(expected=f"selectors among {known}", found=f"{unknown}", do="correct selectors=[…]")
    return [*rest, *(f"+selector@selectors.{name}={name}" for name in names)]


def refuse_missing(keys: Collection[str]) -> None:
    """Refuse settings in which the values of these keys were left open.

    Raises:
        ConfigError: there is one.
    """
    if keys:
        raise ConfigError(expected=f"a value for {min(keys)}", found="none", do=f"add {min(keys)}=… to the command")


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Show an expected error as one message and remember it, so that the other jobs of a sweep still run."""
    from rich.console import Console  # a server that only binds settings does without

    try:
        yield
    except ZooterError as error:
        _failures.append(str(error))
        Console(stderr=True).print(f"[bold red]{type(error).__name__}[/]:", end=" ")
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; finished results and caches are kept")
        sys.exit(130)


def exit_code() -> int:
    """2 when an expected error was shown, else 0."""
    return 2 if _failures else 0
