"""Parts while the run goes, one file at its end."""

import math

import pandas as pd

from netsim.observers import Observer
from netsim.records.run_folder import new_folder, plain_json
from netsim.records.tables import TABLES, MetricRow, columns
from netsim.records.totals import Totals, spread
from netsim.records.writer import TableWriter


def row(t, value=0.5):
    return MetricRow(round=t, device=0, time_s=1.0 * t, name="accuracy", modality="", value=value)


def test_what_was_flushed_is_readable_before_the_end(tmp_path):
    writer = TableWriter(tmp_path, "metrics")
    for t in (1, 2, 3):
        writer.add(row(t))
        writer.flush()
    writer.add(row(4))
    assert pd.read_parquet(tmp_path / "metrics.parquet")["round"].tolist() == [1, 2, 3]
    writer.close()
    assert pd.read_parquet(tmp_path / "metrics.parquet")["round"].tolist() == [1, 2, 3, 4]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.parquet"]


def test_an_empty_table_has_its_columns(tmp_path):
    TableWriter(tmp_path, "transfers").close()
    table = pd.read_parquet(tmp_path / "transfers.parquet")
    assert list(table.columns) == [name for name, _ in columns("transfers")] and len(table) == 0


def test_every_column_of_every_table_is_explained():
    assert all(about for table in TABLES for _, about in columns(table))


def test_json_is_strict():
    assert plain_json({"a": math.inf, "b": (1, math.nan), "c": "x"}).split() == (
        ["{", '"a":', "null,", '"b":', "[", "1,", "null", "],", '"c":', '"x"', "}"]
    )


def test_ids_of_runs_never_collide(tmp_path):
    assert len({new_folder(tmp_path, "x", 0, None) for _ in range(3)}) == 3


def test_quantiles_stand_beside_the_mean():
    """1 to 100 and an outlier of 1e6: the median does not care, the mean does."""
    values = spread([*range(1, 101), 1e6])
    assert values["median"] == 51 and values["mean"] > 9900 and values["max"] == 1e6
    assert spread([]) is None


def test_final_and_best_accuracy_are_both_kept():
    totals = Totals(1)
    for t, value in ((1, 0.4), (2, 0.7), (3, 0.6)):
        totals.on_metric(row(t, value))
    accuracy = totals.summary()["accuracy"]["fused"]
    assert (accuracy["final"], accuracy["best"], accuracy["best_round"]) == (0.6, 0.7, 2)


def test_an_observer_may_ignore_everything():
    observer = Observer()
    observer.on_metric(row(1))
    observer.on_death(0, 1.0)
    observer.on_round_closed(1, 1.0)
