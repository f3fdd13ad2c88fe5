"""Messages in blocks that may be lost on the way and are sent again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Blocks:
    """The blocks of a message on their way to one or several receivers.

    They are sent one after the other. When all have been sent, those that a receiver misses are sent once more
    (selective repeat), and so on, up to ``retransmissions`` times. The message goes on to its end, be it that a block
    of it is lost for good, for the physical layer does not know what belongs together.

    Attributes:
        repeats: Whether the sender has just sent all that were due, and some of them are to be sent once more.

    Args:
        size_bits: Size of the message [bit].
        block_bits: Size of a block at most [bit]; all are equal.
        retransmissions: How often a block is sent again, at most.
        receivers: Number of receivers.
        draws: Decides which blocks are lost.
        combined: Probability with which a block is lost by the sum of the SNRs with which it was sent, where receivers
            combine what they hear of it; None where each time counts alone.
    """

    def __init__(
        self,
        size_bits: float,
        block_bits: float,
        retransmissions: int,
        receivers: int,
        draws: np.random.Generator,
        combined: Callable[[float], float] | None = None,
    ) -> None:
        count = math.ceil(size_bits / block_bits)
        self._size_bits, self._block_bits = size_bits, size_bits / count
        self._missing = np.ones((receivers, count), dtype=bool)
        self._due = np.arange(count)  # blocks that are not through yet, now that all are sent once more
        self._due_bits = size_bits
        self._repeats = retransmissions
        self._draws = draws
        self._sent = 0  # whole blocks, with repetitions
        self.repeats = False
        self._combined = combined
        self._heard = np.zeros((receivers, count))  # sums of SNRs
        self._failed = np.ones((receivers, count))  # with which probability a block is still missing

    def sent(
        self, left_bits: float, loss: Mapping[int, float], snr: Mapping[int, float] | None = None
    ) -> float:
        """Note that bits were sent, of which ``left_bits`` were to be sent once more; return how many are now.

        Args:
            left_bits: What of the last answer, or at first of the message, is not sent yet [bit].
            loss: Probability with which each receiver misses a block, by its number; who is not named hears no more.
            snr: With which SNR each hears it, for receivers that combine.

        Returns:
            Bits that are still to be sent [bit]; 0 if all have arrived, or the last repetition is over.
        """
        # A part of a block is no block, but a crumb that rounding has left is nothing.
        left = math.ceil(left_bits / self._block_bits - 1e-6)
        self._due_bits = left_bits if left else 0.0
        done, self._due = np.split(self._due, [len(self._due) - left])
        self._sent += len(done)
        who = list(loss)
        each = np.ix_(np.array(who), done)
        missed = np.array([*loss.values()])[:, np.newaxis]
        if self._combined is not None and snr is not None:
            missed = self._missed(each, np.array([snr[number] for number in who])[:, np.newaxis])
        self._missing[each] &= self._draws.random((len(who), len(done))) < missed
        self.repeats = False
        if not left and self._repeats:
            self._repeats -= 1
            self._due = np.flatnonzero(self._missing[who].any(axis=0))
            self.repeats = len(self._due) > 0
            self._due_bits = len(self._due) * self._block_bits
        return self._due_bits

    def _missed(self, each: Any, snr: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return with which probability blocks are still missing that were missing before, now with ``snr`` more.

        A block that a sum of SNRs is enough for is got by any larger sum, too. So a block is missing with the
        probability of its sum, after any number of times.
        """
        assert self._combined is not None
        self._heard[each] += snr
        before = self._failed[each]
        sums, places = np.unique(self._heard[each], return_inverse=True)
        failed = np.array([self._combined(float(one)) for one in sums])[places].reshape(before.shape)
        self._failed[each] = np.minimum(failed, before)
        return np.divide(self._failed[each], before, out=np.zeros_like(before), where=before > 0)

    def arrived_bits(self, receiver: int = 0) -> float:
        """Return what a receiver has of the message [bit]."""
        return self._size_bits * (self._arrived(receiver) / len(self._missing[receiver]))

    def lost_bits(self, receiver: int = 0) -> float:
        """Return what was sent and brought a receiver nothing [bit]."""
        cut_short_bits = len(self._due) * self._block_bits - self._due_bits
        return (self._sent - self._arrived(receiver)) * self._block_bits + max(cut_short_bits, 0.0)

    def _arrived(self, receiver: int) -> int:
        return len(self._missing[receiver]) - int(np.count_nonzero(self._missing[receiver]))
