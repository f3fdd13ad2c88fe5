"""A folder of labelled video files in the layout of Kinetics and FineGym: pictures, motion and sound of each clip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from learners.data.cache import Cache, fingerprint
from learners.data.dataset import DataSource, MultimodalDataset
from learners.data.media.broken import BrokenFileError
from learners.data.media.oddities import ODDITIES, flags, tell
from learners.data.sets.parallel import in_order
from learners.data.sets.root import find_root
from netsim.core.errors import ScenarioError
from netsim.core.options import Options

if TYPE_CHECKING:  # a scenario is checked without it
    from learners.data.transforms.transform import Standardise

ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".flv")
"""Endings that a list may omit from names; FineGym's lists do."""

_RULE = 2  # version of the pre-processing below; raise it when that changes
_WAY_OUT = (
    "Give data.root, or set VIDEO_FOLDER_ROOT, to a folder that holds videos, a list of classes and lists of clips; "
    "docs/data.md shows the layout."
)


class VideoFolderOptions(Options):
    """The ``data`` block for ``video_folder``.

    Attributes:
        root: Folder that the names below start from; if that is not there, the variable VIDEO_FOLDER_ROOT.
        classes: File with the name of one class per line; the first is class 0.
        train: File with one training clip per line, ``relative/path label``; the label is a class's number or
            name.
        val: File with the clips to test on, in the same form.
        videos: Folder that the paths in both files start from.
        frames: Pictures of a clip, and flows, evenly spaced over the whole video.
        image_size: Height and width of pictures and flows [pixel].
        audio_frames: Points in time of a spectrogram, which spans the whole video.
        audio_bands: Mel bands of a spectrogram.
        unreadable: What to do about a video that is missing or cannot be decoded: ``stop`` with an error, or ``skip``
            the clip.
    """

    root: Path | None = None
    classes: str = "classes.txt"
    train: str = "train.txt"
    val: str = "val.txt"
    videos: str = "."
    frames: int = Field(default=16, ge=1, le=256)
    image_size: int = Field(default=112, ge=16, le=512)
    audio_frames: int = Field(default=100, ge=8, le=1000)
    audio_bands: int = Field(default=40, ge=8, le=128)
    unreadable: Literal["stop", "skip"] = "stop"


@dataclass(frozen=True)
class _Entry:
    """A line of a list: a path relative to the folder of videos, and a class."""

    name: str
    label: int


@dataclass(frozen=True)
class _Row:
    """The arrays of one video."""

    rgb: np.ndarray
    flow: np.ndarray
    audio: np.ndarray
    odd: np.ndarray


class VideoFolder(DataSource):
    """Labelled video files in lists like those of Kinetics and FineGym: pictures, optical flow and sound of each."""

    Options = VideoFolderOptions
    MODALITIES = ("rgb", "flow", "audio")
    options: VideoFolderOptions

    def check(self) -> None:
        """Check that OpenCV and the lists exist, and that the lists are valid; no video is opened.

        Raises:
            ScenarioError: They do not exist or are not valid; names the file, the line and the way out.
        """
        from learners.data.media.video import require_cv2

        require_cv2()
        folder = self._root() / self.options.videos
        if not folder.is_dir():
            raise ScenarioError(f"data.videos: {folder} is not a folder. {_WAY_OUT}")
        self._entries()

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read the clips of both lists; they are the same for every ``seed``.

        ``inputs["rgb"]`` is uint8 [clips, 3, frames, size, size]; ``inputs["flow"]`` float16 [clips, 2, frames, size,
        size], pixels per video frame to the right and down; ``inputs["audio"]`` float16 [clips, 1, audio_frames,
        audio_bands]. Transforms standardise each channel over the training clips. A group is a folder of videos.
        """
        import torch

        self.check()
        train, test = self._entries()
        entries = [*train, *test]
        arrays = self._arrays([entry.name for entry in entries], cache_dir, say)
        kept = np.flatnonzero(arrays["usable"])
        is_test = np.arange(len(entries)) >= len(train)
        train_rows, test_rows = np.flatnonzero(~is_test[kept]), np.flatnonzero(is_test[kept])
        if len(train_rows) == 0 or len(test_rows) == 0:
            raise ScenarioError(
                f"data.unreadable: skip leaves {len(train_rows)} clips to train and {len(test_rows)} to test; both "
                "need some. Complete the folder of videos."
            )
        # Without a skipped clip no copy is needed; it takes gigabytes at full size.
        inputs = {m: arrays[m] if len(kept) == len(entries) else arrays[m][kept] for m in self.MODALITIES}
        folders = [str(Path(entries[row].name).parent) for row in kept]
        return MultimodalDataset(
            name=f"videos of {self._root().name}",
            classes=self._classes(),
            inputs={m: torch.from_numpy(array) for m, array in inputs.items()},
            labels=torch.tensor([entries[row].label for row in kept]),
            groups=np.unique(folders, return_inverse=True)[1].astype(np.int64),
            train=train_rows,
            test=test_rows,
            transforms={m: _standardise(array, train_rows) for m, array in inputs.items()},
            oddities=tell(arrays["odd"], [entry.name for entry in entries], say, "videos"),
        )

    def _root(self) -> Path:
        return find_root(self.options.root, "VIDEO_FOLDER_ROOT", _WAY_OUT)

    def _lines(self, key: str) -> list[str]:
        """Return the stripped lines of the file that the option ``key`` names, without empty ones."""
        path = self._root() / getattr(self.options, key)
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a text file"
            raise ScenarioError(f"data.{key}: {path} cannot be read ({reason}). {_WAY_OUT}") from None
        lines = [line for line in lines if line]
        if not lines:
            raise ScenarioError(f"data.{key}: {path} is empty. {_WAY_OUT}")
        return lines

    def _classes(self) -> tuple[str, ...]:
        names = self._lines("classes")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ScenarioError(
                f"data.classes: {self._root() / self.options.classes} names {twice[0]!r} more than once; "
                "give each class one line"
            )
        return tuple(names)

    def _entries(self) -> tuple[list[_Entry], list[_Entry]]:
        """Return the clips to train on and to test on."""
        label_of = {name: label for label, name in enumerate(self._classes())}
        lists = [[self._entry(key, line, label_of) for line in self._lines(key)] for key in ("train", "val")]
        train, test = lists
        both = {entry.name for entry in train} & {entry.name for entry in test}
        if both:
            raise ScenarioError(
                f"data.val: {len(both)} clips are in data.train too, the first is {min(both)}; test clips must "
                "not be training clips. Take them out of one list."
            )
        return train, test

    def _entry(self, key: str, line: str, label_of: Mapping[str, int]) -> _Entry:
        # A name and a path may contain blanks: the longest name that ends the line counts.
        for blank in re.finditer(r"\s+", line):
            path, name = line[: blank.start()], line[blank.end() :]
            if name in label_of:
                return _Entry(path, label_of[name])
            if name.isdecimal() and int(name) < len(label_of):
                return _Entry(path, int(name))
        raise ScenarioError(
            f"data.{key}: {self._root() / getattr(self.options, key)}: {line!r} is not a path and a class; classes are "
            f"0 to {len(label_of) - 1}, or their names in {self.options.classes}. Write lines such as "
            f"'videos/a.mp4 {next(iter(label_of))}'."
        )

    def _path(self, name: str) -> Path:
        """Return the path of the file ``name``, with an ending added if the file has one."""
        path = self._root() / self.options.videos / name
        if path.is_file():
            return path
        ended = [path.with_name(path.name + ending) for ending in ENDINGS]
        return next((candidate for candidate in ended if candidate.is_file()), path)

    def _arrays(self, names: list[str], cache_dir: Path, say: Callable[[str], None]) -> dict[str, np.ndarray]:
        """Return one row per name by modality; ``usable``, bool [names], and ``odd``, bool [names, oddities].

        Unusable rows are zero.
        """
        options = self.options
        paths = [self._path(name) for name in names]
        settings: dict[str, Any] = {
            "rule": _RULE,
            "names": names,
            "rgb": [options.frames, options.image_size],
            "audio": [options.audio_frames, options.audio_bands],
        }
        cache = Cache(
            cache_dir / "video_folder", fingerprint(settings, [path for path in paths if path.is_file()])
        )
        arrays = cache.get(*self.MODALITIES, "usable", "odd")
        if arrays is None or (options.unreadable == "stop" and not arrays["usable"].all()):
            say(f"decoding {len(paths):,} videos (once, kept in {cache.folder})")
            arrays = self._read_all(paths, say)
            cache.put(arrays)
        elif not arrays["usable"].all():
            say(f"skipping {int((~arrays['usable']).sum()):,} videos that cannot be read")
        return arrays

    def _read_all(self, paths: list[Path], say: Callable[[str], None]) -> dict[str, np.ndarray]:
        from learners.data.media.video import clip_of, flow_of, mel_of, read_footage

        options = self.options

        def read(path: Path) -> _Row | BrokenFileError:
            try:
                if not path.is_file():
                    raise BrokenFileError(path, "is not a file")
                odd: set[str] = set()
                footage = read_footage(path, options.image_size, odd.add)
            except BrokenFileError as error:
                return error
            rows = footage.rows(options.frames)
            return _Row(
                clip_of(footage.pictures, rows),
                flow_of(footage.pictures, rows),
                mel_of(footage.sound, options.audio_frames, options.audio_bands),
                flags(odd),
            )

        count, size = len(paths), (options.image_size, options.image_size)
        arrays: dict[str, np.ndarray] = {
            "rgb": np.zeros((count, 3, options.frames, *size), np.uint8),
            "flow": np.zeros((count, 2, options.frames, *size), np.float16),
            "audio": np.zeros((count, 1, options.audio_frames, options.audio_bands), np.float16),
            "usable": np.zeros(count, dtype=bool),
            "odd": np.zeros((count, len(ODDITIES)), dtype=bool),
        }
        for row, result in enumerate(in_order(read, paths)):
            if isinstance(result, BrokenFileError):
                if options.unreadable == "stop":
                    raise ScenarioError(
                        f"data.root: {result.path} {result.reason}. Replace the file, or set data.unreadable: skip to "
                        "leave such clips out."
                    )
                say(f"skipping a video: {result.path} {result.reason}")
                continue
            for modality in self.MODALITIES:
                arrays[modality][row] = getattr(result, modality)
            arrays["usable"][row], arrays["odd"][row] = True, result.odd
        return arrays


def _standardise(array: np.ndarray, rows: np.ndarray) -> Standardise:
    """Standardise by mean and deviation of each channel of ``array`` [clips, channels, ...] over ``rows``."""
    import torch

    from learners.data.transforms.transform import Standardise

    # Clip by clip: in double precision all of them would take eight times the memory.
    rest = tuple(range(1, array.ndim - 1))
    total = squares = np.zeros(array.shape[1])
    for row in rows:
        clip = array[row].astype(np.float64)
        total = total + clip.mean(axis=rest)
        squares = squares + np.square(clip).mean(axis=rest)
    mean = total / len(rows)
    std = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    shape = (-1, *[1] * len(rest))
    return Standardise(
        torch.from_numpy(mean).reshape(shape), torch.from_numpy(np.where(std > 0, std, 1)).reshape(shape)
    )
