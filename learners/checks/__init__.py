"""A check that a learner keeps the contract of :mod:`netsim.learner`; anybody can run it on theirs."""

from learners.checks.check import check_learner
from learners.checks.promise import BrokenPromise, fingerprint

__all__ = ["BrokenPromise", "check_learner", "fingerprint"]
