"""Videos, or folders of extracted frames, to one small picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from learners.data.media.broken import BrokenFileError
from learners.data.media.oddities import Note
from learners.data.media.playing import moment, shortened, size_shown, timeline, upright

PICTURES = (".jpg", ".jpeg", ".png")
Which = Literal["middle", "first"]


def read_frame(path: Path, which: Which, note: Note = lambda odd: None) -> Image.Image:
    """Read one frame of ``path``: a video file, a picture (its only frame), or a folder of pictures in order of name.

    It is upright and has square pixels, as a player shows it. The middle frame of a video is the one shown at half of
    its time. The middle one of n pictures is number floor(n/2), counted from 0. ``note`` is called if the frame has a
    single colour, or the video ends too early.

    Raises:
        BrokenFileError: It cannot be read, or has no frame.
    """
    if path.is_dir():
        pictures = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES)
        if not pictures:
            raise BrokenFileError(path, "holds no picture")
        path = pictures[len(pictures) // 2 if which == "middle" else 0]
    picture = _picture(path) if path.suffix.lower() in PICTURES else _video_frame(path, which, note)
    if blank(np.asarray(picture)[None]):
        note("blank_clips")
    return picture


def blank(pictures: np.ndarray) -> bool:
    """Return whether ``pictures`` [pictures, height, width, 3] have the same colour everywhere."""
    return bool((pictures == pictures[:1, :1, :1]).all())


def to_square(picture: Image.Image, side: int, keep_aspect: bool) -> np.ndarray:
    """Return ``picture`` as uint8 [3, side, side]: its centred square scaled (keep_aspect), or all of it squeezed."""
    width, height = picture.size
    short = min(width, height)
    left, top = ((width - short) / 2, (height - short) / 2) if keep_aspect else (0.0, 0.0)
    box = (left, top, left + short, top + short) if keep_aspect else (0.0, 0.0, float(width), float(height))
    scaled = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(scaled, dtype=np.uint8).transpose(2, 0, 1))


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError):
        raise BrokenFileError(path, "cannot be read as a picture") from None


def _video_frame(path: Path, which: Which, note: Note) -> Image.Image:
    # Flash files state neither the number of frames nor seek well, so the middle is found by decoding all.
    frames: list[av.VideoFrame] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frames.append(frame)
                if which == "first":
                    break
            if not frames:
                raise BrokenFileError(path, "holds no video frame")
            video = container.streams.video[0]
            shown = timeline([moment(frame) for frame in frames], video.average_rate)
            middle = shown.shown_at(np.array([shown.starts_s[0] + shown.end_s]) / 2)[0]
            if which == "middle" and shortened(container, shown):
                note("shortened_clips")
            chosen = frames[middle]
            width, height = (round(length) for length in size_shown(chosen, video.sample_aspect_ratio))
            pixels = chosen.reformat(width=width, height=height, format="rgb24").to_ndarray()
            return Image.fromarray(np.ascontiguousarray(upright(pixels, chosen)))
    except (OSError, ValueError, IndexError, av.error.FFmpegError):
        raise BrokenFileError(path, "cannot be read as video") from None
