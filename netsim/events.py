"""Hooks for looking at a simulation; whoever uses them never changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netsim.records.tables import MetricRow, OutsideRow, RoundRow, ServerRow, TransferBatch


class Observer:
    """Override the hooks you need. Observers look; a run with them is the run without them."""

    def on_transfers(self, batch: TransferBatch) -> None:
        """Transfers of one sender have ended, well or badly; ``batch.rows()`` gives them one by one.

        Transfers that nothing could disturb come together when the last of them is over; any other comes alone
        when it ends.
        """

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """What was measured in a round, in the order of simulated time."""

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """One device has ended a round."""

    def on_server_round(self, row: ServerRow) -> None:
        """The edge server has ended a round."""

    def on_outside(self, row: OutsideRow) -> None:
        """A device, or the server, has spent something outside its rounds."""

    def on_death(self, device: int, time_s: float) -> None:
        """A device's battery is empty."""

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Every living device has ended ``round``, and its evaluations are in."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = list(observers)

    def on_transfers(self, batch: TransferBatch) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_transfers(batch)

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_metrics(rows)

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_round_end(row, iterations)

    def on_server_round(self, row: ServerRow) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_server_round(row)

    def on_outside(self, row: OutsideRow) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_outside(row)

    def on_death(self, device: int, time_s: float) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_death(device, time_s)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_round_closed(round, time_s)
