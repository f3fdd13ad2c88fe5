"""How bandwidth is divided among transfers: frequency-division multiplexing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import simpy

from netsim.options import NoOptions, Options


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
        """The part of band and power that each running transfer has."""
        return 1.0 / self.transfers

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
