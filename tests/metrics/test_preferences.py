"""Battles as rewards, and their win rates."""

import numpy as np

from zooter.data.types import Rewards
from zooter.metrics.preferences import are_preferences, win_rates

NAN = np.nan
BATTLES = Rewards(np.array([[0.5, -0.5, NAN], [NAN, -0.5, 0.5], [0.0, NAN, 0.0], [-0.5, NAN, 0.5]]), ("a", "b", "c"))


def test_the_win_rate_is_the_share_of_battles_in_which_the_winner_is_chosen_with_ties_as_half() -> None:
    # The winner of the first two is chosen, the third is a tie, and the loser of the last: (1 + 1 + ½ + 0) / 4.
    assert win_rates(BATTLES, {"routed": np.array([0.5, 0.5, 0.0, -0.5])}) == {"routed": 0.625}


def test_other_rewards_have_no_win_rate() -> None:
    assert are_preferences(BATTLES)
    for values in (
        [[1.0, 0.0], [0.0, 1.0]],  # right and wrong
        [[0.5, -0.5, 0.0]] * 3,  # centred scores of three candidates
        [[2.0, -2.0]] * 3,  # another scale
        [[0.0, 0.0]] * 3,  # nobody ever wins
    ):
        names = tuple("abc"[: len(values[0])])
        assert win_rates(Rewards(np.array(values), names), {"routed": np.zeros(len(values))}) is None
