import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from data_examples import real_data

from learners.data.dataset import MultimodalDataset
from learners.data.sets.ravdess import Ravdess, RavdessOptions, fold_of
from netsim.core.errors import ScenarioError


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAVDESS_ROOT", raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clip of each of eight actors in the layout of the data set; actor 8 was not recorded."""
    folder = tmp_path / "ravdess"
    (folder / "audio_16k").mkdir(parents=True)
    actors = np.arange(1, 9, dtype=np.uint8)
    names = np.array([f"01-01-01-01-{actor:02d}" for actor in actors])
    for name in names[:-1]:
        noise = np.random.Generator(np.random.PCG64(0)).normal(0, 0.1, 16_000)
        soundfile.write(folder / "audio_16k" / f"03-{name}.ogg", noise, 16_000)
    np.savez(
        folder / "av_features.npz",
        clip=names,
        visual=np.stack([actors, np.full(8, 3)], axis=1).astype(np.float32),
        emotion=actors - 1,
        actor=actors,
        has_audio=actors < 8,
    )
    return folder


def load(root: Path, cache: Path, seed: int = 0, **options: object) -> MultimodalDataset:
    return Ravdess(RavdessOptions(root=str(root), **options)).load(seed, cache, lambda text: None)  # type: ignore[arg-type]


def test_folds_are_six_actors_each_half_of_them_women() -> None:
    folds = fold_of(np.arange(1, 25))
    for fold in range(4):
        actors = np.flatnonzero(folds == fold) + 1
        assert (len(actors), int((actors % 2 == 0).sum())) == (6, 3)


def test_only_clips_with_both_modalities_are_used(root: Path, tmp_path: Path) -> None:
    data = load(root, tmp_path)
    assert data.groups.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert data.inputs["audio"].shape == (7, 1, 64, 96)
    assert data.inputs["visual"].shape == (7, 2)


def test_the_fold_or_the_seed_says_who_is_unseen(root: Path, tmp_path: Path) -> None:
    assert load(root, tmp_path, fold=1).groups[load(root, tmp_path, fold=1).test].tolist() == [3, 4]
    assert np.array_equal(load(root, tmp_path, seed=5).test, load(root, tmp_path, fold=1).test)


def test_units_are_standardised_by_training_clips(root: Path, tmp_path: Path) -> None:
    """Fold 3 tests actors 7 and 8, so the mean is that of 1 to 6: 3.5; the unit that never moves stays at zero."""
    data = load(root, tmp_path, fold=3)
    seen = data.transforms["visual"].test(data.inputs["visual"])
    assert float(seen[data.train, 0].mean()) == pytest.approx(0, abs=1e-6)
    assert float(seen[6, 0]) == pytest.approx((7 - 3.5) / np.std(np.arange(1, 7)))
    assert (seen[:, 1] == 0).all()


def test_augmentation_can_be_left_out(root: Path, tmp_path: Path) -> None:
    for augment in (True, False):
        data = load(root, tmp_path, augment=augment)
        transform, stored = data.transforms["audio"], data.inputs["audio"]
        same = torch.equal(transform.train(stored, torch.Generator().manual_seed(0)), transform.test(stored))
        assert same == (not augment)


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data.root: is not given.*RAVDESS_ROOT"):
        Ravdess(RavdessOptions()).check()
    with pytest.raises(ScenarioError, match="is not a folder"):
        load(tmp_path / "absent", tmp_path)
    (root / "audio_16k" / "03-01-01-01-01-02.ogg").unlink()
    with pytest.raises(ScenarioError, match=r"1 of 7 sounds are missing, .*03-01-01-01-01-02.ogg"):
        load(root, tmp_path)
    (root / "audio_16k" / "03-01-01-01-01-02.ogg").write_bytes(b"no sound")
    with pytest.raises(ScenarioError, match=r"03-01-01-01-01-02.ogg cannot be read as sound"):
        load(root, tmp_path)
    (root / "av_features.npz").write_bytes(b"no arrays")
    with pytest.raises(ScenarioError, match=r"av_features.npz cannot be read"):
        load(root, tmp_path)
    shutil.rmtree(root / "audio_16k")
    with pytest.raises(ScenarioError, match="it has no audio_16k/"):
        Ravdess(RavdessOptions(root=str(root))).check()


def test_the_real_set_has_1424_clips(tmp_path: Path) -> None:
    """Six of 24 actors test; 60 clips an actor, but 8 are missing of actor 1 (fold 0) and of actor 3 (fold 1)."""
    data = load(real_data("ravdess") / "ravdess", tmp_path, fold=0)
    assert (len(data.train), len(data.test)) == (1072, 352)
    assert data.inputs["audio"].shape == (1424, 1, 64, 96)
    assert data.inputs["visual"].shape == (1424, 35)
    assert np.bincount(data.labels.numpy()).tolist()[0] == 96
    assert not set(data.groups[data.train]) & set(data.groups[data.test])
