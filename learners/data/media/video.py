"""Video files to network inputs: a clip of small pictures, the motion between pictures, and the sound."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np

from learners.data.media.audio import log_mel, mixed, pooled, resampled
from learners.data.media.broken import BrokenFileError
from learners.data.media.frames import blank
from learners.data.media.oddities import Note
from learners.data.media.playing import (
    Blocks,
    Timeline,
    moment,
    placed,
    shortened,
    size_shown,
    timeline,
    upright,
)
from netsim.core.errors import ScenarioError

SAMPLE_RATE_HZ = 16_000
N_FFT = 512  # 32 ms
HOP = 160  # 10 ms


@dataclass(frozen=True)
class Footage:
    """All of a video file, in small pictures.

    Its time begins with the first picture or the first sound and ends with the last of either.

    Attributes:
        pictures: The centred square of each video frame as it is shown, uint8 [video frames, side, side, 3].
        shown: Times of the pictures; a picture is shown until the next one appears.
        begin_s: Begin of the file's time [s], on the clock of ``shown``.
        end_s: End of the file's time [s].
        sound: Mono, float32 [samples] at 16 kHz, from ``begin_s`` to ``end_s``; None if the file has no sound.
    """

    pictures: np.ndarray
    shown: Timeline
    begin_s: float
    end_s: float
    sound: np.ndarray | None

    def rows(self, frames: int) -> np.ndarray:
        """Choose the pictures of a clip of ``frames``: those shown in the middles of as many equal parts of the time.

        Returns:
            Rows of ``pictures``, int64 [frames]; of a short video, some of them more than once.
        """
        middles_s = self.begin_s + (np.arange(frames) + 0.5) * ((self.end_s - self.begin_s) / frames)
        return self.shown.shown_at(middles_s)


def read_footage(path: Path, side: int, note: Note = lambda odd: None) -> Footage:
    """Decode ``path`` completely; pictures are reduced at once, so that a clip of a minute fits in memory.

    ``note`` is called if the pictures have a single colour, the file ends too early, or its sound is silent or cannot
    be mixed.

    Raises:
        BrokenFileError: It cannot be read, or has no video frame.
    """
    scaler = av.video.reformatter.VideoReformatter()
    planar = av.AudioResampler(format="fltp")
    pictures: list[np.ndarray] = []
    moments: list[tuple[float | None, float]] = []
    blocks: Blocks = []
    rate_hz = SAMPLE_RATE_HZ
    try:
        with av.open(str(path)) as container:
            streams = [*container.streams.video[:1], *container.streams.audio[:1]]
            aspect = container.streams.video[0].sample_aspect_ratio
            for frame in container.decode(*streams):
                if isinstance(frame, av.VideoFrame):
                    pictures.append(_square(frame, aspect, side, scaler))
                    moments.append(moment(frame))
                elif isinstance(frame, av.AudioFrame):
                    rate_hz = frame.sample_rate
                    blocks.extend((part.time, part.to_ndarray()) for part in planar.resample(frame))
            if not pictures:
                raise BrokenFileError(path, "holds no video frame")
            shown = timeline(moments, container.streams.video[0].average_rate)
            cut = shortened(container, shown)
    except (OSError, ValueError, IndexError, av.error.FFmpegError):
        raise BrokenFileError(path, "cannot be read as video") from None
    footage = _with_sound(path, np.stack(pictures), shown, (blocks, rate_hz), note)
    if cut:
        note("shortened_clips")
    if blank(footage.pictures):
        note("blank_clips")
    return footage


def _with_sound(
    path: Path, pictures: np.ndarray, shown: Timeline, heard: tuple[Blocks, int], note: Note
) -> Footage:
    """Return the pictures, and blocks of sound at a rate [Hz], on one clock."""
    blocks, rate_hz = heard
    begin_s, end_s = float(shown.starts_s[0]), shown.end_s
    if not any(block.size for _, block in blocks):
        note("silent_clips")
        return Footage(pictures, shown, begin_s, end_s, None)
    sound = mixed(placed(path, blocks, rate_hz), note)
    from_s = blocks[0][0] or 0.0
    begin_s, end_s = min(begin_s, from_s), max(end_s, from_s + len(sound) / rate_hz)
    before = round((from_s - begin_s) * rate_hz)
    after = max(0, round((end_s - begin_s) * rate_hz) - before - len(sound))
    whole = resampled(np.pad(sound, (before, after)), rate_hz, SAMPLE_RATE_HZ)
    return Footage(pictures, shown, begin_s, end_s, whole)


def clip_of(pictures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the clip uint8 [3, frames, side, side] of ``rows`` of ``pictures`` [video frames, side, side, 3]."""
    return np.ascontiguousarray(pictures[rows].transpose(3, 0, 1, 2))


def flow_of(pictures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Compute motion [pixel per video frame] at ``rows`` of ``pictures``, right, down; float16 [2, frames, side, side].

    It is Farneback's dense optical flow (2003) from each picture of the clip to the next video frame, not to the clip's
    next picture, since half a second later too much has moved. The last video frame has the flow towards it; a video
    of one frame has zero flow.
    """
    cv2 = require_cv2()
    _, height, width, _ = pictures.shape
    flow = np.zeros((2, len(rows), height, width), np.float16)
    if len(pictures) == 1:
        return flow
    starts = np.minimum(rows, len(pictures) - 2)
    for place, start in enumerate(starts):
        if place and start == starts[place - 1]:
            flow[:, place] = flow[:, place - 1]
            continue
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures[start : start + 2]]
        motion = cv2.calcOpticalFlowFarneback(
            *grey, None, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
        )  # [height, width, 2]
        flow[:, place] = motion.transpose(2, 0, 1)
    return flow


def mel_of(sound: np.ndarray | None, frames: int, bands: int) -> np.ndarray:
    """Compute the log-mel spectrogram of ``sound`` [samples], float16 [1, frames, bands]; of silence if None.

    Windows are 32 ms long and 10 ms apart, averaged to ``frames``; the spectrogram spans all of the clip's time.
    """
    if sound is None:
        sound = np.zeros(SAMPLE_RATE_HZ, np.float32)
    windows = max(len(sound) // HOP, -(-N_FFT // HOP))  # as many whole hops as are needed to fill one window
    sound = np.pad(sound, (0, max(0, windows * HOP - len(sound))))
    cells = log_mel(sound[: windows * HOP], SAMPLE_RATE_HZ, bands, windows, N_FFT)  # [bands, windows]
    return pooled(cells, (bands, frames)).T[None].astype(np.float16)


def require_cv2() -> ModuleType:
    """Return OpenCV, needed for optical flow only.

    Raises:
        ScenarioError: It is not installed; names the extra that installs it.
    """
    try:
        import cv2
    except ImportError:
        raise ScenarioError(
            "data.name: optical flow needs OpenCV, which is not installed. Install it with "
            "pip install 'netsim[video]'."
        ) from None
    module: ModuleType = cv2
    return module


def _square(
    frame: av.VideoFrame,
    aspect: Fraction | None,
    side: int,
    scaler: av.video.reformatter.VideoReformatter,
) -> np.ndarray:
    """Return the centred square of ``frame``, with pixels of ``aspect``, as it is shown; uint8 [side, side, 3]."""
    full_width, full_height = size_shown(frame, aspect)
    scale = side / min(full_width, full_height)
    width, height = round(full_width * scale), round(full_height * scale)
    small = scaler.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA")
    left, top = (width - side) // 2, (height - side) // 2
    square = upright(small.to_ndarray()[top : top + side, left : left + side], frame)
    return square.copy()  # a view would keep the whole picture in memory
