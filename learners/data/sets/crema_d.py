"""CREMA-D (Cao et al. 2014): 91 actors say 12 sentences in 6 emotions; speech and one video frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from learners.data.cache import Cache, fingerprint
from learners.data.clips import EMOTIONS, Clip, parse
from learners.data.dataset import DataSource, MultimodalDataset, Transform
from learners.data.media.audio import log_spectrogram, pooled, read_mono, tile
from learners.data.media.broken import POINTER, BrokenFileError, is_pointer
from learners.data.media.oddities import ODDITIES, Note, flags, tell
from learners.data.sets import splits
from learners.data.sets.parallel import in_order
from netsim.core.errors import ScenarioError
from netsim.core.options import Options

SAMPLE_RATE_HZ = 22_050
SAMPLES = 66_150  # 3 s
N_FFT = 512
HOP = 353
FULL_SHAPE = (N_FFT // 2 + 1, 1 + SAMPLES // HOP)  # 257 bins x 188 frames

_RULE = 2  # version of the pre-processing below; raise it when that changes
_WAY_OUT = (
    "Give the folder that holds AudioWAV/ and VideoFlash/ of github.com/CheyneyComputerScience/CREMA-D (fetched with "
    "git lfs), or leave out root and unset CREMA_D_ROOT to use generated surrogate data."
)


class CremaDOptions(Options):
    """The ``data`` block for ``crema_d``.

    Attributes:
        root: Folder of the data set; if not given, the environment variable CREMA_D_ROOT; if that is not
            set, the surrogate.
        split: ``published`` has the published sizes (6,698 to train, 744 to test, and how many of each
            emotion), fixed, with the same actors in both parts; **which** clips test is our own choice, because the
            published lists could not be had. ``actor``: a tenth of the actors, drawn with the run's
            seed, are heard and seen in testing only.
        split_file: A csv file whose first column names the test clips; replaces ``split``.
        frame: The frame of a video that is used. The middle one is in mid-utterance; the first, before it.
        recipe: How frames are cropped, see :class:`learners.data.transforms.transform.Frame`.
        audio_shape: Bins and frames of a spectrogram; smaller than 257 x 188 by averaging cells.
        image_size: Height and width of a network's input [pixel].
        standardise_audio: Subtract the training clips' mean from the spectrograms and divide by their standard
            deviation, one number each. The published pipeline does not.
        skip_broken: Leave out clips whose sound or video is missing or broken, rather than refuse the data set.
        surrogate_clips: How many clips to generate if the surrogate is used, as many of each emotion as can be;
            None for all 7,442.
    """

    root: Path | None = None
    split: Literal["published", "actor"] = "published"
    split_file: Path | None = None
    frame: Literal["middle", "first"] = "middle"
    recipe: Literal["default", "ogm_ge"] = "default"
    audio_shape: tuple[Annotated[int, Field(ge=1, le=257)], Annotated[int, Field(ge=1, le=188)]] = FULL_SHAPE
    image_size: int = Field(default=224, ge=8, le=512)
    standardise_audio: bool = False
    skip_broken: bool = False
    surrogate_clips: int | None = Field(default=None, ge=12, le=splits.COMPLETE)


@dataclass(frozen=True)
class _Files:
    """Paths of each clip's media; None if the clip lacks one."""

    clips: list[Clip]
    audio: list[Path | None]
    visual: list[Path | None]


class CremaD(DataSource):
    """CREMA-D: six acted emotions in speech and a video frame; generated surrogate data if the set is missing."""

    Options = CremaDOptions
    MODALITIES = ("audio", "visual")
    options: CremaDOptions

    def check(self) -> None:
        """Check that ``root`` is CREMA-D; without a root there is nothing to check.

        Raises:
            ScenarioError: It is not; names the files expected and the files found.
        """
        if self.options.split_file is not None and not self.options.split_file.is_file():
            raise ScenarioError(f"data.split_file: {self.options.split_file} is not a file")
        root, key = self._root()
        if root is not None:
            _require_crema_d(root, key)

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read and pre-process the data, or take it from ``cache_dir`` if that was done before.

        ``inputs["audio"]`` is float16 [clips, 1, bins, frames], which is precise to 0.1 dB; ``inputs["visual"]``
        uint8 [clips, 3, side, side] with a margin around ``image_size`` to crop from.
        """
        import torch

        from learners.data import surrogate
        from learners.data.transforms.transform import stored_side

        self.check()
        options = self.options
        root, key = self._root()
        if root is None:
            root, key = surrogate.generate(cache_dir, options.surrogate_clips, say), "data"
        generated = (root / surrogate.MARKER).is_file()
        files = _find(root, options.skip_broken, key, say)

        rule: dict[str, Any] = {"rule": _RULE, "surrogate": surrogate.VERSION if generated else None}
        spectrograms = self._prepare(
            files.audio,
            _Read("audio", {**rule, "shape": options.audio_shape}, self._spectrogram),
            cache_dir,
            say,
        )
        side = stored_side(options.image_size)
        settings = {**rule, "side": side, "frame": options.frame, "squeezed": options.recipe == "ogm_ge"}
        frames = self._prepare(files.visual, _Read("visual", settings, self._square), cache_dir, say)

        # The split is made before broken clips are left out, so that a broken file moves no other clip.
        test = self._test(files.clips, seed)
        usable = spectrograms.usable & frames.usable
        kept = np.flatnonzero(usable)
        clips = [files.clips[row] for row in kept]
        train_rows, test_rows = np.flatnonzero(~test[kept]), np.flatnonzero(test[kept])
        if len(train_rows) == 0 or len(test_rows) == 0:
            raise ScenarioError(
                f"data: the split leaves {len(train_rows)} clips to train and {len(test_rows)} to test; both need some"
            )
        audio = _rows(spectrograms.array, kept)[:, None]  # [clips, 1, bins, frames]
        return MultimodalDataset(
            name="CREMA-D surrogate (surrogate data)" if generated else "CREMA-D",
            classes=EMOTIONS,
            inputs={"audio": torch.from_numpy(audio), "visual": torch.from_numpy(_rows(frames.array, kept))},
            labels=torch.tensor([clip.label for clip in clips]),
            groups=np.array([clip.actor for clip in clips], dtype=np.int64),
            train=train_rows,
            test=test_rows,
            transforms=self._transforms(audio[train_rows]),
            surrogate=generated,
            oddities=tell((spectrograms.odd | frames.odd)[kept], [clip.name for clip in clips], say),
        )

    def _root(self) -> tuple[Path | None, str]:
        if self.options.root is not None:
            return self.options.root.expanduser(), "data.root"
        if os.environ.get("CREMA_D_ROOT"):
            return Path(os.environ["CREMA_D_ROOT"]).expanduser(), "CREMA_D_ROOT"
        return None, ""

    def _test(self, clips: list[Clip], seed: int) -> np.ndarray:
        if self.options.split_file is not None:
            return splits.from_file(clips, self.options.split_file)
        return splits.published(clips) if self.options.split == "published" else splits.by_actor(clips, seed)

    def _transforms(self, train_audio: np.ndarray) -> Mapping[str, Transform]:
        from learners.data.transforms.transform import Frame, Standardise

        audio = Transform()
        if self.options.standardise_audio:
            audio = Standardise(
                float(train_audio.mean(dtype=np.float64)), float(train_audio.std(dtype=np.float64))
            )
        return {"audio": audio, "visual": Frame(self.options.image_size, self.options.recipe)}

    def _spectrogram(self, path: Path, note: Note) -> np.ndarray:
        sound = np.clip(tile(read_mono(path, SAMPLE_RATE_HZ, note), SAMPLES), -1, 1)
        return pooled(log_spectrogram(sound, N_FFT, HOP), self.options.audio_shape).astype(np.float16)

    def _square(self, path: Path, note: Note) -> np.ndarray:
        from learners.data.media.frames import read_frame, to_square
        from learners.data.transforms.transform import stored_side

        picture = read_frame(path, self.options.frame, note)
        return to_square(picture, stored_side(self.options.image_size), self.options.recipe == "default")

    def _prepare(
        self, paths: list[Path | None], read: _Read, cache_dir: Path, say: Callable[[str], None]
    ) -> _Prepared:
        """Return one array row per path, from the cache or from the files; rows of broken files are zero."""
        present = [path for path in paths if path is not None]
        names = [path.stem if path is not None else "" for path in paths]
        cache = Cache(cache_dir / "crema_d", fingerprint({**read.settings, "names": names}, present))
        kept = [read.modality, f"{read.modality}-usable", f"{read.modality}-odd"]
        found = cache.get(*kept)
        if found is not None:
            prepared = _Prepared(*(found[name] for name in kept))
            broken = sum(path is not None for path in paths) - int(prepared.usable.sum())
            if broken == 0 or self.options.skip_broken:
                if broken:
                    say(f"skipping {broken} clips whose {read.modality} file is broken")
                return prepared
        if len(present) >= 1000:
            say(f"pre-processing {read.modality} of {len(present):,} clips (once, kept in {cache.folder})")
        prepared = self._read_all(paths, read, say)
        cache.put(dict(zip(kept, (prepared.array, prepared.usable, prepared.odd), strict=True)))
        return prepared

    def _read_all(self, paths: list[Path | None], read: _Read, say: Callable[[str], None]) -> _Prepared:
        def attempt(path: Path | None) -> tuple[np.ndarray, np.ndarray] | BrokenFileError | None:
            odd: set[str] = set()
            try:
                return None if path is None else (read.read(path, odd.add), flags(odd))
            except BrokenFileError as error:
                return error

        array: np.ndarray | None = None
        usable = np.zeros(len(paths), dtype=bool)
        odd = np.zeros((len(paths), len(ODDITIES)), dtype=bool)
        for row, result in enumerate(in_order(attempt, paths)):
            if isinstance(result, BrokenFileError):
                if not self.options.skip_broken:
                    raise ScenarioError(
                        f"data: {result.path} {result.reason}. Replace the file, or set data.skip_broken: true to "
                        "leave such clips out."
                    )
                say(f"skipping a broken clip: {result.path} {result.reason}")
            elif result is not None:
                made, odd[row] = result
                if array is None:
                    array = np.zeros((len(paths), *made.shape), made.dtype)
                array[row] = made
                usable[row] = True
        if array is None:
            raise ScenarioError(f"data: none of {len(paths)} {read.modality} files can be read")
        return _Prepared(array, usable, odd)


@dataclass(frozen=True)
class _Read:
    """A rule that converts one modality's files to rows, and the settings that it depends on."""

    modality: str
    settings: dict[str, Any]
    read: Callable[[Path, Note], np.ndarray]


@dataclass(frozen=True)
class _Prepared:
    """Rows for all clips, with flags for readable files and for oddities."""

    array: np.ndarray
    usable: np.ndarray
    odd: np.ndarray


def _rows(array: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return array if len(kept) == len(array) else array[kept]  # at full size a needless copy is a gigabyte


def _require_crema_d(root: Path, key: str) -> None:
    if not root.is_dir():
        raise ScenarioError(f"{key}: {root} is not a folder. {_WAY_OUT}")
    from learners.data.media.frames import PICTURES

    sounds = _by_clip(root / "AudioWAV", (".wav",))
    if not sounds:
        raise ScenarioError(
            f"{key}: {root} is not CREMA-D: looked for AudioWAV/<clip>.wav, such as AudioWAV/1001_DFA_ANG_XX.wav; "
            f"found {_contents(root)}. {_WAY_OUT}"
        )
    visual = _by_clip(root / "Frames", (*PICTURES, "")) | _by_clip(root / "VideoFlash", (".flv",))
    if not visual:
        raise ScenarioError(
            f"{key}: {root} has {len(sounds):,} sounds of CREMA-D but no pictures: looked for VideoFlash/<clip>.flv, "
            f"Frames/<clip>.jpg and Frames/<clip>/*.jpg; found {_contents(root)}. {_WAY_OUT}"
        )
    for path in (next(iter(sounds.values())), next(iter(visual.values()))):
        if is_pointer(path):
            raise ScenarioError(f"{key}: {path} {POINTER}.")


def _find(root: Path, skip_incomplete: bool, key: str, say: Callable[[str], None]) -> _Files:
    """Return all clips with a sound or a picture. Extracted frames are preferred to videos, since they load faster."""
    from learners.data.media.frames import PICTURES

    sounds = _by_clip(root / "AudioWAV", (".wav",))
    pictures = _by_clip(root / "VideoFlash", (".flv",)) | _by_clip(root / "Frames", (*PICTURES, ""))
    clips = sorted(sounds.keys() | pictures.keys(), key=lambda clip: clip.name)
    lacking = [clip for clip in clips if clip not in sounds or clip not in pictures]
    if lacking:
        lacks = "sound" if lacking[0] not in sounds else "picture"
        text = (
            f"{len(lacking):,} of {len(clips):,} clips lack their sound or picture, "
            f"the first is {lacking[0].name} (no {lacks})"
        )
        if not skip_incomplete:
            raise ScenarioError(
                f"{key}: {root}: {text}. Complete the data set, or set data.skip_broken: true to leave them out."
            )
        say(f"skipping clips: {text}")
    return _Files(clips, [sounds.get(clip) for clip in clips], [pictures.get(clip) for clip in clips])


def _by_clip(folder: Path, endings: tuple[str, ...]) -> dict[Clip, Path]:
    """Return the entries of ``folder`` that are named like a clip, by clip; an ending of "" stands for a folder."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir(), key=attrgetter("name")):
        clip = parse(path.stem)
        if clip is not None and path.suffix.lower() in endings and (path.suffix != "" or path.is_dir()):
            found[clip] = path
    return found


def _contents(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "an empty folder"
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
