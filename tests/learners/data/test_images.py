import gzip
import pickle
import struct
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from data_examples import real_data
from torchvision import datasets

from learners.data.dataset import MultimodalDataset
from learners.data.sets.images import (
    CIFAR10,
    CIFAR100,
    KMNIST,
    MNIST,
    SVHN,
    FashionMNIST,
    TorchvisionImages,
    TorchvisionOptions,
)
from netsim.core.errors import ScenarioError

ALL = (MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100, SVHN)


@pytest.fixture(autouse=True)
def _neither_data_in_the_environment_nor_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.delenv("NETSIM_DATA_ROOT", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture(autouse=True)
def _any_content_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR and SVHN are taken only by their md5 sums; without sums torchvision reads small files too."""
    for reader in (datasets.CIFAR10, datasets.CIFAR100):
        for key in ("train_list", "test_list"):
            monkeypatch.setattr(reader, key, [[name, None] for name, _ in getattr(reader, key)])
        monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": None})
    monkeypatch.setattr(
        datasets.SVHN,
        "split_list",
        {part: [*row[:2], None] for part, row in datasets.SVHN.split_list.items()},
    )


def write_idx(folder: Path, packed: bool, train: int = 20, test: int = 10) -> None:
    """Images as grey as ten times their digit, in MNIST's format: type 8 (bytes), dimensions, sizes, content."""
    folder.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        pixels = np.broadcast_to(10 * labels[:, None, None], (count, 28, 28)).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            name = f"{part}-{kind}-ubyte"
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


def options(root: Path | None = None, **more: object) -> TorchvisionOptions:
    return TorchvisionOptions(root=None if root is None else str(root), **more)  # type: ignore[arg-type]


def load(
    source: TorchvisionImages, cache: Path, said: list[str] | None = None, seed: int = 0
) -> MultimodalDataset:
    source.check()
    return source.load(seed, cache, [].append if said is None else said.append)


def expect_grey_digits(data: MultimodalDataset) -> None:
    assert data.inputs["image"].shape == (30, 1, 28, 28) and data.inputs["image"].dtype == torch.uint8
    assert data.labels.tolist() == [i % 10 for i in range(20)] + list(range(10))
    assert (data.inputs["image"][:, 0, 3, 4] // 10).tolist() == data.labels.tolist()
    assert (data.train.tolist(), data.test.tolist()) == (list(range(20)), list(range(20, 30)))
    assert data.modalities == TorchvisionImages.MODALITIES and not data.surrogate and not data.groups.any()


@pytest.mark.parametrize("source", [MNIST, FashionMNIST, KMNIST])
def test_unpacked_files_are_read_where_they_lie(source: type[TorchvisionImages], tmp_path: Path) -> None:
    write_idx(tmp_path / "data" / source.READER / "raw", packed=False)
    data = load(source(options(tmp_path / "data")), tmp_path / "cache")
    expect_grey_digits(data)
    assert (data.name, data.classes) == (source.TITLE, tuple(getattr(datasets, source.READER).classes))
    assert not (tmp_path / "cache").exists()


def test_packed_files_are_unpacked_once_and_the_root_is_left_alone(tmp_path: Path) -> None:
    root, said = tmp_path / "data", list[str]()
    write_idx(root / "FashionMNIST" / "raw", packed=True)
    before = sorted(root.rglob("*"))
    expect_grey_digits(load(FashionMNIST(options(root)), tmp_path / "cache", said))
    assert len(said) == 1 and "unpacking Fashion-MNIST (once" in said[0]
    expect_grey_digits(load(FashionMNIST(options(root)), tmp_path / "cache", said))
    assert len(said) == 1
    assert sorted(root.rglob("*")) == before


def test_some_packed_and_some_unpacked_will_do(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, packed=True)
    packed = raw / "train-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    expect_grey_digits(load(MNIST(options(tmp_path)), tmp_path / "cache"))


def test_the_variable_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "MNIST" / "raw", packed=False)
    monkeypatch.setenv("NETSIM_DATA_ROOT", str(tmp_path))
    expect_grey_digits(load(MNIST(options()), tmp_path / "cache"))


def test_subsets_are_balanced_resized_and_the_same_for_every_seed(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw", packed=False, train=200)
    source = MNIST(options(tmp_path, train_samples=50, test_samples=5, size=14))
    one, other = (load(source, tmp_path, seed=seed) for seed in (1, 2))
    assert one.inputs["image"].shape == (55, 1, 14, 14)
    assert np.bincount(one.labels[one.train]).tolist() == [5] * 10
    assert one.labels[one.test].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(one.inputs["image"], other.inputs["image"])
    with pytest.raises(ScenarioError, match=r"data.test_samples: must be at most 10, .*MNIST.* \(got 11\)"):
        load(MNIST(options(tmp_path, test_samples=11)), tmp_path)


def colours(count: int) -> np.ndarray:
    """Images [count, 3, 32, 32] whose channels are 10, 20 and 30, brighter by their number."""
    return np.broadcast_to(
        (np.array([10, 20, 30]) + np.arange(count)[:, None])[:, :, None, None], (count, 3, 32, 32)
    ).astype(np.uint8)


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100])
def test_cifar_has_its_channels_first(source: type[TorchvisionImages], tmp_path: Path) -> None:
    reader, labels_key = getattr(datasets, source.READER), "labels" if source is CIFAR10 else "fine_labels"
    names = ["plane", "bird", "frog"]
    folder = tmp_path / reader.base_folder
    folder.mkdir()
    for name, _ in (*reader.train_list, *reader.test_list):
        batch = {"data": colours(3).reshape(3, -1), labels_key: [2, 0, 1]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: names}))
    data = load(source(options(tmp_path)), tmp_path / "cache")
    assert (data.name, data.classes) == (source.TITLE, tuple(names))
    assert len(data.train) == 3 * len(reader.train_list) and len(data.test) == 3
    assert data.inputs["image"][data.test][:, :, 1, 2].tolist() == [[10, 20, 30], [11, 21, 31], [12, 22, 32]]
    assert data.labels[data.test].tolist() == [2, 0, 1]


def test_svhns_label_ten_is_the_digit_zero(tmp_path: Path) -> None:
    for part in ("train", "test"):
        content = {"X": colours(3).transpose(2, 3, 1, 0), "y": np.array([[10], [1], [9]])}
        scipy.io.savemat(tmp_path / f"{part}_32x32.mat", content)
    data = load(SVHN(options(tmp_path)), tmp_path / "cache")
    assert data.labels.tolist() == [0, 1, 9] * 2
    assert data.classes == tuple("0123456789")
    assert data.inputs["image"][2, :, 5, 6].tolist() == [12, 22, 32]


@pytest.mark.parametrize("source", ALL)
def test_the_files_looked_for_are_those_that_torchvision_reads(source: type[TorchvisionImages]) -> None:
    reader = getattr(datasets, source.READER)
    if source is SVHN:
        read = [reader.split_list[part][1] for part in ("train", "test")]
    elif source in (CIFAR10, CIFAR100):
        names = [*(name for name, _ in reader.train_list + reader.test_list), reader.meta["filename"]]
        read = [f"{reader.base_folder}/{name}" for name in names]
    else:
        read = [f"{reader.__name__}/raw/{name.removesuffix('.gz')}" for name, _ in reader.resources]
    assert list(source.FILES) == read


@pytest.mark.parametrize("source", ALL)
def test_a_set_that_is_not_there_is_one_line_with_the_ways_out(
    source: type[TorchvisionImages], tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match=r"data.root: is not given, and NETSIM_DATA_ROOT is not set"):
        source(options()).check()
    with pytest.raises(ScenarioError) as caught:
        source(options(tmp_path)).check()
    text = str(caught.value)
    first = source.FILES[0]
    assert text.startswith(f"data.root: {tmp_path} has no {first}. Give data.root, or set NETSIM_DATA_ROOT")
    assert "data.download: true" in text and "data.stand_in: digits" in text and "\n" not in text


def test_damaged_files_are_named(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, packed=True)
    labels = raw / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(b"no gzip")
    with pytest.raises(ScenarioError, match=r"train-labels-idx1-ubyte.gz cannot be unpacked"):
        load(MNIST(options(tmp_path, stand_in="digits")), tmp_path / "cache")
    for content in (b"short", struct.pack(">HBBI", 0, 8, 1, 20) + bytes(3)):
        labels.write_bytes(gzip.compress(content))
        with pytest.raises(ScenarioError, match=r"torchvision cannot read the train part of MNIST"):
            load(MNIST(options(tmp_path)), tmp_path / "cache")
    labels.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 3) + bytes(3)))
    with pytest.raises(ScenarioError, match=r"the train part is not MNIST.* \(got 20 images .* 3 labels\)"):
        load(MNIST(options(tmp_path)), tmp_path / "another cache")


def test_a_damaged_cifar_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CIFAR10(options(tmp_path))
    for name in source.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no pickle")
    with pytest.raises(ScenarioError, match=r"torchvision cannot read the train part of CIFAR-10"):
        load(source, tmp_path)


@pytest.mark.parametrize("source", ALL)
def test_digits_stand_in_only_where_the_set_is_not(source: type[TorchvisionImages], tmp_path: Path) -> None:
    said = list[str]()
    data = load(
        source(options(tmp_path, stand_in="digits", train_samples=5000, test_samples=20)), tmp_path, said
    )
    channels, height, width = source.SHAPE
    assert data.surrogate and data.name == f"digits (stand-in for {source.TITLE})"
    assert data.inputs["image"].shape[1:] == (channels, height, width)
    assert len(data.train) in (749, 750) and len(data.test) == 20
    assert f"{source.TITLE} is not here" in said[0]
    assert (
        said[1]
        == f"data.train_samples: 5000 are asked for, but the digits are {len(data.train)}: all are used"
    )
    assert len(data.classes) == 10 and set(data.labels.tolist()) == set(range(10))


def test_a_real_set_needs_no_stand_in(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw", packed=False)
    expect_grey_digits(load(MNIST(options(tmp_path, stand_in="digits", download=True)), tmp_path / "cache"))


def test_a_private_and_a_public_stand_in_share_no_image(tmp_path: Path) -> None:
    def seen(source: type[TorchvisionImages]) -> set[bytes]:
        data = load(source(options(stand_in="digits", size=8)), tmp_path)
        return {image[0].numpy().tobytes() for image in data.inputs["image"]}

    even, odd = [FashionMNIST, CIFAR10], [MNIST, KMNIST, SVHN, CIFAR100]
    for one in even:
        for other in odd:
            assert not seen(one) & seen(other)


@pytest.mark.parametrize("source", ALL)
def test_a_download_that_fails_is_one_line(source: type[TorchvisionImages], tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data.download: torchvision could not fetch") as caught:
        load(source(options(download=True)), tmp_path / "cache")
    assert str(tmp_path / "cache" / "images") in str(caught.value) and "\n" not in str(caught.value)


def test_what_was_downloaded_to_the_cache_is_found_again(tmp_path: Path) -> None:
    write_idx(tmp_path / "cache" / "images" / "MNIST" / "raw", packed=False)
    expect_grey_digits(load(MNIST(options(download=True)), tmp_path / "cache"))


@pytest.mark.parametrize(("source", "zeros"), [(MNIST, 5923), (FashionMNIST, 6000)])
def test_the_real_sets_are_read(source: type[TorchvisionImages], zeros: int, tmp_path: Path) -> None:
    root = real_data(source.READER)
    data = load(source(options(root)), tmp_path)
    assert data.inputs["image"].shape == (70_000, 1, 28, 28)
    assert int((data.labels[data.train] == 0).sum()) == zeros
    mean = float(data.transforms["image"].mean) / 255  # type: ignore[attr-defined]
    assert mean == pytest.approx({MNIST: 0.1307, FashionMNIST: 0.2860}[source], abs=1e-4)  # as published
    small = load(source(options(root, train_samples=1000, test_samples=100, size=32)), tmp_path)
    assert small.inputs["image"].shape == (1100, 1, 32, 32)
    assert np.bincount(small.labels[small.train]).tolist() == [100] * 10
