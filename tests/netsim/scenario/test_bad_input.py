"""Bad input gets one clear line per finding, exit code 2, no traceback, and writes nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.core.errors import ScenarioError
from netsim.scenario import load_plan


def complaint(path, *settings):
    with pytest.raises(ScenarioError) as error:
        load_plan(path, settings)
    return str(error.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("radio.bandwith_hz=5e5", "radio.bandwith_hz: unknown key. Did you mean 'bandwidth_hz'?"),
        (
            "radio.colour=5",
            "radio.colour: unknown key. Known here: access, acknowledgement_bits, bandwidth_hz",
        ),
        (
            "radio.bandwidth_hz=500 kHz",
            "must be a number in hertz (got '500 kHz'); the unit is in the key's name",
        ),
        ("radio.bandwidth_hz=-1", "radio.bandwidth_hz: must be greater than 0 (got -1)"),
        ("radio.bandwidth_hz=.nan", "radio.bandwidth_hz: must be finite"),
        ("radio.noise_dbm_per_hz=1e9", "radio.noise_dbm_per_hz: must be at most 1000 (got 1000000000.0)"),
        ("radio.noise_dbm_per_hz=-1e9", "radio.noise_dbm_per_hz: must be at least -1000"),
        ("radio.outage_snr_db=1e4", "radio.outage_snr_db: must be at most 1000"),
        ("radio.noise_dbm_per_hz=low", "must be a number in dBm per hertz (got 'low')"),
        ("rounds=2.5", "rounds: must be a whole number (got 2.5)"),
        ("rounds=0", "rounds: must be at least 1 (got 0)"),
        ("devices.count=1", "devices.count: must be at least 2 (got 1)"),
        ("devices.processor=fast", "devices.processor: must be a block of keys (got 'fast')"),
        ("devices.battery.capacity_j=0", "devices.battery.capacity_j: must be greater than 0"),
        ("topology.require_connected=maybe", "must be true or false (got 'maybe')"),
        ("learner.name=dmlm_kd", "unknown name 'dmlm_kd'. Did you mean 'dmml_kd'?"),
        ("learner.name=nowhere:Learner", "cannot load 'nowhere:Learner': no module 'nowhere' in "),
        ("radio.channel=raileigh", "unknown name 'raileigh'. Did you mean 'rayleigh'?"),
        (
            "radio.channel.normalisation=unit_pwoer",
            "must be 'mean_amplitude' or 'unit_power' (got 'unit_pwoer')",
        ),
        ("radio.channel.coherence_time_s=0", "radio.channel.coherence_time_s: must be greater than 0"),
        ("radio.channel={name: rician, k_db: 99}", "radio.channel.k_db: must be at most 60 (got 99)"),
        ("radio.channel={name: nakagami, m: 0.4}", "radio.channel.m: must be at least 0.5 (got 0.4)"),
        (
            "radio.channel={name: jakes, speed_m_per_s: 0}",
            "radio.channel.speed_m_per_s: must be greater than 0",
        ),
        ("radio.rate=shanon", "unknown name 'shanon'. Did you mean 'shannon'? Known rates: mcs, shannon"),
        ("radio.rate.gap_db=-1", "radio.rate.gap_db: must be at least 0 (got -1)"),
        ("radio.rate.cap_bps_per_hz=0", "radio.rate.cap_bps_per_hz: must be greater than 0 (got 0)"),
        ("radio.rate={name: mcs, target_bler: 1}", "radio.rate.target_bler: must be less than 1 (got 1)"),
        ("radio.rate={name: mcs, block_bits: 1}", "radio.rate.block_bits: must be at least 40 (got 1)"),
        ("radio.rate={name: mcs, table: []}", "radio.rate.table: must have at least one scheme"),
        (
            "radio.rate={name: mcs, table: [{efficiency_bps_per_hz: 0, snr_db: 3}]}",
            "radio.rate.table.0.efficiency_bps_per_hz: must be greater than 0 (got 0)",
        ),
        (
            "radio.rate={name: mcs, table: [{efficiency_bps_per_hz: 2, snr_db: 3}, "
            "{efficiency_bps_per_hz: 1, snr_db: 5}]}",
            "radio.rate.table: must rise in efficiency_bps_per_hz and in snr_db from entry to entry; entry 1 does not",
        ),
        ("devices.noise_figure_db=-3", "devices.noise_figure_db: must be at least 0 (got -3)"),
        ("server.antenna_gain_dbi=2000", "server.antenna_gain_dbi: must be at most 1000 (got 2000)"),
        ("radio.path_loss.exponent=2", "radio.path_loss.exponent: unknown key"),
        ("radio.access={name: tdma, slot_s: 0}", "radio.access.slot_s: must be at least 1e-06 (got 0)"),
        (
            "radio.access={name: tdma, per: round}",
            "radio.access.per: must be 'cell' or 'device' (got 'round')",
        ),
        (
            "radio.access={name: ofdma, subcarriers: 0}",
            "radio.access.subcarriers: must be at least 1 (got 0)",
        ),
        (
            "radio.access={name: ofdma, scheduler: propotional}",
            "radio.access.scheduler: unknown name 'propotional'. Did you mean 'proportional'?",
        ),
        (
            "radio.access={name: ofdma, scheduler: 'netsim.world.radio.fading:Rayleigh'}",
            "radio.access.scheduler: cannot load 'netsim.world.radio.fading:Rayleigh': a class for schedulers must be",
        ),
        ("radio.access={name: csma, window: 1}", "radio.access.window: must be at least 2 (got 1)"),
        ("radio.access={name: reuse, channels: 0}", "radio.access.channels: must be at least 1 (got 0)"),
        ("server.uplink.access=tmda", "unknown name 'tmda'. Did you mean 'tdma'?"),
        (
            "server.downlink.access=tdma",
            "server.downlink: access: a broadcast is one transmission, which shares",
        ),
        ("protocol.deadline=3", "protocol.deadline: unknown key. Did you mean 'deadline_s'?"),
        (
            "protocol.late=keep",
            "protocol.late: 'keep' needs a deadline; set protocol.deadline_s",
        ),
        ("protocol.schedule=own", "protocol.schedule: 'own' needs a deadline"),
        ("device.count=3", "--set: device: unknown key. Did you mean 'devices'?"),
        ("learner.flop=3", "learner.flop: unknown key. Did you mean 'flops'?"),
        ("learner.nam=dmml", "learner.nam: unknown key. Did you mean 'name'?"),
        ("devices.stragglers.name=exponential", "devices.stragglers.mean: is missing: mean factor"),
        *(
            (
                f"costs.backward_to_forward={bad}",
                "costs.backward_to_forward: must be counted, or a number of forward passes, at least 0 (got",
            )
            for bad in ("-1", "twice", ".nan", ".inf", "null", "[2]")
        ),
        ("rounds", "must be key=value"),
        ("rounds.deep=3", "rounds is not a block of keys"),
        ("radio.channel={a: [}", "not readable as YAML"),
    ],
)
def test_one_line_says_where_what_and_the_way_out(write_scenario, setting, words):
    blocks = {"radio": {"channel": "rayleigh"}}
    text = complaint(write_scenario(**blocks), setting)
    assert words in text
    assert len(text.splitlines()) == 1
    assert text.startswith("--set")


def test_a_key_of_the_file_is_reported_with_the_file(write_scenario):
    path = write_scenario(radio={"bandwith_hz": 5e5})
    assert complaint(path) == f"{path}: radio.bandwith_hz: unknown key. Did you mean 'bandwidth_hz'?"


def test_several_findings_are_several_lines(write_scenario):
    text = complaint(write_scenario(radio={"bandwith_hz": 5e5, "carrier_hz": "x"}, sed=1))
    assert len(text.splitlines()) == 3


def test_a_missing_block_is_named(write_scenario):
    assert "learner: is missing: the algorithm" in complaint(write_scenario(learner=None))


def test_an_override_of_a_device_that_is_not_there(write_scenario):
    path = write_scenario(devices={"count": 3, "overrides": [{"devices": [3], "tx_power_w": 1.0}]})
    assert "devices.overrides.0.devices: no device 3; devices are 0 to 2" in complaint(path)


@pytest.mark.parametrize(
    ("classes", "key", "words"),
    [
        ({"phone": {"devices": [3]}}, "phone.devices", "no device 3; devices are 0 to 2"),
        (
            {"phone": {"devices": [0, 1]}, "camera": {"devices": [1]}},
            "camera.devices",
            "device 1 is of class 'phone' already, and a device has one class",
        ),
        (
            {"phone": {"devices": [0, 1]}, "camera": {}, "watch": {}},
            "watch",
            "no device is left for this class: 2 classes list no devices and share those that no class lists, of which "
            "there are 1; raise devices.count",
        ),
        ({"phone": {"devices": []}}, "phone.devices", "at least 1"),
        ({"phone": {"memory_bytes": 0}}, "phone.memory_bytes", "must be greater than 0 (got 0)"),
        ({"phone": {"memory_bytes": "2 MB"}}, "phone.memory_bytes", "must be a number in bytes (got '2 MB')"),
        ({"phone": {"memory": 5}}, "phone.memory", "unknown key. Did you mean 'memory_bytes'?"),
        (
            {"battery": {"processor": {"frequncy_hz": 5}}},
            "battery.processor.frequncy_hz",
            "unknown key. Did you mean 'frequency_hz'?",
        ),
        ({"phone": "fast"}, "phone", "must be a block of keys (got 'fast')"),
        (
            {"phone": {"networks": {"image": "lenet"}}},
            "phone.networks",
            "learner 'stub' needs the same network on every device, for what it exchanges are parameters; leave "
            "networks out here, or use a learner that takes one per device: ",
        ),
    ],
)
def test_what_can_be_wrong_with_classes_of_devices(write_scenario, classes, key, words):
    path = write_scenario(devices={"count": 3, "classes": classes})
    (line,) = complaint(path).splitlines()
    assert line.startswith(f"{path}: devices.classes.{key}: ")
    assert words in line


def test_a_class_that_the_command_line_spoils_is_reported_with_the_command_line(write_scenario):
    path = write_scenario(devices={"count": 3, "classes": {"phone": {"devices": [0]}}})
    text = complaint(path, "devices.classes.phone.devices=[7]")
    assert text == "--set: devices.classes.phone.devices: no device 7; devices are 0 to 2"


def test_a_missing_file_names_its_neighbours(write_scenario):
    path = write_scenario("one")
    assert "no such file. Scenarios there: " in complaint(path.with_name("two.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not readable as YAML"),
        ("- 1\n- 2", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("rounds: 1\nrounds: 2", "key 'rounds' stands twice"),
        ("\x00\x01", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_scenario(tmp_path, text, words):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert words in complaint(path)


def test_a_folder_is_not_a_scenario(tmp_path):
    assert "cannot be read as text" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("blocks", "settings", "words"),
    [
        ({}, ["radio.bandwith_hz=1"], "unknown key"),
        (
            {"topology": {"placement": {"name": "coordinates", "positions_m": [[0, 0], [900, 0], [0, 9]]}}},
            [],
            "topology: the graph is not connected in the placement given",
        ),
        ({"topology": {"placement": {"name": "coordinates", "positions_m": [[0, 0]]}}}, [], "(3), got 1"),
        ({"jobs": {"device": "cuda:99"}}, [], "jobs.device: 'cuda:99' is not there"),
        ({"jobs": {"device": "tpu"}}, [], "must be auto, cpu, cuda or cuda:<number> (got 'tpu')"),
        ({"devices": {"count": 3, "stragglers": {"name": "given", "factors": {7: 2.0}}}}, [], "no device 7"),
    ],
)
def test_the_command_ends_with_2_and_writes_nothing(write_scenario, tmp_path, blocks, settings, words):
    path, runs = write_scenario(**blocks), tmp_path / "runs"
    words_of_command = ["run", str(path), "--runs", str(runs)]
    for setting in settings:
        words_of_command += ["--set", setting]
    result = CliRunner().invoke(app, words_of_command)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not runs.exists()
    if settings:
        assert CliRunner().invoke(app, ["check", str(path), "--set", settings[0]]).exit_code == 2


def test_an_unknown_kind_to_list():
    result = CliRunner().invoke(app, ["list", "radios"])
    assert result.exit_code == 2 and "kinds are learners, datasets" in result.stderr


def test_a_run_id_that_is_taken(write_scenario, tmp_path):
    path, options = write_scenario(), ["--runs", str(tmp_path), "--run-id", "a", "--quiet", "--no-plots"]
    assert CliRunner().invoke(app, ["run", str(path), *options]).exit_code == 0
    result = CliRunner().invoke(app, ["run", str(path), *options])
    assert result.exit_code == 2 and "exists; choose another id" in result.stderr


def test_a_scenario_file_is_never_written_to(write_scenario):
    path: Path = write_scenario()
    before = path.read_bytes()
    load_plan(path, ["rounds=3"])
    assert path.read_bytes() == before
