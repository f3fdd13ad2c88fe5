"""Odd clips are used, and everybody is told: on the screen and in the run's facts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from data_examples import write_clip, write_crema_d
from media_examples import RATE_HZ, Sound, grey, quarters, tone, write_film
from PIL import Image
from typer.testing import CliRunner

from learners.data.cache import fingerprint
from learners.data.media.broken import BrokenFileError
from learners.data.media.oddities import ODDITIES, flags, tell
from learners.data.media.video import read_footage
from learners.data.sets.cifar10_subset import Cifar10Subset
from learners.data.sets.crema_d import CremaD, CremaDOptions
from learners.data.sets.ravdess import Ravdess, RavdessOptions
from netsim.app.commands.cli import app
from netsim.core.errors import ScenarioError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123456\n"


def load(root: Path, cache: Path, **options: object) -> tuple[dict[str, Any], list[str]]:
    """Oddities, and what was said."""
    said: list[str] = []
    small = {"audio_shape": (16, 12), "image_size": 14}
    data = CremaD(CremaDOptions(root=str(root), **{**small, **options})).load(0, cache, said.append)  # type: ignore[arg-type]
    return dict(data.oddities), said


def test_what_is_odd_is_counted_and_named_once() -> None:
    said: list[str] = []
    odd = np.stack([flags(set()), flags({"silent_clips", "blank_clips"}), flags({"silent_clips"})])
    facts = tell(odd[[0, 1, 2, 1]], ["a", "b", "c", "b"], said.append, "recordings")
    assert facts == {
        "silent_clips": {"count": 2, "first": ["b", "c"]},
        "blank_clips": {"count": 1, "first": ["b"]},
    }
    assert said[0] == f"2 of 3 recordings {ODDITIES['silent_clips']}; the first is b"
    many = tell(np.repeat(flags({"silent_clips"})[None], 1200, axis=0), [str(n) for n in range(1200)], print)
    assert many == {"silent_clips": {"count": 1200, "first": ["0", "1", "2", "3", "4"]}}
    assert tell(np.zeros((2, len(ODDITIES)), bool), ["a", "b"], pytest.fail) == {}


@pytest.fixture
def crema(tmp_path: Path) -> Path:
    """24 clips: one silent, one black, one cut to a third, one with its sides the wrong way round."""
    root = tmp_path / "c"
    write_crema_d(root)
    soundfile.write(root / "AudioWAV" / "1001_DFA_ANG_XX.wav", np.zeros(RATE_HZ), RATE_HZ)
    Image.new("RGB", (128, 96)).save(root / "Frames" / "1001_DFA_FEA_XX.png")
    cut = root / "AudioWAV" / "1001_TIE_NEU_XX.wav"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    sides = np.stack([tone(1.0), -tone(1.0)], axis=1)
    soundfile.write(root / "AudioWAV" / "1002_DFA_SAD_XX.wav", sides, RATE_HZ)
    return root


EXPECTED = {
    "silent_clips": {"count": 1, "first": ["1001_DFA_ANG_XX"]},
    "blank_clips": {"count": 1, "first": ["1001_DFA_FEA_XX"]},
    "shortened_clips": {"count": 1, "first": ["1001_TIE_NEU_XX"]},
    "antiphase_clips": {"count": 1, "first": ["1002_DFA_SAD_XX"]},
}


def test_odd_clips_of_crema_d_are_told_from_files_and_from_the_cache(crema: Path, tmp_path: Path) -> None:
    facts, said = load(crema, tmp_path / "cache")
    assert facts == EXPECTED
    assert len(said) == 4 and all(text.startswith("1 of 24 clips") for text in said)
    assert load(crema, tmp_path / "cache") == (facts, said)


def test_a_whole_clip_of_the_same_size_replaces_a_silent_one(crema: Path, tmp_path: Path) -> None:
    """A second of silence and a second of a tone have the same name and size."""
    path = crema / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    before, size = fingerprint({}, [path]), path.stat().st_size
    load(crema, tmp_path / "cache")
    write_clip(crema, "1001_DFA_ANG_XX")
    assert path.stat().st_size == size
    assert fingerprint({}, [path]) != before
    assert "silent_clips" not in load(crema, tmp_path / "cache")[0]


def test_facts_of_a_run_name_odd_clips(
    crema: Path, tmp_path: Path, write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREMA_D_ROOT", raising=False)
    scenario = write_scenario(
        data={"name": "crema_d", "root": str(crema), "audio_shape": [16, 12], "image_size": 14},
        partition={"name": "iid"},
        learner={
            "name": "dmml",
            "batch_size": 4,
            "networks": {m: "small_resnet" for m in ("audio", "visual")},
        },
        rounds=1,
        jobs={"device": "cpu", "threads": 1, "executor": "inline", "stacking": False},
    )
    folders = ["--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache"), "--no-plots"]
    result = CliRunner().invoke(app, ["run", str(scenario), "--run-id", "x", *folders])
    assert result.exit_code == 0, result.output
    assert "the first is 1001_DFA_ANG_XX" in " ".join(result.output.split())
    facts = json.loads((tmp_path / "runs" / "small" / "x" / "metadata.json").read_text())["data"]
    assert {key: facts[key] for key in EXPECTED} == EXPECTED


def test_one_git_lfs_pointer_among_clips_is_called_that(crema: Path, tmp_path: Path) -> None:
    for name in ("AudioWAV/1002_TIE_HAP_XX.wav", "Frames/1002_TIE_HAP_XX.png"):
        path = crema / name
        whole = path.read_bytes()
        path.write_text(POINTER)
        with pytest.raises(
            ScenarioError,
            match=rf"{path.name} is a git-lfs pointer, .*: run 'git lfs pull'.*skip_broken: true",
        ):
            load(crema, tmp_path / "cache")
        _, said = load(crema, tmp_path / "cache", skip_broken=True)
        assert sum("is a git-lfs pointer" in text for text in said) == 1
        path.write_bytes(whole)


def test_a_pointer_is_called_that_whoever_reads_it(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text(POINTER)
    with pytest.raises(BrokenFileError, match="is a git-lfs pointer"):
        read_footage(tmp_path / "x.mp4", 16)
    (tmp_path / "audio_16k").mkdir()
    (tmp_path / "av_features.npz").write_text(POINTER)
    with pytest.raises(ScenarioError, match=r"av_features.npz is a git-lfs pointer"):
        Ravdess(RavdessOptions(root=tmp_path)).load(0, tmp_path, print)
    for name in ("train_10k.npz", "test_2k.npz"):
        (tmp_path / name).write_text(POINTER)
    with pytest.raises(ScenarioError, match=r"train_10k.npz is a git-lfs pointer"):
        Cifar10Subset(Cifar10Subset.Options(root=tmp_path)).load(0, tmp_path, print)


@pytest.mark.parametrize("ending", ["mkv", "avi", "mp4"])
def test_a_video_cut_to_a_third_is_told(tmp_path: Path, ending: str) -> None:
    """Thirty different pictures, so that bytes are spread evenly; whole, it is not told."""
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 255, (6, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1) for _ in range(30)
    ]
    film = write_film(
        tmp_path / f"x.{ending}", pictures, options={"movflags": "faststart"} if ending == "mp4" else {}
    )
    odd: set[str] = set()
    assert len(read_footage(film, 16, odd.add).pictures) == 30
    assert odd == {"silent_clips"}
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    assert 5 <= len(read_footage(film, 16, odd.add).pictures) <= 20
    assert odd == {"silent_clips", "shortened_clips"}


def test_pictures_that_end_long_before_the_sound_are_told(tmp_path: Path) -> None:
    film = write_film(tmp_path / "x.mkv", [quarters(48, 64)] * 10, sound=Sound(tone(3.0)[None]))
    odd: set[str] = set()
    footage = read_footage(film, 16, odd.add)
    assert odd == {"shortened_clips"}
    assert footage.sound is not None and len(footage.sound) == pytest.approx(48_000, abs=100)


@pytest.mark.parametrize("level", [0, 90])
def test_videos_of_one_colour_and_sounds_of_zeros_are_told(tmp_path: Path, level: int) -> None:
    zeros = np.zeros((1, RATE_HZ), np.float32)
    odd: set[str] = set()
    footage = read_footage(
        write_film(tmp_path / "x.mkv", [grey(level)] * 10, sound=Sound(zeros)), 16, odd.add
    )
    assert odd == {"blank_clips", "silent_clips"}
    assert footage.sound is not None and not footage.sound.any()
