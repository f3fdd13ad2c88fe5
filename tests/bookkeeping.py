"""What must be true of the rows of every run, whatever the scenario."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from netsim.events import Observer

BUSY = ("compute", "sending", "receiving")
JOULES = tuple(f"{category}_j" for category in (*BUSY, "idle"))


def check_times(rows: Sequence[Any], end_s: float) -> None:
    """One node's rows of rounds and outside of them leave no gap, do not overlap, and end with the run at ``end_s``.

    What it did in a row fits into the row: idling and being busy add up to its length, be it that busy times overlap.
    The row in which a device goes may be longer: it ends with the round of those that are there. One that does not
    return has no row after that.
    """
    now_s = 0.0
    for row in rows:
        gone = getattr(row, "outcome", "") in ("died", "dead", "away")
        assert row.start_s == now_s and row.end_s >= row.start_s, row
        length_s, crumb_s = row.end_s - row.start_s, 1e-9 * max(end_s, 1e-9)
        busy_s = [getattr(row, f"{category}_s") for category in BUSY]
        assert min(row.idle_s, *busy_s) >= -crumb_s, row
        assert row.idle_s + max(busy_s) <= length_s + crumb_s, row
        assert gone or row.idle_s + sum(busy_s) >= length_s - crumb_s, row
        now_s = row.end_s
        if gone and row is rows[-1]:
            return
    assert now_s == pytest.approx(end_s, rel=1e-12)


def check_joules(
    rows: Sequence[Any], transfers: Iterable[Any], battery_j: float, charges: Sequence[Any] = ()
) -> float:
    """One node's rows say what its transfers cost, and what left its battery of ``battery_j`` and came in.

    Returns:
        What the node spent [J].
    """
    total_j = {name: math.fsum(getattr(row, name) for row in rows) for name in JOULES}
    spent_j = math.fsum(total_j.values())
    crumb_j = 1e-9 * max(spent_j, 1e-9)
    assert all(getattr(row, name) >= -crumb_j for row in rows for name in JOULES)
    assert total_j["sending_j"] == pytest.approx(
        math.fsum(row.energy_j for row in transfers), rel=1e-9, abs=crumb_j
    )
    if math.isfinite(battery_j):
        left_j = rows[-1].battery_j if rows else battery_j
        harvested_j, wasted_j = (
            math.fsum(getattr(row, key) for row in charges) for key in ("harvested_j", "wasted_j")
        )
        assert all(row.harvested_j >= 0 and row.wasted_j >= -1e-9 for row in charges)
        assert spent_j + left_j == pytest.approx(
            battery_j + harvested_j - wasted_j, rel=1e-9, abs=1e-9 * harvested_j
        )
        dead = [row for row in rows if row.outcome == "died"]
        if not charges:
            assert len(dead) == (left_j <= 1e-9 * battery_j)
            assert not dead or dead[0] is rows[-1], "the dead do nothing"
    return spent_j


def check_transfers(transfers: Iterable[Any]) -> None:
    """Bits that got through are those of the outcome, in a time that is there."""
    for row in transfers:
        assert 0 <= row.sent_bits <= row.size_bits, row
        assert (row.outcome == "delivered") == (row.sent_bits == row.size_bits), row
        assert row.end_s >= row.start_s and row.energy_j >= 0 and getattr(row, "lost_bits", 0.0) >= 0, row
        assert 0 <= row.airtime_s <= (row.end_s - row.start_s) * (1 + 1e-9) + 1e-12, row


def check_books(simulation: Any, log: Any, blocks: Any) -> None:
    """Every second and every joule of every node is in one row, and its battery holds the rest.

    Args:
        simulation: A finished simulation.
        log: All rows of it.
        blocks: Its scenario, with the powers of devices and server.
    """
    end_s = simulation.network.env.now
    check_transfers(log.transfers)
    for node in simulation.network.nodes:
        own = [row for row in [*log.rounds, *log.outside] if row.device == node.number]
        is_server = node.number >= len(simulation.network.devices)
        own += log.server if node.number == len(simulation.network.devices) else []
        own += [row for row in log.edges if row.server == node.number]
        own.sort(key=lambda row: (row.start_s, row.end_s))
        powers = blocks["server" if is_server else "devices"]
        if simulation.network.cloud and node is simulation.network.cloud.node:
            powers = {"idle_power_w": 0.0, "rx_power_w": 0.0}
        sent = [row for row in log.transfers if row.sender == node.number]
        capacity_j = node.battery.capacity_j
        check_times(own, end_s)
        charges = [row for row in log.charges if row.device == node.number]
        check_joules(own, sent, capacity_j, charges)
        least_w = dict(powers)
        if powers.get("sleep_power_w") is not None:
            least_w["idle_power_w"] = powers["sleep_power_w"]
        for name, power in (("idle", "idle_power_w"), ("receiving", "rx_power_w")):
            joules, seconds = (sum(getattr(row, f"{name}_{unit}") for row in own) for unit in "js")
            low_w, high_w = sorted((least_w[power], powers[power]))
            assert low_w * seconds * (1 - 1e-6) - 1e-9 <= joules <= high_w * seconds * (1 + 1e-6) + 1e-9
        recorded_j = sum(getattr(row, name) for row in own for name in JOULES)
        assert recorded_j == pytest.approx(sum(node.battery.spent_j.values()), rel=1e-9, abs=1e-12)
        harvested_j, wasted_j = (
            sum(getattr(row, key) for row in charges) for key in ("harvested_j", "wasted_j")
        )
        assert harvested_j == pytest.approx(node.battery.harvested_j, rel=1e-9, abs=1e-12)
        if math.isfinite(capacity_j):
            assert 0 <= node.battery.remaining_j <= capacity_j * (1 + 1e-9)
            assert capacity_j + harvested_j == pytest.approx(
                recorded_j + node.battery.remaining_j + wasted_j, rel=1e-9
            )
        died = [time_s for number, time_s in log.deaths if number == node.number]
        marked = sum(row.outcome == "died" for row in own)
        # Who died, returned and died again before its row ended has one row for both.
        assert min(len(died), 1) <= marked <= len(died)


class Log(Observer):
    """Keeps every row."""

    def __init__(self) -> None:
        self.rounds: list[Any] = []
        self.outside: list[Any] = []
        self.transfers: list[Any] = []
        self.metrics: list[Any] = []
        self.server: list[Any] = []
        self.edges: list[Any] = []
        self.charges: list[Any] = []
        self.revivals: list[tuple[int, float]] = []
        self.deaths: list[tuple[int, float]] = []
        self.closed: list[tuple[int, float]] = []
        self.absences: dict[int, list[list[float]]] = {}
        self.iterations: list[dict[str, int]] = []

    def follow(self, simulation: Any) -> None:
        """Keep the times at which each device goes, and returns (infinite if it does not)."""

        def comes(device: Any) -> None:
            if device.alive:
                self.absences[device.number][-1][1] = device.env.now

        for device in simulation.network.devices:
            self.absences[device.number] = []
            device.on_going.append(lambda one: self.absences[one.number].append([one.env.now, math.inf]))
            device.on_return.append(comes)

    def on_transfers(self, batch):
        self.transfers.extend(batch.rows())

    def on_metrics(self, rows):
        self.metrics.extend(rows)

    def on_round_end(self, row, iterations):
        self.rounds.append(row)
        self.iterations.append(iterations)

    def on_outside(self, row):
        self.outside.append(row)

    def on_server_round(self, row):
        self.server.append(row)

    def on_edge_round(self, row):
        self.edges.append(row)

    def on_charge(self, row):
        self.charges.append(row)

    def on_revival(self, device, time_s):
        self.revivals.append((device, time_s))

    def on_death(self, device, time_s):
        self.deaths.append((device, time_s))

    def on_round_closed(self, round, time_s):
        self.closed.append((round, time_s))
