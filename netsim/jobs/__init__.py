from netsim.jobs.executor import Executor
from netsim.jobs.inline import Inline
from netsim.jobs.job import Stack, TrainingJob

__all__ = ["Executor", "Inline", "Stack", "TrainingJob"]
