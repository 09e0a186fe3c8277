"""In which order candidates are asked, where nobody has said."""

from collections.abc import Mapping, Sequence

import numpy as np

from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats
from zooter.errors import ConfigError, RecordsError

PRICE_WEIGHT_COUNT = tuple(
    np.geomspace(30.0, 0.01, 15).tolist()
)  # in rewards' range per range of prices, the thriftiest first


def mean_rewards(recorded: ResponseTable) -> dict[str, float]:
    """Candidate → its mean reward; NaN where it has none."""
    rewards = recorded.rewards()
    return dict(zip(rewards.candidates, rewards.column_means().tolist(), strict=True))


def strong_first(means: Mapping[str, float]) -> tuple[str, ...]:
    """The best on average first; the earlier one on a tie.

    Raises:
        RecordsError: nobody has a reward.
    """
    if all(mean != mean for mean in means.values()):
        raise RecordsError(
            expected="rewards in the training rows, to say which candidate is best",
            found="none",
            do="reward the responses first, or name the candidates",
        )
    return tuple(sorted(means, key=lambda name: -np.nan_to_num(means[name], nan=-np.inf)))


def choose_two_tiers(pool: Pool, prices: Mapping[str, float], means: Mapping[str, float]) -> tuple[str, ...]:
    """The cheapest candidate, and of the others the best on average; the earlier column on ties."""
    cheapest = min(pool.names, key=lambda name: np.nan_to_num(prices[name], nan=np.inf))
    return (cheapest, *[name for name in strong_first(means) if name != cheapest][:1])


def rank_by_utility(names: Sequence[str], expected: Floats, prices: Floats, price_weight: float) -> list[str]:
    """By expected reward minus price weight × price, the best first; the earlier column on a tie.

    Args:
        expected: (m,) NaN comes last.
        prices: (m,) US dollars of one call; looked at only with a weight above 0.

    Raises:
        ConfigError: prices are weighed and one is not known.
    """
    if price_weight and np.isnan(prices).any():
        raise ConfigError(
            expected="the price of a call of every candidate, to weigh them",
            found=f"none of {[name for name, price in zip(names, prices, strict=True) if price != price]}",
            do="record costs, give the candidates prices, or set price_weight=0",
        )
    worth = expected - price_weight * prices if price_weight else expected
    return [names[j] for j in np.argsort(-np.nan_to_num(worth, nan=-np.inf), kind="stable")]


def price_weights(recorded: ResponseTable) -> list[float]:
    """Price weights that are worth trying, from the cheapest choices to the dearest: the last one ignores prices."""
    prices = np.array(list(recorded.prices.values()))
    rewards = recorded.rewards().values
    if not len(rewards) or np.isnan(prices).all() or np.nanmax(prices) <= np.nanmin(prices):
        return [0.0]
    unit = np.nanmax(rewards) - np.nanmin(rewards)
    return [weight * float(unit / (np.nanmax(prices) - np.nanmin(prices))) for weight in PRICE_WEIGHT_COUNT] + [0.0]
