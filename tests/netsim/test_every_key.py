"""One run, as from the command line, for each key of the reference with a value that is not its default.

Data sets are in ``tests/learners/data/test_every_key_of_data.py``. A key of which no value is known fails: whoever adds
one says here what it can be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from every_key import (
    Key,
    Tree,
    check,
    component_keys,
    merge,
    nest,
    other_values,
    places,
    recorded,
    run,
    scenario_keys,
)

from netsim.core.registry import KINDS, load, names
from netsim.scenario.model import COMPONENTS

DEVICES = {"count": 4, "rx_power_w": 0.05, "idle_power_w": 0.02}
NEAR = {"links": {"name": "range", "range_m": 150.0}}

STUB: Tree = {
    "rounds": 3,
    "devices": DEVICES,
    "topology": NEAR,
    "learner": {"name": "stub", "flops": 4e8, "bits": 1e6},
}
SERVER: Tree = {
    **STUB,
    "protocol": {"name": "server_rounds"},
    "learner": {
        "name": "stub",
        "flops": 4e8,
        "server_flops": 1e9,
        "bits": 1e6,
        "download_bits": 1e5,
    },
}
MLP = {"features": {"name": "mlp", "hidden": [4]}}
LEARNING: Tree = {
    "rounds": 2,
    "devices": {**DEVICES, "count": 3},
    "topology": NEAR,
    "data": {"name": "generated", "samples": 48, "test_samples": 12, "shape": [1, 8, 8], "classes": 3},
    "partition": {"name": "iid"},
    "learner": {"name": "dmml", "networks": MLP, "batch_size": 8},
    "jobs": {"device": "cpu", "executor": {"name": "inline"}, "stacking": "off", "threads": 1},
}
SMALL_CNN = {"name": "cnn", "channels": [2], "hidden": 4}
PUBLIC = {"partition": {"name": "iid", "public_share": 0.25}}
DISTILLING: dict[str, Tree] = {
    "fedmd": {
        "public_epochs": 1,
        "private_epochs": 1,
        "revisit_epochs": 1,
        "alignment_samples": 8,
        "digest_batch_size": 6,
        "public_batch_size": 8,
        "batch_size": 8,
    },
    "fedzkt": {
        "local_epochs": 1,
        "batch_size": 8,
        "distillation_iterations": 2,
        "server_batch_size": 4,
        "noise_size": 3,
        "generator_channels": [4, 2],
        "global_network": SMALL_CNN,
    },
    "mhd": {"local_steps": 2, "batch_size": 8, "public_batch_size": 8},
}

REQUIRED: dict[str, Tree] = {
    "links.edges": {"edges": [[0, 1], [1, 2], [2, 3]]},
    "links.regular": {"degree": 2},
    **{
        f"path_losses.{name}": {"extrapolate": True}
        for name in names("path_losses")
        if "extrapolate" in load("path_losses", name).Options.model_fields
    },
    "mobilities.gauss_markov": {"area_m": [-60.0, -60.0, 60.0, 60.0]},
    "mobilities.random_waypoint": {"diameter_m": 200.0, "speed_mps": [5.0, 40.0]},
    "placements.coordinates": {"positions_m": [[0, 0], [40, 0], [0, 40], [40, 40]]},
    "placements.grid": {"spacing_m": 30.0},
    "policies.deadline_frequency": {"deadline_s": 2.0},
    "policies.fixed": {"value": 1},
    "schedules.step": {"every": 1},
    "stragglers.constant": {"factor": 3.0, "share": 0.5},
    "stragglers.exponential": {"mean": 2.0},
    "stragglers.given": {"factors": {0: 3.0}},
    "stragglers.lognormal": {"sigma": 1.0},
}
"""What a component cannot do without."""

TWO = {"audio": {"name": "mlp", "hidden": [4]}, "visual": {"name": "mlp", "hidden": [4]}}
CLIPS: Tree = {
    "data": {"name": "crema_d", "surrogate_clips": 36, "audio_shape": [4, 4], "image_size": 8},
    "learner": {"name": "isolated", "networks": TWO, "batch_size": 8},
}
"""Clips of sound and picture by several actors, made up."""
ODD = {"name": "generated", "samples": 24, "test_samples": 8, "shape": [1, 8, 8], "classes": 2}

GIVEN: dict[str, list[Any]] = {
    "name": ["other"],
    "description": ["what it shows"],
    "modules": [["."]],
    "devices.battery.capacity_j": [0.15],
    "devices.classes.<name>.devices": [[0, 1]],
    "devices.classes.<name>.processor.frequency_hz": [2e9],
    "devices.classes.<name>.battery.capacity_j": [0.15],
    "devices.classes.<name>.networks": [{"features": SMALL_CNN}],
    "devices.classes.<name>.memory_bytes": [1e9],
    "devices.overrides[].devices": [[1, 2]],
    "devices.overrides[].processor.frequency_hz": [2e9],
    "devices.overrides[].battery.capacity_j": [0.15],
    "accesses.ofdma.scheduler": ["proportional", "best_gain"],
    "radio.noise_dbm_per_hz": [-150.0],
    "radio.outage_snr_db": [25.0],
    "server.position_m": [[20.0, 10.0]],
    "costs.backward_to_forward": [2.0],
    "evaluation.metrics": [["macro_f1", {"name": "calibration_error", "bins": 5}]],
    "stop.metric": ["arrived"],
    "stop.modality": ["nothing"],
    "stop.at_least": [1.0],
    "stop.at_most": [1.0],
    "stop.joules": [1e-3],
    "stop.seconds": [1e-3],
    "costs.stated.flops_per_iteration": [{"features": 1e6}],
    "costs.stated.bits": [{"features": 1e4}],
    "links.edges.edges": [[[0, 1], [1, 2], [2, 3], [3, 0]]],
    "links.range.range_m": [120.0],
    "mobilities.gauss_markov.area_m": [[-90.0, -60.0, 60.0, 60.0]],
    "mobilities.gauss_markov.direction_deg": [30.0],
    "mobilities.random_waypoint.area_m": [[0.0, 0.0, 90.0, 60.0]],
    "mobilities.random_waypoint.speed_mps": [[1.0, 2.0]],
    "path_losses.free_space.shadowing": [{"sigma_db": 3.0}],
    "path_losses.inf_dh.shadowing": [None, {"sigma_db": 3.0, "decorrelation_m": 0}],
    "rates.mcs.table": [[{"efficiency_bps_per_hz": 1.0, "snr_db": 3.0}]],
    "placements.coordinates.positions_m": [[[0, 0], [30, 0], [0, 30], [30, 30]]],
    "stragglers.exponential.mean": [3.0],
    "stragglers.given.factors": [{1: 2.0}],
    "protocols.decentralized_rounds.deadline_s": [0.35],
    "protocols.server_rounds.deadline_s": [0.35],
    "protocols.hierarchical_rounds.positions_m": [[[0, 0], [60, 0]]],
    "protocols.hierarchical_rounds.backhaul": [{"rate_bps": 1e6, "latency_s": 0.1, "power_w": 2.0}],
    "protocols.hierarchical_rounds.cloud": [{"frequency_hz": 1e8, "flops_per_cycle": 2.0}],
    "learners.centralized.of": ["fedavg"],
    "learners.cgb.networks": [{"features": {"name": "mlp", "hidden": [6]}}],
    "learners.cgb.modalities": [["features"]],
    "learners.cgb.compression": [{"name": "sign"}],
    "learners.fedasync.privacy": [
        {"clip": 1.0, "noise_multiplier": 1.0},
        {"clip": 1.0, "noise_multiplier": 1.0, "mode": "sample", "delta": 1e-3},
    ],
    "learners.cgb.epochs_range": [[1, 2]],
    "learners.cgb.schedule": [{"name": "inverse"}],
    "learners.fedatt.server_optimizer": [{"name": "fedadam"}],
    "learners.fedavg.local": [["fusion"]],
    "learners.gradient_tracking.optimizer": ["sgd"],
    "learners.gradient_tracking.aggregation_weights": ["uniform"],
    "learners.mhd.schedule": [{"name": "constant"}],
    "schedules.warm_up.then": [{"name": "cosine"}],
    "learners.dmml.networks": [{"features": {"name": "mlp", "hidden": [6]}}],
    "learners.dmml.modalities": [["features"]],
    "learners.dmml_kd.generator_iterations": [3],
    "learners.fedmd.networks": [{"features": {"name": "cnn", "channels": [3], "hidden": 4}}],
    "learners.fedmd.modalities": [["features"]],
    "learners.fedmd.public": [ODD],
    "learners.fedmd.public_epochs": [2],
    "learners.fedmd.private_epochs": [2],
    "learners.fedzkt.global_network": [{"name": "cnn", "channels": [3], "hidden": 4}],
    "learners.fedzkt.distillation_iterations": [3],
    "learners.fedzkt.server_batch_size": [3],
    "learners.fedzkt.generator_channels": [[2, 2]],
    "learners.mhd.local_steps": [3],
    "learners.mhd.graph": ["complete", "islands", "cycle", "baseline", [[0, 1]], {1: "complete", 2: "cycle"}],
    "learners.mhd.public": [ODD],
    "policies.equal_energy.joules": [0.01],
    "policies.fixed.value": [2],
    "partitions.classes_per_device.modalities": [[["features"], ["features"], ["features"]]],
    "partitions.classes_per_device.public_share": [0.25],
    "partitions.classes_per_device.wrong_labels": [{"devices": 1}],
    "partitions.classes_per_device.broken_modality": [{"devices": [0], "modality": "features"}],
    "partitions.classes_per_device.classes": [1],
    "partitions.dirichlet.kept": [[0.5, 0.9]],
    "partitions.primary_labels.primary": [1],
    "networks.cnn.channels": [[3]],
    "networks.lenet.channels": [[3, 4]],
    "networks.lenet.hidden": [[6, 4]],
    "networks.mlp.hidden": [[6]],
    "networks.mobilenet_v2.width": [0.25],
    "networks.shufflenet_v2.size": [0.5],
    "networks.small_resnet.widths": [[4]],
    "networks.small_resnet.strides": [[1, 1]],
    "executors.cuda.devices": [["cpu"]],
}
"""Values of keys for which bounds and choices are not enough."""

CONTEXT: dict[str, Tree] = {
    "costs.stated": {
        "costs": {"stated": {"flops_per_iteration": {"features": 1e6}, "bits": {"features": 1e4}}}
    },
    "stop.metric": {"stop": {"at_least": 1.0}},
    **{
        f"stop.{key}": {"stop": {"metric": "arrived", **more}}
        for key, more in {
            "modality": {"at_least": 1.0},
            "at_least": {},
            "at_most": {},
            "patience": {},
        }.items()
    },
    "devices.classes.<name>.networks": {
        "learner": {"name": "fedmd", "networks": {"features": SMALL_CNN}, **DISTILLING["fedmd"]},
        "protocol": {"name": "server_rounds"},
        **PUBLIC,
    },
    "server.downlink.access": {"server": {"downlink": {"mode": "unicast"}}},
    "protocols.hierarchical_rounds.positions_m": {"protocol": {"edges": 2}},
    "records.positions": {"mobility": {"name": "random_waypoint", "diameter_m": 100.0}},
    "mobilities.random_waypoint.area_m": {"mobility": {"diameter_m": None}},
    "mobilities.gauss_markov.resume_within_s": {"mobility": {"on_link_loss": "resume"}},
    "compressors.quantise.error_feedback": {"protocol": {"name": "server_rounds"}},
    "policies.cpu_frequency": {"devices": {"processor": {"flops_per_cycle": 1e9}}},  # 1 Hz is enough
    "policies.tx_power": {"devices": {"tx_power_w": 2.0}},
    "policies.fixed": {"devices": {"tx_power_w": 2.0}},
    "executors.cuda": {"jobs": {"executor": {"name": "cuda", "devices": ["cpu"]}}},
    "learners.fedmd.public": {"partition": {"name": "classes_per_device"}},
    "learners.mhd.public": {"partition": {"name": "classes_per_device"}},
    "protocols.decentralized_rounds.schedule": {"protocol": {"deadline_s": 0.35}},
    "protocols.decentralized_rounds.late": {"protocol": {"deadline_s": 0.35}},
    "partitions.dirichlet.kept": {**CLIPS, "partition": {"name": "dirichlet", "case": "C"}},
    "partitions.dirichlet": CLIPS,
    "partitions.natural": CLIPS,
    "networks": {"rounds": 1, "devices": {"count": 2}, "data": {"samples": 8, "shape": [1, 16, 16]}},
}
"""What else a scenario needs for a key to mean something, by the key's name or its beginning; the first counts."""

NOT_HERE = {
    "metrics": "one of several in a list: tests/learners/training/test_scores.py",
    "executors.processes": "takes seconds to start: tests/netsim/work/test_processes.py",
    "executors.ray": "takes seconds to start: tests/netsim/work/test_ray.py",
    "jobs.device": "all but cpu need a GPU: tests/netsim/work/test_cuda.py",
    "data": "tests/learners/data/test_every_key_of_data.py",
    "records.transfers": "leaves out what is checked here: tests/netsim/test_command_line.py",
    "mobilities.trace": "needs a file: tests/netsim/mobility/test_motion_models.py",
    "batteries": "need loads that last: tests/netsim/devices/test_batteries.py",
    "harvests": "need a battery and hours: tests/netsim/devices/test_harvest_and_churn.py",
    "churns": "tests/netsim/protocols/test_going_and_returning.py",
    "models": "leaves files, not rows: tests/learners/test_models.py",
    "snapshots": "leaves files, not rows: tests/netsim/test_resume.py",
    "learners.cgb.initial": "needs a file: tests/learners/test_models.py",
    "learners.cgb.frozen": "tests/learners/test_models.py",
    "learners.fedasync.loss": "needs labels that are real numbers: tests/learners/test_regression.py",
    **{
        f"{place}.{key}": "tests/netsim/protocols/test_going_and_returning.py"
        for place in ("devices", "devices.classes.<name>", "devices.overrides[]")
        for key in ("harvest", "churn", "profile", "battery")
    },
    **{
        f"{place}.processor.{key}": "go together: tests/netsim/devices/test_processor.py"
        for place in ("devices", "devices.classes.<name>", "devices.overrides[]", "server")
        for key in ("governor", "frequencies_hz", "compute_deadline_s")
    },
    "links.edges.file": "needs a file: tests/netsim/topology/test_files.py",
    "placements.coordinates.file": "needs a file: tests/netsim/topology/test_files.py",
}
"""Keys, by the beginning of their names, that other tests run, and which."""

ALONE = ("learners", "datasets", "partitions", "executors", "protocols")
"""Kinds of components that need a world of their own."""

INSIDE = {
    "networks": ["learner.networks.features"],
    "schedules": ["learner.schedule"],
    "compressors": ["learner.compression"],
    "server_optimizers": ["learner.server_optimizer"],
}
"""Where components are named that other components name for themselves."""

SHARE = 3
"""One of so many pairs is run, evenly spread; all of them take minutes."""

UNKNOWN = "no known value"
"""Stands for a value that nobody has given."""


def around(name: str) -> Tree:
    """What the key, or component, called ``name`` needs beside it."""
    return next((tree for part, tree in CONTEXT.items() if f"{name}.".startswith(f"{part}.")), {})


def component(kind: str, name: str) -> Tree:
    """A component and what it cannot do without."""
    return {"name": name, **REQUIRED.get(f"{kind}.{name}", {})}


def worlds(key: Key) -> list[tuple[Tree, str]]:
    """Scenarios for which ``key`` matters, and its name in each."""
    if not key.kind:
        block = key.name.split(".")[0]
        learns = block in ("costs", "evaluation", "jobs", "data", "partition") or key.name.endswith(
            "networks"
        )
        base = SERVER if block in ("server", "stop") else LEARNING if learns else STUB
        return [(merge(base, around(key.name)), key.name)]
    found = []
    where = [one for one in INSIDE.get(key.kind) or places(key.kind) if can_be(key.kind, key.component, one)]
    # What divides a band does not know which; nor what a policy decides a value for.
    for place in where[:1] if key.kind in ("accesses", "policies") else where:
        base = world_of(key.kind, key.component, place)
        base = merge(base, nest(place, component(key.kind, key.component)))
        found.append((merge(base, around(key.name)), f"{place}.{key.key}"))
    return found


def can_be(kind: str, name: str, place: str) -> bool:
    """Whether a component of ``kind`` called ``name`` can be at ``place``: a policy only at what it decides."""
    return kind != "policies" or place.split(".")[1] in load(kind, name).decisions()


def world_of(kind: str, name: str, place: str) -> Tree:
    """A scenario in which a component of ``kind`` called ``name`` can be at ``place``."""
    if kind == "learners":
        return merge({k: v for k, v in LEARNING.items() if k != "learner"}, of_learner(name))
    if kind == "protocols":
        return SERVER if load(kind, name).needs_server else STUB
    if kind == "server_optimizers":
        return merge({k: v for k, v in LEARNING.items() if k != "learner"}, of_learner("fednova"))
    if kind == "compressors":
        return merge({k: v for k, v in LEARNING.items() if k != "learner"}, of_learner("fedavg"))
    if kind in ("partitions", "networks", "executors", "schedules"):
        return LEARNING
    return SERVER if place.startswith("server") else STUB


def of_learner(name: str) -> Tree:
    """The learner called ``name``, small, and the protocol and samples that it needs."""
    cls = load("learners", name)
    tree: Tree = {"learner": {"name": name}}
    if name == "stub":
        pass
    elif name in DISTILLING:
        networks = {"features": SMALL_CNN}
        tree = {"learner": {"name": name, "networks": networks, **DISTILLING[name]}, **PUBLIC}
    else:
        tree["learner"] |= {"networks": MLP, "batch_size": 8}
        small = {"head_hidden": 4, "generator_hidden": 4, "generator_iterations": 2, "noise_size": 3}
        tree["learner"] |= {key: value for key, value in small.items() if key in cls.Options.model_fields}
    if "decentralized" not in cls.SUITS:
        waits = name not in ("fedasync", "fedbuff")
        tree["protocol"] = {"name": "server_rounds" if waits else "asynchronous_server"}
    return tree


def cases(keys: Iterable[Key]) -> list[Any]:
    """A key and a value for each case."""
    return [
        pytest.param(key, value, id=f"{key.name}={value}"[:60])
        for key in keys
        if not key.name.startswith(tuple(NOT_HERE))
        for value in values(key)
    ]


def values(key: Key) -> list[Any]:
    """Other values of ``key``; of one that names a component, all others."""
    kind = COMPONENTS.get(tuple(key.name.split(".")))
    if kind and not key.kind:
        if kind in ALONE:
            return []
        default = key.field.get_default()
        others = [name for name in names(kind) if default is None or name != default.name]
        here = (name for name in others if f"{kind}.{name}" not in NOT_HERE and can_be(kind, name, key.name))
        return [component(kind, name) for name in here]
    return other_values(key, GIVEN) or [UNKNOWN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for all runs; what they set in PyTorch is undone at the end."""
    threads = torch.get_num_threads()
    yield tmp_path_factory.mktemp("runs")
    torch.set_num_threads(threads)


def try_out(key: Key, value: Any, folder: Path) -> None:
    """Run all scenarios that show ``key``, and see whether the records have it and agree with each other."""
    assert value is not UNKNOWN, f"{key.name} has no value here that is not its default: put one into GIVEN"
    for base, name in worlds(key):
        of_run = run(merge(base, nest(name, value)), folder)
        found = recorded(of_run, name)
        if isinstance(value, bool | int | float | str):
            assert found == value
        elif isinstance(value, dict) and "name" in value:
            assert found == value["name"]
        check(of_run)


@pytest.mark.parametrize(("key", "value"), cases(scenario_keys()))
def test_a_key_of_the_scenario(key: Key, value: Any, folder: Path) -> None:
    try_out(key, value, folder)


@pytest.mark.parametrize(
    ("key", "value"), cases(key for kind in KINDS if kind != "datasets" for key in component_keys(kind))
)
def test_a_key_of_a_component(key: Key, value: Any, folder: Path) -> None:
    try_out(key, value, folder)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in ALONE
        for name in names(kind)
        if kind != "datasets" and not f"{kind}.{name}".startswith(tuple(NOT_HERE))
    ],
)
def test_a_component_as_it_comes(kind: str, name: str, folder: Path) -> None:
    (place,) = places(kind)
    base = world_of(kind, name, place)
    if kind != "learners":
        base = merge(base, nest(place, component(kind, name)))
    check(run(merge(base, around(f"{kind}.{name}")), folder))


def of_pairs() -> Iterator[tuple[str, Tree]]:
    """Each key of the blocks radio, protocol and battery with another value, each protocol, and devices that move."""
    yield "mobility", {"mobility": component("mobilities", "random_waypoint")}
    yield from ((f"protocol={name}", {"protocol": {"name": name}}) for name in names("protocols"))
    for key in scenario_keys():
        if key.name.startswith(("radio.", "devices.battery.")):
            for value in values(key):
                if key.name != "radio.access" or value["name"] == "shared":  # others: test_conservation.py
                    yield f"{key.name}={value}"[:50], nest(key.name, value)
    for kind in ("channels", "protocols"):  # keys of a path loss change its number alone
        place = next(place for place in places(kind) if not place.startswith("server"))
        for key in component_keys(kind):
            for value in values(key):
                change = merge(nest(place, {"name": key.component, key.key: value}), around(key.name))
                yield f"{key.component}.{key.key}={value}"[:50], change


def contradict(a: Tree, b: Tree) -> bool:
    """Whether both say something, and not the same, about one key or component."""
    return any(
        contradict(a[key], b[key])
        if isinstance(a[key], dict) and isinstance(b[key], dict) and a[key].get("name") == b[key].get("name")
        else a[key] != b[key]
        for key in a.keys() & b.keys()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(one, other, id=f"{a}, {b}")
        for place, ((a, one), (b, other)) in enumerate(itertools.combinations(of_pairs(), 2))
        if place % SHARE == 0 and not contradict(one, other)
    ],
)
def test_a_pair_of_keys_of_radio_protocol_battery_and_mobility(one: Tree, other: Tree, folder: Path) -> None:
    both = merge(one, other)
    protocol = both.get("protocol", {}).get("name", "decentralized_rounds")
    check(run(merge(SERVER if load("protocols", protocol).needs_server else STUB, both), folder))
