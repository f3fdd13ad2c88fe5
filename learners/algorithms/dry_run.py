"""Times and energies alone: an executor that leaves every state as it was."""

from __future__ import annotations

from typing import Any

from learners.training.decomposed.local_update import Trained, local_update
from netsim.work.executors.inline import Inline
from netsim.work.job import TrainingJob


class DryRun(Inline):
    """Skips training, and does every other job: for times and energies that do not depend on what is learnt.

    A scenario names it ``learners.algorithms.dry_run:DryRun``. DMML and DMML-KD compute and send the same however well
    they learn, so their joules and seconds come out in a second instead of minutes. With training balance they do not:
    there the iterations follow from how far the weights moved.
    """

    def submit(self, job: TrainingJob) -> int:
        """Take the job; one that would train gets its own state for a result."""
        if job.function is local_update:
            job = TrainingJob(_as_it_was, {"state": job.inputs["state"], "memories": job.inputs["memories"]})
        return super().submit(job)


def _as_it_was(state: Any, memories: Any) -> Trained:
    return Trained(state, memories, {})
