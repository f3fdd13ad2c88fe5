import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from learners.data import surrogate
from learners.data.clips import Clip
from learners.data.sets.crema_d import CremaD, CremaDOptions
from learners.data.surrogate import emotion, write
from learners.data.surrogate.face import face
from learners.data.surrogate.voice import voice


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREMA_D_ROOT", raising=False)


def test_the_ceiling_is_that_of_the_best_judge() -> None:
    """A judge who sees nothing but emotion 0 can guess; one who sees all is right; two who see half see more."""
    blind = np.zeros((6, 6), int)
    blind[:, 0] = 100
    sighted = 100 * np.eye(6, dtype=int)
    assert emotion.ceiling(blind) == pytest.approx(1 / 6)
    assert emotion.ceiling(sighted) == pytest.approx(1)
    pairs = np.kron(np.eye(3), [[100, 0], [100, 0]])  # 0 and 1 look alike, and 2 and 3, and 4 and 5
    thirds = np.kron([[100, 0, 0]] * 3, [[1, 0], [0, 1]])  # tells even from odd only
    assert emotion.ceiling(pairs) == pytest.approx(1 / 2)
    assert emotion.ceiling(thirds) == pytest.approx(1 / 3)
    assert emotion.ceiling(pairs, thirds) == pytest.approx(1)


def test_the_ceilings_leave_room_for_each_other_but_not_for_90_percent() -> None:
    alone = [emotion.ceiling(emotion.VOICE), emotion.ceiling(emotion.FACE)]
    assert all(0.6 < accuracy < 0.7 for accuracy in alone)
    assert max(alone) + 0.05 < emotion.ceiling(emotion.VOICE, emotion.FACE) < 0.8


@pytest.mark.parametrize(("modality", "confusion"), [("voice", emotion.VOICE), ("face", emotion.FACE)])
def test_clips_show_what_the_matrix_says(modality: str, confusion: np.ndarray) -> None:
    """Diagonal of 1,271 clips of an emotion: within 4 standard deviations of at most 1.4 percent."""
    assert (confusion.sum(axis=1) == 100).all()
    clips = surrogate.choose(None)
    as_meant = Counter(c.emotion for c in clips if emotion.shown(c, modality, confusion)[0] == c.label)
    for label, name in enumerate(("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")):
        share = as_meant[name] / sum(c.emotion == name for c in clips)
        assert share == pytest.approx(confusion[label, label] / 100, abs=0.056)


def test_a_choice_of_clips_is_balanced() -> None:
    assert set(Counter(clip.emotion for clip in surrogate.choose(60)).values()) == {10}
    assert len(surrogate.choose(7000)) == len({clip.name for clip in surrogate.choose(7000)}) == 7000
    assert len(surrogate.choose(None)) == 7442


def test_a_clip_is_the_same_every_time_and_unlike_its_neighbour() -> None:
    one, other = Clip(1001, "DFA", "ANG", "XX"), Clip(1001, "DFA", "SAD", "XX")
    assert np.array_equal(voice(one), voice(one))
    assert np.array_equal(np.asarray(face(one)), np.asarray(face(one)))
    assert not np.array_equal(np.asarray(face(one)), np.asarray(face(other)))
    assert voice(one).dtype == np.int16
    assert face(one).size == (128, 96)


def test_sound_lasts_as_long_as_a_sentence() -> None:
    seconds = [len(voice(clip)) / 16_000 for clip in surrogate.choose(60)]
    assert min(seconds) > 1.0 and max(seconds) < 5.0
    assert 2.0 < np.mean(seconds) < 3.0


def test_it_is_read_by_the_loader_of_the_recordings_and_says_what_it_is(tmp_path: Path) -> None:
    options = CremaDOptions(surrogate_clips=60, audio_shape=(32, 24), image_size=32)
    said: list[str] = []
    data = CremaD(options).load(0, tmp_path, said.append)
    assert data.surrogate
    assert data.name == "CREMA-D surrogate (surrogate data)"
    assert (len(data.train), len(data.test)) == (54, 6)  # 9:1 of each emotion
    assert "surrogate data" in said[0]

    folder = next(tmp_path.glob("crema_d-surrogate-*"))
    sounds = sorted(path.stem for path in (folder / "AudioWAV").iterdir())
    assert sounds == sorted(path.stem for path in (folder / "Frames").iterdir())
    info = soundfile.info(folder / "AudioWAV" / f"{sounds[0]}.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".part")] == []

    said.clear()
    CremaD(options).load(0, tmp_path, said.append)  # now everything is there
    assert said == []
    as_root = CremaD(options.model_copy(update={"root": folder})).load(0, tmp_path, said.append)
    assert as_root.surrogate  # a folder of generated data admits it, whoever names it


def test_a_changed_surrogate_is_generated_again(tmp_path: Path) -> None:
    said: list[str] = []
    folder = surrogate.generate(tmp_path, 6, said.append)
    sound = sorted(folder.glob("AudioWAV/*"))[0]
    before = sound.read_bytes()
    sound.write_bytes(before[:100])
    assert surrogate.generate(tmp_path, 6, said.append) == folder
    assert sound.read_bytes() == before and "again, for it was changed" in said[1]
    surrogate.generate(tmp_path, 6, said.append)
    assert len(said) == 2 and [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_who_is_slower_leaves_the_folder_of_who_was_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs generate at once; the faster one is reading its files when the slower one has ended."""
    write_all = write._write_all

    def slowly(folder: Path, clips: list[Clip]) -> None:
        monkeypatch.setattr(write, "_write_all", write_all)
        surrogate.generate(tmp_path, 6, print)
        write_all(folder, clips)

    monkeypatch.setattr(write, "_write_all", slowly)
    monkeypatch.setattr(write.os, "replace", replaced := _Once())
    folder = surrogate.generate(tmp_path, 6, print)
    assert replaced.count == 1 and len([*folder.glob("*/*")]) == 12
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]


class _Once:
    """``os.replace``, counted."""

    def __init__(self) -> None:
        self.count, self._replace = 0, os.replace

    def __call__(self, *given: Path) -> None:
        self.count += 1
        self._replace(*given)
