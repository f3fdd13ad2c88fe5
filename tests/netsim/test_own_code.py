"""Whatever is wrong in a class of a user's own, the run ends with one line: its file and line, or what it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from netsim.app.commands.cli import app

TICKS = """
from netsim.events import RoundRow
from netsim.protocols import Protocol

class Ticks(Protocol):
    FAMILY = "decentralized"

    def start(self):
        return self.network.env.process(self.life())

    def wait(self):
        yield self.network.env.timeout(1.0)
        return 0

    def life(self):
        env = self.network.env
        for device in self.network.devices:
            k, sent = device.number, 0
            self.states[k] = self.learner.first(self.work, k).state
            sent = yield from self.wait()
            row = RoundRow(1, k, "finished", 0.0, env.now, env.now, *self.ledger.take(device, 1),
                           battery_j=device.battery.remaining_j, flops=0.0, slowdown=1.0, sent=sent, received=0,
                           missed=0)
            self.observer.on_round_end(row, {})
        self.work.close(1, env.now)
"""
HERE = "wrong.py, line {line}: {said}"
PROTOCOLS: dict[str, tuple[str, str, str]] = {
    "as it should be": ("", "", ""),
    "a generator in a row": (
        "yield from self.wait()",
        "self.wait()",
        "protocol: Ticks gives a RoundRow of device 0, round 1, whose sent must be a whole number (got a generator: is "
        "a yield from missing?)",
    ),
    "a text in a row": ("flops=0.0", "flops='many'", "whose flops must be a number (got 'many')"),
    "a column that is none": ("sent=sent", "sended=sent", HERE.format(line=21, said="TypeError: RoundRow")),
    "a number is yielded": (
        "self.network.env.timeout(1.0)",
        "1.0",
        HERE.format(line=20, said="RuntimeError: File"),
    ),
    "time runs back": (
        "timeout(1.0)",
        "timeout(-1.0)",
        HERE.format(line=12, said="ValueError: Negative delay"),
    ),
    "no such key": ("self.ledger.take(device, 1)", "{}[99]", HERE.format(line=21, said="KeyError: 99")),
    "a name": (
        "env.now, env.now",
        "env.nao, env.now",
        "AttributeError: 'Environment' object has no attribute 'nao'",
    ),
    "start gives nothing": (
        "return self.network.env.process",
        "self.network.env.process",
        "protocol: Ticks.start: must return the SimPy event at which the run ends (got None)",
    ),
    "a family that nobody is of": (
        '"decentralized"',
        '"decentralised"',
        "'stub' suits no protocol of family 'decentralised', as Ticks.FAMILY says; learners here suit asynchronous, "
        "decentralized, hierarchical, server",
    ),
}
LOSSES = {
    "too few arguments": (
        "def loss_db(self, link):\n        return 60.0",
        "wrong.py, line 5: TypeError: Steep.loss_db() takes 2 positional arguments but 3 were given; it is called as "
        "PathLoss.loss_db(self, link, carrier_hz)",
    ),
    "no such attribute": (
        "def loss_db(self, link, carrier_hz):\n        return 60.0 + link.distance",
        "radio.path_loss: wrong:Steep: ",
    ),
    "a division": (
        "def loss_db(self, link, carrier_hz):\n        return 60.0 / (link.distance_m - link.distance_m)",
        "wrong.py, line 6: ZeroDivisionError",
    ),
}


def said(file: Path, tmp_path: Path) -> Any:
    """Run the scenario; return the result, and what was printed without line breaks."""
    done = CliRunner().invoke(app, ["run", str(file), "--runs", str(tmp_path / "runs"), "--no-plots", "-q"])
    return done, " ".join(done.output.split())


@pytest.mark.parametrize("fault", PROTOCOLS)
def test_a_wrong_protocol_is_told_in_a_line(write_scenario, tmp_path, fault):
    old, new, expected = PROTOCOLS[fault]
    name = f"ticks_{list(PROTOCOLS).index(fault)}"
    (tmp_path / f"{name}.py").write_text(TICKS.replace(old, new) if old else TICKS)
    file = write_scenario(rounds=1, protocol={"name": f"{name}:Ticks"}, jobs={"executor": "inline"})
    done, text = said(file, tmp_path)
    if not old:
        assert done.exit_code == 0, text
        return
    assert done.exit_code == 2 and done.output.count("error: ") == 1, text
    assert expected.replace("wrong.py", f"{name}.py") in text


@pytest.mark.parametrize("fault", LOSSES)
def test_a_wrong_path_loss_is_told_in_a_line(write_scenario, tmp_path, fault):
    body, expected = LOSSES[fault]
    name = f"steep_{list(LOSSES).index(fault)}"
    (tmp_path / f"{name}.py").write_text(
        f"from netsim.world.radio.path_loss import PathLoss\n\n\nclass Steep(PathLoss):\n    {body}\n"
    )
    done, text = said(write_scenario(radio={"path_loss": {"name": f"{name}:Steep"}}), tmp_path)
    assert done.exit_code == 2 and done.output.count("error: ") == 1, text
    assert expected.replace("wrong", name) in text
