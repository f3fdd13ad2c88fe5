import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from learners.data.dataset import MultimodalDataset
from learners.data.media.broken import BrokenFileError
from learners.data.media.playing import Timeline
from learners.data.media.video import Footage, clip_of, flow_of, mel_of, read_footage
from learners.data.sets.video_folder import VideoFolder, VideoFolderOptions
from netsim.core.errors import ScenarioError

pytest.importorskip("cv2", reason="the extra 'video' is not installed")

SMALL = {"frames": 4, "image_size": 32, "audio_frames": 10, "audio_bands": 8}
"""Decoding is quick; what takes long is optical flow at full size."""


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDEO_FOLDER_ROOT", raising=False)


def texture(width: int, height: int, shift: int = 0) -> np.ndarray:
    """Smooth blobs that move ``shift`` pixels to the right, uint8 [height, width, 3]."""
    x, y = np.meshgrid(np.arange(width) - shift, np.arange(height))
    waves = np.sin(x / 2.5) + np.sin(y / 3) + np.sin((x + y) / 4)
    return np.repeat(np.uint8(127 + 40 * waves)[:, :, None], 3, axis=2)


def write_video(path: Path, pictures: Sequence[np.ndarray], tone_hz: float | None = None) -> None:
    """``pictures`` [height, width, 3] at 10 per second, and a tone as long as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        height, width, _ = pictures[0].shape
        video.width, video.height, video.pix_fmt, video.bit_rate = width, height, "yuv420p", 2_000_000
        sound = container.add_stream("aac", rate=16_000, layout="mono") if tone_hz else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if sound is not None and tone_hz is not None:
            times_s = np.arange(1600 * len(pictures)) / 16_000
            samples = (0.5 * np.sin(2 * np.pi * tone_hz * times_s)).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux(sound.encode(frame))
            container.mux(sound.encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes in a folder each; the last of five videos has no sound."""
    folder = tmp_path / "videos"
    for number in range(5):
        name = f"{'jump' if number % 2 else 'play guitar'}/{number}.mp4"
        write_video(
            folder / name, [texture(48, 32, shift) for shift in range(6)], None if number == 4 else 440
        )
    (folder / "classes.txt").write_text("play guitar\njump\n")
    (folder / "train.txt").write_text("play guitar/0.mp4 0\njump/1.mp4 1\nplay guitar/2.mp4 play guitar\n")
    (folder / "val.txt").write_text("jump/3.mp4 jump\n\nplay guitar/4 0\n")
    return folder


def source(root: Path, **options: Any) -> VideoFolder:
    return VideoFolder(VideoFolderOptions(root=root, **{**SMALL, **options}))


def load(root: Path, cache: Path, **options: Any) -> MultimodalDataset:
    return source(root, **options).load(0, cache, lambda text: None)


def test_a_clip_is_the_middles_of_equal_parts() -> None:
    """Ten frames in four parts of 2.5: 1.25, 3.75, 6.25, 8.75; three in four show one twice."""
    pictures = np.arange(10, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 3), np.uint8)

    def rows(count: int) -> np.ndarray:
        shown = Timeline(np.arange(count) / 25, count / 25)
        return Footage(pictures[:count], shown, 0.0, shown.end_s, None).rows(4)

    assert rows(10).tolist() == [1, 3, 6, 8]
    assert rows(3).tolist() == [0, 1, 1, 2]
    assert clip_of(pictures, rows(10)).shape == (3, 4, 2, 2)
    assert clip_of(pictures, rows(10))[0, :, 0, 0].tolist() == [1, 3, 6, 8]


def test_flow_is_how_far_pictures_move_to_the_next_frame() -> None:
    """Two pixels to the right per frame, whatever the distance between the clip's pictures; borders aside."""
    pictures = np.stack([texture(64, 64, 2 * time) for time in range(9)])
    flow = flow_of(pictures, np.array([1, 4, 7]))
    assert (flow.shape, flow.dtype) == ((2, 3, 64, 64), np.float16)
    inner = flow[:, :, 16:-16, 16:-16].astype(float)
    assert inner[0].mean(axis=(1, 2)) == pytest.approx([2, 2, 2], abs=0.2)  # Farneback smooths
    assert inner[1].mean(axis=(1, 2)) == pytest.approx([0, 0, 0], abs=0.2)


def test_what_does_not_move_has_no_flow() -> None:
    """Borders aside, where Farneback's polynomials see half a neighbourhood (0.1 pixel)."""
    assert (
        np.abs(flow_of(np.stack([texture(96, 96)] * 3), np.array([0, 2]))[:, :, 32:-32, 32:-32]).max() < 0.01
    )
    assert (flow_of(texture(32, 32)[None], np.zeros(4, np.int64)) == 0).all()


def test_more_pictures_than_frames_repeat_their_flow() -> None:
    """Three frames are shown twice each; the last one has the flow from the second to it, as the second has."""
    flow = flow_of(np.stack([texture(32, 32, shift) for shift in (0, 1, 3)]), np.arange(6) // 2)
    assert np.array_equal(flow[:, 0], flow[:, 1])
    assert all(np.array_equal(flow[:, 2], flow[:, place]) for place in (3, 4, 5))
    assert not np.array_equal(flow[:, 0], flow[:, 5])


def test_a_tone_is_in_its_band_all_the_time() -> None:
    """A spectrogram is [1, time, bands]; a higher tone is in a higher band."""
    times_s = np.arange(24_000) / 16_000
    low, high = (
        mel_of(np.sin(2 * np.pi * tone_hz * times_s).astype(np.float32), 100, 40) for tone_hz in (300, 4000)
    )
    assert (low.shape, low.dtype) == ((1, 100, 40), np.float16)
    loudest = [set(cells[0, 2:-2].argmax(axis=1).tolist()) for cells in (low, high)]
    assert [len(bands) for bands in loudest] == [1, 1]
    assert max(loudest[0]) < 10 < 20 < min(loudest[1])


@pytest.mark.parametrize("samples", [1, 511, 16_000, 16_123])
def test_sounds_of_any_length_fill_a_spectrogram(samples: int) -> None:
    assert mel_of(np.zeros(samples, np.float32), 100, 40).shape == (1, 100, 40)


def test_no_sound_is_silence() -> None:
    assert np.allclose(mel_of(None, 100, 40), np.log(1e-6), atol=0.01)  # half precision


def test_pictures_are_the_centred_square(tmp_path: Path) -> None:
    """96 x 64, white in the middle 64 columns: white in the square of 32 x 32, lossy coding aside."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 16:80] = 255
    write_video(tmp_path / "x.mp4", [picture] * 5, tone_hz=440)
    footage = read_footage(tmp_path / "x.mp4", 32)
    assert footage.pictures.shape == (5, 32, 32, 3)
    assert footage.pictures[:, :, 2:-2].min() > 230
    assert footage.sound is not None
    assert len(footage.sound) == pytest.approx(8000, abs=2100)  # AAC comes in frames of 1,024 samples
    assert np.abs(footage.sound).max() == pytest.approx(0.5, abs=0.1)


def test_upright_videos_are_squares_too(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mp4", [texture(34, 66)] * 2)
    footage = read_footage(tmp_path / "x.mp4", 31)
    assert footage.pictures.shape == (2, 31, 31, 3)
    assert footage.sound is None


def test_what_is_no_video_is_broken(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(BrokenFileError, match=r"x.mp4: cannot be read as video"):
        read_footage(tmp_path / "x.mp4", 32)


def test_labelled_clips_have_pictures_motion_and_sound(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    data = source(root).load(0, tmp_path, said.append)
    assert {m: (tuple(x.shape), x.dtype) for m, x in data.inputs.items()} == {
        "rgb": ((5, 3, 4, 32, 32), torch.uint8),
        "flow": ((5, 2, 4, 32, 32), torch.float16),
        "audio": ((5, 1, 10, 8), torch.float16),
    }
    assert data.classes == ("play guitar", "jump")
    assert data.labels.tolist() == [0, 1, 0, 1, 0]
    assert (data.train.tolist(), data.test.tolist()) == ([0, 1, 2], [3, 4])
    assert data.groups.tolist() == [1, 0, 1, 0, 1], "folders in alphabetical order"
    silence = "1 of 5 videos have no sound, or zeros for sound; the first is play guitar/4"
    assert said[-1] == silence
    assert data.oddities == {"silent_clips": {"count": 1, "first": ["play guitar/4"]}}
    for modality, x in data.inputs.items():
        seen = data.transforms[modality].test(x[data.train])
        assert seen.dtype == torch.float32
        for channel in seen.transpose(0, 1):
            # What is stored in half precision is exact to 0.1 % of its size.
            assert float(channel.mean()) == pytest.approx(0, abs=5e-3)
            assert float(channel.std(correction=0)) == pytest.approx(1, abs=5e-3)


def test_videos_are_decoded_once_for_each_setting(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first, second = (source(root).load(0, tmp_path, said.append) for _ in range(2))
    assert all(torch.equal(first.inputs[m], second.inputs[m]) for m in first.modalities)
    assert sum("decoding" in text for text in said) == 1
    assert first.oddities == second.oddities != {}
    source(root, frames=2).load(0, tmp_path, said.append)
    assert sum("decoding" in text for text in said) == 2
    write_video(root / "jump" / "3.mp4", [texture(48, 32)] * 9)
    assert not torch.equal(load(root, tmp_path).inputs["audio"][3], first.inputs["audio"][3])


def test_an_unreadable_video_is_named_or_skipped(root: Path, tmp_path: Path) -> None:
    (root / "jump" / "1.mp4").write_bytes(b"no video")
    (root / "play guitar" / "4.mp4").unlink()
    with pytest.raises(ScenarioError, match=r"data.root: .*1.mp4 cannot be read as video.*unreadable: skip"):
        load(root, tmp_path)
    for _ in range(2):  # the second time from the cache
        said: list[str] = []
        data = source(root, unreadable="skip").load(0, tmp_path, said.append)
        assert data.labels.tolist() == [0, 0, 1]
        assert (data.train.tolist(), data.test.tolist()) == ([0, 1], [2])
        assert any("skipping" in text for text in said)
    with pytest.raises(ScenarioError, match=r"1.mp4 cannot be read"):
        load(root, tmp_path)
    (root / "jump" / "3.mp4").unlink()
    with pytest.raises(ScenarioError, match=r"data.unreadable: skip leaves 2 clips to train and 0 to test"):
        load(root, tmp_path, unreadable="skip")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train.txt", "jump/1.mp4 2", r"data.train: .*'jump/1.mp4 2' is not a path and a class; .* 0 to 1"),
        ("train.txt", "jump/1.mp4", r"data.train: .*is not a path and a class"),
        ("val.txt", "jump/1.mp4 run", r"data.val: .*'jump/1.mp4 run'"),
        ("val.txt", "jump/1.mp4 jump", r"data.val: 1 clips are in data.train too, the first is jump/1.mp4"),
        ("val.txt", "\n", r"data.val: .*val.txt is empty"),
        ("classes.txt", "jump\njump", r"data.classes: .*names 'jump' more than once"),
    ],
)
def test_lists_are_checked(root: Path, file: str, text: str, message: str) -> None:
    (root / file).write_text(text)
    with pytest.raises(ScenarioError, match=message):
        source(root).check()


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data.root: is not given.*VIDEO_FOLDER_ROOT"):
        VideoFolder(VideoFolderOptions()).check()
    with pytest.raises(ScenarioError, match=r"data.train: .*absent.txt cannot be read \(No such file"):
        source(root, train="absent.txt").check()
    with pytest.raises(ScenarioError, match=r"data.videos: .*absent is not a folder"):
        source(root, videos="absent").check()


def test_without_opencv_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ScenarioError, match=r"needs OpenCV, which is not installed.*netsim\[video\]"):
        source(root).check()
