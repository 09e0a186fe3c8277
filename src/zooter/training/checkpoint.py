"""Save checkpoints: the last and the best weights, with the settings and the random state they belong to."""

import hashlib
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.types import Tags
from zooter.errors import ConfigError
from zooter.router.text_encoder import TextEncoder
from zooter.training.recipe import Recipe

Identity = Mapping[str, str | int | float | bool | None]

KEY = "zooter"  # of what is added to Lightning's checkpoints
# Arguments of a Lightning trainer that change what is computed; the others say where.
TRAINER_MATHS = (
    "precision", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches", "limit_train_batches",
)  # fmt: skip


class LastCheckpoint(ModelCheckpoint):
    """Keep the weights of the last epoch: Lightning's `save_last` only keeps those of the last improvement."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the state of the run that is resumed: there is none to keep."""


class BestCheckpoint(ModelCheckpoint):
    """Keep the best weights, also of a run that is resumed in another folder, where Lightning would forget them."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the best weights so far into this run's folder, and take over their loss."""
        previous = Path(state_dict["best_model_path"])
        if self.dirpath is not None and state_dict["dirpath"] != self.dirpath and previous.is_file():
            best_path = str(Path(self.dirpath) / previous.name)
            Path(self.dirpath).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(previous, best_path)
            score = state_dict["best_model_score"]
            state_dict = {
                **state_dict, "dirpath": self.dirpath, "best_model_path": best_path, "last_model_path": "",
                "kth_best_model_path": best_path, "kth_value": score, "best_k_models": {best_path: score},
            }  # fmt: skip
        super().load_state_dict(state_dict)


def describe_training(
    table: RewardTable,
    tags: Tags,
    part: Part,
    encoder: TextEncoder,
    components: Mapping[str, Any],
    recipe: Recipe,
    trainer: Callable[..., Any],
    seed: int,
) -> Identity:
    """Describe everything that the weights of a training depend on, as one key for each setting.

    Args:
        table: the n queries with rewards.
        tags: (n, t) that the labels are smoothed with.
        part: the rows trained and validated on.
        encoder: of the features.
        components: key → the tagger, the label's settings and the objective.
        recipe: of the net, without the fields that a resumed training may change (`Recipe.free`).
        trainer: makes a Lightning trainer; a `functools.partial`, whose keywords are read.
        seed: of everything random.
    """
    keywords = getattr(trainer, "keywords", {})
    rows = _digest(part.train.tobytes(), part.val.tobytes())
    data = _digest(
        "\0".join(table.queries).encode("utf-8", "surrogatepass"), "\0".join(table.pool.names).encode(),
        np.nan_to_num(table.rewards.values, nan=np.inf).tobytes(),
        "\0".join(tags.names).encode(), tags.membership.indices.tobytes(), tags.membership.indptr.tobytes(),
    )  # fmt: skip
    return {
        "data": f"{len(table.queries)} queries, {len(table.pool.names)} candidates, {len(tags.names)} tags ({data})",
        "split": f"{len(part.train)} training and {len(part.val)} validation queries ({rows})",
        "encoder": encoder.summary,
        **{key: value for name, part_of in components.items() for key, value in _describe(name, part_of)},
        **dict(_describe("net", recipe, recipe.free)),
        **{f"trainer.{name}": _simple(keywords[name]) for name in TRAINER_MATHS if name in keywords},
        "seed": seed,
    }


def read_identity(path: Path) -> Identity:
    """Read what the weights of a checkpoint depend on.

    Args:
        path: the checkpoint.

    Raises:
        ConfigError: there is no such file, or it is not a checkpoint of zooter.
    """
    expected = f"ckpt_path to be a checkpoint of zooter: {path}"
    do = "give the checkpoints/last.ckpt of an interrupted run, or train anew with ckpt_path=null"
    if not path.is_file():
        raise ConfigError(expected=expected, found="a folder" if path.is_dir() else "no such file", do=do)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, OSError) as error:
        raise ConfigError(expected=expected, found="a file of another kind, or a damaged one", do=do) from error
    if not isinstance(state, dict) or KEY not in state:
        raise ConfigError(expected=expected, found="one that does not carry the settings of its run", do=do)
    return cast(Identity, state[KEY]["settings"])


def check_checkpoint(path: Path, identity: Identity) -> None:
    """Refuse a checkpoint that a training with other settings wrote.

    Args:
        path: the checkpoint.
        identity: of the training that is to be resumed, by `describe_training`.

    Raises:
        ConfigError: there is no such file, it is not a checkpoint of zooter, or its settings are others.
    """
    written = read_identity(path)
    different = [
        f"{key} was {written.get(key)} and is {identity.get(key)}"
        for key in {**identity, **written}
        if written.get(key) != identity.get(key)
    ]
    if different:
        raise ConfigError(
            expected=f"the settings that {path} was written with",
            found="; ".join(different),
            do="resume with the settings of that run, or train anew with ckpt_path=null",
        )


def state_to_save(identity: Identity) -> dict[str, Any]:
    """Return what a checkpoint carries beside Lightning's own: the settings, and the state of torch's random numbers.

    With that state the batches' order and dropout of a resumed run are those of an uninterrupted one.

    Args:
        identity: what the weights depend on.
    """
    return {"settings": dict(identity), "random_state": torch.get_rng_state()}


def restore_random_state(checkpoint: Mapping[str, Any]) -> None:
    """Set torch's random numbers to where they were when a checkpoint was written."""
    torch.set_rng_state(checkpoint[KEY]["random_state"].cpu())


def _describe(path: str, component: Any, without: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    """List a component's class, and its fields that are plain values."""
    described: list[tuple[str, Any]] = [(path, type(component).__name__)]
    if is_dataclass(component):
        values = {field.name: getattr(component, field.name) for field in fields(component)}
        described += [
            (f"{path}.{name}", _simple(value))
            for name, value in values.items()
            if name not in without and isinstance(value, str | int | float | bool | tuple | list | None)
        ]
    return described


def _simple(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for part in parts:
        digest.update(part + b"\0")
    return digest.hexdigest()
