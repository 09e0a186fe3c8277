"""Choose queries on which a router differs from the best single model, and count its choices in each tag."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zooter.data.types import Floats, Ints, Tags
from zooter.evaluation.router_metrics import RouterOutcome
from zooter.evaluation.selector_results import SelectorResults

EXAMPLES = 20
MAX_CHARACTERS = 400  # of a query that is shown
TOP_CHOICES = 3


def differing_queries(
    queries: Sequence[str], candidates: Sequence[str], choices: tuple[Ints, Ints], rewards: tuple[Floats, Floats]
) -> dict[str, Any]:
    """Choose queries on which a router and the best single model chose differently.

    Half of them are those on which the router gained most, half those on which it lost most; where one half is not
    full, queries without a difference in reward or of the other half fill it. Equal ones keep the order of the test.

    Args:
        queries: n texts.
        candidates: names, in column order.
        choices: (n,) columns chosen by the router and by the best single model; -1 for none.
        rewards: (n,) of these choices; NaN where not recorded, and such queries are left out.

    Returns:
        "differing", "better" and "worse", numbers of queries, and "rows" with the query's text, both candidates and
        both rewards, from the largest gain to the largest loss; JSON.
    """
    routed, single = choices
    lead = rewards[0] - rewards[1]
    rows = np.flatnonzero((routed != single) & (routed >= 0) & (single >= 0) & ~np.isnan(lead))
    order = rows[np.argsort(-lead[rows], kind="stable")]
    gains = min(EXAMPLES // 2, int((lead[rows] > 0).sum()))
    losses = min(EXAMPLES - gains, len(order) - gains)
    gains = min(EXAMPLES - losses, len(order) - losses)
    return {
        "differing": len(rows),
        "better": int((lead[rows] > 0).sum()),
        "worse": int((lead[rows] < 0).sum()),
        "rows": [
            {
                "query": _shorten(queries[i]),
                "routed": candidates[routed[i]],
                "routed_reward": float(rewards[0][i]),
                "best_single": candidates[single[i]],
                "best_single_reward": float(rewards[1][i]),
            }
            for i in [*order[:gains].tolist(), *order[len(order) - losses :].tolist()]
        ],
    }


def choices_by_tag(choices: Ints, candidates: Sequence[str], tags: Tags) -> list[dict[str, Any]]:
    """Count which candidates are chosen in each tag, the largest tag first.

    Args:
        choices: (n,) columns; -1 for no choice.
        candidates: names, in column order.
        tags: of the n queries.

    Returns:
        Per tag "tag", "queries", and "chosen", the most frequent candidates with their shares; JSON.
    """
    is_chosen = choices[:, None] == np.arange(len(candidates))
    counts = np.asarray(tags.membership.T @ is_chosen.astype(float))
    totals = np.asarray(tags.membership.sum(axis=0)).ravel()
    rows = []
    for t in np.argsort(-totals, kind="stable").tolist():
        if totals[t] > 0:
            top = [j for j in np.argsort(-counts[t], kind="stable")[:TOP_CHOICES].tolist() if counts[t, j] > 0]
            chosen = {candidates[j]: float(counts[t, j] / totals[t]) for j in top}
            rows.append({"tag": tags.names[t], "queries": int(totals[t]), "chosen": chosen})
    return rows


def choices_of_selectors(
    results: Mapping[str, SelectorResults], candidates: Sequence[str], tags: Tags
) -> dict[str, list[dict[str, Any]]]:
    """Count which candidates' responses each selector returns in each tag; choices that are not recorded do not count.

    Args:
        results: selector → its results on n queries.
        candidates: names, in column order.
        tags: of the n queries.

    Returns:
        Selector → as `choices_by_tag`.
    """
    return {
        name: choices_by_tag(np.where(result.is_recorded, result.chosen, -1), candidates, tags)
        for name, result in results.items()
    }


def examples_of_router(outcome: RouterOutcome) -> dict[str, Any]:
    """Choose examples of a trained router: first choices count, on queries where both are recorded.

    Returns:
        As `differing_queries`.
    """
    rows = np.arange(len(outcome.choices))
    choices = outcome.first_choices["routed"], outcome.first_choices["best_single"]
    rewards = outcome.test.values[rows, choices[0]], outcome.test.values[rows, choices[1]]
    return differing_queries(outcome.queries, outcome.test.candidates, choices, rewards)


def examples_of_selectors(
    results: Mapping[str, SelectorResults],
    queries: Sequence[str],
    candidates: Sequence[str],
    references: tuple[str, str],
) -> dict[str, Any] | None:
    """Choose examples of the selector `routed`, or where there is none, of the selector with the best mean quality.

    Args:
        results: selector → its results on n queries.
        queries: n texts.
        candidates: names, in column order.
        references: the selectors of the best single candidate and of the oracle, which give no examples.

    Returns:
        As `differing_queries`, and "selector", its name; None where no other selector has a known choice.
    """
    means = {name: float(np.nanmean(result.quality)) for name, result in results.items() if result.is_recorded.any()}
    others = [name for name in means if name not in references]
    if not others:
        return None
    name = "routed" if "routed" in others else max(others, key=lambda other: means[other])
    chosen, single = results[name], results[references[0]]
    choices, rewards = (chosen.chosen, single.chosen), (chosen.quality, single.quality)
    return {"selector": name, **differing_queries(queries, candidates, choices, rewards)}


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
