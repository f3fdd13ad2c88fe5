from netsim.jobs.executor import Executor
from netsim.jobs.inline import Inline
from netsim.jobs.job import TrainingJob

__all__ = ["Executor", "Inline", "TrainingJob"]
