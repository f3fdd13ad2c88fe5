from pathlib import Path

import numpy as np
import pytest
import torch
from data_examples import real_data

from learners.data.dataset import MultimodalDataset
from learners.data.sets.cifar10_subset import Cifar10Subset, Cifar10SubsetOptions
from netsim.core.errors import ScenarioError

CLASSES = ("cat", "dog")


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETSIM_DATA_ROOT", raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six and four images whose channels are 10, 20 and 30, darker by their number; labels in turn."""
    folder = tmp_path / "cifar10_subset"
    folder.mkdir()
    write(folder, "train_10k.npz", 6)
    write(folder, "test_2k.npz", 4)
    return folder


def write(folder: Path, name: str, count: int, **arrays: object) -> None:
    images = np.empty((count, 32, 32, 3), dtype=np.uint8)
    images[:] = np.array([10, 20, 30]) + np.arange(count)[:, None, None, None]
    content = {
        "images": images,
        "labels": (np.arange(count) % 2).astype(np.uint8),
        "classes": CLASSES,
        **arrays,
    }
    np.savez(folder / name, **{key: np.asarray(array) for key, array in content.items() if array is not None})


def load(root: Path, **options: object) -> MultimodalDataset:
    source = Cifar10Subset(Cifar10SubsetOptions(root=str(root), **options))  # type: ignore[arg-type]
    return source.load(0, root / "cache", lambda text: None)


def test_images_have_their_channels_first_and_their_labels(root: Path) -> None:
    data = load(root)
    assert data.inputs["image"].shape == (10, 3, 32, 32)
    assert data.inputs["image"][:, :, 5, 7].tolist() == [
        [10 + i, 20 + i, 30 + i] for i in (0, 1, 2, 3, 4, 5, 0, 1, 2, 3)
    ]
    assert data.labels.tolist() == [0, 1] * 5
    assert data.classes == CLASSES
    assert (data.train.tolist(), data.test.tolist()) == (list(range(6)), list(range(6, 10)))


def test_the_folder_above_will_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSIM_DATA_ROOT", str(root.parent))
    source = Cifar10Subset(Cifar10SubsetOptions())
    source.check()
    assert len(source.load(0, root, lambda text: None).labels) == 10


def test_size_and_subset(root: Path) -> None:
    data = load(root, size=8, train_samples=2)
    assert data.inputs["image"].shape == (6, 3, 8, 8)
    assert sorted(data.labels[data.train].tolist()) == [0, 1]


def test_what_is_missing_or_wrong_is_named(root: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data.root: is not given.*NETSIM_DATA_ROOT"):
        Cifar10Subset(Cifar10SubsetOptions()).check()
    for arrays, message in (
        ({"labels": None}, "has no array 'labels'"),
        ({"labels": np.array([0, 1, 2, 0])}, "labels must be one number from 0 to 1 for each of 4 images"),
        ({"images": np.zeros((4, 3, 32, 32))}, r"images must be uint8 .* \(got float64 \[4, 3, 32, 32\]\)"),
        ({"classes": ("dog", "cat")}, "name different classes"),
        ({"classes": np.array([{}, {}], dtype=object)}, "test_2k.npz cannot be read as a NumPy archive"),
    ):
        write(root, "test_2k.npz", 4, **arrays)
        with pytest.raises(ScenarioError, match=message):
            load(root)
    (root / "test_2k.npz").write_bytes(b"no archive")
    with pytest.raises(ScenarioError, match=r"test_2k.npz cannot be read as a NumPy archive"):
        load(root)
    (root / "test_2k.npz").unlink()
    with pytest.raises(ScenarioError, match=r"has no test_2k.npz"):
        load(root)


def test_the_real_files_are_read() -> None:
    data = load(real_data("cifar10_subset"), train_samples=100, test_samples=50)
    assert data.inputs["image"].shape == (150, 3, 32, 32)
    assert np.bincount(data.labels[data.train]).tolist() == [10] * 10
    assert data.classes[0] == "airplane" and len(data.classes) == 10
    seen = data.transforms["image"].test(data.inputs["image"][data.train])
    torch.testing.assert_close(seen.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
