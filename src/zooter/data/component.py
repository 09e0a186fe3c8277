"""Make components: frozen dataclasses whose fields are settings, checked by pydantic when one is made."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import field, fields
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import ConfigDict, Field, PlainValidator, Strict, ValidationError

from zooter.data.remote import as_path
from zooter.errors import FieldError

C = TypeVar("C")
Item = TypeVar("Item")


def _parse_path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not value or not isinstance(value, str | os.PathLike):
        raise ValueError("Input is not a valid path")
    return as_path(value)


# YAML has texts and lists where Python has paths and tuples; all other types must match exactly.
PathField = Annotated[Path, PlainValidator(_parse_path)]
TupleField = Annotated[tuple[Item, ...], Strict(False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def component(cls: type[C]) -> type[C]:
    """Make a class a frozen dataclass that checks the types and ranges of its fields.

    Types are checked strictly (1 is a float, True is no int, "1" is neither); ranges come from annotations such as
    `pydantic.PositiveInt`. Errors do not show the value of a field with `repr=False`. What several fields have to
    fulfil together belongs in `__post_init__`.

    Raises:
        FieldError: on making an instance, if a field is unknown, missing, or of the wrong type or out of range.
    """
    config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)
    checked = pydantic.dataclasses.dataclass(cls, frozen=True, config=config)
    make: Callable[..., None] = checked.__init__

    @wraps(make)
    def init(self: Any, *args: Any, **values: Any) -> None:
        """Make an instance, and raise pydantic's errors as `FieldError`."""
        try:
            make(self, *args, **values)
        except ValidationError as error:
            raise _field_error(type(self), error) from None

    checked.__init__ = init  # type: ignore[method-assign]
    # Only the settings go to another process: not what was loaded, or belongs to an event loop of this one.
    checked.__reduce__ = _reduce  # type: ignore[method-assign]
    return cast(type[C], checked)


def _reduce(self: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Describe a component to pickle by the fields that it was made of."""
    return _remake, (type(self), {f.name: getattr(self, f.name) for f in fields(self) if f.init})


def _remake(cls: type[C], values: dict[str, Any]) -> C:
    return cls(**values)


def unknown_fields(owner: str, unknown: Collection[str], names: Collection[str]) -> FieldError:
    """Describe keys that a component does not have, with the name closest to them.

    Args:
        owner: the component: its class, or its key in the settings.
        unknown: the keys.
        names: those that it has.
    """
    close = [match for key in unknown for match in get_close_matches(key, names, 1)]
    return FieldError(
        owner=owner,
        expected=f"keys of {{owner}} among {sorted(names)}",
        found=f"{unknown}",
        do=f"correct or remove them; did you mean {close[0]}?" if close else "correct or remove them",
    )


def _field_error(cls: type, error: ValidationError) -> FieldError:
    problems = error.errors(include_url=False, include_context=False)
    unknown = [str(problem["loc"][0]) for problem in problems if problem["type"] == "unexpected_keyword_argument"]
    if unknown:
        return unknown_fields(cls.__name__, unknown, [f.name for f in fields(cls) if f.init])
    missing = [str(problem["loc"][0]) for problem in problems if problem["type"] in ("missing", "missing_argument")]
    if missing:
        return FieldError(
            owner=cls.__name__, expected=f"values for {missing} of {{owner}}", found="none", do="set them"
        )
    position = problems[0]["loc"][0]
    same = [problem for problem in problems if problem["loc"][0] == position]
    name = str(fields(cls)[position].name if isinstance(position, int) else position)
    is_shown = next(f.repr for f in fields(cls) if f.name == name)
    if len(same) == 1:  # with a union, what follows names its members
        name += "".join(f".{key}" for key in same[0]["loc"][1:])
    return FieldError(
        owner=cls.__name__,
        expected=f"{{owner}}.{name} {_requirement([problem['msg'] for problem in same])}",
        found=repr(same[0]["input"])[:200] if is_shown else "something else (not shown: it may be a key)",
        do="correct the value",
    )


def _requirement(messages: Sequence[str]) -> str:
    """Join what pydantic asks of the members of a union, such as "to be a valid number or 'auto'"."""
    texts = [
        message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("should be ") for message in messages
    ]
    return "to be " + " or ".join(dict.fromkeys(text.removeprefix("is not ") for text in texts))
