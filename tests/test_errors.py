"""The exception tree and its messages."""

import pytest

from zooter import errors


def test_a_message_says_what_was_expected_what_was_found_and_what_to_do() -> None:
    error = errors.ConfigError(expected="a beta up to 1", found="2", do="set label.beta=0.3")
    assert str(error) == "expected a beta up to 1; found 2; set label.beta=0.3"
    assert (error.expected, error.found, error.do) == ("a beta up to 1", "2", "set label.beta=0.3")


@pytest.mark.parametrize(
    "name", ["ConfigError", "RecordsError", "StoreError", "ExportError", "RewarderError", "ResponderError"]
)
def test_every_error_is_caught_as_the_base(name: str) -> None:
    with pytest.raises(errors.ZooterError, match="expected x; found y; do z"):
        raise getattr(errors, name)(expected="x", found="y", do="do z")


def test_the_docstring_draws_every_error_of_the_module() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and value is not Exception}
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}
    assert defined == drawn


def test_a_message_cannot_be_left_incomplete() -> None:
    with pytest.raises(TypeError, match="do"):
        errors.ZooterError(expected="x", found="y")  # type: ignore[call-arg]
