"""What a selection cost: every call of every round, and the fees of what decided."""

from collections import Counter
from dataclasses import dataclass, field

from zooter.data.types import Response


@dataclass(frozen=True, slots=True)
class Fee:
    """What was paid beside the candidates: to a router, a scorer, a reward model.

    Attributes:
        cost: US dollars.
        seconds: of one query's share, where many were computed together.
    """

    name: str
    cost: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Ledger:
    """The account of one query.

    Attributes:
        rounds: what each round of calls brought, in order; calls of one round ran side by side. Failed calls are in.
        fees: for everything that is not a candidate's response.
    """

    rounds: list[list[Response]] = field(default_factory=list)
    fees: list[Fee] = field(default_factory=list)

    @property
    def calls(self) -> Counter[str]:
        """Candidate → how many responses it was asked for."""
        return Counter(response.candidate for part in self.rounds for response in part)

    @property
    def failed(self) -> int:
        """How many calls failed."""
        return sum(response.error is not None for part in self.rounds for response in part)

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output tokens, as far as they are known."""
        asked = [response for part in self.rounds for response in part]
        return sum(r.input_tokens or 0 for r in asked), sum(r.output_tokens or 0 for r in asked)

    @property
    def cost(self) -> float:
        """US dollars; NaN where an answered call's cost is not known. A failed call of unknown cost is free."""
        total = 0.0
        for fee in self.fees:
            total += fee.cost
        for part in self.rounds:
            for response in part:
                if response.cost is not None:
                    total += response.cost
                elif response.error is None:
                    return float("nan")
        return total

    @property
    def seconds(self) -> float:
        """As a user waits: the longest call of each round, and every fee's share; unknown times count 0."""
        waited = sum(max((response.seconds or 0.0 for response in part), default=0.0) for part in self.rounds)
        return waited + sum(fee.seconds for fee in self.fees)
