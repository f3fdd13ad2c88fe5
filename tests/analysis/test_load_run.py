"""Reading a run folder: whole, growing, killed, or no run at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from run_folders import accuracy, write_run

from analysis import Run, RunError, latest_run, load_run
from analysis.runs.run import GROWING_TABLES
from netsim.events import columns

OF_SOME_RUNS = ("lost_bits",)  # those whose rate loses blocks

ROUNDS = [{"round": t, "device": k, "outcome": "finished"} for t in (1, 2) for k in (0, 1)]


def test_what_the_analysis_expects_is_what_the_simulator_writes() -> None:
    for table, names in GROWING_TABLES.items():
        assert names == [column.name for column in columns(table) if column.name not in OF_SOME_RUNS]


def test_a_folder_becomes_frames(make_run: Callable[..., Run]) -> None:
    run = make_run(rounds=ROUNDS, metadata={"learner": "dmml", "seed": 7, "data": {"surrogate": True}})
    assert (run.learner, run.seed, run.surrogate, run.name) == ("dmml", 7, True, "tiny")
    assert run.modalities == ["audio", "visual"]
    assert list(run.rounds["round"]) == [1, 1, 2, 2]


def test_parts_of_a_growing_table_are_read_in_order_without_the_one_being_written(
    make_run: Callable[..., Run],
) -> None:
    folder = make_run(rounds=ROUNDS).folder
    whole = pd.read_parquet(folder / "rounds.parquet")
    (folder / "rounds.parquet").unlink()
    (folder / "rounds.parquet").mkdir()
    whole[2:].to_parquet(folder / "rounds.parquet" / "part-000001.parquet")
    whole[:2].to_parquet(folder / "rounds.parquet" / "part-000000.parquet")
    (folder / "rounds.parquet" / ".part-000002.parquet").write_bytes(b"half a par")
    pd.testing.assert_frame_equal(load_run(folder).rounds, whole)


def test_a_run_killed_in_its_first_round_has_empty_tables(make_run: Callable[..., Run]) -> None:
    folder = make_run(rounds=ROUNDS).folder
    for name in ("rounds.parquet", "transfers.parquet", "metrics.parquet", "summary.json"):
        (folder / name).unlink()
    run = load_run(folder)
    assert run.summary is None
    assert run.rounds.empty and run.transfers.empty and run.metrics.empty
    assert run.dead == []


def test_what_is_no_run_is_refused_in_one_line_with_the_way_out(make_run: Callable[..., Run]) -> None:
    folder = make_run().folder
    with pytest.raises(RunError, match=r"nowhere: no such folder; give a run folder"):
        load_run(folder / "nowhere")
    with pytest.raises(RunError, match=r"tiny: not a run folder .* did you mean .*run-1\?"):
        load_run(folder.parent)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(RunError, match=r"metadata.json: not readable as JSON") as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)


def test_a_damaged_table_is_named(make_run: Callable[..., Run]) -> None:
    folder = make_run().folder
    (folder / "links.parquet").write_bytes(b"not parquet")
    with pytest.raises(RunError, match=r"links.parquet: not readable as Parquet") as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)
    (folder / "links.parquet").unlink()
    with pytest.raises(RunError, match=r"links.parquet: missing"):
        load_run(folder)


def test_the_latest_run_is_the_one_written_to_last(tmp_path: Path) -> None:
    for place, name in enumerate(("a/2", "a/1", "b/1")):
        folder = write_run(tmp_path / name, devices=[{"device": 0}], metrics=[accuracy(1, 0, 0.5)])
        os.utime(folder / "metadata.json", (1000 + place, 1000 + place))
    assert latest_run(tmp_path) == tmp_path / "b/1"
    assert latest_run(tmp_path, "a") == tmp_path / "a/1"
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(RunError, match="no run found; run a scenario first"):
        latest_run(tmp_path, "b")
