"""Where nothing is learnt nothing heavy is imported, in an interpreter of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from retiming import retime, run

from netsim.core import registry

ROOT = Path(__file__).parents[2]
HEAVY = [
    "torch",
    "torchvision",
    "torchaudio",
    "librosa",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "soundfile",
    "av",
    "PIL",
]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))

COMMANDS = """
from netsim.app.commands.cli import app
for line in words:
    app(line, standalone_mode=False)
    said.append([line, [m for m in heavy if m in sys.modules]])
"""

CHECKS = """
from pathlib import Path
from netsim.app.dealing import check_data
from netsim.core.errors import ScenarioError
from netsim.scenario import load_plan
for file, *settings in words:
    try:
        check_data(load_plan(Path(file), settings))
        said.append("")
    except ScenarioError as error:
        said.append(str(error))
"""


def heavy_after(code, words):
    """Run ``code`` with ``words`` in a fresh interpreter: the heavy modules it has then, and what it ``said``."""
    begin = f"import json, sys\nwords, said, heavy = json.loads(sys.argv[1]), [], {HEAVY}\n"
    end = "\nprint(json.dumps([[m for m in heavy if m in sys.modules], said]), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", begin + code + end, json.dumps(words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


def test_commands_that_only_tell():
    lines = [["--help"], ["--version"], ["list"], ["keys"], *(["list", kind] for kind in registry.KINDS)]
    assert heavy_after(COMMANDS, lines) == [[], [[line, []] for line in lines]]


@pytest.fixture
def empty_data(tmp_path):
    """Empty files in the layouts of the data sets that shipped scenarios need: a check opens none of them."""
    files = [
        f"{name}/raw/{part}-{kind}"
        for name in ("MNIST", "FashionMNIST")
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    files = [f"{name}-ubyte.gz" for name in files] + ["av_features.npz", "index.csv", "depth_small.npz"]
    for folder in ("MNIST/raw", "FashionMNIST/raw", "fsdd/recordings", "audio_16k", "Inertial", "Skeleton"):
        (tmp_path / folder).mkdir(parents=True)
    for name in files:
        (tmp_path / name).touch()
    return tmp_path


def test_checking_every_shipped_scenario(empty_data):
    needs_data = ("avdigits", "ravdess", "utd", "fedhgb_fashion")
    words = [
        [str(path), *([f"data.root={empty_data}"] if any(name in path.stem for name in needs_data) else [])]
        for path in SCENARIOS
    ]
    heavy, said = heavy_after(CHECKS, words)
    assert heavy == []
    assert said == [""] * len(SCENARIOS)


MISTAKES = [
    ("two_devices", "lerner=dmml", "Did you mean 'learner'?"),
    ("two_devices", "learner.name=dml", "Did you mean 'dmml'?"),
    ("two_devices", "learner.alpha_kdd=1", "Did you mean 'alpha_kd'?"),
    ("two_devices", "learner.networks.audio.name=mlpp", "Did you mean 'mlp'?"),
    ("two_devices", "learner.networks.audio.width=[3]", "has no option 'width'. Did you mean 'widths'?"),
    ("two_devices", "learner.networks.video=mlp", "no modality 'video'; it has: audio, visual"),
    ("two_devices", "learner.modalities=[smell]", "learner.modalities: the data has no modality 'smell'"),
    (
        "two_devices",
        "partition.modalities=[[audio], [smell]]",
        "partition.modalities: the data has no modality",
    ),
    ("fedavg_fashion", "learner.networks.audio=mlp", "learner.networks: the data has no modality 'audio'"),
    ("mhd_fashion", "devices.classes.phone.networks.audio=mlp", "networks: the data has no modality 'audio'"),
    ("two_devices", "data.image_size=4", "must be at least 8"),
    ("two_devices", "data.root=nowhere", "is not a folder"),
    ("two_devices", "partition.name=dirichlt", "Did you mean 'dirichlet'?"),
    ("mhd_fashion", "learner.graph=ring", "must be neighbours, complete, islands, cycle, baseline"),
    ("mhd_fashion", "learner.name=dmml", "use a learner that takes one per device: fedmd, fedzkt, mhd"),
    ("mhd_fashion", "data={name: mnist, root: nowhere}", "nowhere is not a folder. Give data.root, or set"),
    (
        "fedzkt_fashion",
        "learner.global_network={name: shufflenet_v2, size: 3}",
        "must be one of 0.5, 1.0, 1.5, 2.0",
    ),
    ("fedavg_fashion", "protocol.participants=99", "must be at most"),
]


def test_every_mistake_is_told_without_them(monkeypatch):
    """Names, keys and values of learners, networks and data sets, and data that is not there."""
    monkeypatch.delenv("NETSIM_DATA_ROOT", raising=False)
    words = [[str(ROOT / "scenarios" / f"{name}.yaml"), setting] for name, setting, _ in MISTAKES]
    heavy, said = heavy_after(CHECKS, words)
    assert heavy == []
    for (_, setting, expected), found in zip(MISTAKES, said, strict=True):
        assert expected in found, (setting, found)


def test_a_run_that_is_retimed_again(write_scenario):
    """What a learner said is known by then, so neither PyTorch nor what reads tables for people is needed."""
    file = write_scenario(
        data={"name": "generated", "samples": 60, "test_samples": 12, "shape": [4], "classes": 3},
        partition="iid",
        learner={"name": "fedavg", "networks": {"features": {"name": "mlp", "hidden": [4]}}},
        topology={"placement": {"name": "disc", "diameter_m": 20}, "links": {"name": "range", "range_m": 50}},
    )
    folder, setting = run(file, "first"), "radio.bandwidth_hz=1e6"
    assert retime(folder, setting).exit_code == 0
    runs = folder.parents[1]
    words = [
        "retime",
        folder,
        "--set",
        setting,
        "--runs",
        runs,
        "--cache",
        runs.parent / "cache",
        "--no-plots",
    ]
    heavy, _ = heavy_after(COMMANDS, [[str(word) for word in words]])
    assert heavy == ["pyarrow"]


def test_a_module_of_ones_own_may_import_what_it_likes(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom learners.networks.mlp import MLP\n\nclass Net(MLP): pass\n"
    )
    (tmp_path / "x.yaml").write_text(
        "{rounds: 1, devices: {count: 2}, data: generated, partition: iid, "
        "learner: {name: fedavg, networks: {features: {name: 'mine:Net', hiden: [3]}}}, protocol: server_rounds}"
    )
    heavy, (said,) = heavy_after(CHECKS, [[str(tmp_path / "x.yaml")]])
    assert "torch" in heavy
    assert "'mine:Net' has no option 'hiden'. Did you mean 'hidden'?" in said
