"""Sounds whose header or channels are not to be taken at their word."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_examples import RATE_HZ, Sound, grey, tone, write_film

from learners.data.media.audio import read_mono
from learners.data.media.broken import BrokenFileError
from learners.data.media.video import read_footage

INFO = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"
ODD = b"bext" + struct.pack("<I", 5) + b"three\0"


def streamed(path: Path, size: int, after: bytes = b"", before: bytes = b"", subtype: str = "PCM_16") -> None:
    """A WAV of a tone of half a second whose header states ``size`` bytes of sound."""
    soundfile.write(path, tone(0.5), RATE_HZ, subtype=subtype)
    content = path.read_bytes()
    at = content.index(b"data")
    sound = content[at + 8 :]
    path.write_bytes(content[:at] + before + b"data" + struct.pack("<I", size) + sound + after)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000, 16_000])
@pytest.mark.parametrize(
    "after", [b"", INFO, ODD + INFO, INFO + ODD[:-1]], ids=["end", "list", "two", "uneven"]
)
@pytest.mark.parametrize("before", [b"", INFO], ids=["first", "after metadata"])
def test_a_streamed_recording_is_its_sound_and_nothing_else(
    tmp_path: Path, size: int, after: bytes, before: bytes
) -> None:
    """Half a second at 16 kHz is 8,000 samples, 16,000 bytes, whatever the header says and whatever follows."""
    streamed(tmp_path / "x.wav", size, after, before)
    odd: set[str] = set()
    sound = read_mono(tmp_path / "x.wav", RATE_HZ, odd.add)
    assert len(sound) == 8000
    assert np.allclose(sound, tone(0.5), atol=1e-4)
    assert odd == set()


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "ULAW"])
def test_it_may_be_of_any_kind_that_soundfile_reads(tmp_path: Path, subtype: str) -> None:
    streamed(tmp_path / "x.wav", 0, INFO, subtype=subtype)
    assert np.allclose(read_mono(tmp_path / "x.wav", RATE_HZ), tone(0.5), atol=0.02)


def test_a_header_with_metadata_alone_holds_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(0), RATE_HZ)
    (tmp_path / "x.wav").write_bytes((tmp_path / "x.wav").read_bytes() + INFO)
    with pytest.raises(BrokenFileError, match="holds zero samples"):
        read_mono(tmp_path / "x.wav", RATE_HZ)


def test_a_recording_cut_short_is_used_and_told(tmp_path: Path) -> None:
    """A third of 8,000 samples is there; a tail of 5 % that is lacking is nothing to speak of."""
    soundfile.write(tmp_path / "x.wav", tone(0.5), RATE_HZ)
    content = (tmp_path / "x.wav").read_bytes()
    header = len(content) - 16_000
    for kept, expected in ((16_000 // 3 // 2, {"shortened_clips"}), (7600, set())):
        (tmp_path / "x.wav").write_bytes(content[: header + 2 * kept])
        odd: set[str] = set()
        assert len(read_mono(tmp_path / "x.wav", RATE_HZ, odd.add)) == kept
        assert odd == expected


@pytest.mark.parametrize(
    ("left", "right", "heard", "odd"),
    [
        (1.0, 1.0, 1.0, set()),
        (1.0, 0.0, 0.5, set()),  # one silent channel is no antiphase
        (1.0, -1.0, 1.0, {"antiphase_clips"}),
        (-0.8, 1.0, 1.0, {"antiphase_clips"}),  # what is left has 0.01 of 0.41
        (1.0, -0.5, 0.25, set()),  # what is left has 0.0625 of 0.3125
        (0.0, 0.0, 0.0, {"silent_clips"}),
    ],
)
def test_channels_that_cancel_each_other_are_not_mixed(
    tmp_path: Path, left: float, right: float, heard: float, odd: set[str]
) -> None:
    """The mean of a x and b x is (a + b) x / 2; of unrelated channels it would have energy (a² + b²) / 4."""
    channels = np.stack([left * tone(1.0), right * tone(1.0)])
    soundfile.write(tmp_path / "x.wav", channels.T, RATE_HZ)
    film = write_film(tmp_path / "x.mkv", [grey(20), grey(200)] * 5, sound=Sound(channels.astype(np.float32)))
    for sound, told in (
        (read_mono(tmp_path / "x.wav", RATE_HZ, (of_wav := set[str]()).add), of_wav),
        (read_footage(film, 16, (of_film := set[str]()).add).sound, of_film),
    ):
        assert sound is not None
        assert np.allclose(sound[:16_000], heard * tone(1.0), atol=1e-3)
        assert told == odd


def test_unrelated_channels_are_mixed(tmp_path: Path) -> None:
    """Two voices of their own, one on each side: both are heard."""
    soundfile.write(tmp_path / "x.wav", np.stack([tone(1.0, 300), tone(1.0, 1000)], axis=1), RATE_HZ)
    expected = (tone(1.0, 300) + tone(1.0, 1000)) / 2
    assert np.allclose(read_mono(tmp_path / "x.wav", RATE_HZ), expected, atol=1e-3)
