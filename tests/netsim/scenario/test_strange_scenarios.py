"""Scenarios from somebody else: each mistake is one short line, and nothing is written outside the runs folder."""

import json
import random
import string
import time

import pytest
from every_key import scenario_keys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions
from netsim.core.registry import BASES, KINDS
from netsim.records.run_folder import new_folder
from netsim.scenario import yaml_file
from netsim.scenario.yaml_file import parse_value

START = "rounds: 2\ndevices: {count: 3}\nlearner: {name: stub, flops: 4e9, bits: 1e6}\n"
WORDS = ["null", "-1", "1e308", ".nan", "[]", "{}", "!!int", "&a", "*a", "é", "1e400", "true"]


class Other:
    """Has options, and nothing else of a component."""

    Options = NoOptions


@pytest.fixture
def said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def ask(text, command="check", *words):
        (tmp_path / "s.yaml").write_text(text)
        runs = ["--runs", "runs", "--no-plots"] if command == "run" else []
        result = CliRunner().invoke(app, [command, "s.yaml", *runs, *words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return ask


def line_of(result):
    """Return the only line of an error."""
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and len(line) < 1100
    return line


@pytest.mark.parametrize("battery", ["0.5", ".inf"])
def test_a_computation_without_end_ends_the_run(said, battery):
    """4 GFLOP at 4e-308 FLOP/s: the clock would stand at infinity, where a transfer never ends."""
    devices = (
        f"devices: {{count: 3, battery: {{capacity_j: {battery}}}, processor: {{frequency_hz: 1e-308}}}}"
    )
    line = line_of(said(START.replace("devices: {count: 3}", devices), "run"))
    assert "OverflowError: computing 4e+09 FLOPs takes" in line


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("!!int abc", "4:7: not readable as YAML: not what its tag says (!!int)"),
        ("!!bool maybe", "(!!bool)"),
        ("!!timestamp x", "(!!timestamp)"),
        ("9223372036854775808", "smaller than 2^63 (this one has 19 digits)"),
        ("'9223372036854775808'", "seed: whole numbers must be smaller than 2^63"),
        ("[" * 51 + "]" * 51, "more than 50 levels"),
        ("&a [*a]", "aliases counted"),
        ('"a\\e[1m"', "control characters"),
        ("x" * 5000, "seed: must be a whole number (got 'xxx"),
    ],
)
def test_a_strange_value_is_named_in_one_short_line(said, value, part):
    assert part in line_of(said(f"{START}seed: {value}\n"))


def test_aliases_are_counted_wherever_they_are_used(monkeypatch):
    """A block of three keys: a list of three, one of three such lists, one of three of those."""
    text = "{a: &a [1, 1, 1], b: &b [*a, *a, *a], c: [*b, *b, *b]}"
    values = 1 + 3 + 4 + (1 + 3 * 4) + (1 + 3 * (1 + 3 * 4))
    monkeypatch.setattr(yaml_file, "MOST_VALUES", values)
    assert parse_value(text, "--set")["c"] == [[[1, 1, 1]] * 3] * 3
    monkeypatch.setattr(yaml_file, "MOST_VALUES", values - 1)
    with pytest.raises(ScenarioError, match="aliases counted"):
        parse_value(text, "--set")


def test_a_long_file_is_not_read(said, monkeypatch):
    monkeypatch.setattr(yaml_file, "LONGEST", len(START))
    assert said(START).exit_code == 0
    assert f"s.yaml: has more than {len(START)} characters" in line_of(said(START + " "))


def test_all_that_a_file_may_have_is_read_in_seconds():
    """Each key is compared with those before it at once, and not with one after the other."""
    keys = {f"k{number}": 1 for number in range(20_000)}
    text = "".join(f"{key}: 1\n" for key in keys)
    begin_s = time.process_time()
    assert parse_value(text, "--set") == keys
    assert time.process_time() - begin_s < 5


def test_a_key_that_cannot_be_one_is_named(said):
    assert "1:2: not readable as YAML: found unhashable key" in line_of(said("{[1]: 2, [1]: 2}"))


def test_there_is_a_limit_on_devices_threads_and_workers(said):
    assert "devices.count: must be at most 1e+06" in line_of(said(START.replace("3}", "1e9}")))
    assert "jobs.threads: must be at most 1024" in line_of(
        said(START + "jobs: {threads: 4611686018427387904}")
    )
    for name in ("threads", "processes", "ray"):
        text = f"{START}jobs: {{executor: {{name: {name}, workers: 1025}}}}"
        assert "jobs.executor.workers: must be at most 1024" in line_of(said(text))


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_another_kind_is_refused_with_the_base_of_its_own(kind):
    from netsim.core.registry import entry

    with pytest.raises(ScenarioError, match=f"a class for {kind} must be derived from {BASES[kind]}"):
        entry(kind, "test_strange_scenarios:Other")


@pytest.mark.parametrize("name", ["..", "a/b", "/a", "a\\b", ".", "a\nb", " a", "a" * 201])
def test_a_name_leads_nowhere_else(tmp_path, said, name):
    assert "must be the name of one folder" in line_of(said(f"{START}name: {name!r}\n", "run"))
    assert "--run-id must be the name of one folder" in line_of(said(START, "run", "--run-id", name))
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]
    with pytest.raises(ScenarioError, match="or that of its file"):
        new_folder(tmp_path, name, 0, None)


def test_what_stands_in_brackets_is_text(said):
    result = said(START + 'description: "noise [dB] [/] [bold]"\n', "run", "--run-id", "[red]")
    assert result.exit_code == 0 and "noise [dB] [/] [bold]" in result.output and "[red]" in result.output


def test_mutated_scenarios_end_in_lines_and_never_in_a_traceback(said):
    """A few hundred characters, words and lines changed at random; benchmarks/strange_inputs.py has many more."""
    draw = random.Random(5)
    for _ in range(150):
        result = said(mutated(START + "radio: {bandwidth_hz: 5e5, channel: rayleigh}\n", draw))
        assert result.exit_code in (0, 2)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [key.name for key in scenario_keys() if key.name.replace(".", "").isidentifier()]


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.dictionaries(st.sampled_from(PLACES), VALUES, min_size=1, max_size=3))
def test_any_values_of_any_keys_are_checked_in_lines(said, changes):
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    result = said(START, "check", *words)
    assert result.exit_code in (0, 2)
    if result.exit_code:
        assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def mutated(text, draw):
    """Return ``text`` with one to three changes, none of which is known to be harmful to anything."""
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(text))
        new = draw.choice(["", draw.choice(string.printable), draw.choice(WORDS)])
        text = text[:place] + new + text[place + draw.randint(0, 4) :]
    return text
