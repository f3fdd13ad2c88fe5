"""Parts while the run goes, one file at its end."""

import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from netsim.events import TABLES, MetricRow, Observer, TransferBatch, TransferRow, columns, joined, runs
from netsim.records.run_folder import new_folder, plain_json
from netsim.records.totals import Totals, spread
from netsim.records.writer import BatchWriter, TableWriter


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


def test_batches_become_rows(tmp_path):
    """Three rows, of a batch of two and one of one: the same row by row and in the table, whose types are Arrow's."""
    pair = TransferBatch(
        round=1,
        kind="model",
        sender=4,
        receiver=np.array([5, 6]),
        size_bits=np.array([8.0, 8.0]),
        sent_bits=np.array([8.0, 0.0]),
        start_s=2.0,
        end_s=np.array([3.0, 2.0]),
        airtime_s=np.array([1.0, 0.0]),
        energy_j=np.array([1.0, 0.0]),
        gain=np.array([0.5, 0.0]),
        snr_db=np.array([3.0, -math.inf]),
        outcome=["delivered", "outage"],
    )
    single = TransferRow(2, "report", 0, 1, 9.0, 9.0, 5.0, 6.0, 1.0, 1.0, 1.0, 0.0, "cut_off")
    assert TransferBatch.of(single).rows() == [single]
    writer = BatchWriter(tmp_path, "transfers")
    for batch in (pair, TransferBatch.of(single)):
        writer.add_batch([getattr(batch, name) for name in TransferRow._fields], len(batch))
        writer.flush()
    writer.close()
    table = pq.read_table(tmp_path / "transfers.parquet")
    assert table.schema.equals(writer.schema)
    rows = [TransferRow(**row) for row in table.to_pylist()]
    assert rows == [*pair.rows(), single]
    assert [(row.receiver, row.start_s, row.outcome) for row in rows] == [
        (5, 2.0, "delivered"),
        (6, 2.0, "outage"),
        (1, 5.0, "cut_off"),
    ]


def test_columns_of_one_value_and_of_many_stand_side_by_side():
    """A batch that was delivered whole says so once; one of which something was lost says it for each transfer."""
    assert runs([8.0, np.array([8.0, 0.0]), 3.0], [3, 2, 1]) == ([8.0, 8.0, 0.0, 3.0], [3, 1, 1, 1])
    assert joined([8.0, np.array([8.0, 0.0]), 3.0], [3, 2, 1]).tolist() == [8, 8, 8, 8, 0, 3]
    assert runs(["delivered", ["delivered", "outage"]], [3, 2]) == (
        ["delivered", "delivered", "outage"],
        [3, 1, 1],
    )


def test_the_file_does_not_depend_on_when_parts_were_written(tmp_path):
    for name, parts in (("a", 1), ("b", 5)):
        (tmp_path / name).mkdir()
        writer = TableWriter(tmp_path / name, "metrics")
        for t in range(20):
            writer.add(row(t))
            if t % parts == 0:
                writer.flush()
        writer.close()
    assert (tmp_path / "a" / "metrics.parquet").read_bytes() == (
        tmp_path / "b" / "metrics.parquet"
    ).read_bytes()


def test_an_interrupt_while_a_part_is_written_loses_no_row(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    writer = TableWriter(tmp_path, "metrics")
    writer.add(row(1))
    writer.flush()
    writer.add(row(2))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("netsim.records.writer.pq.write_table", interrupted)
        writer.flush()
    writer.add(row(3))
    writer.close()
    assert pd.read_parquet(tmp_path / "metrics.parquet")["round"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("rows", [3, 4, 5, 11])
def test_the_file_grows_by_row_groups_beside_the_parts(tmp_path, monkeypatch, rows):
    """Of four rows each here. What is not whole yet disturbs nobody who reads the parts."""
    monkeypatch.setattr("netsim.records.writer.ROW_GROUP", 4)
    writer, path = TableWriter(tmp_path, "metrics"), tmp_path / "metrics.parquet"
    for t in range(rows):
        writer.add(row(t))
        if t % 3 == 2:
            writer.flush()
            assert pd.read_parquet(path)["round"].tolist() == list(range(t + 1))
    assert (path / ".whole").exists() == (rows // 3 * 3 >= 4)
    writer.close()
    file = pq.ParquetFile(path)
    assert file.read()["round"].to_pylist() == list(range(rows))
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [4] * (rows // 4) + [rows % 4] * (rows % 4 > 0)


def test_an_empty_table_has_its_columns(tmp_path):
    TableWriter(tmp_path, "transfers").close()
    table = pd.read_parquet(tmp_path / "transfers.parquet")
    assert list(table.columns) == [column.name for column in columns("transfers")] and len(table) == 0


def test_every_column_of_every_table_is_explained():
    assert all(column.about for table in TABLES for column in columns(table))


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


def test_what_never_finished_took_forever():
    """1, 2 and 3 s and one that was lost: half of the four are done after 2 s; mean and maximum are of the three."""
    values = spread([3.0, 1.0, math.inf, 2.0])
    assert values == {"median": 2.0, "q90": math.inf, "q99": math.inf, "max": 3.0, "mean": 2.0}


def test_metrics_of_any_name_are_kept_from_first_to_last():
    """Means over devices: (4 + 2) / 2 = 3 in round 1, then 1; values of the network count where no device has any."""
    totals = Totals(2)
    values = [(1, 0, "error", "", 4.0), (1, 1, "error", "", 2.0), (1, -1, "error", "", 99.0)]
    values += [(2, 0, "error", "", 1.0), (2, 1, "error", "", math.nan), (2, -1, "gap", "sound", 7.0)]
    totals.on_metrics([MetricRow(t, k, 0.0, name, m, value) for t, k, name, m, value in values])
    assert totals.summary()["metrics"] == {
        "error": {"fused": {"first": 3.0, "first_round": 1, "last": 1.0, "last_round": 2}},
        "gap": {"sound": {"first": 7.0, "first_round": 2, "last": 7.0, "last_round": 2}},
    }
    assert totals.means == {"error": 2.0}


def test_final_and_best_accuracy_are_both_kept():
    totals = Totals(1)
    for t, value in ((1, 0.4), (2, 0.7), (3, 0.6)):
        totals.on_metrics([row(t, value)])
    accuracy = totals.summary()["accuracy"]["fused"]
    assert (accuracy["final"], accuracy["best"], accuracy["best_round"]) == (0.6, 0.7, 2)


def test_an_observer_may_ignore_everything():
    observer = Observer()
    observer.on_metrics([row(1)])
    observer.on_death(0, 1.0)
    observer.on_round_closed(1, 1.0)
