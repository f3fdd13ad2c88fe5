"""Where the work has to stay in the clock's process."""

from __future__ import annotations

import sys

from netsim.work.torch_device import sees_gpu


def obstacle() -> str:
    """Return why the work cannot be done in a forked process; empty if it can."""
    if sys.platform != "linux":
        return "processes are split on Linux only"
    if "torch" in sys.modules and sees_gpu():  # who has not loaded it need not wait for that
        return (
            "PyTorch cannot be forked where it sees a GPU (CUDA_VISIBLE_DEVICES= in the environment hides it)"
        )
    return ""
