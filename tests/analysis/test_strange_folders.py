"""Run folders from somebody else, or damaged: one line each, and never a traceback."""

import random

import pandas as pd
import pytest
from run_folders import accuracy, device, write_run
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.plots.metrics import metrics_figure
from analysis.plots.save import save_figure
from analysis.runs import files
from analysis.runs.files import RunError
from analysis.runs.run import load_run


@pytest.fixture
def folder(tmp_path):
    values = [accuracy(t, k, 0.5, time_s=float(t)) for t in (1, 2) for k in (0, 1)]
    return write_run(tmp_path / "run", devices=[device(0), device(1)], metrics=values)


def change(folder, table, **columns):
    """Write ``table`` again with other ``columns``; None takes one out."""
    path = folder / f"{table}.parquet"
    frame = pd.read_parquet(path)
    for name, values in columns.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    frame.to_parquet(path)


@pytest.mark.parametrize(
    ("table", "columns", "said"),
    [
        ("metrics", {"value": None}, "metrics.parquet: has no column 'value'; it has round, device"),
        ("metrics", {"value": "x"}, "metrics.parquet: value: must be numbers, found"),
        ("metrics", {"device": 0.5}, "metrics.parquet: device: must be whole numbers, found float64"),
        ("metrics", {"round": 2**41}, "metrics.parquet: round: must be whole numbers"),
        ("metrics", {"name": 3}, "metrics.parquet: name: must be text, found int64"),
        ("devices", {"modalities": None}, "devices.parquet: has no column 'modalities'"),
    ],
)
def test_a_table_that_no_run_writes_is_refused_at_the_door(folder, table, columns, said):
    change(folder, table, **columns)
    with pytest.raises(RunError, match=said):
        load_run(folder)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metadata.json", b'{"schema": 1, "seed": "one"}', "metadata.json: seed: must be of type"),
        ("metadata.json", b'{"schema": 1, "data": [1]}', "metadata.json: data: must be of type"),
        (
            "metadata.json",
            b'{"schema": 0}',
            r"metadata.json: schema: 0 is not one that this version can read \(1\)",
        ),
        ("metadata.json", b'{"schema": true}', "metadata.json: schema: must be of type"),
        ("metadata.json", b"{}", "metadata.json: schema: None is not one"),
        ("metadata.json", b"\xff", "metadata.json: cannot be read as text"),
        ("metadata.json", b"[" * 2000, "metadata.json: not readable as JSON"),
        ("scenario.yaml", b"\xff", "scenario.yaml: cannot be read as text"),
        ("scenario.yaml", b"seed: !!int x", "scenario.yaml: not readable as YAML"),
        ("scenario.yaml", b"[1]", "scenario.yaml: must hold a mapping"),
        ("scenario.yaml", b"a: !!int ''", "scenario.yaml: not readable as YAML"),
        (
            "scenario.yaml",
            b"{a: &a [1], b: *a}",
            "has aliases or more than 12 values, and no run writes such",
        ),
        ("scenario.yaml", b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]", "has aliases or more than 12 values"),
        (
            "scenario.yaml",
            b" " * 101,
            "scenario.yaml: has more than 100 characters, and no run writes so many",
        ),
        ("summary.json", b" " * 401, "summary.json: has more than 400 characters"),
    ],
)
def test_a_file_that_no_run_writes_is_refused_at_the_door(folder, monkeypatch, file, content, said):
    monkeypatch.setattr(files, "LONGEST", 400 if file != "metadata.json" else files.LONGEST)
    monkeypatch.setattr(files, "MOST_VALUES", 12)
    (folder / file).write_bytes(content)
    with pytest.raises(RunError, match=said):
        load_run(folder)


def test_an_empty_table_has_its_types(folder):
    path = folder / "metrics.parquet"
    pd.read_parquet(path).iloc[:0].astype({"value": "str"}).to_parquet(path)
    with pytest.raises(RunError, match=r"metrics.parquet: value: must be numbers"):
        load_run(folder)


@pytest.mark.parametrize("devices", [[], [0, 0], [0, 1, 1]])
def test_a_table_of_devices_has_each_of_them_once(folder, devices):
    path = folder / "devices.parquet"
    pd.read_parquet(path).iloc[devices].to_parquet(path)
    with pytest.raises(RunError, match=r"devices.parquet: must have a row for each device, and no more"):
        load_run(folder)


def test_a_link_has_two_ends_that_are_there(tmp_path):
    link = {"a": 0, "b": 7, "distance_m": 1.0, "path_loss_db": 50.0}
    folder = write_run(tmp_path / "run", devices=[device(0), device(1)], links=[link])
    with pytest.raises(RunError, match=r"links.parquet: has an end that is not in devices.parquet"):
        load_run(folder)


def test_a_dollar_in_a_name_is_a_dollar(folder, tmp_path):
    """Matplotlib would read what stands between two as mathematics, and fail at this."""
    change(folder, "metrics", name=r"loss $\frac$")
    figure = metrics_figure(load_run(folder))
    assert figure is not None
    save_figure(figure, tmp_path / "metrics.png")


def test_mutated_folders_end_in_a_line(folder):
    """Bytes changed in every file; benchmarks/strange_inputs.py has many more."""
    draw = random.Random(3)
    for path in sorted(file for file in folder.iterdir() if file.is_file()):
        right = path.read_bytes()
        for _ in range(3):
            place = draw.randrange(len(right))
            path.write_bytes(right[:place] + draw.randbytes(2) + right[place + 1 :])
            result = CliRunner().invoke(app, [str(folder)])
            assert result.exit_code in (0, 2) and isinstance(result.exception, SystemExit | None), path
            assert result.exit_code == 0 or result.stderr.count("\n") == 1, result.stderr
        path.write_bytes(right)
