"""What a plan says of a cluster."""

from pathlib import Path

from support.collecting import collector

from zooter.collect.engine.plan import describe_cluster_plan
from zooter.collect.engine.ray import ActorPool, RayEngine
from zooter.collect.estimate import estimate_run


def test_a_plan_counts_shards_and_the_gpu_hours_of_responses_whose_speed_is_stored(tmp_path: Path) -> None:
    engine = RayEngine(shard_cells=2, pools={"respond": ActorPool(num_gpus=0.5)})
    fresh = collector(tmp_path, engine=engine)
    plan = describe_cluster_plan(fresh, estimate_run(fresh))
    # Three queries, two candidates: two shards for each candidate's responses and for their rewards.
    assert plan is not None
    assert plan.startswith(
        "engine=ray: 12 cells in 8 shards of up to 2. GPU hours are not known: no stored response of "
    )
    collector(tmp_path).collect(tmp_path / "records.parquet")
    again = collector(tmp_path, engine=engine)
    assert "0.00 GPU hours." in str(describe_cluster_plan(again, estimate_run(again)))
    assert describe_cluster_plan(collector(tmp_path), []) is None
