"""Division of bandwidth among transfers: what every access method is, and frequency-division multiplexing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import simpy

from netsim.core.options import NoOptions, Options
from netsim.world.devices.device import Device
from netsim.world.radio.air import Air
from netsim.world.radio.hearing import Ether


class Traffic(NamedTuple):
    """A transmission: its sender, the number of its receiver, and the sender's round."""

    sender: Device
    receiver: int
    round: int


class Grant(NamedTuple):
    """The part of a band that a transfer may use at a moment.

    Attributes:
        share: The part of the band; zero: it waits, neither sending nor heard.
        power: The part of the sender's transmit power while it is on the air.
        density: Power density, and so SNR, relative to all power over the whole band.
        duty: The part of the time in which it is on the air.
        interference_w: Power that the receiver hears of others in the same band [W].
        until_s: Time until which the fading of these others holds [s].
    """

    share: float = 0.0
    power: float = 1.0
    density: float = 1.0
    duty: float = 1.0
    interference_w: float = 0.0
    until_s: float = math.inf


class Seat(ABC):
    """The place of a transfer in a band.

    Attributes:
        shared: Whether its grant can change.
        changed: Event that fires, and is replaced, whenever the grant changes.
    """

    shared: bool
    changed: simpy.Event

    @property
    @abstractmethod
    def grant(self) -> Grant:
        """Return what the transfer may use now."""

    @abstractmethod
    def hear(self, snr: float) -> None:
        """Learn the SNR of the transfer's link now, with all power spread over the whole band."""


class Band(Seat):
    """A band that running transfers share equally, each in the same seat.

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

    @property
    def grant(self) -> Grant:
        """Return what each running transfer may use."""
        return Grant(self.share, self.power, self.density)

    def hear(self, snr: float) -> None:
        """Do nothing: parts are equal, whatever the SNR."""

    @contextmanager
    def join(self, traffic: Traffic | None = None) -> Generator[Seat]:
        """Join the band with ``traffic`` while the block runs."""
        self.transfers += 1
        self._tell()
        try:
            yield self
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
        air: What the links have in common; see :meth:`use`.
        ether: Powers across links; see :meth:`use`.
    """

    Options: ClassVar[type[Options]] = NoOptions
    dedicated: ClassVar[bool] = False
    by_sender: ClassVar[bool] = False
    air: Air
    ether: Ether

    def __init__(self, options: Any, env: simpy.Environment) -> None:
        self.options = options
        self.env = env

    def use(self, air: Air, ether: Ether) -> None:
        """Learn what the links of the radio that uses this have in common, and what is heard across them."""
        self.air, self.ether = air, ether

    @abstractmethod
    def band(self, sender: int, receiver: int) -> Band:
        """Return the band of a transfer from ``sender`` to ``receiver`` that begins now."""

    @contextmanager
    def radios(self, sender: int, receiver: int) -> Generator[simpy.Event | None]:
        """Keep both ends' radios for a transfer while the block runs; yield when that can be: None for at once."""
        yield None

    def divide(self, senders: int) -> None:  # noqa: B027 (a hook)
        """Note that a round of so many ``senders`` begins."""

    def densest(self, senders: int) -> float:
        """Return the highest :attr:`Grant.density` of a transfer while at most ``senders`` send."""
        return 1.0


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

    def densest(self, senders: int) -> float:
        """Return the number of senders: the power is concentrated in one of so many parts."""
        return float(senders)

    def band(self, sender: int, receiver: int) -> Band:
        """Return the receiver's band."""
        return self._band
