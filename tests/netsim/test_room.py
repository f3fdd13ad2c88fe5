"""A world that does not fit into memory is refused before it is built."""

import numpy as np
import pytest
from typer.testing import CliRunner

import netsim.app.checks
from netsim.app.commands.cli import app
from netsim.world.topology.links import Range, Regular

PLACES = np.random.default_rng(0).uniform(0, 100, (300, 2))


@pytest.fixture
def two_gib(monkeypatch):
    monkeypatch.setattr(netsim.app.checks, "free_memory_bytes", lambda *_: 2.0 * 2**30)


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("count", "topology", "takes", "way_out"),
    [
        # 100,000 devices of 5,000 bytes, and 2,000,000 links of 1,500 bytes: 3.5e9 bytes.
        (
            100_000,
            {"links": {"name": "regular", "degree": 40}},
            "2,000,000 links take about 3.26 GiB",
            "degree",
        ),
        # All 1,249,975,000 pairs.
        (
            50_000,
            {"links": {"name": "range", "range_m": 100.0}},
            "1,249,975,000 links take about 1.75e+03",
            "range_m",
        ),
    ],
)
def test_a_world_too_large_is_refused_in_one_line(
    two_gib, write_scenario, tmp_path, command, count, topology, takes, way_out
):
    path = write_scenario(devices={"count": count}, topology=topology)
    words = [command, str(path), *(["--runs", str(tmp_path / "runs")] if command == "run" else [])]
    result = CliRunner().invoke(app, words)
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 2 and takes in line and "2 GiB can be had" in line
    assert line.startswith(f"error: {path}: devices.count: {count:,} devices") and line.endswith(
        f"topology.links.{way_out}"
    )
    assert not (tmp_path / "runs").exists()


def test_a_large_world_that_fits_is_not_refused(two_gib, write_scenario):
    """100,000 devices of which only few are in range of each other."""
    topology = {
        "placement": {"name": "disc", "diameter_m": 36_500},
        "links": {"name": "range", "range_m": 100.0},
    }
    path = write_scenario(devices={"count": 100_000}, topology=topology)
    assert CliRunner().invoke(app, ["check", str(path)]).exit_code == 0


@pytest.mark.parametrize("rule", [Range(Range.Options(range_m=9.0)), Regular(Regular.Options(degree=4))])
def test_links_are_counted_before_they_are_drawn(rule):
    assert rule.count(PLACES) == len(rule.links(PLACES, np.random.default_rng(1)))
