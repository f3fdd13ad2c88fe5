"""What no world may break: joules, bits, radios, clocks, death, and its own repetition.

NETSIM_WORLDS=300 python -m pytest tests/netsim/test_conservation.py tries so many worlds, others each time
(benchmarks/conservation.py).
"""

from __future__ import annotations

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
    named("reuse", channels=st.integers(1, 3), assignment=st.just("least_used"), negligible_db=st.just(10.0)),
)
powers_w = st.sampled_from([0.0, 0.3])
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
    named("asynchronous_gossip", peers=st.just(1), duration_s=st.floats(1.0, 8.0)),
    named("hierarchical_rounds", edge_rounds=st.sampled_from([1, 2]), **deadlines),
)
AMONG = ("decentralized_rounds", "asynchronous_gossip")
batteries = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"capacity_j": st.floats(0.05, 5.0)}),
    st.fixed_dictionaries({"capacity_j": st.floats(0.05, 1.0), "revive_at": st.sampled_from([0.3, 1.0])}),
    st.just({"name": "kibam", "capacity_j": 2.0, "rate_per_s": 0.05, "revive_at": 0.2}),
    st.just({"name": "peukert", "capacity_j": 2.0, "rated_power_w": 0.1, "revive_at": 0.5}),
)
harvests = st.sampled_from(
    [
        {"name": "constant", "power_w": 0.3},
        {"name": "profile", "steps": [[1.0, 0.5], [2.5, 0.0]], "period_s": 4.0},
        {"name": "solar", "area_m2": 0.01, "step_s": 0.4, "start_h": 12.0, "cloudy": 0.5, "cloud_s": 0.7},
    ]
)
churns = st.sampled_from(
    [
        {},
        {"name": "exponential", "mean_here_s": 2.0, "mean_away_s": 1.0},
        {"arrival_s": {0: 0.7, 1: 2.2}, "departure_s": {2: 2.6}},
    ]
)
motions = st.one_of(
    st.just({"name": "static"}),
    named(
        "random_waypoint",
        area_m=st.just([0, 0, 100, 50]),
        speed_mps=st.just([1.0, 20.0]),
        on_link_loss=st.sampled_from(["drop", "resume"]),
        resume_within_s=st.just(3.0),
    ).map(lambda motion: {"area_m": [0, 0, 100, 50], **motion}),
)
channels = st.one_of(
    named("none"),
    named("rayleigh", coherence_time_s=st.just(0.2)),
    named("rician", k_db=st.just(6.0), coherence_time_s=st.just(0.2)),
    named("nakagami", m=st.just(2.0)),
    named("jakes", coherence_time_s=st.just(0.2)),
)
path_losses = st.sampled_from(
    [
        {"name": "free_space"},
        {"name": "two_ray"},
        {"name": "umi", "extrapolate": True, "shadowing": {}},
        {"name": "inf_dh", "extrapolate": True},
    ]
)
rates = st.sampled_from(
    ["shannon", "mcs", {"name": "mcs", "combining": "chase", "answer_s": 0.05, "target_bler": 0.3}]
)
FREQUENCIES_HZ = [5e8, 1e9]
clocks = st.sampled_from(
    [
        {},
        {"static_power_w": 0.2},
        {"frequencies_hz": FREQUENCIES_HZ, "governor": "race_to_idle", "static_power_w": 0.2},
        {"frequencies_hz": FREQUENCIES_HZ, "governor": "just_in_time", "compute_deadline_s": 0.15},
    ]
)
decided = {
    "tx_power": st.sampled_from(
        [{"name": "fixed", "value": [0.1, 0.02]}, {"name": "channel_aware", "snr_db": 20.0}]
    ),
    "iterations": st.sampled_from([{"name": "fixed", "value": 1}, {"name": "equal_energy", "joules": 0.01}]),
    "cpu_frequency": st.sampled_from(
        [
            {"name": "fixed", "value": FREQUENCIES_HZ},
            {"name": "equal_energy"},
            {"name": "deadline_frequency", "deadline_s": 0.5},
        ]
    ),
}
selections = st.sampled_from(["uniform", "fastest", "channel_aware", "age_of_update"])


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A small world of all that a scenario can name: access, protocols, fading, motion, energy, churn, policies."""
    protocol = draw(protocols)
    among = protocol["name"] in AMONG
    rounds = protocol["name"] == "decentralized_rounds"
    loss, churn, motion, clock = draw(path_losses), draw(churns), draw(motions), dict(draw(clocks))
    coordinated = rounds and "deadline_s" not in protocol and draw(st.booleans())
    policies = draw(st.fixed_dictionaries({}, optional=decided))
    if rounds and draw(st.booleans()):
        policies["links"] = {"name": "greedy_links", "degree": draw(st.sampled_from([0, 2]))}
    if "cpu_frequency" in policies:
        clock = {key: value for key, value in clock.items() if key in ("frequencies_hz", "static_power_w")}
    overrides: list[dict[str, Any]] = []
    for k in range(COUNT):
        own = {"devices": [k], "battery": draw(batteries)}
        overrides.append(
            own | ({"harvest": draw(harvests)} if own["battery"] and draw(st.booleans()) else {})
        )
    access = draw(st.one_of(named("dedicated"), dealt))
    downlink = draw(st.one_of(st.none(), dealt))
    reuses = "reuse" in (access["name"], *([] if among or downlink is None else [downlink["name"]]))
    messages = (
        {"coordinated": coordinated, "report_bits": 1e4}
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
            "processor": clock,
            "sleep_power_w": draw(st.sampled_from([None, 0.01])),
            "churn": churn,
            "overrides": overrides,
        },
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[10, 0], [50, 0], [10, 40], [90, 0]]},
            "links": {"name": "range", "range_m": 60.0},
        },
        "mobility": motion,
        "policies": policies,
        "radio": {
            "channel": draw(channels),
            "path_loss": loss,
            # With one in 32 to be heard above each interferer, some would wait for ever.
            "outage_snr_db": draw(st.sampled_from([None, 0.0 if reuses else 15.0])),
            "rate": draw(rates),
            "acknowledgement_bits": draw(st.sampled_from([0.0, 1e4])),
            "access": access if among else "dedicated",
            "half_duplex": draw(st.booleans()),
        },
        "server": {
            "idle_power_w": draw(powers_w),
            "rx_power_w": draw(powers_w),
            "selection": draw(selections),
            "uplink": {
                "bandwidth_hz": 1e6,
                "path_loss": loss,
                **({} if access["name"] == "dedicated" else {"access": access}),
            },
            "downlink": {
                "bandwidth_hz": 1e6,
                "path_loss": loss,
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


def check_bits(log: Any, protocol: str) -> None:
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
    assert all(counted[k] <= delivered[k] for k in range(COUNT))
    after_all = protocol == "asynchronous_gossip"  # its last messages arrive when its last round is over
    if (
        not after_all
        and not any(log.absences.values())
        and not any(row.outcome == "cut_off" for row in log.rounds)
    ):
        assert +counted == +delivered


def check_the_absent(log: Any) -> None:
    """Nobody who is dead or away sends, receives or computes."""
    for device, gaps in log.absences.items():
        for from_s, to_s in gaps:
            for row in log.transfers:
                if device in (row.sender, row.receiver):
                    there = row.end_s <= from_s or row.start_s >= to_s
                    assert there or row.sent_bits == row.airtime_s == row.energy_j == 0, row
            for row in log.rounds:
                assert row.device != device or not from_s < row.compute_end_s < to_s, row


def rows(log: Any) -> str:
    return repr(vars(log))


@WORLDS
@given(blocks=worlds())
def test_what_no_world_may_break(simulate: Any, blocks: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        simulation, log = simulate(**blocks)
    note(f"{len(log.transfers)} transfers, {Counter(row.outcome for row in log.transfers)}")
    check_books(simulation, log, blocks)
    check_bits(log, blocks["protocol"]["name"])
    check_radios(watch, simulation, blocks)
    check_the_absent(log)
    assert all(row.end_s <= simulation.network.env.now for row in log.transfers)
    assert rows(simulate(**blocks)[1]) == rows(log)
