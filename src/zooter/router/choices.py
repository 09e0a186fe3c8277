"""Describe in words what a training chose by itself: for a report, an export's card and `zooter inspect`."""

from collections.abc import Mapping
from typing import Any


def describe_choices(chosen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Describe what cross-fitting chose, and whether queries are routed at all.

    Args:
        chosen: the report's section `chosen` (`training.method.TrainedRouter.choices`); empty for older exports.

    Returns:
        Pairs of a name and a sentence.
    """
    if not chosen:
        return []
    lines = [("β and temperature of labels", f"{chosen['beta']:.3g} and {chosen['temperature']:.3g}")]
    if "evidence" in chosen:  # the paper's net has no parts to weigh
        tags, ridge, penalty = chosen["tags"], chosen["residual"], chosen["penalty"]
        lines += [
            ("weights", f"{tags:.2f} of tags, {ridge:.2f} of the ridge, penalty {penalty:g}"),
            ("evidence out of fold", describe_evidence(chosen["evidence"])),
        ]
    answers = "the router chooses for each query"
    if not chosen["routes"]:
        answers = "the best single model answers every query, for no other's advantage can be foretold"
    return [*lines, ("who answers", answers)]


def describe_evidence(evidence: Mapping[str, Any] | None) -> str:
    """Describe in a sentence what cross-fitted choices earn over the best single model.

    Args:
        evidence: `training.advantages.GateEvidence` as JSON; None where nothing had to be shown.
    """
    if evidence is None:
        return "none was needed"
    weights = [values["weight"] for values in evidence["candidates"].values()]
    error = "unknown" if evidence["standard_error"] is None else f"{evidence['standard_error']:.4f}"
    rule = "by advantages as they are predicted, since these choices earn more than those by advantages that are clear"
    if evidence["threshold"]:
        rule = (
            f"for {sum(weight > 0.0 for weight in weights)} of {len(weights)} candidates, whose advantages clear "
            f"{evidence['threshold']:g} standard errors"
        )
    return (
        f"choices earn {evidence['gain']:+.4f} (standard error {error}) over the best single model; "
        f"{evidence['share_rerouted']:.0%} of queries leave it, {rule}"
    )
