"""Small videos for tests, with times, turns and shapes of pixels as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE_HZ = 16_000


@dataclass(frozen=True)
class Sound:
    """Sound [channels, samples] at 16 kHz that begins at ``at_s`` on the file's clock."""

    samples: np.ndarray
    at_s: float = 0.0


def tone(seconds: float, frequency_hz: float = 440.0) -> np.ndarray:
    """A tone of amplitude 0.5, float32 [samples] at 16 kHz."""
    times_s = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def write_film(
    path: Path,
    pictures: Sequence[np.ndarray],
    times_ms: Sequence[int] | None = None,
    sound: Sound | None = None,
    **stream: Any,
) -> Path:
    """Write ``pictures`` [height, width, 3], ten per second or at ``times_ms``, in the format of ``path``'s ending.

    ``stream`` may hold ``aspect`` (of a pixel), ``turn`` (keywords of PyAV's ``set_display_rotation``), ``codec``
    and ``options`` of the container.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=stream.get("options", {})) as container:
        video = container.add_stream(
            stream.get("codec", "flv" if path.suffix == ".flv" else "mpeg4"), rate=10
        )
        height, width, _ = pictures[0].shape
        video.width, video.height, video.pix_fmt, video.bit_rate = width, height, "yuv420p", 4_000_000
        video.codec_context.time_base = Fraction(1, 1000 if times_ms else 10)
        video.codec_context.sample_aspect_ratio = stream.get("aspect", Fraction(1))
        if "turn" in stream:
            video.set_display_rotation(**stream["turn"])
        heard = None
        if sound is not None:
            layout = "mono" if len(sound.samples) == 1 else "stereo"
            heard = container.add_stream(
                "pcm_s16le" if path.suffix == ".mkv" else "aac", RATE_HZ, layout=layout
            )
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (times_ms[number] if times_ms else 100 * number), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None and heard is not None:
            layout = "mono" if len(sound.samples) == 1 else "stereo"
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound.samples), format="fltp", layout=layout
            )
            block.sample_rate, block.time_base = RATE_HZ, Fraction(1, RATE_HZ)
            block.pts = round(sound.at_s * RATE_HZ)
            for part in av.AudioResampler(format=heard.codec_context.format.name).resample(block):
                container.mux(heard.encode(part))
            container.mux(heard.encode())
    return path


def grey(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A plain picture, uint8 [height, width, 3]."""
    return np.full((height, width, 3), level, np.uint8)


def quarters(height: int, width: int) -> np.ndarray:
    """Four plain quarters: black and dark grey above light grey and white; uint8 [height, width, 3]."""
    levels = np.array([[0, 80], [170, 255]], np.uint8)
    return np.repeat(levels.repeat(height // 2, axis=0).repeat(width // 2, axis=1)[:, :, None], 3, axis=2)


def corners(picture: np.ndarray) -> list[int]:
    """Which of the levels of :func:`quarters` the four quarters of ``picture`` [height, width, 3] have."""
    height, width, _ = picture.shape
    middles = picture[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4], 0].astype(int)
    return [int(np.abs(np.array([0, 80, 170, 255]) - level).argmin()) for level in middles.flatten()]


def begin_s(sound: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """When ``sound`` [samples] is first louder than a tenth."""
    return int(np.flatnonzero(np.abs(sound) > 0.1)[0]) / rate_hz
