"""From a video, or a folder of extracted frames, to one small picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from learners.data.broken import BrokenFileError

PICTURES = (".jpg", ".jpeg", ".png")
Which = Literal["middle", "first"]


def read_frame(path: Path, which: Which) -> Image.Image:
    """One frame of ``path``: a video file, a picture (its only frame), or a folder of pictures in order of name.

    The middle one of n frames is number floor(n/2), counted from 0.

    Raises:
        BrokenFileError: It cannot be read, or has no frame.
    """
    if path.is_dir():
        pictures = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES)
        if not pictures:
            raise BrokenFileError(path, "holds no picture")
        path = pictures[len(pictures) // 2 if which == "middle" else 0]
    if path.suffix.lower() in PICTURES:
        return _picture(path)
    return _video_frame(path, which)


def to_square(picture: Image.Image, side: int, keep_aspect: bool) -> np.ndarray:
    """``picture`` as uint8 [3, side, side]: its centred square scaled (keep_aspect), or all of it squeezed."""
    width, height = picture.size
    short = min(width, height)
    left, top = ((width - short) / 2, (height - short) / 2) if keep_aspect else (0.0, 0.0)
    box = (left, top, left + short, top + short) if keep_aspect else (0.0, 0.0, float(width), float(height))
    scaled = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(scaled, dtype=np.uint8).transpose(2, 0, 1))


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError):
        raise BrokenFileError(path, "cannot be read as a picture") from None


def _video_frame(path: Path, which: Which) -> Image.Image:
    # Flash files state neither the number of frames nor seek well, so the middle is found by decoding all.
    frames = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frames.append(frame)
                if which == "first":
                    break
    except (OSError, ValueError, IndexError, av.error.FFmpegError):
        raise BrokenFileError(path, "cannot be read as video") from None
    if not frames:
        raise BrokenFileError(path, "holds no video frame")
    return frames[len(frames) // 2].to_image()
