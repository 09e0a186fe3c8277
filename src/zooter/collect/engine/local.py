"""Run the stages in this process."""

from collections.abc import Iterable

import pyarrow as pa

from zooter.collect import progress
from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Job
from zooter.data.component import component


@component
class LocalEngine:
    """Do all work in this process, with all candidates side by side."""

    @property
    def shard_cells(self) -> None:
        """Return that all candidates come in one table."""
        return None

    def run(self, job: Job, tables: Iterable[pa.Table]) -> Outcomes:
        """Do the work on each table, under a progress bar."""
        outcomes = Outcomes()
        with progress.progress_bar(job.title, job.total) as advance:

            def report(latest: Outcomes) -> None:
                """Count the latest cells, and stop the run after too many failures."""
                outcomes.merge(latest)
                advance(latest.cells, latest.spending.dollars, latest.failed)
                outcomes.check(job.max_failures, list(latest.failures))

            for table in tables:
                job.work(table, report, None)
        return outcomes
