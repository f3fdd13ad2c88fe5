"""How bandwidth is divided among transfers: frequency-division multiplexing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import simpy

from netsim.core.options import NoOptions, Options


class Band:
    """A band that running transfers share equally.

    Bandwidth and transmit power are divided alike, so the power density, and with it the SNR, stays what it is, and
    a transmitter never radiates more than its power.

    Attributes:
        shared: Whether other transfers may join; if not, nothing about the band ever changes.
        transfers: How many transfers run in it.
        changed: Fires, and is replaced, whenever a transfer joins or leaves.
    """

    def __init__(self, env: simpy.Environment, shared: bool) -> None:
        self.env = env
        self.shared = shared
        self.transfers = 0
        self.changed: simpy.Event = env.event()

    @property
    def share(self) -> float:
        """The part of the band that each running transfer has."""
        return 1.0 / self.transfers

    @property
    def power(self) -> float:
        """The part of its sender's transmit power that each running transfer has."""
        return self.share

    @property
    def density(self) -> float:
        """Power density of a transfer, and so its SNR, relative to all power spread over the whole band."""
        return 1.0

    @contextmanager
    def join(self) -> Generator[None]:
        """Take part while the block runs."""
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


class UplinkBand(Band):
    """A band whose transfers come from different senders, so that each has its part of the band and all of its power.

    With n transfers the rate of each is B/n log2(1 + n p g²/(B N0)): less than with the whole band, but more than an
    n-th of that.

    Attributes:
        parts: How many equal parts the band is cut into; None for as many as there are running transfers.
    """

    def __init__(self, env: simpy.Environment, parts: int | None = None) -> None:
        super().__init__(env, shared=parts is None)
        self.parts = parts

    @property
    def share(self) -> float:
        """One part of the band."""
        return 1.0 / (self.parts or self.transfers)

    @property
    def power(self) -> float:
        """All of it."""
        return 1.0

    @property
    def density(self) -> float:
        """As many times higher as the part is smaller."""
        return float(self.parts or self.transfers)


class Access(ABC):
    """Says which band a transfer uses.

    Attributes:
        dedicated: Whether every transfer has a band of its own, so that none can change another.
    """

    Options: ClassVar[type[Options]] = NoOptions
    dedicated: ClassVar[bool] = False

    def __init__(self, options: Any, env: simpy.Environment) -> None:
        self.options = options
        self.env = env

    @abstractmethod
    def band(self, sender: int, receiver: int) -> Band:
        """The band of a transfer from ``sender`` to ``receiver`` that begins now."""


class Dedicated(Access):
    """Every transfer has the whole bandwidth and the whole transmit power to itself (the paper, eq. 20).

    A device that sends to n neighbours at once then radiates n times its transmit power: the paper's model.
    """

    dedicated = True

    def band(self, sender: int, receiver: int) -> Band:
        """A band of its own."""
        return Band(self.env, shared=False)


class Shared(Access):
    """One band per device, divided among its running transfers whenever one starts or ends."""

    def __init__(self, options: Any, env: simpy.Environment) -> None:
        super().__init__(options, env)
        self._bands: dict[int, Band] = {}

    def band(self, sender: int, receiver: int) -> Band:
        """The sender's band."""
        return self._bands.setdefault(sender, Band(self.env, shared=True))


class Uplink(Access):
    """Many senders to one receiver: the receiver's band is divided among them, not their power (FDMA)."""

    def __init__(self, env: simpy.Environment, redivided: bool) -> None:
        """Divide anew whenever an upload starts or ends if ``redivided``, else as :meth:`divide` says."""
        super().__init__(NoOptions(), env)
        self._redivided = redivided
        self._band = UplinkBand(env, None if redivided else 1)

    def divide(self, senders: int) -> None:
        """A round of so many ``senders`` begins, among whom the band is divided equally."""
        if not self._redivided:
            self._band = UplinkBand(self.env, max(senders, 1))

    def band(self, sender: int, receiver: int) -> Band:
        """The receiver's band."""
        return self._band
