"""WAV files with a wrong size of the sound in their header, as recorders that stream write them.

A recorder that cannot go back to the header leaves the size of the sound at 0, at 0xFFFFFFFF or near 2 GiB. For 0,
libsndfile reads no sound. For a size beyond the end of the file it reads to the end, chunks of metadata included.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import BinaryIO

_UNKNOWN = 0x7FFF0000
"""Sizes from here on stand for an unknown size: 0x7FFFFFFF and 0x80000000 are in use too."""
_FOUR_CHARACTERS = re.compile(rb"(?=[ -~]{4})")


def readable(path: Path) -> tuple[Path | BinaryIO, float]:
    """Return a source for soundfile in place of ``path``, and the share of the sound that is in the file.

    The source is ``path`` itself, and the share 1.0, unless ``path`` is a RIFF WAVE file whose header states an empty
    sound or one beyond the file's end. Then it is a copy with the right size, without the chunks after the sound.

    Raises:
        OSError: ``path`` cannot be read.
    """
    with path.open("rb") as file:
        start, stated = _sound(file)
        held = path.stat().st_size - start
        if start == 0 or 0 < stated <= held or held <= 0:
            return path, 1.0
        file.seek(0)
        content = file.read()
    size = _end_of_sound(content, start) - start
    header = content[:4] + _bytes(start + size - 8) + content[8 : start - 4] + _bytes(size)
    share = 1.0 if stated == 0 or stated >= _UNKNOWN else size / stated
    return io.BytesIO(header + content[start : start + size]), share


def _sound(file: BinaryIO) -> tuple[int, int]:
    """Return the position of the sound and its stated size [byte]; 0 and 0 if there is no such chunk."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0, 0
    while len(chunk := file.read(8)) == 8:
        size = _number(chunk[4:])
        if chunk[:4] == b"data":
            return file.tell(), size
        file.seek(size + size % 2, io.SEEK_CUR)
    return 0, 0


def _end_of_sound(content: bytes, start: int) -> int:
    """Return the end of the sound that begins at ``start``: the begin of the last chunks of the file, if any."""
    for match in _FOUR_CHARACTERS.finditer(content, start):
        place = match.start()
        while _FOUR_CHARACTERS.match(content, place) and (size := _number(content[place + 4 : place + 8])):
            place += 8 + size
            # The file may lack the byte that makes its last chunk even.
            if len(content) - size % 2 <= place <= len(content):
                return match.start()
            place += size % 2
    return len(content)


def _number(four: bytes) -> int:
    return int.from_bytes(four, "little")


def _bytes(number: int) -> bytes:
    return (number % 2**32).to_bytes(4, "little")
