from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from learners.data.media.audio import log_mel, log_spectrogram, loudest_window, pooled, read_mono, tile
from learners.data.media.broken import BrokenFileError
from learners.data.media.frames import read_frame, to_square


def test_a_short_sound_is_repeated_and_a_long_one_cut() -> None:
    assert tile(np.array([1, 2, 3]), 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert tile(np.array([1, 2, 3]), 2).tolist() == [1, 2]


def test_the_loudest_window_is_the_one_with_most_energy() -> None:
    assert loudest_window(np.array([0.0, 1, -3, 2, 0, 1]), 2).tolist() == [-3, 2]
    assert (
        loudest_window(np.array([5.0]), 4).tolist() == [0, 5, 0, 0]
        or loudest_window(np.array([5.0]), 4).sum() == 5
    )


def test_three_seconds_give_257_bins_and_188_frames() -> None:
    """512/2 + 1 = 257 and 1 + floor(66150/353) = 188; silence is ln(1e-7)."""
    silence = log_spectrogram(np.zeros(66_150, np.float32), n_fft=512, hop=353)
    assert silence.shape == (257, 188)
    assert np.allclose(silence, np.log(1e-7))


def test_a_tone_peaks_in_its_bin() -> None:
    """Bins are 22050/512 = 43.07 Hz wide; ten of them are a tone of 430.7 Hz."""
    tone = np.sin(2 * np.pi * 10 / 512 * np.arange(66_150)).astype(np.float32)
    assert (log_spectrogram(tone, 512, 353)[:, 5:-5].argmax(axis=0) == 10).all()


def test_pooling_averages_cells() -> None:
    assert pooled(np.arange(8, dtype=np.float32).reshape(2, 4), (1, 2)).tolist() == [[2.5, 4.5]]


def test_mel_bands_have_the_asked_shape() -> None:
    assert log_mel(np.zeros(48_000, np.float32), 16_000, 64, 96, 1024).shape == (64, 96)


def test_stereo_becomes_mono_at_the_asked_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.tile([[0.5, -0.25]], (16_000, 1)), 16_000)
    assert np.allclose(read_mono(tmp_path / "x.wav", 16_000), 0.125, atol=1e-4)
    assert len(read_mono(tmp_path / "x.wav", 22_050)) == 22_050


def test_a_file_that_is_not_sound_is_broken(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFFnothing of the kind")
    with pytest.raises(BrokenFileError, match=r"x.wav: cannot be read as sound"):
        read_mono(tmp_path / "x.wav", 16_000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(BrokenFileError, match=r"empty.wav: holds zero samples"):
        read_mono(tmp_path / "empty.wav", 16_000)


def write_video(path: Path, greys: list[int]) -> None:
    """A Flash video, one plain grey frame after the other."""
    with av.open(str(path), "w", format="flv") as container:
        stream = container.add_stream("flv", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in greys:
            pixels = np.full((48, 64, 3), grey, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def grey_of(picture: Image.Image) -> float:
    return float(np.asarray(picture, dtype=float).mean())


def test_the_middle_of_five_frames_of_a_video_is_the_third(tmp_path: Path) -> None:
    """Lossy, hence within 8 of 255; neighbours are 40 apart."""
    write_video(tmp_path / "x.flv", [20, 60, 100, 140, 180])
    assert grey_of(read_frame(tmp_path / "x.flv", "middle")) == pytest.approx(100, abs=8)
    assert grey_of(read_frame(tmp_path / "x.flv", "first")) == pytest.approx(20, abs=8)
    assert read_frame(tmp_path / "x.flv", "first").size == (64, 48)


def test_a_folder_of_frames_is_read_in_order_of_name(tmp_path: Path) -> None:
    for number, grey in enumerate([10, 90, 170]):
        Image.new("RGB", (8, 6), (grey,) * 3).save(tmp_path / f"frame_{number}.png")
    assert grey_of(read_frame(tmp_path, "middle")) == 90
    assert grey_of(read_frame(tmp_path, "first")) == 10


def test_what_is_not_a_picture_is_broken(tmp_path: Path) -> None:
    (tmp_path / "x.flv").write_bytes(b"no video")
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    (tmp_path / "folder").mkdir()
    for name, reason in (("x.flv", "as video"), ("x.jpg", "as a picture"), ("folder", "holds no picture")):
        with pytest.raises(BrokenFileError, match=reason):
            read_frame(tmp_path / name, "middle")


def test_a_square_is_the_centre_or_all_of_a_frame() -> None:
    """8 x 4 pixels: columns 0-1 black, 2-5 white, 6-7 black. The centred square is white, the whole half so."""
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 255
    picture = Image.fromarray(pixels)
    assert to_square(picture, 4, keep_aspect=True).shape == (3, 4, 4)
    assert (to_square(picture, 4, keep_aspect=True) == 255).all()
    assert to_square(picture, 4, keep_aspect=False)[0].mean() == pytest.approx(127.5, abs=3)  # rounding
