"""Say in one message what Hydra could not compose, with the name closest to a mistyped one."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from zooter.errors import ConfigError


@contextmanager
def errors_of_settings(groups: Collection[str] = ()) -> Iterator[None]:
    """Raise Hydra's errors about settings as `ConfigError`.

    Args:
        groups: names of choices, which are no keys where nothing is chosen.

    Raises:
        ConfigError: an override names no key or option, or cannot be read.
    """
    try:
        yield
    except OverrideParseException as error:
        raise ConfigError(
            expected="settings as KEY=VALUE",
            found=error.override,
            do="quote a value with commas, spaces, brackets or = in it: KEY=\"'VALUE'\"",
        ) from error
    except MissingConfigException as error:
        raise _unknown_option(error) from error
    except (HydraException, OmegaConfBaseException) as error:
        cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
        parent, key = getattr(cause, "parent_node", None), getattr(cause, "key", None)
        if isinstance(parent, DictConfig) and key is not None and key not in parent:
            raise _unknown_key(parent, str(cause.full_key), groups) from error  # type: ignore[union-attr]
        raise ConfigError(
            expected="settings that belong together", found=" ".join(str(error).split()), do="correct the command"
        ) from error


def closest_key(key: str, keys: Collection[str]) -> str | None:
    """Find the key that was probably meant: one of this name elsewhere, or else a sibling spelt much like it.

    Args:
        key: mistyped, with its parents: "beta" or "label.bta".
        keys: all that there are, with their parents.
    """
    parents, _, name = key.rpartition(".")
    same_name = [other for other in keys if other.rpartition(".")[2] == name]
    if len(same_name) == 1:
        return same_name[0]
    siblings = {other.rpartition(".")[2]: other for other in keys if other.rpartition(".")[0] == parents}
    close = get_close_matches(name, siblings, 1)
    return siblings[close[0]] if close else None


def _unknown_key(parent: DictConfig, key: str, groups: Collection[str]) -> ConfigError:
    root: Any = parent
    while root._get_parent() is not None:
        root = root._get_parent()
    keys = {*_dotted_keys(root), *groups}
    parents = key.rpartition(".")[0]
    siblings = sorted(other.rpartition(".")[2] for other in keys if other.rpartition(".")[0] == parents)
    close = closest_key(key, keys)
    return ConfigError(
        expected=f"a key among {siblings}",
        found=key,
        do=f"did you mean {close}=…?" if close else "correct it; --cfg job prints all settings",
    )


def _dotted_keys(node: DictConfig, parents: str = "") -> Iterator[str]:
    """Yield the keys of nested settings with their parents before them, without Hydra's own and names of classes."""
    for key in map(str, node):
        name = parents + key
        if name == "hydra" or key.startswith("_"):
            continue
        yield name
        child = node._get_node(key)  # as it is written: interpolations are not resolved
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _dotted_keys(child, f"{name}.")


def _unknown_option(error: MissingConfigException) -> ConfigError:
    if not error.options or not error.missing_cfg_file:
        return ConfigError(expected="files of settings", found=str(error).splitlines()[0], do="correct the name")
    group, _, name = error.missing_cfg_file.rpartition("/")
    options = [option for option in error.options if not option.startswith("_")]
    close = get_close_matches(name, options, 1)
    return ConfigError(
        expected=f"{group} among {options}",
        found=name,
        do=f"write {group}={close[0]}" if close else "choose one of them, or --config-dir with a file of your own",
    )
