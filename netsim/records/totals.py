"""Sums of a run while it goes on, for the screen and for ``summary.json``."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from netsim.core.arrays import Floats, Whole
from netsim.events import (
    ChargeRow,
    EdgeRow,
    MetricRow,
    Observer,
    OutsideRow,
    RoundBatch,
    RoundRow,
    RowBatch,
    ServerRow,
    TransferBatch,
    joined,
)
from netsim.world.devices.meter import CATEGORIES


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """Return mean, maximum, median and quantiles; times on a fading radio have heavy tails, so a mean says little.

    An infinite value stands for something that never finished. Quantiles include it: without the slowest, the tail
    would look too short. Mean and maximum are those of the finite values. A quantile q is the smallest value that a
    share q of the values does not exceed. Return None for no values.
    """
    if not len(values):
        return None
    array = np.asarray(values, dtype=float)
    finished = array[np.isfinite(array)]
    q50, q90, q99 = np.quantile(array, [0.5, 0.9, 0.99], method="inverted_cdf")
    return {
        "median": float(q50),
        "q90": float(q90),
        "q99": float(q99),
        "max": float(finished.max()) if len(finished) else math.nan,
        "mean": float(finished.mean()) if len(finished) else math.nan,
    }


def evenness(values: Sequence[float]) -> dict[str, float]:
    """Return mean, mean of the worst tenth (at least one), variance and Jain's index (Σx)²/(n Σx²) of ``values``."""
    array = np.sort(np.asarray(values, dtype=float))
    squares = float((array**2).sum())
    return {
        "mean": float(array.mean()),
        "worst_10_percent": float(array[: math.ceil(len(array) / 10)].mean()),
        "variance": float(array.var()),
        "jain": float(array.sum() ** 2 / (len(array) * squares)) if squares else 1.0,
    }


class Curve:
    """Means over devices of one metric, by round; values of the network as a whole where no device has its own."""

    def __init__(self) -> None:
        self._sums: dict[bool, dict[int, tuple[float, int]]] = {True: {}, False: {}}

    def add(self, round: int, device: int, value: float) -> None:
        """Add a value; NaN is ignored."""
        if not math.isnan(value):
            own = self._sums[device >= 0]
            total, count = own.get(round, (0.0, 0))
            own[round] = total + value, count + 1

    @property
    def means(self) -> dict[int, float]:
        """Return the mean of each round, in the order of rounds."""
        sums = self._sums[True] or self._sums[False]
        return {t: total / count for t, (total, count) in sorted(sums.items())}

    @property
    def ends(self) -> dict[str, float]:
        """Return the first and the last mean, and their rounds."""
        means = self.means
        first, last = min(means), max(means)
        return {"first": means[first], "first_round": first, "last": means[last], "last_round": last}


class Spent:
    """Energy that devices had spent by the end of the last closed round, in ended rounds and between them.

    Attributes:
        mean_j: Mean over devices [J].
    """

    def __init__(self, device_count: int) -> None:
        self._device_count = device_count
        self.mean_j = 0.0
        self._ended: list[tuple[Any, Any]] = []  # ends of rounds and their energies

    def add(self, row: RoundRow | OutsideRow) -> None:
        """Add a device's row, or rows of several by column; those of a server do not count."""
        if isinstance(row.device, int) and row.device >= self._device_count:
            return
        self._ended.append((row.end_s, row.compute_j + row.sending_j + row.receiving_j + row.idle_j))

    def close(self, time_s: float) -> None:
        """Bring the mean up to the end of a round at ``time_s`` [s]; the clock may be later by now."""
        if self._ended:
            end_s, energy_j = map(np.hstack, zip(*self._ended, strict=True))
            ended = end_s <= time_s
            self.mean_j += float(energy_j[ended].sum()) / self._device_count
            self._ended = [] if ended.all() else [(end_s[~ended], energy_j[~ended])]


class Totals(Observer):
    """An observer that adds up energy by device and category, lengths of rounds and transfers, metrics by round.

    Attributes:
        closed_dead: Number of dead devices at the end of the last closed round.
    """

    def __init__(self, device_count: int) -> None:
        self._device_count = device_count
        self.energy_j = {c: np.zeros(device_count) for c in CATEGORIES}
        self.iterations: dict[str, Whole] = {}
        self.round_s: list[Floats] = []
        self.airtime_s: list[np.ndarray] = []
        self.sent_bits: list[np.ndarray | float] = []
        self.transfers: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._curves: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(Curve))
        self._last: dict[str, dict[int, dict[tuple[int, str], float]]] = defaultdict(dict)
        self.dead: list[tuple[int, float]] = []
        self.harvested_j: float | None = None
        self.wasted_j = 0.0
        self.server_energy_j = dict.fromkeys(CATEGORIES, 0.0)
        self.server_rounds: Counter[str] = Counter()
        self.rounds_closed = 0
        self.closed_dead = 0
        self._spent = Spent(device_count)
        self.time_s = 0.0

    def on_rounds(self, batch: RoundBatch) -> None:
        """Add the energies, the iterations and the outcome of rounds."""
        row = batch.columns
        self._add(row)
        for modality, counts in batch.iterations.items():
            if modality not in self.iterations:
                self.iterations[modality] = np.zeros(self._device_count, dtype=np.int64)
            np.add.at(self.iterations[modality], row.device, counts)
        if row.asked:
            length_s = row.end_s - row.start_s if row.outcome == "finished" else math.inf
            self.round_s.append(np.atleast_1d(length_s))
        self.outcomes[row.outcome] += batch.count

    def on_outsides(self, batch: RowBatch) -> None:
        """Add the energy of devices or of the server, which comes alone."""
        row = batch.columns
        if batch.count == 1 and row.device >= self._device_count:
            self._add_of_server(row)
        else:
            self._add(row)

    def _add(self, row: RoundRow | OutsideRow) -> None:
        """Add the energy of a device's row, or of rows of several by column."""
        energies_j = [row.compute_j, row.sending_j, row.receiving_j, row.idle_j]
        for total_j, energy_j in zip(self.energy_j.values(), energies_j, strict=True):
            np.add.at(total_j, row.device, energy_j)
        self._spent.add(row)
        latest_s = row.end_s.max() if isinstance(row.end_s, np.ndarray) else row.end_s
        self.time_s = max(self.time_s, float(latest_s))

    def _add_of_server(self, row: ServerRow | EdgeRow | OutsideRow) -> None:
        """Add the energy of a row of the server."""
        for category in CATEGORIES:
            self.server_energy_j[category] += getattr(row, f"{category}_j")
        self.time_s = max(self.time_s, row.end_s)

    def on_server_round(self, row: ServerRow) -> None:
        """Add the energy and the outcome of a round of the server."""
        self._add_of_server(row)
        self.server_rounds[row.outcome] += 1

    def on_edge_round(self, row: EdgeRow) -> None:
        """Add the energy and the outcome of a round of an edge server, or of an average of the cloud."""
        self._add_of_server(row)
        self.server_rounds[row.outcome] += 1

    def on_transfers(self, batch: TransferBatch) -> None:
        """Count the transfers by outcome, and keep their airtimes and bits."""
        if isinstance(batch.outcome, str):
            self.transfers[batch.outcome] += len(batch)
        else:
            self.transfers.update(batch.outcome)
        delivered = np.asarray(batch.outcome) == "delivered"
        self.airtime_s.append(
            batch.airtime_s if delivered.all() else np.where(delivered, batch.airtime_s, math.inf)
        )
        self.sent_bits.append(batch.sent_bits)

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Add the measurements to the means by round."""
        for row in rows:
            self._curves[row.name][row.modality].add(row.round, row.device, row.value)
            if row.name == "accuracy_own" or (row.name == "accuracy" and not row.modality):
                self._last[row.name].setdefault(row.round, {})[row.device, row.modality] = row.value
                if len(self._last[row.name]) > 2:  # devices may be in different rounds
                    del self._last[row.name][min(self._last[row.name])]

    def on_death(self, device: int, time_s: float) -> None:
        """Keep the device and the time of its death."""
        self.dead.append((device, time_s))

    def on_revival(self, device: int, time_s: float) -> None:
        """Count the device no longer as dead."""
        self.dead = [one for one in self.dead if one[0] != device]

    def on_charge(self, row: ChargeRow) -> None:
        """Add what a battery took in and lost."""
        self.harvested_j = (self.harvested_j or 0.0) + row.harvested_j
        self.wasted_j += row.wasted_j

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Count a closed round, and bring the mean energy up to its end."""
        self.rounds_closed = max(self.rounds_closed, round)
        self._spent.close(time_s)
        self.closed_dead = sum(death_s <= time_s for _, death_s in self.dead)

    @property
    def closed_energy_j(self) -> float:
        """Return the mean energy that a device had spent by the end of the last closed round [J]."""
        return self._spent.mean_j

    @property
    def device_energy_j(self) -> np.ndarray:
        """Return the energy that each device has spent [J], shape [devices]."""
        return np.sum([self.energy_j[c] for c in CATEGORIES], axis=0)

    def mean_accuracy(self, modality: str = "") -> dict[int, float]:
        """Return the mean accuracy over devices, by round."""
        return self._curves["accuracy"][modality].means

    @property
    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return first and last means over devices of all metrics but the accuracy, by name and modality."""
        return {
            name: {
                modality or "fused": curve.ends for modality, curve in sorted(curves.items()) if curve.means
            }
            for name, curves in self._curves.items()
            if name != "accuracy" and any(curve.means for curve in curves.values())
        }

    @property
    def means(self) -> dict[str, float]:
        """Return the mean over rounds of each metric's means over devices, by name; without those by modality."""
        by_round = {
            name: list(curves[""].means.values()) for name, curves in self._curves.items() if "" in curves
        }
        return {name: float(np.mean(values)) for name, values in by_round.items() if values}

    @property
    def fairness(self) -> dict[str, Any]:
        """Return how evenly the last accuracies are spread over devices, of each kind; empty without own mixes."""
        if "accuracy_own" not in self._last:
            return {}
        return {
            name: evenness(list(by_round[max(by_round)].values()))
            for name, by_round in self._last.items()
            if len(by_round[max(by_round)]) > 1
        }

    def _charges(self) -> dict[str, Any]:
        if self.harvested_j is None:
            return {}
        means = {
            "harvested": self.harvested_j / self._device_count,
            "wasted": self.wasted_j / self._device_count,
        }
        return {"charges_per_device_j": means}

    def summary(self) -> dict[str, Any]:
        """Return the numbers of ``summary.json``."""
        energy = self.device_energy_j
        accuracy: dict[str, Any] = {}
        for modality in sorted(self._curves["accuracy"]):
            by_round = self.mean_accuracy(modality)
            if not by_round:
                continue
            best = max(by_round, key=lambda t: by_round[t])
            accuracy[modality or "fused"] = {
                "final": by_round[max(by_round)],
                "best": by_round[best],
                "best_round": best,
            }
        server: dict[str, Any] = {}
        if self.server_rounds or any(self.server_energy_j.values()):
            server["server_energy_j"] = {**self.server_energy_j, "all": sum(self.server_energy_j.values())}
            server["server_rounds"] = dict(sorted(self.server_rounds.items()))
        transfers = [len(airtime_s) for airtime_s in self.airtime_s]
        return {
            "rounds_finished": self.rounds_closed,
            "simulated_s": self.time_s,
            "simulated_h": self.time_s / 3600,
            "accuracy": accuracy,
            "metrics": self.metrics,
            **({"over_devices": fairness} if (fairness := self.fairness) else {}),
            "energy_per_device_j": {
                "mean": float(energy.mean()),
                "std": float(energy.std()),
                "min": float(energy.min()),
                "max": float(energy.max()),
                **{c: float(np.mean(self.energy_j[c])) for c in CATEGORIES},
            },
            "iterations_per_device": {m: float(np.mean(v)) for m, v in sorted(self.iterations.items())},
            "round_s": spread(np.concatenate([[], *self.round_s])),
            "round_outcomes": dict(sorted(self.outcomes.items())),
            "transfers": dict(sorted(self.transfers.items())),
            "airtime_s": spread(joined(self.airtime_s, transfers)),
            "sent_bits": float(joined(self.sent_bits, transfers).sum()),
            **server,
            **self._charges(),
            "dead_devices": [{"device": d, "time_s": t} for d, t in self.dead],
        }
