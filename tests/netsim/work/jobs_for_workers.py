"""Jobs that tell how workers treat them."""

import os
import signal
from pathlib import Path

import torch


def double_at_the_second_attempt(x, mark):
    """Kills the first worker that tries."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return 2 * x
    os.kill(os.getpid(), signal.SIGKILL)


class Data:
    """Counts how often it was packed and unpacked."""

    packed, unpacked = 0, 0

    def __getstate__(self):
        Data.packed += 1
        return {"numbers": torch.arange(10.0)}

    def __setstate__(self, state):
        Data.unpacked += 1
        self.__dict__ |= state
