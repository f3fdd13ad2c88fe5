"""``netsim verify``: a run as it was written is ok, whatever its world; a flipped byte or a sum that is off is not."""

import json
import random

import pandas as pd
import pytest
from run_folders import KEEPS_ALL
from typer.testing import CliRunner

from analysis.runs.files import RunError
from analysis.verify import verify
from netsim.app.commands.cli import app
from netsim.records.checksums import CHECKSUMS, write_checksums

BATTERIES = {"devices": {"count": 3, "battery": {"capacity_j": 0.4}}, "rounds": 8}
WORLDS = {
    "arrays": {},
    "events": {"radio": {"access": "shared"}},
    "turns": {"radio": {"access": "tdma", "half_duplex": True}, **BATTERIES},
    "contention": {"radio": {"access": "csma"}},
    "interference": {"radio": {"access": "reuse", "outage_snr_db": 0.0}},
    "batteries": BATTERIES,
    "batteries and a server": {**BATTERIES, "protocol": "server_rounds"},
    "deadline": {"protocol": {"name": "decentralized_rounds", "deadline_s": 0.3}, "rounds": 5},
    "outages": {"radio": {"outage_snr_db": 20.0, "acknowledgement_bits": 100.0}, "rounds": 5},
    "server": {"protocol": {"name": "server_rounds", "participants": 2}},
    "asynchronous": {"protocol": "asynchronous_server"},
    "few transfers": {"records": {"transfers": "summary"}},
}


@pytest.fixture
def recorded(write_scenario, tmp_path):
    """Runs a scenario as a person does; returns its folder."""

    def go(**blocks):
        words = [
            "run",
            write_scenario(**blocks),
            "--runs",
            tmp_path / "runs",
            "--no-plots",
            "-q",
        ]
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return type(tmp_path)(result.output.strip().splitlines()[-1])

    return go


@pytest.mark.parametrize("world", WORLDS)
def test_a_run_as_it_was_written_is_ok(recorded, world):
    folder = recorded(**WORLDS[world])
    assert verify(folder) == []
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 0 and "ok" in result.output


def test_a_battery_runs_empty_in_the_world_that_is_to_show_it(recorded):
    assert (pd.read_parquet(recorded(**BATTERIES) / "rounds.parquet")["outcome"] == "died").any()


FILES = {
    "checksums.sha256",
    "metadata.json",
    "models/round-000002/0.json",
    "plots/network.png",
    "report.html",
    "scenario.yaml",
    "snapshots/000000002.snapshot",
    "summary.json",
    "transfers.parquet",
}


def test_one_flipped_byte_in_any_file_is_found(recorded):
    """Of a run that keeps all that it can, and of which all is drawn: two bytes of each file and some others."""
    folder, draw = recorded(**KEEPS_ALL), random.Random(0)
    for words in (["plot", "--format", "png"], ["report"]):
        assert CliRunner().invoke(app, [words[0], str(folder), *words[1:]]).exit_code == 0
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    assert files.keys() >= FILES and verify(folder) == []
    for name, file in files.items():
        content = file.read_bytes()
        for place in {0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(6))}:
            changed = bytearray(content)
            changed[place] ^= 1 << draw.randrange(8)
            file.write_bytes(changed)
            try:
                found = verify(folder)
            except RunError as error:
                found = [str(error)]
            assert found, (name, place)
            if name != CHECKSUMS:
                assert found[0] == f"{name}: is not the file that was written (its SHA-256 is another)"
        file.write_bytes(content)
    assert verify(folder) == []
    (folder / "report.html").unlink()  # it can be written again
    assert verify(folder) == []
    (folder / "snapshots" / "000000002.snapshot").unlink()
    assert verify(folder) == ["snapshots/000000002.snapshot: missing"]


def test_a_missing_file_is_found(recorded):
    folder = recorded()
    (folder / "outside.parquet").unlink()
    assert verify(folder)[0] == "outside.parquet: missing"
    (folder / CHECKSUMS).unlink()
    assert verify(folder)[0].startswith(f"{CHECKSUMS}: missing")


@pytest.mark.parametrize(
    ("table", "column", "change", "found"),
    [
        ("transfers", "sent_bits", 1.0, "more bits sent than it has"),
        ("transfers", "energy_j", 1.0, "its transfers cost"),
        ("transfers", "airtime_s", 1e3, "longer on the air than it takes"),
        ("rounds", "compute_j", 1e-6, "energy_per_device_j.mean"),
        ("rounds", "sending_j", 1e-6, "on sending, its transfers cost"),
        ("rounds", "end_s", 1e-3, "does not begin where the one before ended"),
        ("rounds", "compute_s", 1e3, "has more in it than its length"),
    ],
)
def test_a_number_that_was_changed_and_sealed_again_is_found(recorded, table, column, change, found):
    """Checksums that fit do not help: the tables say it themselves."""
    folder = recorded()
    rows = pd.read_parquet(folder / f"{table}.parquet")
    rows.loc[0, column] += change
    rows.to_parquet(folder / f"{table}.parquet")
    write_checksums(folder)
    assert any(found in line for line in verify(folder)), verify(folder)


def test_what_left_a_battery_is_found(recorded):
    folder = recorded(**BATTERIES)
    rows = pd.read_parquet(folder / "devices.parquet")
    rows.loc[2, "battery_j"] += 0.01
    rows.to_parquet(folder / "devices.parquet")
    write_checksums(folder)
    assert [line for line in verify(folder) if line.startswith("device 2: had 0.41 J, spent")]


def test_a_summary_and_a_schema_of_another_kind_are_found(recorded):
    folder = recorded()
    for name, key, value, found in (
        ("summary.json", "sent_bits", 1.0, "summary.json: sent_bits: 1.0, but the tables say"),
        ("metadata.json", "schema", 7, "metadata.json: schema: 7 is not one"),
    ):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, key: value}))
        write_checksums(folder)
        assert any(found in line for line in verify(folder)), verify(folder)


def test_the_command_says_what_is_wrong_in_a_line_each(recorded, tmp_path):
    folder = recorded()
    (folder / "summary.json").write_text("{}")
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert f"error: {folder}: summary.json: is not the file that was written" in result.output
    nowhere = CliRunner().invoke(app, ["verify", str(tmp_path / "nothing")])
    assert nowhere.exit_code == 2 and "no such folder" in nowhere.output


def test_a_scenario_with_strange_records_is_no_traceback(recorded):
    folder = recorded()
    (folder / "scenario.yaml").write_text("records: 5\n")
    write_checksums(folder)
    assert verify(folder) == []
