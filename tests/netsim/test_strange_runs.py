"""Run folders from somebody else, or damaged, and the commands that read them: lines, and nothing written elsewhere."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from retiming import netsim, run
from run_folders import KEEPS_ALL

from netsim import load_model
from netsim.core.errors import ScenarioError
from netsim.records.checksums import write_checksums
from netsim.scenario.yaml_file import write_yaml

KEEPS: dict[str, Any] = {
    "rounds": 2,
    "devices": {"count": 3},
    "topology": {"placement": {"name": "disc", "diameter_m": 20}},
    **KEEPS_ALL,
}
SETTING = "radio.bandwidth_hz=1e6"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that keeps all that it can."""
    file = tmp_path_factory.mktemp("strange") / "s.yaml"
    file.write_text(write_yaml(KEEPS))
    return run(file, "whole")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    copy = tmp_path / "runs" / "s" / "a"
    shutil.copytree(whole, copy)
    return copy


def read_by(folder: Path, whole: Path) -> dict[str, Callable[[], Any]]:
    """What reads a run, by name; all of them write below the folder ``written``."""
    into = folder.parents[2] / "written"
    runs, cache = ("--runs", into), ("--cache", into / "cache")
    return {
        "report": lambda: netsim("report", folder, "--out", into / "page.html"),
        "compare": lambda: netsim("compare", folder, whole, "--by", "learner.name"),
        "plot": lambda: netsim("plot", folder, "network", "--format", "svg", "--out", into),
        "watch": lambda: netsim("watch", folder, "--once"),
        "resume": lambda: netsim("run", folder, "--extend", "1", *cache, "--no-plots"),
        "retime": lambda: netsim("retime", folder, "--set", SETTING, *runs, *cache, "--no-plots"),
    }


def test_bytes_that_change_in_any_file_end_in_lines(folder: Path, whole: Path) -> None:
    """With checksums that fit, so that all is read, by two commands a file; benchmarks/strange_inputs.py has more."""
    draw = random.Random(1)
    for file in sorted(one for one in whole.rglob("*") if one.is_file()):
        changed, right = folder / file.relative_to(whole), file.read_bytes()
        place = draw.randrange(len(right))
        changed.write_bytes(right[:place] + draw.randbytes(2) + right[place + 1 :])
        if changed.name != "checksums.sha256":
            write_checksums(folder)
        readers = read_by(folder, whole)
        for name in draw.sample(sorted(readers), 2):
            done = readers[name]()
            assert done.exit_code in (0, 2) and isinstance(done.exception, SystemExit | None), (
                name,
                file.name,
            )
            assert done.exit_code == 0 or done.stderr.startswith(("error: ", "note: ")), (name, done.stderr)
        try:
            load_model(folder, 0)
        except ScenarioError as error:
            assert str(folder) in str(error)
        changed.write_bytes(right)
        write_checksums(folder)
        made = {path.name for path in folder.parent.iterdir()} - {"a"}  # resume adds rounds beside the run
        assert all(name.startswith("a-3-rounds") for name in made)
    assert {path.name for path in folder.parents[2].iterdir()} <= {"runs", "written"}


def test_a_table_with_other_columns_ends_resume_and_retime_in_a_line(folder: Path, whole: Path) -> None:
    path = folder / "metrics.parquet"
    rows = pd.read_parquet(path)
    for frame, said in (
        (rows.drop(columns="value"), "has no column 'value'"),
        (rows.assign(value="x"), "value: must be"),
        (
            rows.assign(value=rows["value"].where(rows.index > 0)),
            "value: must be double in every row, found double with gaps",
        ),
        (rows.assign(device=0.5), "device: must be"),
    ):
        frame.to_parquet(path)
        write_checksums(folder)
        readers = read_by(folder, whole)
        for name in ("resume", "retime"):
            done = readers[name]()
            assert done.exit_code == 2 and done.stderr.count("\n") == 1, (name, done.stderr)
        assert said in readers["resume"]().stderr


def test_metadata_of_another_kind_ends_resume_in_a_line(folder: Path, whole: Path) -> None:
    path = folder / "metadata.json"
    right = json.loads(path.read_text())
    strange = [{key: value} for key in ("rounds", "rounds_finished") for value in ("x", None, [2])]
    for text in (*(json.dumps({**right, **one}) for one in strange), "[1]", "[" * 3000):
        path.write_text(text)
        done = read_by(folder, whole)["resume"]()
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and "run it anew" in done.stderr


def test_a_damaged_model_is_told(folder: Path) -> None:
    (kept,) = (folder / "models").glob("*/0.json")
    right = kept.read_text()
    for text in ("{}", "[", json.dumps({"network": 5}), json.dumps({"network": {"heads": "x"}})):
        kept.write_text(text)
        with pytest.raises(ScenarioError, match=r"0.json, or 0.safetensors beside it: is no model that"):
            load_model(folder, 0)
    kept.write_text(right)
    (folder / "models" / "round-x").mkdir()
    load_model(folder, 0)
    kept.with_suffix(".safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ScenarioError, match="is no model that this version of learner FedAvg can build"):
        load_model(folder, 0)
