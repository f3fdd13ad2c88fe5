"""Division of bandwidth among transfers: frequency-division multiplexing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import simpy

from netsim.core.options import NoOptions, Options


class Band:
    """A band that running transfers share equally.

    Bandwidth and transmit power are divided alike, so the power density and the SNR stay the same, and a transmitter
    never radiates more than its power.

    Attributes:
        shared: Whether other transfers may join; if not, the band never changes.
        transfers: Number of running transfers.
        changed: Event that fires, and is replaced, whenever a transfer joins or leaves.
    """

    senders_keep_power: ClassVar[bool] = False

    def __init__(self, env: simpy.Environment, shared: bool) -> None:
        self.env = env
        self.shared = shared
        self.transfers = 0
        self.changed: simpy.Event = env.event()
        self.watchers: list[Callable[[], None]] = []

    @property
    def share(self) -> float:
        """Return the part of the band that each running transfer has."""
        return 1.0 / self.transfers

    @property
    def power(self) -> float:
        """Return the part of its sender's transmit power that each running transfer has."""
        return self.share

    @property
    def density(self) -> float:
        """Return the power density of a transfer, and so its SNR, relative to all power over the whole band."""
        return 1.0

    @contextmanager
    def join(self) -> Generator[None]:
        """Join the band while the block runs."""
        self.transfers += 1
        self._tell()
        try:
            yield
        finally:
            self.transfers -= 1
            self._tell()

    def _tell(self) -> None:
        changed, self.changed = self.changed, self.env.event()
        if changed.callbacks:
            changed.succeed()
        for watcher in self.watchers:
            watcher()


class UplinkBand(Band):
    """A band of transfers from different senders: each has a part of the band and all of its power.

    With n transfers the rate of each is B/n log2(1 + n p g²/(B N0)): less than with the whole band, but more than an
    n-th of that.

    Attributes:
        parts: Number of equal parts of the band; None for the number of running transfers.
    """

    senders_keep_power = True

    def __init__(self, env: simpy.Environment, parts: int | None = None) -> None:
        super().__init__(env, shared=parts is None)
        self.parts = parts

    @property
    def share(self) -> float:
        """Return one part of the band."""
        return 1.0 / (self.parts or self.transfers)

    @property
    def power(self) -> float:
        """Return 1: a sender uses all of its power."""
        return 1.0

    @property
    def density(self) -> float:
        """Return the number of parts: the power is concentrated in one of them."""
        return float(self.parts or self.transfers)


class Access(ABC):
    """A rule that gives each transfer its band.

    Attributes:
        dedicated: Whether every transfer has a band of its own, so that transfers do not affect each other.
        by_sender: Whether transfers of different senders do not affect each other; those of one sender have a band
            each, or divide a band and the sender's power equally.
    """

    Options: ClassVar[type[Options]] = NoOptions
    dedicated: ClassVar[bool] = False
    by_sender: ClassVar[bool] = False

    def __init__(self, options: Any, env: simpy.Environment) -> None:
        self.options = options
        self.env = env

    @abstractmethod
    def band(self, sender: int, receiver: int) -> Band:
        """Return the band of a transfer from ``sender`` to ``receiver`` that begins now."""


class Dedicated(Access):
    """Dedicated bands: every transfer has the whole bandwidth and the whole transmit power (the paper, eq. 20).

    A device that sends to n neighbours at once then radiates n times its transmit power: the paper's model.
    """

    dedicated = by_sender = True

    def band(self, sender: int, receiver: int) -> Band:
        """Return a new band."""
        return Band(self.env, shared=False)


class Shared(Access):
    """Shared bands: one per device, divided among its running transfers whenever one starts or ends."""

    by_sender = True

    def __init__(self, options: Any, env: simpy.Environment) -> None:
        super().__init__(options, env)
        self._bands: dict[int, Band] = {}

    def band(self, sender: int, receiver: int) -> Band:
        """Return the sender's band."""
        return self._bands.setdefault(sender, Band(self.env, shared=True))


class Uplink(Access):
    """An uplink of many senders to one receiver: the receiver's band is divided among them, not their power (FDMA)."""

    def __init__(self, env: simpy.Environment, redivided: bool) -> None:
        """Divide anew whenever an upload starts or ends if ``redivided``, otherwise at each :meth:`divide`."""
        super().__init__(NoOptions(), env)
        self._redivided = redivided
        self._band = UplinkBand(env, None if redivided else 1)

    def divide(self, senders: int) -> None:
        """Divide the band equally among ``senders`` senders of the round that begins."""
        if not self._redivided:
            self._band = UplinkBand(self.env, max(senders, 1))

    def band(self, sender: int, receiver: int) -> Band:
        """Return the receiver's band."""
        return self._band
