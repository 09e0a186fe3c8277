"""Count what becomes of cells: how many are done, what they cost, and how many of each candidate failed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from zooter.collect.spending import Spending
from zooter.data.types import Response
from zooter.errors import ResponderError

MIN_FIRST_ATTEMPTS = 50  # first attempts at a candidate's cells before its share of failures can stop a run


@dataclass
class FailureCounts:
    """Failures of one candidate in this run, of all calls and of first attempts, and their reasons."""

    failures: int = 0
    first_attempts: int = 0
    first_failures: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def merge(self, other: "FailureCounts") -> None:
        """Add the counts of another part of the run."""
        self.failures += other.failures
        self.first_attempts += other.first_attempts
        self.first_failures += other.first_failures
        self.reasons.update(other.reasons)


@dataclass
class Outcomes:
    """What has become of some cells.

    Attributes:
        cells: number of cells that are done, failed ones included.
        failed: number of them that failed.
        spending: calls, tokens and dollars.
        failures: candidate → its failures.
    """

    cells: int = 0
    failed: int = 0
    spending: Spending = field(default_factory=Spending)
    failures: dict[str, FailureCounts] = field(default_factory=dict)

    def add_response(self, response: Response, is_first_attempt: bool) -> None:
        """Count one call.

        Args:
            response: what it gave.
            is_first_attempt: whether the cell has not failed in an earlier run: one that has is likely to fail again.
        """
        failed = response.error is not None
        self.cells, self.failed = self.cells + 1, self.failed + failed
        self.spending.add(response)
        counts = self.failures.setdefault(response.candidate, FailureCounts())
        counts.failures += failed
        counts.first_attempts += is_first_attempt
        counts.first_failures += is_first_attempt and failed
        if response.error is not None:
            counts.reasons[response.error] += 1

    def merge(self, other: "Outcomes") -> None:
        """Add the outcomes of other cells."""
        self.cells, self.failed = self.cells + other.cells, self.failed + other.failed
        self.spending = self.spending.plus(other.spending)
        for name, counts in other.failures.items():
            self.failures.setdefault(name, FailureCounts()).merge(counts)

    def check(self, max_failures: float, names: Sequence[str]) -> None:
        """Check the first attempts of some candidates, once there are `MIN_FIRST_ATTEMPTS` of them.

        Args:
            max_failures: share that may fail, in [0, 1].
            names: candidates.

        Raises:
            ResponderError: more of them failed.
        """
        for name in names:
            counts = self.failures[name]
            allowed = max_failures * counts.first_attempts
            if counts.first_attempts >= MIN_FIRST_ATTEMPTS and counts.first_failures > allowed:
                raise too_many_failures(
                    max_failures, name, counts.first_failures, counts.first_attempts, counts.reasons
                )


def too_many_failures(
    max_failures: float, name: str, failures: int, calls: int, reasons: Counter[str]
) -> ResponderError:
    """Describe that too many calls of a candidate failed.

    Args:
        max_failures: share that may fail.
        name: of the candidate.
        failures: number of calls that failed.
        calls: number of calls.
        reasons: reason → how often.
    """
    reason, times = reasons.most_common(1)[0]
    return ResponderError(
        expected=f"at most {max_failures:.0%} of the calls to {name!r} to fail",
        found=f"{failures} of {calls} failed, most often ({times}×) with: {reason}",
        do="correct the cause and run again: what was answered is kept; "
        "or allow more with cells.max_failures=…, or try given-up calls again with cells.max_attempts=…",
    )
