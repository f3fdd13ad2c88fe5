"""Ends a run early: at the close of the round in which a target of the scenario's ``stop`` block is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netsim.core.errors import ScenarioError
from netsim.events import MetricRow, Observer, RoundBatch, RowBatch
from netsim.records.totals import Curve, Spent
from netsim.scenario.model import StopOptions


class Target(Observer):
    """Looks at each round as it closes, and says when to end.

    It sees what has happened by the close of a round and nothing later. So the round in which a run ends follows from
    its seed, however far ahead a process is.

    Args:
        options: The targets.
        devices: Number of devices.
        end: Called once, at the close of the round in which the first of them is reached.

    Attributes:
        round: That round; None as long as there is none.
        reason: Which target it is, in words; empty as long as there is none.
    """

    def __init__(self, options: StopOptions, devices: int, end: Callable[[], None]) -> None:
        self._options = options
        self._end = end
        self._curve = Curve()
        self._spent = Spent(devices)
        self._since = 0
        self._best: tuple[float, int] | None = None
        self.round: int | None = None
        self.reason = ""

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Take in the values of the metric."""
        for row in rows:
            if row.name == self._options.metric and row.modality == self._options.modality:
                self._curve.add(row.round, row.device, row.value)

    def on_rounds(self, batch: RoundBatch) -> None:
        """Take in the energy of rounds."""
        self._spent.add(batch.columns)

    def on_outsides(self, batch: RowBatch) -> None:
        """Take in the energy of devices between their rounds."""
        self._spent.add(batch.columns)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Look whether a target is reached."""
        self._spent.close(time_s)
        if self.round is not None:
            return
        reached = self._of_metric(round) or self._of_clock(time_s)
        if reached:
            self.round, self.reason = round, f"{reached} in round {round}"
            self._end()

    def _of_metric(self, round: int) -> str:
        options = self._options
        value = self._curve.means.get(round)
        if value is None:
            return ""
        for bound, sign, reached in (
            (options.at_least, "≥", options.at_least is not None and value >= options.at_least),
            (options.at_most, "≤", options.at_most is not None and value <= options.at_most),
        ):
            if reached:
                return f"{self._name} {value:.4g} {sign} {bound:g}"
        falls = options.at_most is not None
        self._since += 1
        if self._best is None or (value < self._best[0] if falls else value > self._best[0]):
            self._best, self._since = (value, round), 0
        if options.patience is not None and self._since >= options.patience:
            return f"{self._name} no better than {self._best[0]:.4g} (round {self._best[1]})"
        return ""

    def _of_clock(self, time_s: float) -> str:
        options = self._options
        if options.joules is not None and self._spent.mean_j >= options.joules:
            return f"{self._spent.mean_j:.4g} J a device ≥ {options.joules:g} J"
        if options.seconds is not None and time_s >= options.seconds:
            return f"{time_s:.4g} s ≥ {options.seconds:g} s"
        return ""

    @property
    def _name(self) -> str:
        return " ".join(filter(None, [self._options.metric, self._options.modality]))

    def notes(self) -> list[str]:
        """Say that nothing was reached, and how far the metric has come."""
        options, bounds = self._options, []
        if self.round is not None:
            return []
        if options.at_least is not None or options.at_most is not None:
            sign, bound = ("≥", options.at_least) if options.at_least is not None else ("≤", options.at_most)
            best = f"{self._best[0]:.4g} in round {self._best[1]}" if self._best else "never measured"
            bounds.append(f"{self._name} {sign} {bound:g} (best: {best})")
        if options.joules is not None:
            bounds.append(f"{options.joules:g} J a device (spent: {self._spent.mean_j:.4g} J)")
        if options.seconds is not None:
            bounds.append(f"{options.seconds:g} s")
        return [f"stop: no round reached {', '.join(bounds)}; the run has all its rounds"] if bounds else []


class AtRound(Target):
    """Ends where a recorded run has ended early: its replay does not know what was learnt.

    Args:
        options: The targets.
        devices: Number of devices.
        end: See :class:`Target`.
        last: The round.
        reason: Why it did.
    """

    def __init__(
        self, options: StopOptions, devices: int, end: Callable[[], None], last: int, reason: str
    ) -> None:
        super().__init__(options, devices, end)
        self._last, self.reason = last, reason

    def on_round_closed(self, round: int, time_s: float) -> None:
        """End if it is that round."""
        if round == self._last and self.round is None:
            self.round = round
            self._end()


def check_target(options: StopOptions, metrics: Mapping[str, str], ends_early: bool, protocol: str) -> None:
    """Check that a run can reach the targets.

    Raises:
        ScenarioError: The learner has no such metric, or the protocol cannot end early.
    """
    if options.metric is not None and options.metric not in metrics:
        raise ScenarioError(
            f"stop.metric: the learner has no metric {options.metric!r}; it measures {', '.join(metrics) or 'nothing'}"
        )
    if not ends_early:
        raise ScenarioError(
            f"stop: protocol {protocol!r} cannot end early; leave stop out, or let the protocol look at self.over and "
            "state ends_early = True (docs/guides/write_a_protocol.md)"
        )
