"""Tell rewards that come from battles of two candidates, and turn their means into win rates."""

from collections.abc import Mapping

import numpy as np

from zooter.data.types import Floats, Rewards

WIN = 0.5  # the winner's reward in an imported battle; the loser's is its negative, and both have 0 after a tie


def are_preferences(rewards: Rewards) -> bool:
    """Tell whether rewards are those of battles: within ±½, 0 in sum on every query, and of two candidates as a rule.

    Args:
        rewards: (n, m); a query that was battled over several times has more than two rewards, or their means.
    """
    values = np.nan_to_num(rewards.values)
    is_balanced = np.allclose(values.sum(axis=1), 0.0) and bool((np.abs(values) <= WIN + 1e-9).all())
    return is_balanced and bool(values.any()) and float(np.median(rewards.observed.sum(axis=1))) == 2.0


def win_rates(rewards: Rewards, chosen: Mapping[str, Floats]) -> dict[str, float] | None:
    """Compute how often each method prefers the winner of a battle; ties count half.

    A method chooses between the two candidates of a battle, so with rewards of ±½ its win rate is its mean reward + ½.

    Args:
        rewards: (n, m).
        chosen: method → (n,) rewards of its choices.

    Returns:
        Method → share in [0, 1]; None where the rewards are no preferences.
    """
    if not are_preferences(rewards):
        return None
    return {name: float(values.mean()) + WIN for name, values in chosen.items()}
