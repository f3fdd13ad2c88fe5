"""Where the learning has to stay with the clock."""

from __future__ import annotations

import sys

from netsim.former.learning import Learner
from netsim.work.torch_device import sees_gpu


def obstacle(learner: Learner | type[Learner], needs_server: bool) -> str:
    """Why this learner's work cannot be done in a forked copy of this process; empty if it can."""
    if sys.platform != "linux":
        return "processes are split on Linux only"
    if not hasattr(learner, "movable"):
        return "not yet"
    if needs_server:
        return "it knows no server yet"
    if not (learner.looks_ahead and learner.movable):
        return "the learner's work cannot be done by a copy of it (Learner.movable)"
    if learner.coordinated:
        return "the learner reports to a cluster head, so that the clock waits for what was learnt"
    if sees_gpu():
        return (
            "PyTorch cannot be forked where it sees a GPU (CUDA_VISIBLE_DEVICES= in the environment hides it)"
        )
    return ""
