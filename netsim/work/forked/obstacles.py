"""Reasons why the tasks cannot be done in a forked process."""

from __future__ import annotations

import sys

from netsim.work.torch_device import sees_gpu


def obstacle() -> str:
    """Return the reason why tasks cannot be done in a forked process; empty if they can."""
    if sys.platform != "linux":
        return "it forks a process, which works on Linux only"
    if "torch" in sys.modules and sees_gpu():  # not asked otherwise, since it would load PyTorch
        return (
            "PyTorch cannot be forked where it sees a GPU (CUDA_VISIBLE_DEVICES= in the environment hides it)"
        )
    return ""
