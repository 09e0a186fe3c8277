"""Say what a run would take on a cluster: shards, and hours of its GPUs."""

from collections.abc import Sequence

import pyarrow.compute as pc

from zooter.collect.engine.protocol import count_shards
from zooter.collect.engine.ray import ActorPool, RayEngine
from zooter.collect.estimate import StageEstimate
from zooter.collect.run import Collector
from zooter.data.content_keys import group_of


def describe_cluster_plan(collector: Collector, estimates: Sequence[StageEstimate]) -> str | None:
    """Describe the shards of each stage, and the GPU hours of the responses where their speed is known.

    GPU hours are the missing cells, times the mean seconds of this candidate's stored responses, times the GPUs of an
    actor. A stored response's seconds are its share of its batch where a model runs in the actor itself.

    Args:
        collector: the run's settings.
        estimates: of `estimate_run`.

    Returns:
        One or two sentences; None for an engine of this process.
    """
    engine = collector.engine
    if not isinstance(engine, RayEngine):
        return None
    shards = count_shards((line.missing for line in estimates), engine.shard_cells)
    cells = sum(line.missing for line in estimates)
    text = f"engine=ray: {cells:,} cells in {shards:,} shards of up to {engine.shard_cells:,}."
    gpus = engine.pools.get("respond", ActorPool()).num_gpus
    if not gpus:
        return text
    hours, unknown = 0.0, []
    missing = {line.candidate: line.missing for line in estimates if line.stage == "respond"}
    for candidate in collector.pool.candidates:
        group = group_of(collector.responder.identity(candidate))
        stored = collector.cells.responses.within(group).table(["seconds", "identity"])
        mean = pc.mean(stored["seconds"]).as_py() if "seconds" in stored.column_names else None
        if mean is None and missing[candidate.name]:
            unknown.append(candidate.name)
        hours += (mean or 0.0) * missing[candidate.name] * gpus / 3_600
    if not unknown:
        return f"{text} Responses take {hours:,.2f} GPU hours."
    reason = f"no stored response of {', '.join(unknown)} tells the speed"
    if not hours:
        return f"{text} GPU hours are not known: {reason}."
    return f"{text} Responses take {hours:,.2f} GPU hours and more: {reason}."
