"""What was finished stays readable when the disk is full, slow or gone, and when a run is killed at its end."""

import json
import resource
import shutil
import time

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import load_run
from netsim.app.commands.cli import app
from netsim.events import MetricRow, RowBatch
from netsim.records.run_folder import Recorder
from netsim.records.writer import TableWriter


def row(t):
    return MetricRow(round=t, device=0, time_s=1.0 * t, name="accuracy", modality="", value=0.5)


def rounds_in(folder):
    return pd.read_parquet(folder / "metrics.parquet")["round"].tolist()


class Killed(BaseException):
    """Stands for the moment of a kill."""


@pytest.mark.parametrize("moment", ["before replace", "after replace", "before rmtree"])
def test_a_kill_at_any_step_of_ending_a_table_leaves_every_row(tmp_path, monkeypatch, moment):
    """The name of the table always leads to all its rows: to the parts, or to the one file."""
    import netsim.records.writer as module

    when, step = moment.split()
    owner = module.os if step == "replace" else module.shutil
    do = getattr(owner, step)

    def killed(*arguments, **options):
        if when == "after":
            do(*arguments, **options)
        raise Killed

    writer = TableWriter(tmp_path, "metrics")
    writer.add(row(1))
    writer.flush()
    writer.add(row(2))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, step, killed)
        writer.close()
    assert rounds_in(tmp_path) == [1, 2]


def test_a_disk_without_links_has_the_parts_for_analysis(tmp_path, monkeypatch, write_scenario):
    """Also what a run of an older version left that was killed between its two renames."""
    folder = run(write_scenario(), tmp_path)[1]
    rounds = load_run(folder).rounds
    (folder / "rounds.parquet").unlink()
    parts = folder / ".rounds.parquet.parts"
    parts.mkdir()
    rounds[:4].to_parquet(parts / "part-000000.parquet")
    rounds[4:].to_parquet(parts / "part-000001.parquet")
    pd.testing.assert_frame_equal(load_run(folder).rounds, rounds)
    monkeypatch.setattr(
        "pathlib.Path.symlink_to", lambda *_, **__: (_ for _ in ()).throw(OSError("no links"))
    )
    writer = TableWriter(tmp_path, "metrics")
    writer.add(row(1))
    writer.close()
    assert rounds_in(tmp_path) == [1]


def run(path, tmp_path, *words, runs="runs"):
    said = ["run", path, "--runs", tmp_path / runs, "--run-id", "a", "--no-plots", "--quiet", *words]
    result = CliRunner().invoke(app, [str(word) for word in said])
    return result, tmp_path / runs / path.stem / "a"


def test_a_full_disk_ends_a_run_in_one_line_and_keeps_its_rounds(
    small_disk, tmp_path, write_scenario, monkeypatch
):
    monkeypatch.setattr(Recorder, "PAUSE_S", 0.0)
    monkeypatch.setattr(Recorder, "SHARE", 1e9)
    result, folder = run(write_scenario(rounds=1_000_000), tmp_path, runs="disk")
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {folder}: cannot be written (") and "--runs" in line
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == json.loads((folder / "metadata.json").read_text())["status"] == "failed"
    rounds = load_run(folder).rounds
    last = rounds["round"].max()
    assert f"readable up to round {summary['rounds_finished']} of 1000000" in line
    assert 1 <= summary["rounds_finished"] <= last and set(rounds.groupby("round").size()[:-1]) == {3}


def test_tables_stay_in_parts_where_there_is_no_room_to_merge_them(
    small_disk, tmp_path, write_scenario, monkeypatch
):
    monkeypatch.setattr(Recorder, "PAUSE_S", 1e9)  # two parts, however slow the machine is
    (small_disk / "other").write_bytes(bytes(660_000))
    file = write_scenario(rounds=800, snapshots={"every": "off"})  # before one all is written, too
    result, folder = run(file, tmp_path, runs="disk")
    assert result.exit_code == 0, result.output
    assert "no room to merge the tables" in result.stderr and "Traceback" not in result.output
    assert (folder / "transfers.parquet").is_dir()
    whole = run(file, tmp_path)[1]
    for table in ("rounds", "transfers"):
        pd.testing.assert_frame_equal(getattr(load_run(folder), table), getattr(load_run(whole), table))
    assert (folder / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path, write_scenario, monkeypatch):
    monkeypatch.setattr(Recorder, "RESERVED_BYTES", 0)
    monkeypatch.setattr(Recorder, "PAUSE_S", 1e9)  # one large part at the end, however slow the machine is
    path, before = write_scenario(rounds=400), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        result, folder = run(path, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.exit_code == 2 and "cannot be written (File too large)" in result.stderr, result.output
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"


def test_a_folder_that_is_removed_under_a_run_is_told_in_one_line(tmp_path, write_scenario, monkeypatch):
    def removed(self, *_):
        shutil.rmtree(self.folder)
        closed(self, *_)

    closed = Recorder.on_round_closed
    monkeypatch.setattr(Recorder, "on_round_closed", removed)
    result, folder = run(write_scenario(), tmp_path)
    assert result.exit_code == 2
    assert result.stderr == f"error: {folder}: was removed while the run went on; run it again\n"


def test_a_slow_disk_stops_the_records_for_ten_seconds_at_most(tmp_path, monkeypatch):
    """Each write takes 60 s, a share of 2 % would be a pause of 3,000 s; nothing is written before 10 s are over."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    none = RowBatch((), 0)
    recorder = Recorder(tmp_path, {}, {}, none, none, [])
    written = []

    def flush(self):
        if self is recorder._writers[0]:
            written.append(now[0])
            now[0] += 60.0

    monkeypatch.setattr(TableWriter, "flush", flush)
    for t in range(1, 40):
        recorder.on_round_closed(t, float(t))
        now[0] += 1.0
    assert written == [0.0, 70.0, 140.0, 210.0][: len(written)] and len(written) > 2
