"""``netsim partition``: who holds what, without a run."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from netsim.app.commands.cli import app

BLOCKS = {
    "data": {"name": "generated", "samples": 300, "test_samples": 3, "classes": 3},
    "partition": {"name": "iid"},
}


def partition(*words):
    return CliRunner().invoke(app, ["partition", *[str(word) for word in words]])


def rows(output):
    """Words of each line of the table."""
    return [line.split() for line in output.splitlines() if line.split()[:1] and line.split()[0].isdigit()]


def test_it_prints_a_row_per_device(write_scenario):
    result = partition(write_scenario(**BLOCKS))
    assert result.exit_code == 0, result.output
    table = [line for line in rows(result.stdout) if line[1] == "features"]
    assert [line[:3] for line in table] == [[str(k), "features", "100"] for k in range(3)]
    assert sum(int(count) for line in table for count in line[3:]) == 300
    assert "300 of 300 training samples are on a device" in result.stdout


def test_set_and_seed_change_what_is_dealt(write_scenario):
    path = write_scenario(**BLOCKS)
    words = ("--set", "partition.name=dirichlet", "--set", "partition.concentration=0.2")
    one, same, other = (partition(path, *words, "--seed", seed) for seed in (1, 1, 2))
    assert one.exit_code == 0, one.output
    assert "dirichlet, concentration 0.2, seed 1" in one.stdout
    assert rows(one.stdout) == rows(same.stdout) != rows(other.stdout)


def test_many_classes_are_summed_up(write_scenario):
    data = {"name": "generated", "samples": 300, "test_samples": 3, "classes": 30}
    result = partition(write_scenario(**{**BLOCKS, "data": data}))
    assert result.exit_code == 0 and "mostly" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.parametrize(("name", "head"), [("who.png", b"\x89PNG"), ("new/who.pdf", b"%PDF")])
def test_it_draws_where_it_is_told_to_and_nothing_else(write_scenario, tmp_path, name, head):
    path = write_scenario(**BLOCKS)
    result = partition(path, "--out", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes().startswith(head)
    files = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {path.relative_to(tmp_path), Path(name)}


@pytest.mark.parametrize(
    ("blocks", "words", "message"),
    [
        ({}, [], "data and partition: not in the scenario, so nothing is dealt"),
        ({"data": BLOCKS["data"]}, [], "small.yaml: partition: not in the scenario"),
        (BLOCKS, ["--out", "who.jpg"], "--out: must end in .png, .pdf, .svg (got 'who.jpg')"),
        ({**BLOCKS, "topology": {}}, ["--set", "devices.count=301"], "301 devices, but 300 training samples"),
        (BLOCKS, ["--set", "partition.name=irichlet"], "Did you mean 'dirichlet'?"),
    ],
)
def test_bad_input_ends_with_one_line(write_scenario, blocks, words, message):
    result = partition(write_scenario(**blocks), *words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_a_picture_that_cannot_be_written_is_one_line(write_scenario, tmp_path):
    (tmp_path / "file").write_text("")
    result = partition(write_scenario(**BLOCKS), "--out", tmp_path / "file" / "who.png")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: --out: ")
