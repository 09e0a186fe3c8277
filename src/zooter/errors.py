"""Every error zooter raises on purpose.

    ZooterError
    ├── ConfigError    a setting is out of range, unknown or missing
    ├── RecordsError   a recorded table or a query file cannot be used as it is
    ├── StoreError     a cache on disk is damaged or cannot be written
    ├── ExportError    an export is incomplete, changed, or belongs to another pool
    ├── RewarderError  rewards cannot be made: a server or a judge fails, or disagrees with its local model
    └── ResponderError candidates cannot be asked: a wrong key or model name, or too many failures

A message says what was expected, what was found, and what to do about it.
"""


class ZooterError(Exception):
    """The base of every error that a person can act on."""

    def __init__(self, *, expected: str, found: str, do: str) -> None:
        self.expected, self.found, self.do = expected, found, do
        super().__init__(f"expected {expected}; found {found}; {do}")


class ConfigError(ZooterError):
    """A setting is out of range, unknown or missing."""


class RecordsError(ZooterError):
    """A recorded table or a query file cannot be used as it is."""


class StoreError(ZooterError):
    """A cache on disk is damaged or cannot be written."""


class ExportError(ZooterError):
    """An export is incomplete, changed, or belongs to another pool."""


class ResponderError(ZooterError):
    """Candidates cannot be asked: a wrong key or model name, or too many failures."""


class RewarderError(ZooterError):
    """Rewards cannot be made: a server or a judge fails, or disagrees with its local model."""
