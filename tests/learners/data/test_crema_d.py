import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from data_examples import real_data, write_clip, write_crema_d
from pydantic import ValidationError

from learners.data import clips
from learners.data.clips import Clip
from learners.data.dataset import MultimodalDataset
from learners.data.sets import splits
from learners.data.sets.crema_d import CremaD, CremaDOptions
from learners.data.sets.splits import by_actor, published
from netsim.core.errors import ScenarioError

SMALL = {"audio_shape": (16, 12), "image_size": 14}


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREMA_D_ROOT", raising=False)


def load(
    root: Path, cache_dir: Path, seed: int = 0, **options: object
) -> tuple[MultimodalDataset, list[str]]:
    """The data set, and what was said meanwhile."""
    said: list[str] = []
    source = CremaD(CremaDOptions(root=str(root), **{**SMALL, **options}))  # type: ignore[arg-type]
    return source.load(seed, cache_dir, said.append), said


def test_there_are_7442_clips_with_the_published_counts() -> None:
    everything = clips.complete()
    assert len({clip.name for clip in everything}) == len(everything) == 7442
    counts = Counter(clip.emotion for clip in everything)
    assert counts == {"ANG": 1271, "DIS": 1271, "FEA": 1271, "HAP": 1271, "SAD": 1271, "NEU": 1087}
    assert Counter(clip.level for clip in everything) == {"XX": 6077, "LO": 455, "MD": 455, "HI": 455}


def test_the_clips_are_those_of_the_index() -> None:
    index = pd.read_csv(real_data("crema_d_index") / "crema_d_index" / "clips.csv.gz")
    assert [clip.name for clip in clips.complete()] == sorted(index["clip"])


def test_names_are_parsed() -> None:
    assert clips.parse("1001_DFA_ANG_XX") == Clip(1001, "DFA", "ANG", "XX")
    assert Clip(1001, "DFA", "ANG", "XX").label == 5
    for wrong in ("1001_DFA_ANG", "1001_ABC_ANG_XX", "x1001_DFA_ANG_XX", "1001_DFA_ANG_XX.wav"):
        assert clips.parse(wrong) is None


def test_the_published_split_has_the_published_sizes() -> None:
    everything = clips.complete()
    test = published(everything)
    assert (test.sum(), (~test).sum()) == (744, 6698)
    tested = Counter(clip.emotion for clip, is_test in zip(everything, test, strict=True) if is_test)
    assert tested == {"SAD": 140, "FEA": 133, "DIS": 129, "HAP": 123, "NEU": 114, "ANG": 105}


def test_an_incomplete_set_is_split_nine_to_one() -> None:
    """1001 to 1010 in DFA and TIE, 20 clips of each emotion but for one of NEU that does not exist: 2 of each."""
    some = [clip for clip in clips.complete() if clip.actor <= 1010 and clip.sentence in ("DFA", "TIE")]
    tested = Counter(clip.emotion for clip, is_test in zip(some, published(some), strict=True) if is_test)
    assert set(tested.values()) == {2}


def test_actors_of_the_test_part_are_unseen_in_training() -> None:
    """A tenth of 91 actors, rounded: 9."""
    everything = clips.complete()
    test = by_actor(everything, seed=4)
    heard = {clip.actor for clip, is_test in zip(everything, test, strict=True) if not is_test}
    unheard = {clip.actor for clip, is_test in zip(everything, test, strict=True) if is_test}
    assert (len(heard), len(unheard)) == (82, 9)
    assert not heard & unheard
    assert (test == by_actor(everything, seed=4)).all()
    assert (test != by_actor(everything, seed=5)).any()


def test_a_file_of_names_replaces_the_split(tmp_path: Path) -> None:
    write_crema_d(tmp_path / "c")
    listed = tmp_path / "test.csv"
    listed.write_text("clip,emotion\n1002_DFA_NEU_XX,NEU\nAudioWAV/1001_TIE_ANG_XX.wav,ANG\n")
    data, _ = load(tmp_path / "c", tmp_path / "cache", split_file=str(listed))
    assert (len(data.train), len(data.test)) == (22, 2)
    assert data.labels[data.test].tolist() == [5, 0]
    assert data.groups[data.test].tolist() == [1001, 1002]

    listed.write_text("1002_DFA_NEU_XX\n1003_DFA_NEU_XX\n")
    with pytest.raises(
        ScenarioError, match=r"1 of 2 names .* '1003_DFA_NEU_XX'. Did you mean '1002_DFA_NEU_XX'"
    ):
        load(tmp_path / "c", tmp_path / "cache", split_file=str(listed))
    with pytest.raises(ScenarioError, match=r"data.split_file: .* is not a file"):
        CremaD(CremaDOptions(split_file=str(tmp_path / "absent.csv"))).check()


def test_full_size_inputs_have_the_published_shapes(tmp_path: Path) -> None:
    write_crema_d(tmp_path / "c", actors=[1001])
    data = CremaD(CremaDOptions(root=str(tmp_path / "c"))).load(0, tmp_path / "cache", print)
    assert data.name == "CREMA-D"
    assert not data.surrogate
    assert data.modalities == ("audio", "visual")
    assert data.classes == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
    generator = torch.Generator().manual_seed(0)
    for modality, shape in (("audio", (2, 1, 257, 188)), ("visual", (2, 3, 224, 224))):
        transform, stored = data.transforms[modality], data.inputs[modality][:2]
        for seen in (transform.test(stored), transform.train(stored, generator)):
            assert (tuple(seen.shape), seen.dtype) == (shape, torch.float32)


def test_reduced_inputs_have_the_asked_shapes(tmp_path: Path) -> None:
    write_crema_d(tmp_path / "c")
    data, _ = load(tmp_path / "c", tmp_path / "cache", standardise_audio=True)
    assert data.inputs["audio"].shape == (24, 1, 16, 12)
    assert data.transforms["visual"].test(data.inputs["visual"]).shape == (24, 3, 14, 14)
    heard = data.transforms["audio"].test(data.inputs["audio"][data.train])
    assert float(heard.mean()) == pytest.approx(0, abs=0.01)  # stored in half precision
    assert float(heard.std()) == pytest.approx(1, abs=0.01)


def test_labels_and_actors_belong_to_the_rows(tmp_path: Path) -> None:
    """One clip is of another colour than the rest; its row must have its label and actor."""
    write_crema_d(tmp_path / "c")
    write_clip(tmp_path / "c", "1002_TIE_FEA_XX", colour=(0, 0, 255))
    data, _ = load(tmp_path / "c", tmp_path / "cache")
    blue = data.inputs["visual"][:, 2].float().mean(dim=(1, 2)) > 200
    assert int(blue.sum()) == 1
    row = int(blue.nonzero()[0])
    assert (data.classes[data.labels[row]], data.groups[row]) == ("FEA", 1002)


def test_the_cache_is_used_and_forgotten_when_a_file_or_a_setting_changes(tmp_path: Path) -> None:
    root, cache = tmp_path / "c", tmp_path / "cache"
    write_crema_d(root)
    first, _ = load(root, cache)
    files = sorted(cache.rglob("*.npy"))
    stamps = [path.stat().st_mtime_ns for path in files]
    again, _ = load(root, cache)
    assert [path.stat().st_mtime_ns for path in sorted(cache.rglob("*.npy"))] == stamps
    for modality in first.modalities:
        assert torch.equal(first.inputs[modality], again.inputs[modality])

    write_clip(root, "1001_DFA_NEU_XX", seconds=2.0)  # another size
    load(root, cache)
    grown = set(cache.rglob("*.npy")) - set(files)
    assert {path.name.split("-", 1)[1] for path in grown} >= {"audio.npy"}
    load(root, cache, image_size=16)
    assert len(list(cache.rglob("*visual.npy"))) > len(
        [path for path in files if path.name.endswith("visual.npy")]
    )
    assert not list(cache.rglob(".unfinished-*"))


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    write_crema_d(tmp_path / "c")
    first, _ = load(tmp_path / "c", tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("*.npy"):
        path.write_bytes(b"half a fi")
    again, _ = load(tmp_path / "c", tmp_path / "cache")
    assert torch.equal(first.inputs["audio"], again.inputs["audio"])


def test_a_broken_sound_is_named_or_skipped(tmp_path: Path) -> None:
    root = tmp_path / "c"
    write_crema_d(root)
    soundfile.write(root / "AudioWAV" / "1001_TIE_SAD_XX.wav", np.zeros(0), 16_000)
    (root / "Frames" / "1002_TIE_HAP_XX.png").write_bytes(b"no picture")
    with pytest.raises(ScenarioError, match=r"1001_TIE_SAD_XX.wav holds zero samples.*skip_broken: true"):
        load(root, tmp_path / "cache")
    data, said = load(root, tmp_path / "cache", skip_broken=True)
    assert len(data.labels) == 22
    assert [line for line in said if "1001_TIE_SAD_XX.wav" in line]
    assert [line for line in said if "1002_TIE_HAP_XX.png" in line]
    again, said = load(root, tmp_path / "cache", skip_broken=True)  # from the cache, and said again
    assert len(again.labels) == 22
    assert len(said) == 2
    with pytest.raises(
        ScenarioError, match="holds zero samples"
    ):  # whoever does not skip is told, cache or not
        load(root, tmp_path / "cache")


def test_a_clip_without_a_picture_is_named_or_skipped(tmp_path: Path) -> None:
    root = tmp_path / "c"
    write_crema_d(root)
    (root / "Frames" / "1001_DFA_ANG_XX.png").unlink()
    with pytest.raises(ScenarioError, match=r"1 of 24 clips lack .* 1001_DFA_ANG_XX \(no picture\)"):
        load(root, tmp_path / "cache")
    data, said = load(root, tmp_path / "cache", skip_broken=True)
    assert len(data.labels) == 23
    assert "1001_DFA_ANG_XX" in said[0]


def test_videos_are_read_where_there_are_no_frames(tmp_path: Path) -> None:
    from test_audio_and_frames import write_video

    root = tmp_path / "c"
    names = write_crema_d(root)
    shutil.rmtree(root / "Frames")
    (root / "VideoFlash").mkdir()
    for name in names:
        write_video(root / "VideoFlash" / f"{name}.flv", [0, 120, 240])
    middle, _ = load(root, tmp_path / "cache")
    first, _ = load(root, tmp_path / "cache", frame="first")
    assert float(middle.inputs["visual"].float().mean()) == pytest.approx(120, abs=10)
    assert float(first.inputs["visual"].float().mean()) == pytest.approx(0, abs=10)


def test_what_is_not_crema_d_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def complaint(root: Path) -> str:
        with pytest.raises(ScenarioError) as caught:
            CremaD(CremaDOptions(root=str(root))).check()
        return str(caught.value)

    assert "data.root" in complaint(tmp_path / "absent") and "is not a folder" in complaint(
        tmp_path / "absent"
    )
    assert "found an empty folder" in complaint(tmp_path)
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "song.wav").touch()
    assert "looked for AudioWAV/<clip>.wav" in complaint(tmp_path)
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "1 sounds of CREMA-D but no pictures" in complaint(tmp_path)
    (tmp_path / "VideoFlash").mkdir()
    (tmp_path / "VideoFlash" / "1001_DFA_ANG_XX.flv").touch()
    assert "git lfs pull" in complaint(tmp_path)
    monkeypatch.setenv("CREMA_D_ROOT", str(tmp_path / "absent"))
    with pytest.raises(ScenarioError, match=r"CREMA_D_ROOT: .*absent is not a folder"):
        CremaD(CremaDOptions()).check()


def test_sizes_beyond_the_published_are_refused() -> None:
    with pytest.raises(ValidationError):
        CremaDOptions(audio_shape=(300, 188))
    with pytest.raises(ValidationError):
        CremaDOptions(surrogate_clips=splits.COMPLETE + 1)
