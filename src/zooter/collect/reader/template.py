"""Fill templates that make texts of a data set's columns."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

LETTERS = string.ascii_uppercase
AFTER, PICK = "after ", "pick "


class ColumnFormatter(string.Formatter):
    """Format texts such as "{question}\\n{choices:letters}" from the columns of a row.

    After a colon stands one of these forms: `letters` (a list as lines "A. …", "B. …"), `letter` (a position from 0 as
    a letter), `name` (the name of a class label), `pick A|B|…` (a position from 0 as one of these texts), `after TEXT`
    (what follows the last TEXT). A part of a column is written `{choices[text]}`.

    Args:
        label_names: column → names of its class labels.
    """

    def __init__(self, label_names: Mapping[str, Sequence[str]] | None = None) -> None:
        self.label_names = label_names or {}

    def fill(self, template: str, row: Mapping[str, Any]) -> str | None:
        """Fill in a template.

        Args:
            template: text with columns in braces.
            row: column → value.

        Returns:
            The text; None if a value is null or has no name, letter or text of that form.

        Raises:
            KeyError: there is no such column.
            ValueError: there is no such form, or braces are not closed.
        """
        try:
            return self.vformat(template, (), row)
        except _NullError:
            return None

    def fill_list(self, template: str, row: Mapping[str, Any]) -> list[str]:
        """Fill in a template of references or tags: a column that is a list of texts gives several.

        Args:
            template: as of `fill`.
            row: as of `fill`.
        """
        name = template.removeprefix("{").removesuffix("}")
        if template == f"{{{name}}}" and ":" not in name:
            value, _ = super().get_field(name, (), row)
            if isinstance(value, list | tuple):
                return [str(item) for item in value if item is not None]
        text = self.fill(template, row)
        return [] if text is None else [text]

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Look up a column; a class label comes with its names, and what lies behind a list's end is null."""
        try:
            value, column = super().get_field(field_name, args, kwargs)
        except IndexError as error:
            raise _NullError from error
        if value is None:
            raise _NullError
        names = self.label_names.get(str(column))
        return (value if names is None else _ClassLabel(value, names)), column

    def format_field(self, value: Any, format_spec: str) -> str:
        """Write a value in one of the forms.

        Args:
            value: of a column.
            format_spec: name of a form; empty for the value as it is.
        """
        if format_spec == "name" and isinstance(value, _ClassLabel):
            return value.name
        number: Any = value.number if isinstance(value, _ClassLabel) else value
        if format_spec == "letters":
            return "\n".join(f"{letter}. {item}" for letter, item in zip(LETTERS, number, strict=False))
        if format_spec == "letter":
            return LETTERS[_position(number, len(LETTERS))]
        if format_spec.startswith(PICK):
            options = format_spec.removeprefix(PICK).split("|")
            return options[_position(number, len(options))]
        if format_spec.startswith(AFTER):
            _, marker, tail = str(number).rpartition(format_spec.removeprefix(AFTER))
            if not marker:
                raise _NullError
            return tail.strip()
        if format_spec:
            raise ValueError(f"the form {format_spec!r}")
        return str(number)


class _NullError(Exception):
    """A value is null."""


class _ClassLabel:
    """A class label: its number and the names of all labels."""

    def __init__(self, number: int, names: Sequence[str]) -> None:
        self.number, self.names = number, names

    @property
    def name(self) -> str:
        """Return its name; an unlabelled row has the number -1."""
        return self.names[_position(self.number, len(self.names))]


def _position(number: Any, count: int) -> int:
    if not isinstance(number, int) or not 0 <= number < count:
        raise _NullError
    return number
