"""Schedulers: which transfer gets how many sub-carriers."""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from netsim.core.options import NoOptions, Options


class Bid(NamedTuple):
    """A transfer as a scheduler sees it, without its future.

    Attributes:
        sender: Number of its sender.
        receiver: Number of its receiver.
        snr: SNR of its link when it was last looked at, with all power spread over the whole band.
        power_moves: Whether its sender puts all its power into the sub-carriers that it gets; if not, each of
            them has an equal part of it.
    """

    sender: int
    receiver: int
    snr: float
    power_moves: bool

    def rate(self, count: int, subcarriers: int) -> float:
        r"""Compute the Shannon rate on ``count`` of ``subcarriers`` sub-carriers, as a part of the band's width.

        It is :math:`\frac{k}{N} \log_2(1 + \mathrm{SNR} \frac{N}{k})` if the power moves, otherwise
        :math:`\frac{k}{N} \log_2(1 + \mathrm{SNR})` [bit/s/Hz].
        """
        share = count / subcarriers
        density = 1 / share if self.power_moves and count else 1.0
        return share * math.log1p(self.snr * density) / math.log(2)


class Scheduler(ABC):
    """A policy that deals sub-carriers to transfers whenever one begins or ends."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def deal(self, bids: Sequence[Bid], subcarriers: int) -> Sequence[int]:
        """Return how many of ``subcarriers`` each of ``bids`` gets: together at least one, and not more than there are.

        Args:
            bids: The transfers, in the order of their beginnings; at least one.
            subcarriers: Number of sub-carriers, N.
        """


class Equal(Scheduler):
    """Equal numbers (round robin); the oldest transfers get those that are over."""

    def deal(self, bids: Sequence[Bid], subcarriers: int) -> Sequence[int]:
        """Divide the sub-carriers by the number of transfers."""
        each, over = divmod(subcarriers, len(bids))
        return [each + (place < over) for place in range(len(bids))]


class BestGain(Scheduler):
    """All to the transfer with the best SNR, among equals the oldest (maximum C/I); the others wait."""

    def deal(self, bids: Sequence[Bid], subcarriers: int) -> Sequence[int]:
        """Find the best transfer."""
        best = max(range(len(bids)), key=lambda place: bids[place].snr)
        return [subcarriers * (place == best) for place in range(len(bids))]


class Proportional(Scheduler):
    """Proportional fairness: the sum of the logarithms of rates is as large as it can be (Kelly 1997)."""

    def deal(self, bids: Sequence[Bid], subcarriers: int) -> Sequence[int]:
        """Deal one by one, each to the transfer whose rate grows by the largest factor.

        That is optimal, since the logarithm of a rate is concave in the number of sub-carriers.
        """
        return greedy(bids, subcarriers, lambda bid, count: _log(bid.rate(count, subcarriers)))


def greedy(bids: Sequence[Bid], subcarriers: int, value: Callable[[Bid, int], float]) -> Sequence[int]:
    """Deal ``subcarriers`` one by one, each to the bid whose ``value`` grows most by it, among equals to the first."""
    counts = [0] * len(bids)

    def growth(place: int) -> tuple[float, int]:
        bid, count = bids[place], counts[place]
        return value(bid, count) - value(bid, count + 1), place

    queue = [growth(place) for place in range(len(bids))]
    heapq.heapify(queue)
    for _ in range(subcarriers):
        place = queue[0][1]
        counts[place] += 1
        heapq.heapreplace(queue, growth(place))
    return counts


def _log(rate: float) -> float:
    return math.log(rate) if rate > 0 else -1e9  # the first sub-carrier of each comes before any second one
