"""Define the exceptions that zooter raises.

* ZooterError
  · ConfigError     a setting is missing, unknown or out of range
    - FieldError    … and is a field of one component
  · RecordsError    a recorded table or a query file cannot be used
  · StoreError      a cache on disk is damaged or cannot be written
  · ExportError     an export is incomplete or changed, or belongs to another pool
  · RewarderError   rewards cannot be computed: a server or judge fails, or differs from its local model
  · ResponderError  candidates cannot be called: a wrong key or model name, or too many failures

Each message states what was expected, what was found and what to do about it. A mistake in the calling code raises one
of Python's own exceptions instead.
"""


def _restore(cls: "type[ZooterError]", args: tuple[object, ...], state: dict[str, object]) -> "ZooterError":
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ZooterError(Exception):
    """Base class of all exceptions that a user can act on.

    Args:
        expected: what is needed to go on.
        found: what is there instead.
        do: how to put it right.

    Attributes:
        expected: as given.
        found: as given.
        do: as given.
    """

    def __init__(self, *, expected: str, found: str, do: str) -> None:
        self.expected, self.found, self.do = expected, found, do
        super().__init__(f"expected {expected}; found {found}; {do}")

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)  # errors come back from other processes


class ConfigError(ZooterError):
    """A setting is missing, unknown or out of range."""


class FieldError(ConfigError):
    """A field of a component is unknown, or has no usable value.

    Args:
        owner: the component: its class, or its key in the settings.
        expected: what the field has to be; `{owner}` in it stands for the component.
        found: what it is.
        do: how to put it right.
    """

    def __init__(self, *, owner: str, expected: str, found: str, do: str) -> None:
        self.requirement = expected
        super().__init__(expected=expected.replace("{owner}", owner), found=found, do=do)

    def at(self, path: str) -> "FieldError":
        """Return the same error, with the component's key in the settings in place of its class; "" is their top."""
        expected = self.requirement if path else self.requirement.replace("{owner}.", "")
        return FieldError(owner=path or "the settings", expected=expected, found=self.found, do=self.do)


class RecordsError(ZooterError):
    """A recorded table or a query file cannot be used."""


class StoreError(ZooterError):
    """A cache on disk is damaged or cannot be written."""


class ExportError(ZooterError):
    """An export is incomplete or changed, or belongs to another pool."""


class ResponderError(ZooterError):
    """Candidates cannot be called: a wrong key or model name, or too many failures."""


class RewarderError(ZooterError):
    """Rewards cannot be computed: a server or judge fails, or differs from its local model."""
