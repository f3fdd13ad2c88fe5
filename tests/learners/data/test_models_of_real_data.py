"""The documented lines that use a model, on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_examples import real_data
from retiming import netsim

import netsim as simulator


@pytest.mark.parametrize(
    ("scenario", "needs", "settings"),
    [
        (
            "dpsgd_fashion",
            "FashionMNIST",
            ("devices.count=4", "data.train_samples=400", "data.test_samples=300", "topology.links.degree=3"),
        ),
        ("avdigits_12dev", "fsdd", ("jobs.executor=inline", "data.train_pairs=240", "data.test_pairs=120")),
    ],
)
def test_the_documented_lines_give_the_accuracy_of_the_records(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    scenario: str,
    needs: str,
    settings: tuple[str, ...],
) -> None:
    """The three lines of docs/guides/models.md, as they stand there but for the run's folder, on real data."""
    root = Path(__file__).parents[3]
    lines = next(
        block for block in (root / "docs/guides/models.md").read_text().split("```") if "load_model(" in block
    )
    assert lines.strip().count("\n") == 2
    more = [
        word
        for one in (*settings, f"data.root={real_data(needs)}", "models.keep=last")
        for word in ("--set", one)
    ]
    monkeypatch.chdir(tmp_path)
    file = root / "scenarios" / f"{scenario}.yaml"
    done = netsim("run", file, "--rounds", 2, "--run-id", "a", "--no-plots", "-q", *more)
    assert done.exit_code == 0, done.output
    capsys.readouterr()
    exec(lines.replace("runs/dpsgd_fashion/a", f"runs/{scenario}/a"), {"netsim": simulator})
    rows = simulator.load(tmp_path / "runs" / scenario / "a").metrics
    rows = rows[(rows.name == "accuracy") & (rows.modality == "") & (rows["round"] == 2) & (rows.device == 3)]
    told = capsys.readouterr().out
    assert float(told.split("(")[1].split(",")[0]) == pytest.approx(rows.value.item(), abs=1e-4)
