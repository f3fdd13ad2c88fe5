"""What no world may break: joules, bits, radios, clocks, death, and its own repetition.

NETSIM_WORLDS=300 python -m pytest tests/netsim/test_conservation.py tries so many worlds, others each time
(benchmarks/conservation.py).
"""

from __future__ import annotations

import math
import os
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from bookkeeping import check_books
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from netsim.world.devices.meter import PowerMeter
from netsim.world.devices.unlimited import UnlimitedMeter

COUNT = 4
TX_W = 0.1

many = int(os.environ.get("NETSIM_WORLDS", "0"))
WORLDS = settings(
    max_examples=many or 20,
    derandomize=not many,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def named(name: str, **options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"name": st.just(name)}, optional=options)


per = st.sampled_from(["cell", "device"])
dealt = st.one_of(
    named("shared"),
    named(
        "ofdma",
        per=per,
        subcarriers=st.sampled_from([1, 2, 7]),
        scheduler=st.sampled_from(["best_gain", "proportional"]),
    ),
    named("tdma", per=per, slot_s=st.floats(0.01, 0.3)),
    named("csma", stages=st.integers(0, 5), handshake=st.booleans(), payload_bits=st.sampled_from([1e5])),
    named("reuse", channels=st.integers(1, 3), assignment=st.sampled_from(["least_used"])),
)
powers_w = st.sampled_from([0.0, 0.3])
batteries_j = st.one_of(st.just(math.inf), st.floats(0.05, 5.0))
deadlines = {"deadline_s": st.floats(0.3, 3.0)}
protocols = st.one_of(
    named("decentralized_rounds"),
    st.fixed_dictionaries(
        {
            "name": st.just("decentralized_rounds"),
            **deadlines,
            "schedule": st.sampled_from(["shared", "own"]),
            "late": st.sampled_from(["drop", "keep"]),
        }
    ),
    named("server_rounds", participants=st.sampled_from([2, 4]), first=st.just(1), **deadlines),
    named("asynchronous_server", concurrency=st.sampled_from([1, 3]), buffer=st.sampled_from([1, 2])),
)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A small world of any access method, with deadlines, outages, batteries and fading."""
    protocol = draw(protocols)
    among = protocol["name"] == "decentralized_rounds"
    access = draw(st.one_of(named("dedicated"), dealt))
    downlink = draw(st.one_of(st.none(), dealt))
    reuses = "reuse" in (access["name"], *([] if among or downlink is None else [downlink["name"]]))
    messages = (
        {"coordinated": draw(st.booleans()), "report_bits": 1e4}
        if among
        else {"server_flops": 1e10, "download_bits": 3e5}
    )
    return {
        "seed": draw(st.integers(0, 99)),
        "rounds": draw(st.integers(1, 3)),
        "devices": {
            "count": COUNT,
            "tx_power_w": TX_W,
            "idle_power_w": draw(powers_w),
            "rx_power_w": draw(powers_w),
            "stragglers": {"name": "lognormal", "sigma": draw(st.sampled_from([0.0, 1.5]))},
            "overrides": [
                {"devices": [k], "battery": {"capacity_j": draw(batteries_j)}} for k in range(COUNT)
            ],
        },
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[10, 0], [50, 0], [10, 40], [90, 0]]},
            "links": {"name": "range", "range_m": 60.0},
        },
        "radio": {
            "channel": {"name": "rayleigh", "coherence_time_s": draw(st.sampled_from([None, 0.2]))},
            # With one in 32 to be heard above each interferer, some would wait for ever.
            "outage_snr_db": draw(st.sampled_from([None, 0.0 if reuses else 15.0])),
            "rate": draw(st.sampled_from(["shannon", "mcs"])),
            "acknowledgement_bits": draw(st.sampled_from([0.0, 1e4])),
            "access": access if among else "dedicated",
            "half_duplex": draw(st.booleans()),
        },
        "server": {
            "idle_power_w": draw(powers_w),
            "rx_power_w": draw(powers_w),
            "uplink": {"bandwidth_hz": 1e6, **({} if access["name"] == "dedicated" else {"access": access})},
            "downlink": {
                "bandwidth_hz": 1e6,
                **({"mode": "unicast", "access": downlink} if downlink else {}),
            },
        },
        "protocol": protocol,
        "learner": {"name": "stub", "flops": 4e8, "bits": draw(st.sampled_from([1e5, 1e6])), **messages},
    }


class Watch:
    """Watches all meters: who sends with how much power, and who receives, in times that have a length."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.since_s = 0.0
        self.sending: dict[Any, dict[Any, float]] = {}
        self.receiving: Counter[Any] = Counter()
        self.both_s: Counter[Any] = Counter()
        self.most_w: Counter[Any] = Counter()
        self.most_at_once = 0
        self.most_of_one: Counter[Any] = Counter()
        for cls in (PowerMeter, UnlimitedMeter):
            for name in ("start", "change", "stop"):
                patch.setattr(cls, name, self._watched(name, getattr(cls, name)))

    def _watched(self, name: str, method: Any) -> Any:
        def call(meter: Any, *arguments: Any, **named_ones: Any) -> Any:
            self._look(meter.env.now)
            found = method(meter, *arguments, **named_ones)
            draw = found if name == "start" else arguments[0]
            if draw.category == "sending":
                own = self.sending.setdefault(meter, {})
                own.pop(draw, None)
                if name != "stop" and not meter.dead and draw.power_w > 0:
                    own[draw] = draw.power_w
            elif draw.category == "receiving" and name != "change":
                self.receiving[meter] += 1 if name == "start" else -1
            return found

        return call

    def _look(self, now_s: float) -> None:
        assert now_s >= self.since_s, "a clock ran back"
        if now_s == self.since_s:
            return
        length_s, self.since_s = now_s - self.since_s, now_s
        at_once = 0
        for meter, draws in self.sending.items():
            if draws and not meter.dead:
                at_once += len(draws)
                self.most_w[meter] = max(self.most_w[meter], sum(draws.values()))
                self.most_of_one[meter] = max(self.most_of_one[meter], len(draws))
                self.both_s[meter] += length_s if self.receiving[meter] else 0.0
        self.most_at_once = max(self.most_at_once, at_once)


def check_radios(watch: Watch, simulation: Any, blocks: dict[str, Any]) -> None:
    """No radio does two things that it cannot."""
    among = simulation.network.server is None
    block = blocks["radio"] if among else blocks["server"]["uplink"]
    access = block.get("access", {"name": "shared"})
    for device in simulation.network.devices:
        if access["name"] != "dedicated":
            assert watch.most_w[device.meter] <= TX_W * (1 + 1e-12)
        if blocks["radio"]["half_duplex"]:
            assert watch.both_s[device.meter] == 0
        if access["name"] == "tdma":
            assert watch.most_of_one[device.meter] <= 1
    if among and access["name"] == "tdma" and access.get("per", "cell") == "cell":
        assert watch.most_at_once <= 1


def check_bits(log: Any) -> None:
    """Bits sent = delivered + lost, and a device's row counts what was delivered."""
    for row in log.transfers:
        whole, sent = Fraction(row.size_bits), Fraction(row.sent_bits)
        assert (whole == sent) if row.outcome == "delivered" else (0 <= sent < whole), row
    delivered = Counter(
        row.sender for row in log.transfers if row.outcome == "delivered" and row.kind in ("model", "upload")
    )
    counted = Counter[int]()
    for row in log.rounds:
        counted[row.device] += row.sent
    died = {device for device, _ in log.deaths}
    assert all(counted[k] <= delivered[k] for k in range(COUNT))
    if not died and not any(row.outcome == "cut_off" for row in log.rounds):
        assert +counted == +delivered


def check_the_dead(log: Any) -> None:
    """Nobody dead sends, receives or computes."""
    for device, died_s in log.deaths:
        for row in log.transfers:
            if device in (row.sender, row.receiver):
                assert row.end_s <= died_s or row.sent_bits == row.airtime_s == row.energy_j == 0, row
        assert all(row.start_s <= died_s for row in log.rounds if row.device == device)


def rows(log: Any) -> str:
    return repr([log.rounds, log.outside, log.transfers, log.server, log.deaths, log.closed])


@WORLDS
@given(blocks=worlds())
def test_what_no_world_may_break(simulate: Any, blocks: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        simulation, log = simulate(**blocks)
    note(f"{len(log.transfers)} transfers, {Counter(row.outcome for row in log.transfers)}")
    check_books(simulation, log, blocks)
    check_bits(log)
    check_radios(watch, simulation, blocks)
    check_the_dead(log)
    assert all(row.end_s <= simulation.network.env.now for row in log.transfers)
    assert rows(simulate(**blocks)[1]) == rows(log)
