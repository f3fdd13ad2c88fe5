"""Hooks for looking at a simulation; whoever uses them never changes it."""

from __future__ import annotations

from netsim.records.tables import MetricRow, RoundRow, TransferRow


class Observer:
    """Override the hooks you need. Observers look; a run with them is the run without them."""

    def on_transfer_end(self, row: TransferRow) -> None:
        """A transfer has ended, well or badly; the receiver has not acted on it yet."""

    def on_metric(self, row: MetricRow) -> None:
        """Something was measured."""

    def on_round_end(self, row: RoundRow, iterations: dict[str, int]) -> None:
        """One device has ended a round."""

    def on_death(self, device: int, time_s: float) -> None:
        """A device's battery is empty."""

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Every living device has ended ``round``, and its evaluations are in."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = list(observers)

    def on_transfer_end(self, row: TransferRow) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_transfer_end(row)

    def on_metric(self, row: MetricRow) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_metric(row)

    def on_round_end(self, row: RoundRow, iterations: dict[str, int]) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_round_end(row, iterations)

    def on_death(self, device: int, time_s: float) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_death(device, time_s)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Pass on."""
        for observer in self.observers:
            observer.on_round_closed(round, time_s)
