"""The best response there is: a bound for evaluations, never a selector for production."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zooter.data.types import Query
from zooter.selector.protocol import Ask, Needs, Selection, first_response


@dataclass(frozen=True)
class OracleSelector:
    """The candidate with the best truth, the cheapest of several; only its call is charged (RouterBench §3.2)."""

    needs: ClassVar[Needs] = Needs(truths=True)

    async def select(self, query: Query, ask: Ask) -> Selection:
        truths = np.nan_to_num(await ask.truth(), nan=-np.inf)
        prices = np.nan_to_num([ask.price(name) for name in ask.pool.names], nan=np.inf)
        order = np.lexsort((prices, -truths))
        response = await first_response(ask, [ask.pool.names[j] for j in order])
        return Selection(response, float(truths[order[0]]), "the best in hindsight")
