"""A video file as a player shows it: each picture at its time, upright and undistorted, with its sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from learners.data.media.audio import WHOLE
from learners.data.media.broken import BrokenFileError

Blocks = list[tuple[float | None, np.ndarray]]
"""Time [s] and samples [channels, samples] of pieces of sound; time None if a piece follows the one before."""

_EARLY = 0.05
"""Files round times, Flash and Matroska to 1 ms; a picture counts as shown this share of its time too early."""
_JITTER_S = 0.02
_LONGEST_S = 4 * 3600.0


@dataclass(frozen=True)
class Timeline:
    """Times at which pictures are shown.

    Attributes:
        starts_s: Time at which each picture appears on the file's clock [s], float64 [pictures], rising.
        end_s: Time at which the last one disappears [s].
    """

    starts_s: np.ndarray
    end_s: float

    def shown_at(self, times_s: np.ndarray) -> np.ndarray:
        """Return the pictures shown at ``times_s`` [n], int64 [n]; before the first, the first."""
        early_s = _EARLY * _usual(np.diff(self.starts_s, append=self.end_s))
        rows = np.searchsorted(self.starts_s, np.asarray(times_s) + early_s, side="right") - 1
        return np.maximum(rows, 0).astype(np.int64)


def timeline(frames: Sequence[tuple[float | None, float]], per_second: Fraction | None) -> Timeline:
    """Compute the times at which pictures are shown.

    Decoded pictures come in the order in which they are shown. AVI states times of decoding, which are not in order;
    they are sorted. If times are missing, pictures are evenly spaced. A last picture without a stated duration has the
    median duration of the others.

    Args:
        frames: Stated time and duration [s] of each picture; None and 0 if not stated.
        per_second: Average rate of pictures, None if unknown.
    """
    usual_s = float(1 / per_second) if per_second else 0.04
    stated = [time for time, _ in frames if time is not None]
    starts_s: np.ndarray = np.sort(np.array(stated, dtype=np.float64))
    if len(stated) < len(frames):
        starts_s = usual_s * np.arange(len(frames))
    elif len(frames) > 1:
        usual_s = _usual(np.diff(starts_s))
    return Timeline(starts_s, float(starts_s[-1]) + (frames[-1][1] or usual_s))


def _usual(durations_s: np.ndarray) -> float:
    return float(np.median(durations_s))


def moment(frame: av.VideoFrame) -> tuple[float | None, float]:
    """Return the stated time and duration of ``frame`` [s], as :func:`timeline` takes them."""
    return frame.time, float((frame.duration or 0) * (frame.time_base or 0))


def shortened(container: av.container.InputContainer, shown: Timeline) -> bool:
    """Return whether pictures end before nine tenths of the time that the file's header states."""
    stated_s = (container.duration or 0) / av.time_base
    video = container.streams.video[0]
    if container.format.name == "avi" and video.average_rate:  # FFmpeg takes an AVI's duration from its size
        stated_s = max(stated_s, float(video.frames / video.average_rate))
    return max(shown.end_s, shown.end_s - float(shown.starts_s[0])) < WHOLE * stated_s


def size_shown(frame: av.VideoFrame, pixel_aspect: Fraction | None) -> tuple[float, float]:
    """Return width and height of ``frame`` with square pixels, neither smaller than stored."""
    aspect = float(pixel_aspect or 1)
    return frame.width * max(aspect, 1), frame.height / min(aspect, 1)


def upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turn and mirror ``pixels`` [height, width, 3] of ``frame`` by its display matrix, in quarter turns.

    The matrix (a b u; c d v; x y w) moves (x, y) to (a x + c y, b x + d y) (ISO/IEC 14496-12, 6.2.2). Telephones use it
    to store their orientation.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) > abs(a):  # rows become columns
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def placed(path: Path, blocks: Blocks, rate_hz: int) -> np.ndarray:
    """Join ``blocks`` of sound on the file's clock: gaps become silence, overlaps are dropped.

    Blocks that are off by less than 20 ms are joined as they are, since files round their times.

    Args:
        path: Path of the file, for the error.
        blocks: Pieces of sound, at least one.
        rate_hz: Samples per second.

    Returns:
        Float32 [channels, samples], from the time of the first block.

    Raises:
        BrokenFileError: Blocks are hours apart, so times are wrong.
    """
    begin_s = blocks[0][0] or 0.0
    parts: list[np.ndarray] = []
    at = 0
    for time_s, block in blocks:
        ahead = 0 if time_s is None else round((time_s - begin_s) * rate_hz) - at
        if abs(ahead) > _LONGEST_S * rate_hz:
            raise BrokenFileError(path, "states times that are hours apart")
        if ahead > _JITTER_S * rate_hz:
            parts.append(np.zeros((len(block), ahead), np.float32))
            at += ahead
        elif ahead < -_JITTER_S * rate_hz:
            block = block[:, -ahead:]
        parts.append(block)
        at += block.shape[1]
    return np.concatenate(parts, axis=1)
