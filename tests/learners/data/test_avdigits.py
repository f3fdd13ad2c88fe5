import gzip
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from data_examples import real_data

from learners.data.dataset import MultimodalDataset
from learners.data.sets.avdigits import AVDigits, AVDigitsOptions
from netsim.core.errors import ScenarioError


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVDIGITS_ROOT", raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of each digit, grey as the digit says; a tone per digit by one speaker, takes 0 and 5."""
    raw, recordings = tmp_path / "d" / "MNIST" / "raw", tmp_path / "d" / "fsdd" / "recordings"
    raw.mkdir(parents=True)
    recordings.mkdir(parents=True)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 2)
    images = np.broadcast_to(20 * labels[:, None, None], (20, 28, 28)).astype(np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    for digit in range(10):
        for take, seconds in ((0, 0.5), (5, 1.5)):
            tone = 0.5 * np.sin(2 * np.pi * 100 * (digit + 1) * np.arange(int(8000 * seconds)) / 8000)
            soundfile.write(recordings / f"{digit}_george_{take}.wav", tone, 8000)
    return tmp_path / "d"


def load(root: Path, cache: Path, seed: int = 0, **options: object) -> MultimodalDataset:
    options = {"train_pairs": 35, "test_pairs": 12, **options}
    return AVDigits(AVDigitsOptions(root=str(root), **options)).load(seed, cache, lambda text: None)  # type: ignore[arg-type]


def test_pairs_have_one_label(root: Path, tmp_path: Path) -> None:
    """Clean images are as grey as their digit says, and tones as high."""
    data = load(root, tmp_path, image_noise=0, occlusion=0, audio_snr_db=None)
    assert data.inputs["audio"].shape == (47, 1, 32, 32)
    assert data.inputs["visual"].shape == (47, 1, 28, 28)
    assert (data.inputs["visual"][:, 0, 0, 0] // 20).tolist() == data.labels.tolist()
    peaks = data.inputs["audio"][:, 0, :, 16].float().argmax(dim=1)
    order = np.argsort(data.labels.numpy(), kind="stable")
    assert (np.diff(peaks.numpy()[order]) >= 0).all()
    assert np.bincount(data.labels[data.train]).tolist() == [4] * 5 + [3] * 5  # 35 pairs, in turn


def test_test_pairs_come_from_takes_below_five(root: Path, tmp_path: Path) -> None:
    """Takes 0 last 0.5 s of the window's 0.8 s, takes 5 fill it."""
    data = load(root, tmp_path, image_noise=0, occlusion=0, audio_snr_db=None)
    first_frame = data.inputs["audio"][:, 0, :, 0].float().amax(dim=1)
    assert first_frame[data.train].min() > first_frame[data.test].max()


def test_pairs_and_noise_do_not_depend_on_the_seed(root: Path, tmp_path: Path) -> None:
    one, other = load(root, tmp_path / "a", seed=1), load(root, tmp_path / "b", seed=2)
    for modality in one.modalities:
        assert torch.equal(one.inputs[modality], other.inputs[modality])


def test_occlusion_hides_a_square(root: Path, tmp_path: Path) -> None:
    data = load(root, tmp_path, image_noise=0, occlusion=6)
    nines = data.inputs["visual"][data.labels == 9]
    assert ((nines == 0).sum(dim=(1, 2, 3)) == 36).all()


def test_more_noise_is_more_noise(root: Path, tmp_path: Path) -> None:
    """Noise fills the bins between a tone's: their level rises with it."""
    medians = [
        float(load(root, tmp_path, audio_snr_db=snr).inputs["audio"].float().median())
        for snr in (None, 20, 0)
    ]
    assert medians[0] < medians[1] < medians[2]


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data.root: is not given.*AVDIGITS_ROOT"):
        AVDigits(AVDigitsOptions()).check()
    labels = root / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    labels.write_bytes(b"no gzip")
    with pytest.raises(ScenarioError, match=r"train-labels-idx1-ubyte.gz cannot be read"):
        load(root, tmp_path)
    labels.write_bytes(whole)
    (root / "fsdd" / "recordings" / "3_george_0.wav").write_bytes(b"no sound")
    with pytest.raises(ScenarioError, match=r"3_george_0.wav cannot be read as sound"):
        load(root, tmp_path)
    (root / "fsdd" / "recordings" / "3_george_0.wav").unlink()
    with pytest.raises(
        ScenarioError, match=r"no recording of digit 3 with a take below 5, such as 3_george_0.wav"
    ):
        load(root, tmp_path)
    (root / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(ScenarioError, match=r"has no MNIST/raw/t10k-images-idx3-ubyte.gz"):
        AVDigits(AVDigitsOptions(root=str(root))).check()


def test_the_real_set_is_paired(tmp_path: Path) -> None:
    data = load(real_data("fsdd"), tmp_path, train_pairs=200, test_pairs=50)
    assert np.bincount(data.labels[data.train]).tolist() == [20] * 10
    assert set(data.groups) == set(range(6))
