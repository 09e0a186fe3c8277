"""Count the calls, tokens and dollars of models that are asked."""

from dataclasses import dataclass, replace

from zooter.data.types import Response


@dataclass
class Spending:
    """Calls so far and what they cost.

    Attributes:
        calls: number of calls, failed ones included.
        failed: number of calls that failed.
        input_tokens: sum over the calls whose count is known.
        output_tokens: sum over the calls whose count is known.
        dollars: sum over the calls whose cost is known, in US dollars.
        unpriced: number of successful calls whose cost is unknown.
    """

    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0

    def add(self, response: Response) -> None:
        """Add one call."""
        self.calls += 1
        self.failed += response.error is not None
        self.input_tokens += response.input_tokens or 0
        self.output_tokens += response.output_tokens or 0
        self.dollars += response.cost or 0.0
        self.unpriced += response.error is None and response.cost is None

    def since(self, earlier: "Spending") -> "Spending":
        """Subtract an earlier state of the same count.

        Args:
            earlier: a copy of this count, made before.
        """
        return Spending(**{name: value - getattr(earlier, name) for name, value in vars(self).items()})

    def plus(self, other: "Spending") -> "Spending":
        """Add the counts of other calls.

        Args:
            other: of calls that are not in this count.
        """
        return Spending(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def copy(self) -> "Spending":
        """Copy the present state."""
        return replace(self)

    def describe(self) -> str:
        """Describe the sums in words, such as "764 calls, 120,000 tokens in, 9,000 out, $0.0234"."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        unpriced = f" and {self.unpriced:,} calls of unknown price" if self.unpriced else ""
        tokens = f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out"
        return f"{self.calls:,} calls{failed}, {tokens}, ${self.dollars:,.4f}{unpriced}"
