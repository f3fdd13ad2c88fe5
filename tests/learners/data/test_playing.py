"""Videos are seen and heard as a player shows them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_examples import Sound, begin_s, corners, grey, quarters, tone, write_film
from PIL import Image

from learners.data.media.broken import BrokenFileError
from learners.data.media.frames import read_frame
from learners.data.media.playing import placed, timeline
from learners.data.media.video import read_footage

GREYS = (20, 120, 220)


@pytest.mark.parametrize("ending", ["flv", "mkv", "mp4"])
def test_sound_that_starts_late_is_heard_late(tmp_path: Path, ending: str) -> None:
    """Two seconds of pictures, a tone from 0.5 s on; AAC rings on a few milliseconds before it."""
    film = write_film(
        tmp_path / f"x.{ending}", [quarters(48, 64)] * 20, sound=Sound(tone(1.5)[None], at_s=0.5)
    )
    sound = read_footage(film, 16).sound
    assert sound is not None
    assert begin_s(sound) == pytest.approx(0.5, abs=0.03)
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.1)  # AAC comes in blocks of 64 ms
    assert np.abs(sound[: round(0.4 * 16_000)]).max() < 0.01


def test_pictures_that_start_late_are_seen_late(tmp_path: Path) -> None:
    """Sound from 0 to 2 s, pictures at 1.0, 1.5 s: halves of the time show the first, the last quarter the second."""
    film = write_film(
        tmp_path / "x.mkv", [grey(20), grey(220)], times_ms=[1000, 1500], sound=Sound(tone(2.0)[None])
    )
    footage = read_footage(film, 16)
    assert (footage.begin_s, footage.end_s) == (0.0, pytest.approx(2.0, abs=0.11))
    assert footage.rows(4).tolist() == [0, 0, 0, 1]
    assert footage.sound is not None
    assert begin_s(footage.sound) < 0.01


def test_a_gap_in_the_sound_is_silence_and_what_comes_twice_is_dropped(tmp_path: Path) -> None:
    """At 10 Hz: two samples at 1 s, two at 1.5 s with a gap of three, then two of which one was heard already."""
    block = np.ones((1, 2), np.float32)
    assert placed(tmp_path, [(1.0, block), (1.5, 2 * block), (1.6, 3 * block)], 10).tolist() == [
        [1, 1, 0, 0, 0, 2, 2, 3]
    ]
    assert placed(tmp_path, [(None, block), (None, block)], 10).tolist() == [[1, 1, 1, 1]]
    with pytest.raises(BrokenFileError, match="hours apart"):
        placed(tmp_path, [(0.0, block), (95_000.0, block)], 10)


def test_times_that_a_file_rounds_make_no_gaps(tmp_path: Path) -> None:
    """Blocks of 1,024 samples at 44.1 kHz last 23.22 ms; Flash says 23, 46, 70 ms."""
    block = np.ones((1, 1024), np.float32)
    times_s = [round(1000 * k * 1024 / 44_100) / 1000 for k in range(200)]
    assert placed(tmp_path, [(time_s, block) for time_s in times_s], 44_100).shape == (1, 200 * 1024)


@pytest.mark.parametrize("ending", ["flv", "mkv", "mp4"])
def test_pictures_are_picked_by_time(tmp_path: Path, ending: str) -> None:
    """At 0, 0.1 and 0.9 s: the second one is seen at most of the four middles of parts, and halfway."""
    film = write_film(tmp_path / f"x.{ending}", [grey(level) for level in GREYS], times_ms=[0, 100, 900])
    footage = read_footage(film, 16)
    assert footage.shown.starts_s.tolist() == pytest.approx([0, 0.1, 0.9], abs=1e-3)
    assert footage.shown.shown_at(np.array([0.05, 0.5, 0.95])).tolist() == [0, 1, 2]
    # Flash does not say how long the last picture lasts: then as long as the median of the others, 0.45 s.
    assert footage.end_s == pytest.approx(1.35 if ending == "flv" else 1.0, abs=1e-3)
    assert footage.rows(4).tolist() == ([1, 1, 1, 2] if ending == "flv" else [1, 1, 1, 1])
    assert np.asarray(read_frame(film, "middle")).mean() == pytest.approx(120, abs=8)
    assert np.asarray(read_frame(film, "first")).mean() == pytest.approx(20, abs=8)


@pytest.mark.parametrize("count", [1, 2, 7, 60, 150])
@pytest.mark.parametrize("per_second", [25, 30, 30_000 / 1001])
def test_at_a_constant_rate_the_middle_is_number_half_of_n(count: int, per_second: float) -> None:
    """Whether times are exact or, as in Flash, rounded to 1 ms, the last duration being stated or not."""
    exact_s = [k / per_second for k in range(count)]
    rounded_s = [round(1000 * time_s) / 1000 for time_s in exact_s]
    for times_s, last_s in ((exact_s, 1 / per_second), (rounded_s, 0.0)):
        shown = timeline([(time_s, last_s) for time_s in times_s], Fraction(per_second))
        assert shown.shown_at(np.array([shown.end_s / 2])).tolist() == [count // 2]


def test_times_that_are_missing_are_made_of_the_rate_and_those_that_fall_put_in_order() -> None:
    """AVI states when a picture is decoded; there are ten a second."""
    for times_s, begin in (([0.2, 0.4, 0.3, 0.5], 0.2), ([None, 0.1, None, 0.3], 0.0)):
        shown = timeline([(time_s, 0.1) for time_s in times_s], Fraction(10))
        assert shown.starts_s.tolist() == pytest.approx([begin, begin + 0.1, begin + 0.2, begin + 0.3])
        assert shown.end_s == pytest.approx(begin + 0.4)


def test_an_avi_with_pictures_coded_out_of_order_is_seen_in_order(tmp_path: Path) -> None:
    """Twenty pictures, ever brighter, ten a second; the middles of four parts are in numbers 2, 7, 12, 17."""
    film = write_film(tmp_path / "x.avi", [grey(12 * number) for number in range(20)], codec="libx264")
    with av.open(str(film)) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    assert times_s != sorted(times_s), "the file's times are of no use"
    footage = read_footage(film, 16)
    assert footage.end_s - footage.begin_s == pytest.approx(2.0, abs=0.01)
    assert footage.rows(4).tolist() == [2, 7, 12, 17]
    assert footage.pictures[footage.rows(4)].mean(axis=(1, 2, 3)) == pytest.approx([24, 84, 144, 204], abs=8)


def seen_both_ways(film: Path) -> tuple[Image.Image, np.ndarray]:
    """A frame as CREMA-D's loader reads it, and a square as a folder of videos has it."""
    return read_frame(film, "first"), read_footage(film, 32).pictures[0]


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("turn", "stored"),
    [
        ({"degrees": 0}, lambda shown: shown),
        # A quarter turn to the left sets right what was recorded turned to the right.
        ({"degrees": 90}, lambda shown: np.rot90(shown, -1)),
        ({"degrees": -90}, lambda shown: np.rot90(shown, 1)),
        ({"degrees": 180}, lambda shown: np.rot90(shown, 2)),
        ({"degrees": 0, "hflip": True}, np.fliplr),
        ({"degrees": 0, "vflip": True}, np.flipud),
    ],
)
def test_turned_and_mirrored_videos_come_out_upright(
    tmp_path: Path, ending: str, turn: dict[str, Any], stored: Any
) -> None:
    """An upright telephone: 48 wide, 64 high, with four quarters of its own each."""
    if ending == "mkv" and len(turn) > 1:
        pytest.skip("Matroska has no mirrors")
    film = write_film(
        tmp_path / f"x.{ending}", [np.ascontiguousarray(stored(quarters(64, 48)))] * 3, turn=turn
    )
    frame, square = seen_both_ways(film)
    assert frame.size == (48, 64)
    assert corners(np.asarray(frame)) == corners(square) == [0, 1, 2, 3]


def test_a_quarter_turn_with_a_mirror(tmp_path: Path) -> None:
    """First turned left, then mirrored from left to right: undone in the other order."""
    stored = np.rot90(np.fliplr(quarters(64, 48)), -1)
    film = write_film(
        tmp_path / "x.mp4", [np.ascontiguousarray(stored)] * 3, turn={"degrees": 90, "hflip": True}
    )
    frame, square = seen_both_ways(film)
    assert corners(np.asarray(frame)) == corners(square) == [0, 1, 2, 3]


def test_turned_pictures_come_out_upright(tmp_path: Path) -> None:
    """EXIF orientation 6: the camera was turned, show it turned a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(quarters(64, 48))).save(tmp_path / "x.jpg", exif=exif)
    frame = read_frame(tmp_path / "x.jpg", "middle")
    assert frame.size == (48, 64)
    assert corners(np.asarray(frame)) == [0, 1, 2, 3]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    ("aspect", "size", "shown"), [(Fraction(2), (48, 96), (96, 96)), (Fraction(1, 2), (96, 48), (96, 96))]
)
def test_squares_are_square_whatever_the_shape_of_pixels(
    tmp_path: Path, ending: str, aspect: Fraction, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    """What is stored 48 x 96 with pixels twice as wide as high is a square; all four quarters stay in the picture."""
    width, height = size
    film = write_film(tmp_path / f"x.{ending}", [quarters(height, width)] * 3, aspect=aspect)
    frame, square = seen_both_ways(film)
    assert frame.size == shown
    assert corners(np.asarray(frame)) == corners(square) == [0, 1, 2, 3]
    edge = np.abs(np.diff(square[4, :, 0].astype(int))).argmax()
    assert edge == pytest.approx(15, abs=1), "the quarters meet in the middle: nothing is cut off"


def test_a_turned_video_with_wide_pixels(tmp_path: Path) -> None:
    """Stored 32 x 48 with pixels of 2:1, so 64 x 48, and shown turned: 48 x 64."""
    stored = np.ascontiguousarray(np.rot90(quarters(32, 48), -1))
    film = write_film(tmp_path / "x.mp4", [stored] * 3, aspect=Fraction(2), turn={"degrees": 90})
    frame, _ = seen_both_ways(film)
    assert frame.size == (48, 64)
    assert corners(np.asarray(frame)) == [0, 1, 2, 3]
