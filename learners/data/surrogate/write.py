"""Writing of the surrogate's clips as files in CREMA-D's layout, so that one loader reads both."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import soundfile

from learners.data.cache import fingerprint
from learners.data.clips import EMOTIONS, Clip, complete, parse
from learners.data.surrogate.face import face
from learners.data.surrogate.voice import SAMPLE_RATE_HZ, voice
from netsim.core.scratch import delete_scratch, new_scratch
from netsim.core.streams import derive_seed

VERSION = 1
"""Increased whenever a generated clip changes, so that a cache of an older version is not used."""

MARKER = "SURROGATE.txt"
"""A file in the folder with the note that its contents were generated."""

_STATE = "state.txt"

_NOTE = (
    "Generated sounds and drawings in the layout of CREMA-D. These are not recordings of people, and accuracies\n"
    "measured on them are not accuracies on CREMA-D.\n"
)


def choose(count: int | None) -> list[Clip]:
    """Return ``count`` of CREMA-D's 7,442 clips (None: all), balanced over the emotions, sorted by name."""
    clips = complete()
    if count is None or count >= len(clips):
        return clips
    queues: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: derive_seed(0, "surrogate", "choose", clip.name)):
        queues[clip.emotion].append(clip)
    chosen = [queues[EMOTIONS[i % 6]][i // 6] for i in range(min(count, 6 * len(queues["NEU"])))]
    spare = [clip for emotion in EMOTIONS for clip in queues[emotion][len(queues["NEU"]) :]]
    return sorted(chosen + spare[: count - len(chosen)], key=lambda clip: clip.name)


def generate(cache_dir: Path, count: int | None, say: Callable[[str], None]) -> Path:
    """Return the folder of the surrogate with ``count`` clips; generate it if missing, always with the same bytes."""
    clips = choose(count)
    folder = cache_dir / f"crema_d-surrogate-v{VERSION}-{len(clips)}"
    if _as_written(folder):
        return folder
    again = "again, for it was changed since" if folder.is_dir() else f"once, kept in {folder}"
    say(f"generating {len(clips):,} clips of surrogate data for CREMA-D ({again})")
    cache_dir.mkdir(parents=True, exist_ok=True)
    unfinished = new_scratch(cache_dir, ".unfinished-")
    try:
        for name in ("AudioWAV", "Frames"):
            (unfinished / name).mkdir()
        _write_all(unfinished, clips)
        (unfinished / MARKER).write_text(_NOTE)
        (unfinished / _STATE).write_text(_state(unfinished))
        os.chmod(unfinished, 0o755)  # mkdtemp's permissions are for its owner alone
        if _as_written(folder):  # another run was faster, and may be reading it
            return folder
        if folder.is_dir():
            old = new_scratch(cache_dir, ".unfinished-")
            os.replace(folder, old)
            delete_scratch(old)
        os.replace(unfinished, folder)
    except OSError:
        if not _as_written(folder):  # else another run was faster, with the same bytes
            raise
    finally:
        delete_scratch(unfinished)
    return folder


def _as_written(folder: Path) -> bool:
    """Return whether ``folder`` is there, and its files have the names, sizes and times of when they were generated."""
    state = folder / _STATE
    return state.is_file() and state.read_text() == _state(folder)


def _state(folder: Path) -> str:
    return fingerprint({}, folder.glob("*/*"))


def _write_all(folder: Path, clips: list[Clip]) -> None:
    """Write all clips; use a second process for many, since drawing holds the interpreter's lock."""
    if len(clips) < 1000:
        mine, theirs, helper = clips, [], None
    else:
        mine, theirs = clips[::2], clips[1::2]
        helper = subprocess.Popen(
            [sys.executable, "-m", "learners.data.surrogate.write", str(folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert helper.stdin is not None
        with contextlib.suppress(OSError), helper.stdin:
            helper.stdin.write("\n".join(clip.name for clip in theirs))
    try:
        for clip in mine:
            _write(folder, clip)
    except BaseException:
        if helper is not None:
            helper.kill()
            helper.wait()
        raise
    if helper is not None and helper.wait() != 0:  # if it failed for any reason, do its part here
        for clip in theirs:
            _write(folder, clip)


def _write(folder: Path, clip: Clip) -> None:
    soundfile.write(folder / "AudioWAV" / f"{clip.name}.wav", voice(clip), SAMPLE_RATE_HZ, subtype="PCM_16")
    face(clip).save(folder / "Frames" / f"{clip.name}.jpg", quality=85)


if __name__ == "__main__":  # the second process: clip names on standard input
    for name in sys.stdin.read().split():
        wanted = parse(name)
        assert wanted is not None
        _write(Path(sys.argv[1]), wanted)
