"""RAVDESS speech (Livingstone & Russo 2018): 24 actors, 8 emotions; speech and facial action units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
from pydantic import Field

from learners.data.cache import Cache, fingerprint
from learners.data.dataset import DataSource, MultimodalDataset
from learners.data.media.audio import log_mel, loudest_window, read_mono
from learners.data.media.broken import BrokenFileError, why
from learners.data.media.oddities import flags, tell
from learners.data.sets.parallel import in_order
from learners.data.sets.root import find_root
from netsim.core.errors import ScenarioError
from netsim.core.options import Options

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
FOLDS = 4
SAMPLE_RATE_HZ = 16_000
SAMPLES = 48_000  # 3 s: clips last 2.9 to 5.3 s, a second or two of it silence
N_FFT = 1024
TABLE = "av_features.npz"

_RULE = 2  # version of the pre-processing below; raise it when that changes
_NEEDED = {"clip", "visual", "emotion", "actor", "has_audio"}
_WAY_OUT = (
    f"Give data.root, or set RAVDESS_ROOT, to a folder that holds {TABLE} (facial action units by clip) and "
    "audio_16k/03-<clip>.ogg; docs/data.md says what is in them."
)


class RavdessOptions(Options):
    """The ``data`` block for ``ravdess``.

    Attributes:
        root: Folder with ``av_features.npz`` and ``audio_16k``; if that is not there, the variable RAVDESS_ROOT.
        fold: Test set: one of four sets of six actors (three women, three men); by default the run's seed modulo 4.
        audio_shape: Mel bands and frames of the spectrogram of the loudest three seconds.
        augment: Shift, amplify and mask spectrograms in training.
    """

    root: Path | None = None
    fold: int | None = Field(default=None, ge=0, lt=FOLDS)
    audio_shape: tuple[Annotated[int, Field(ge=8, le=128)], Annotated[int, Field(ge=8, le=256)]] = (64, 96)
    augment: bool = True


class Ravdess(DataSource):
    """RAVDESS: eight acted emotions in speech and 35 facial action units of 24 actors, tested on unseen ones."""

    Options = RavdessOptions
    MODALITIES = ("audio", "visual")
    options: RavdessOptions

    def check(self) -> None:
        """Check that the table and the folder of sounds exist.

        Raises:
            ScenarioError: They do not; names the files and the place searched.
        """
        root = self._root()
        for name, there in ((TABLE, (root / TABLE).is_file()), ("audio_16k/", (root / "audio_16k").is_dir())):
            if not there:
                raise ScenarioError(
                    f"data.root: {root} is not RAVDESS as expected: it has no {name}. {_WAY_OUT}"
                )

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read the 1,424 clips that have both modalities.

        ``inputs["audio"]`` is float16 [clips, 1, bands, frames], standardised by the transform;
        ``inputs["visual"]`` float32 [clips, 35], each unit standardised over the training clips.
        """
        import torch

        from learners.data.transforms.transform import Spectrogram, SpectrogramChanges, Standardise

        self.check()
        table = self._table()
        rows = np.flatnonzero(table["has_audio"])
        actors = table["actor"][rows].astype(np.int64)
        fold = self.options.fold if self.options.fold is not None else seed % FOLDS
        test = fold_of(actors) == fold
        train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test)
        if len(train_rows) == 0 or len(test_rows) == 0:
            raise ScenarioError(
                f"data.fold: {self._root()} has no clips to train or none to test in fold {fold}"
            )

        clips = [str(clip) for clip in table["clip"][rows]]
        arrays = self._arrays(clips, cache_dir, say)
        audio = arrays["audio"][:, None]
        visual = table["visual"][rows].astype(np.float32)
        mean, std = visual[train_rows].mean(axis=0), visual[train_rows].std(axis=0)
        units = Standardise(
            torch.from_numpy(mean), torch.from_numpy(np.where(std > 0, std, 1).astype(np.float32))
        )
        heard = audio[train_rows].astype(np.float64)
        changes = (
            SpectrogramChanges() if self.options.augment else SpectrogramChanges(shift=0, gain=0, mask=0)
        )
        return MultimodalDataset(
            name="RAVDESS",
            classes=EMOTIONS,
            inputs={"audio": torch.from_numpy(audio), "visual": torch.from_numpy(visual)},
            labels=torch.from_numpy(table["emotion"][rows].astype(np.int64)),
            groups=actors,
            train=train_rows,
            test=test_rows,
            transforms={
                "audio": Spectrogram(float(heard.mean()), float(heard.std()), changes),
                "visual": units,
            },
            oddities=tell(arrays["odd"], clips, say),
        )

    def _root(self) -> Path:
        return find_root(self.options.root, "RAVDESS_ROOT", _WAY_OUT)

    def _table(self) -> dict[str, np.ndarray]:
        path = self._root() / TABLE
        try:
            with np.load(path, allow_pickle=False) as table:
                lacking = sorted(_NEEDED - set(table.files))
                if lacking:
                    raise ScenarioError(f"data.root: {path} has no array called {lacking[0]!r}. {_WAY_OUT}")
                return {name: table[name] for name in _NEEDED}
        except (OSError, ValueError, EOFError, BadZipFile):
            reason = why(path, "cannot be read as NumPy arrays")
            raise ScenarioError(f"data.root: {path} {reason}. {_WAY_OUT}") from None

    def _arrays(self, clips: list[str], cache_dir: Path, say: Callable[[str], None]) -> dict[str, np.ndarray]:
        """Return ``audio``, float16 [clips, bands, frames], and ``odd``, bool [clips, oddities]."""
        paths = [self._root() / "audio_16k" / f"03-{clip}.ogg" for clip in clips]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise ScenarioError(
                f"data.root: {len(absent)} of {len(paths)} sounds are missing, the first is {absent[0]}"
            )
        bands, frames = self.options.audio_shape
        settings: dict[str, Any] = {"rule": _RULE, "shape": [bands, frames], "clips": clips}
        cache = Cache(cache_dir / "ravdess", fingerprint(settings, paths))
        found = cache.get("audio", "odd")
        if found is not None:
            return found
        say(f"pre-processing {len(paths):,} sounds of RAVDESS (once, kept in {cache.folder})")

        def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
            odd: set[str] = set()
            sound = loudest_window(read_mono(path, SAMPLE_RATE_HZ, odd.add), SAMPLES)
            return log_mel(sound, SAMPLE_RATE_HZ, bands, frames, N_FFT).astype(np.float16), flags(odd)

        try:
            audio, odd = zip(*in_order(read, paths), strict=True)
        except BrokenFileError as error:
            raise ScenarioError(f"data.root: {error.path} {error.reason}. Replace the file.") from None
        arrays = {"audio": np.stack(audio), "odd": np.stack(odd)}
        cache.put(arrays)
        return arrays


def fold_of(actors: np.ndarray) -> np.ndarray:
    """Return the fold, 0 to 3, of actors 1 to 24: pairs of a man (odd) and a woman (even) take turns."""
    return (actors - 1) // 2 % FOLDS
