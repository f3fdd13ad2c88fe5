"""Small scenarios that between them meet every learner, and all that can go wrong in a round.

Each is a world and what is changed in it. They are for comparing versions of the program (same_records.py): little
data, made up where it can be, and networks that train in a moment. Batteries and deadlines are such that some devices
die or are cut off while others go on.
"""

from __future__ import annotations

PEERS = """
rounds: 4
devices:
  count: 6
  idle_power_w: 0.01
  rx_power_w: 0.05
  stragglers: {name: lognormal, sigma: 0.6}
  processor: {frequency_hz: 1e7, effective_capacitance_f: 2e-22}
topology: {placement: {name: disc, diameter_m: 100}, links: {name: regular, degree: 3}}
data: {name: generated, samples: 360, test_samples: 60, shape: [12], classes: 3}
partition: {name: dirichlet, concentration: 1.0, min_samples: 20}
learner: {name: dmml, batch_size: 16, architecture: concat, networks: {features: {name: mlp, hidden: [16]}}}
evaluation: {every: 2}
"""
"""Devices and their neighbours, one modality."""

PAIRED_PEERS = """
rounds: 3
devices: {count: 4, stragglers: {name: lognormal, sigma: 0.6}}
topology: {placement: {name: disc, diameter_m: 50}}
data: {name: crema_d, surrogate_clips: 240, audio_shape: [16, 12], image_size: 12}
partition: {name: dominant, gamma: 0.5, phi: 0.3}
learner:
  name: dmml_kd
  generator_iterations: 3
  generator_hidden: 32
  networks: {audio: {name: mlp, hidden: [16]}, visual: {name: mlp, hidden: [16]}}
"""
"""Devices and their neighbours, two modalities that not all of them have."""

CLIENTS = """
rounds: 4
devices:
  count: 6
  idle_power_w: 0.01
  rx_power_w: 0.05
  stragglers: {name: lognormal, sigma: 0.6}
  processor: {frequency_hz: 1e7, effective_capacitance_f: 2e-22}
topology: {placement: {name: disc, diameter_m: 200}}
protocol: {name: server_rounds}
server: {processor: {frequency_hz: 1e8}, idle_power_w: 0.1, rx_power_w: 0.2}
data: {name: generated, samples: 360, test_samples: 60, shape: [12], classes: 3}
partition: {name: dirichlet, concentration: 1.0, min_samples: 20}
learner: {name: fedavg, batch_size: 16, networks: {features: {name: mlp, hidden: [16]}}}
evaluation: {every: 2}
"""
"""Devices and an edge server, one modality."""

PAIRED_CLIENTS = """
rounds: 3
devices: {count: 5, stragglers: {name: lognormal, sigma: 0.6}}
topology: {placement: {name: disc, diameter_m: 200}}
protocol: {name: server_rounds}
data: {name: crema_d, surrogate_clips: 240, audio_shape: [16, 12], image_size: 12}
partition: {name: dirichlet, concentration: 1.0, case: mixed-B, min_samples: 10}
learner:
  name: fedhgb
  batch_size: 16
  head_hidden: 16
  networks: {audio: {name: mlp, hidden: [16]}, visual: {name: small_resnet, widths: [8], blocks: 1}}
"""
"""Devices and an edge server, two modalities that not all of them have; BatchNorm in one network."""

KINDS = """
rounds: 3
devices:
  count: 4
  stragglers: {name: lognormal, sigma: 0.3}
  classes:
    small: {networks: {image: {name: mlp, hidden: [16]}}}
    large: {processor: {frequency_hz: 2e9}, networks: {image: {name: cnn, channels: [4], hidden: 16}}}
topology: {placement: {name: disc, diameter_m: 100}, links: {name: range, range_m: 200}}
data: {name: digits, size: 8, train_samples: 300, test_samples: 60}
partition: {name: dirichlet, concentration: 1.0, min_samples: 10, public_share: 0.2}
learner: {name: mhd, local_steps: 3, batch_size: 16, auxiliary_heads: 2, embedding_size: 8}
"""
"""Devices of two kinds, each with a network of its own."""

ROUNDS = "protocol.name=server_rounds"
FEDMD = (
    ROUNDS,
    "learner.name=fedmd",
    "learner.label_space=shared",
    "learner.public_epochs=1",
    "learner.private_epochs=1",
    "learner.revisit_epochs=1",
    "learner.alignment_samples=40",
)
FEDZKT = (
    ROUNDS,
    "learner.name=fedzkt",
    "learner.local_epochs=1",
    "learner.distillation_iterations=2",
    "learner.server_batch_size=16",
    "learner.generator_channels=[8, 4]",
    "learner.global_network={name: cnn, channels: [4], hidden: 16}",
)
STUB = ("data=null", "partition=null", "learner={name: stub, flops: 1e6, bits: 1e5}")
SERVER_STUB = ("data=null", "partition=null", "learner={name: stub, flops: 1e6, server_flops: 1e6}")
AVERAGING = (
    "learner={name: fedavg, batch_size: 16, networks: {features: {name: mlp, hidden: [16]}}}",
    "learner.momentum=0",
    "learner.weight_decay=0",
)
ANY_TIME = "protocol={name: asynchronous_server, concurrency: 4}"

VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # Neighbours.
    "dmml": (PEERS, ()),
    "dmml, SGD with momentum, state reset": (
        PEERS,
        (
            "learner.optimizer=sgd",
            "learner.momentum=0.9",
            "learner.optimizer_state=reset",
            "learner.last_batch=drop",
        ),
    ),
    "dmml, batteries die": (PEERS, ("devices.battery.capacity_j=2.5e-3",)),
    "dmml, spares its battery": (PEERS, ("devices.battery.capacity_j=3e-3", "learner.spare_battery=true")),
    "dmml, shared deadline": (PEERS, ("protocol.deadline_s=0.005",)),
    "dmml, own deadline": (PEERS, ("protocol.deadline_s=0.005", "protocol.schedule=own")),
    "dmml, own deadline, late kept": (
        PEERS,
        ("protocol.deadline_s=0.005", "protocol.schedule=own", "protocol.late=keep"),
    ),
    "dmml, shared deadline, late kept, acknowledged": (
        PEERS,
        ("protocol.deadline_s=0.005", "protocol.late=keep", "radio.acknowledgement_bits=1000"),
    ),
    "dmml, acknowledged, shared bands, fading in blocks": (
        PEERS,
        ("radio.acknowledgement_bits=1000", "radio.access=shared", "radio.channel.coherence_time_s=0.005"),
    ),
    "dmml, outages": (PEERS, ("radio.outage_snr_db=30",)),
    "isolated": (PEERS, ("learner.name=isolated",)),
    "isolated, batteries die": (PEERS, ("learner.name=isolated", "devices.battery.capacity_j=8e-4")),
    "centralized": (PEERS, ("learner.name=centralized",)),
    "stub": (PEERS, STUB),
    "stub, coordinated, batteries die": (
        PEERS,
        (*STUB, "learner.coordinated=true", "learner.report_bits=1000", "devices.battery.capacity_j=0.04"),
    ),
    "dmml, two modalities": (PAIRED_PEERS, ("learner.name=dmml",)),
    "dmml_kd": (PAIRED_PEERS, ()),
    "dmml_kd, own deadline, batteries die": (
        PAIRED_PEERS,
        ("protocol.deadline_s=0.06", "protocol.schedule=own", "devices.battery.capacity_j=0.03"),
    ),
    "dmml_kd_balance": (PAIRED_PEERS, ("learner.name=dmml_kd_balance",)),
    "dmml_kd_balance, batteries die": (
        PAIRED_PEERS,
        ("learner.name=dmml_kd_balance", "devices.battery.capacity_j=0.05"),
    ),
    "mhd": (KINDS, ()),
    "mhd, predictions": (KINDS, ("learner.transport=predictions",)),
    "mhd, own deadline, late kept": (
        KINDS,
        ("protocol.deadline_s=0.006", "protocol.schedule=own", "protocol.late=keep"),
    ),
    # A server's rounds.
    "fedavg": (CLIENTS, ()),
    "fedavg, fastest three, unicast": (
        CLIENTS,
        ("protocol.participants=3", "server.selection=fastest", "server.downlink.mode=unicast"),
    ),
    "fedavg, first three of five, equal parts": (
        CLIENTS,
        ("protocol.participants=5", "protocol.first=3", "server.uplink.division=equal"),
    ),
    "fedavg, deadline, acknowledged": (
        CLIENTS,
        ("protocol.deadline_s=0.004", "radio.acknowledgement_bits=1000"),
    ),
    "fedavg, batteries die": (CLIENTS, ("devices.battery.capacity_j=6e-4",)),
    "fedavg, outages": (CLIENTS, ("radio.outage_snr_db=15",)),
    "fedavg, outages waited out": (
        CLIENTS,
        ("radio.outage_snr_db=15", "radio.channel.coherence_time_s=0.002"),
    ),
    "fedprox, steps": (CLIENTS, ("learner.name=fedprox", "learner.local_steps=3")),
    "fednova, epochs drawn": (CLIENTS, ("learner.name=fednova", "learner.epochs_range=[1, 3]")),
    "fedatt, noise": (CLIENTS, ("learner.name=fedatt", "learner.noise=1e-3")),
    "stub, server": (CLIENTS, (*SERVER_STUB, "protocol.deadline_s=0.1")),
    "fedhgb": (PAIRED_CLIENTS, ("protocol.participants=4",)),
    "fedhgb, batteries die": (PAIRED_CLIENTS, ("devices.battery.capacity_j=2.5e-3",)),
    "cgb": (PAIRED_CLIENTS, ("learner.name=cgb",)),
    "mgb": (PAIRED_CLIENTS, ("learner.name=mgb",)),
    "fedprox, two modalities": (PAIRED_CLIENTS, ("learner.name=fedprox", "learner.losses=fused")),
    "fednova, two modalities": (PAIRED_CLIENTS, ("learner.name=fednova",)),
    "fedatt, two modalities": (PAIRED_CLIENTS, ("learner.name=fedatt",)),
    "fedmd": (KINDS, FEDMD),
    "fedmd, first three": (KINDS, (*FEDMD, "protocol.first=3")),
    "fedzkt": (KINDS, FEDZKT),
    "fedzkt, three at a time": (KINDS, (*FEDZKT, "protocol.participants=3", "server.downlink.mode=unicast")),
    # A server that waits for nobody.
    "fedasync": (CLIENTS, (ANY_TIME, "learner.name=fedasync", "rounds=12")),
    "fedasync, batteries die": (
        CLIENTS,
        (ANY_TIME, "learner.name=fedasync", "rounds=20", "devices.battery.capacity_j=5e-4"),
    ),
    "fedbuff": (CLIENTS, (ANY_TIME, "protocol.buffer=3", "learner.name=fedbuff", "rounds=6")),
    "fedbuff, staleness bounded, proximal": (
        CLIENTS,
        (
            ANY_TIME,
            "protocol.buffer=2",
            "protocol.max_staleness=1",
            "learner.name=fedbuff",
            "learner.mu=0.1",
            "learner.staleness=hinge",
            "rounds=8",
        ),
    ),
    # What learners and protocols can do besides.
    "fedavg, neighbours": (PEERS, AVERAGING),
    "fedavg, gossip": (
        PEERS,
        (*AVERAGING, "protocol={name: asynchronous_gossip, duration_s: 60, staleness: polynomial}"),
    ),
    "fedavg, gossip, batteries die": (
        PEERS,
        (*AVERAGING, "protocol.name=asynchronous_gossip", "devices.battery.capacity_j=2.5e-3"),
    ),
    "fedavg, CHOCO": (
        PEERS,
        (*AVERAGING, "learner.compression={name: top_k, ratio: 0.2, gossip_step: 0.4}"),
    ),
    "fedavg, devices that move": (
        PEERS,
        (
            *AVERAGING,
            "topology.links={name: range, range_m: 60}",
            "mobility={name: random_waypoint, diameter_m: 100, speed_mps: [1, 9]}",
        ),
    ),
    "gradient_tracking": (PEERS, (*AVERAGING, "learner.name=gradient_tracking")),
    "random_walk": (PEERS, (*AVERAGING, "learner.name=random_walk")),
    "fedavg, hierarchy": (
        CLIENTS,
        ("protocol={name: hierarchical_rounds, edges: 2, edge_rounds: 2, backhaul: {rate_bps: 1e8}}",),
    ),
    "fedavg, top-k": (
        CLIENTS,
        (
            "protocol.participants=4",
            "learner.compression={name: top_k, ratio: 0.2, error_feedback: true}",
            "learner.server_optimizer={name: fedadam, learning_rate: 0.03, tau: 1e-3}",
            "learner.schedule={name: warm_up, rounds: 3, then: cosine}",
        ),
    ),
    "fedavg, private, quantised": (
        CLIENTS,
        ("learner.privacy={clip: 1, noise_multiplier: 1, mode: update}", "learner.compression=quantise"),
    ),
    "fedavg, stops": (CLIENTS, ("stop={metric: accuracy, at_least: 0.6}",)),
    "scaffold": (CLIENTS, ("learner.name=scaffold", "learner.momentum=0", "learner.weight_decay=0")),
}
"""By name, a world and what is changed in it."""
