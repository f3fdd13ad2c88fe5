"""One run, as from the command line, for each key of each data set with a value that is not its default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_examples import write_crema_d
from every_key import Key, Tree, check, component_keys, other_values, recorded, run
from test_avdigits import root as avdigits  # noqa: F401 (fixtures: small sets in the layout of the real ones)
from test_cifar10_subset import root as cifar10_subset  # noqa: F401
from test_ravdess import root as ravdess  # noqa: F401
from test_utd_mhad import root as utd_mhad  # noqa: F401
from test_video_folder import root as video_folder  # noqa: F401

from netsim.core.registry import names

WORLD: Tree = {
    "rounds": 1,
    "devices": {"count": 2},
    "partition": {"name": "iid"},
    "learner": {"name": "isolated", "batch_size": 4},
    "topology": {"links": {"name": "range", "range_m": 150.0}},
    "jobs": {"device": "cpu", "executor": {"name": "inline"}, "stacking": "off"},
}

SMALL: dict[str, Tree] = {
    "avdigits": {"train_pairs": 20, "test_pairs": 10},
    "crema_d": {"surrogate_clips": 24, "audio_shape": [8, 8], "image_size": 16},
    "digits": {"train_samples": 20, "test_samples": 10},
    "generated": {"samples": 20, "test_samples": 10},
    "ravdess": {"audio_shape": [8, 8]},
    "utd_mhad": {"inertial_samples": 8, "skeleton_frames": 8},
    "video_folder": {"frames": 4, "image_size": 16, "audio_frames": 8, "audio_bands": 8},
}
OF_VIDEO: Tree = {
    "learner": {
        "name": "isolated",
        "batch_size": 4,
        "modalities": ["audio"],
        "networks": {"audio": {"name": "mlp", "hidden": [4]}},
    }
}
"""Its networks of different widths share no classifier, and a device has a clip or two."""
STAND_IN: Tree = {"stand_in": "digits", "train_samples": 20, "test_samples": 10, "size": 8}
"""Of sets that torchvision reads."""

GIVEN: dict[str, list[Any]] = {
    "datasets.crema_d.audio_shape": [[8, 6]],
    "datasets.crema_d.image_size": [24],
    "datasets.crema_d.surrogate_clips": [30],
    "datasets.avdigits.train_pairs": [12],
    "datasets.avdigits.test_pairs": [12],
    "datasets.avdigits.audio_snr_db": [10.0],
    "datasets.cifar10.train_samples": [16],
    "datasets.cifar10.size": [10],
    "datasets.generated.samples": [24],
    "datasets.generated.test_samples": [6],
    "datasets.generated.shape": [[4]],
    "datasets.ravdess.audio_shape": [[8, 10]],
    "datasets.utd_mhad.test_subjects": [[1, 2]],
    "datasets.video_folder.classes": ["names.txt"],
    "datasets.video_folder.train": ["more.txt"],
    "datasets.video_folder.val": ["less.txt"],
    "datasets.video_folder.videos": ["below"],
    "datasets.video_folder.image_size": [24],
}

NOT_HERE = {
    "datasets.cifar10.root": "a real set is large: test_images.py writes files in its layout",
    "datasets.cifar10.download": "needs a network: test_images.py",
}
"""Keys that other tests look at, and which."""


@pytest.fixture
def of_data(request: pytest.FixtureRequest) -> Callable[..., Tree]:
    """The ``data`` block of a small set, with options."""

    def block(name: str, **options: Any) -> Tree:
        tree: Tree = {"name": name, **SMALL.get(name, STAND_IN)}
        if name in ("avdigits", "cifar10_subset", "ravdess", "utd_mhad", "video_folder"):
            tree = {"name": name, **SMALL.get(name, {}), "root": str(request.getfixturevalue(name))}
        return {**tree, **options}

    return block


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all runs, which share what they prepare."""
    return tmp_path_factory.mktemp("runs")


def world(data: Tree) -> Tree:
    """A scenario that learns from ``data``."""
    return {**WORLD, **(OF_VIDEO if data["name"] == "video_folder" else {}), "data": data}


@pytest.mark.parametrize("name", names("datasets"))
def test_a_data_set_as_it_comes(name: str, of_data: Callable[..., Tree], folder: Path) -> None:
    check(run(world(of_data(name)), folder))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, id=f"{key.name}={value}")
        for key in component_keys("datasets")
        if key.name not in NOT_HERE and key.key not in ("root", "split_file")
        for value in other_values(key, GIVEN) or [None]
    ],
)
def test_a_key_of_a_data_set(key: Key, value: Any, of_data: Callable[..., Tree], folder: Path) -> None:
    assert value is not None, f"{key.name} has no value here that is not its default: put one into GIVEN"
    block = of_data(key.component, **{key.key: value})
    if key.component == "video_folder" and isinstance(value, str) and key.key != "unreadable":
        root = Path(block["root"])
        (root / value).symlink_to(root if key.key == "videos" else root / f"{key.key}.txt")
    of_run = run(world(block), folder)
    if not isinstance(value, list):
        assert recorded(of_run, f"data.{key.key}") == value
    check(of_run)


def test_keys_of_crema_d_that_name_files(of_data: Callable[..., Tree], tmp_path: Path) -> None:
    """Two actors' 24 clips in its layout; the last four of them test."""
    clips = write_crema_d(tmp_path / "crema_d")
    (tmp_path / "test.csv").write_text("\n".join(clips[-4:]))
    block = of_data("crema_d", root=str(tmp_path / "crema_d"), split_file=str(tmp_path / "test.csv"))
    folder = run(world(block), tmp_path / "runs")
    assert recorded(folder, "data.split_file") == str(tmp_path / "test.csv")
    check(folder)
