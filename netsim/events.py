"""Hooks that report what happens in a simulation and cannot change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netsim.records.tables import MetricRow, OutsideRow, RoundRow, ServerRow, TransferBatch


class Observer:
    """A receiver of events with hooks to override; a run with observers equals the run without them."""

    def on_transfers(self, batch: TransferBatch) -> None:
        """Receive transfers of one sender that have ended, with any outcome; ``batch.rows()`` lists them.

        Transfers that nothing could disturb come together when the last of them is over; any other comes alone
        when it ends.
        """

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Receive the measurements of a round, in the order of simulated time."""

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Receive the record of a round that one device has ended."""

    def on_server_round(self, row: ServerRow) -> None:
        """Receive the record of a round that the edge server has ended."""

    def on_outside(self, row: OutsideRow) -> None:
        """Receive the record of time and energy that a device or the server spent outside its rounds."""

    def on_death(self, device: int, time_s: float) -> None:
        """Receive the time at which a device's battery became empty [s]."""

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Receive the end of ``round``: every living device has ended it and its evaluations are done."""


class Observers(Observer):
    """A group of observers that acts as one observer."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = list(observers)

    def on_transfers(self, batch: TransferBatch) -> None:
        """Pass the transfers on to each observer."""
        for observer in self.observers:
            observer.on_transfers(batch)

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Pass the measurements on to each observer."""
        for observer in self.observers:
            observer.on_metrics(rows)

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Pass the record on to each observer."""
        for observer in self.observers:
            observer.on_round_end(row, iterations)

    def on_server_round(self, row: ServerRow) -> None:
        """Pass the record on to each observer."""
        for observer in self.observers:
            observer.on_server_round(row)

    def on_outside(self, row: OutsideRow) -> None:
        """Pass the record on to each observer."""
        for observer in self.observers:
            observer.on_outside(row)

    def on_death(self, device: int, time_s: float) -> None:
        """Pass the time on to each observer."""
        for observer in self.observers:
            observer.on_death(device, time_s)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Pass the end of the round on to each observer."""
        for observer in self.observers:
            observer.on_round_closed(round, time_s)
