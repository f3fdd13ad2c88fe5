"""AV-digits: an MNIST image and a spoken digit of the same class, paired at random."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from netsim.core.streams import stream

DIGITS = tuple("0123456789")
TEST_TAKES = 5  # Free Spoken Digit Dataset: takes 0 to 4 of each speaker and digit are its test set
SAMPLE_RATE_HZ = 8_000
SAMPLES = 6_400  # 0.8 s; the median recording lasts 0.42 s
N_FFT = 256
SHAPE = (32, 32)  # mel bands, frames

_RULE = 2  # version of the pre-processing below; raise it when that changes
_MNIST = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_RECORDING = re.compile(r"([0-9])_([a-z]+)_([0-9]+)")
_WAY_OUT = (
    "Give data.root, or set AVDIGITS_ROOT, to a folder that holds MNIST/raw/*-ubyte.gz and fsdd/recordings/*.wav "
    "(github.com/Jakobovski/free-spoken-digit-dataset)."
)


class AVDigitsOptions(Options):
    """The ``data`` block for ``avdigits``. Noise makes the digits harder, so that methods differ.

    Attributes:
        root: Folder with ``MNIST/raw`` and ``fsdd/recordings``; if that is not there, the variable AVDIGITS_ROOT.
        train_pairs: Pairs to train on; images and recordings are used more than once where there are too few.
        test_pairs: Pairs to test on, from MNIST's test images and the recordings' takes 0 to 4.
        audio_snr_db: Power of a recording over that of the white noise added to it [dB]; null adds none.
        image_noise: Standard deviation of the noise added to images whose pixels are 0 to 1.
        occlusion: Side of a square hidden at a random place of each image [pixel]; 0 hides nothing.
    """

    root: Path | None = None
    train_pairs: int = Field(default=2400, ge=10, le=60_000)
    test_pairs: int = Field(default=600, ge=10, le=10_000)
    audio_snr_db: float | None = Field(default=-3.0, ge=-40, le=60)
    image_noise: float = Field(default=0.6, ge=0, le=10)
    occlusion: int = Field(default=10, ge=0, le=28)


class AVDigits(DataSource):
    """AV-digits: MNIST images paired with spoken digits of six speakers, both real, made harder by noise."""

    Options = AVDigitsOptions
    MODALITIES = ("audio", "visual")
    options: AVDigitsOptions

    def check(self) -> None:
        """Check that images and recordings exist.

        Raises:
            ScenarioError: They do not; names the files and the place searched.
        """
        root = self._root()
        for part in _MNIST.values():
            for name in part:
                if not (root / "MNIST" / "raw" / name).is_file():
                    raise ScenarioError(f"data.root: {root} has no MNIST/raw/{name}. {_WAY_OUT}")
        if not (root / "fsdd" / "recordings").is_dir():
            raise ScenarioError(f"data.root: {root} has no fsdd/recordings. {_WAY_OUT}")

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Pair images with recordings. Pairs and noise are the same for every ``seed``.

        ``inputs["audio"]`` is float16 [pairs, 1, 32, 32], ``inputs["visual"]`` uint8 [pairs, 1, 28, 28].
        """
        import torch

        from learners.data.transforms.transform import Standardise

        self.check()
        options = self.options
        recordings = self._recordings()
        images = {part: self._mnist(part) for part in _MNIST}
        audio_of: list[Path] = []
        visual, labels, speakers = [], [], []
        names = sorted({speaker for _, speaker, _, _ in recordings})
        for part, count in (("train", options.train_pairs), ("test", options.test_pairs)):
            random = stream(0, "avdigits", "pairs", part)
            for label, image, (_, speaker, _, path) in _pairs(images[part], recordings, part, count, random):
                audio_of.append(path)
                visual.append(image)
                labels.append(label)
                speakers.append(names.index(speaker))
        arrays = self._arrays(audio_of, cache_dir, say)
        audio = arrays["audio"][:, None]
        train_rows = np.arange(options.train_pairs)
        pictures = self._spoilt(np.stack(visual))[:, None]
        heard, seen = audio[train_rows].astype(np.float64), pictures[train_rows]
        return MultimodalDataset(
            name="AV-digits",
            classes=DIGITS,
            inputs={"audio": torch.from_numpy(audio), "visual": torch.from_numpy(pictures)},
            labels=torch.tensor(labels),
            groups=np.array(speakers, dtype=np.int64),
            train=train_rows,
            test=np.arange(options.train_pairs, options.train_pairs + options.test_pairs),
            transforms={
                "audio": Standardise(float(heard.mean()), float(heard.std())),
                "visual": Standardise(float(seen.mean()), float(seen.std())),
            },
            oddities=tell(arrays["odd"], [path.stem for path in audio_of], say, "recordings"),
        )

    def _root(self) -> Path:
        return find_root(self.options.root, "AVDIGITS_ROOT", _WAY_OUT)

    def _recordings(self) -> list[tuple[int, str, int, Path]]:
        """Return digit, speaker, take and file of each recording, in order of name."""
        folder = self._root() / "fsdd" / "recordings"
        found = []
        for path in sorted(folder.glob("*.wav")):
            match = _RECORDING.fullmatch(path.stem)
            if match:
                found.append((int(match[1]), match[2], int(match[3]), path))
        for test in (False, True):
            lacking = set(range(10)) - {digit for digit, _, take, _ in found if (take < TEST_TAKES) == test}
            if lacking:
                takes = f"below {TEST_TAKES}" if test else f"from {TEST_TAKES} on"
                raise ScenarioError(
                    f"data.root: {folder} has no recording of digit {min(lacking)} with a take {takes}, such as "
                    f"{min(lacking)}_george_{0 if test else TEST_TAKES}.wav. {_WAY_OUT}"
                )
        return found

    def _mnist(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, 28, 28] and labels uint8 [n]."""
        arrays = []
        for name, header in zip(_MNIST[part], (16, 8), strict=True):
            path = self._root() / "MNIST" / "raw" / name
            try:
                with gzip.open(path) as file:
                    arrays.append(np.frombuffer(file.read(), np.uint8, offset=header))
            except (OSError, EOFError, ValueError, zlib.error):
                raise ScenarioError(f"data.root: {path} {why(path, 'cannot be read')}. {_WAY_OUT}") from None
        pixels, labels = arrays
        if len(pixels) != len(labels) * 28 * 28 or set(np.unique(labels)) != set(range(10)):
            raise ScenarioError(f"data.root: {path.parent} is not MNIST: images and labels do not match")
        return pixels.reshape(-1, 28, 28), labels

    def _spoilt(self, images: np.ndarray) -> np.ndarray:
        """Return ``images`` uint8 [n, 28, 28] with a hidden square and added noise."""
        random = stream(0, "avdigits", "image noise")
        corner = random.integers(0, 28 - self.options.occlusion + 1, (len(images), 2))
        distance = np.arange(28) - corner[:, :, None]  # [n, 2, 28]
        inside = (distance >= 0) & (distance < self.options.occlusion)
        hidden = inside[:, 0, :, None] & inside[:, 1, None, :]
        noise = self.options.image_noise * random.standard_normal(images.shape, dtype=np.float32)
        return np.clip(255 * (np.where(hidden, 0, images / 255) + noise), 0, 255).astype(np.uint8)

    def _arrays(
        self, paths: list[Path], cache_dir: Path, say: Callable[[str], None]
    ) -> dict[str, np.ndarray]:
        """Return ``audio``, float16 [paths, bands, frames], and ``odd``, bool [paths, oddities]."""
        settings: dict[str, Any] = {
            "rule": _RULE,
            "snr_db": self.options.audio_snr_db,
            "order": [path.name for path in paths],
        }
        cache = Cache(cache_dir / "avdigits", fingerprint(settings, paths))
        found = cache.get("audio", "odd")
        if found is not None:
            return found
        say(f"pre-processing {len(paths):,} spoken digits (once, kept in {cache.folder})")

        snr_db = self.options.audio_snr_db

        def read(row: int) -> tuple[np.ndarray, np.ndarray]:
            odd: set[str] = set()
            sound = loudest_window(read_mono(paths[row], SAMPLE_RATE_HZ, odd.add), SAMPLES)
            if snr_db is not None:  # each use of a recording has its own noise
                noise = stream(0, "avdigits", "audio noise", row).standard_normal(SAMPLES, dtype=np.float32)
                power = float(np.square(sound).sum()) / max(
                    1, int(np.count_nonzero(sound))
                )  # power of the speech alone
                sound = sound + noise * np.float32(np.sqrt(power * 10.0 ** (-snr_db / 10)))
            return log_mel(sound, SAMPLE_RATE_HZ, *SHAPE, N_FFT).astype(np.float16), flags(odd)

        try:
            audio, odd = zip(*in_order(read, range(len(paths))), strict=True)
        except BrokenFileError as error:
            raise ScenarioError(f"data.root: {error.path} {error.reason}. Replace the file.") from None
        arrays = {"audio": np.stack(audio), "odd": np.stack(odd)}
        cache.put(arrays)
        return arrays


def _pairs(
    mnist: tuple[np.ndarray, np.ndarray],
    recordings: list[tuple[int, str, int, Path]],
    part: str,
    count: int,
    random: np.random.Generator,
) -> list[tuple[int, np.ndarray, tuple[int, str, int, Path]]]:
    """Return ``count`` triples of a label, an image and a recording of it; labels in turn, as balanced as possible."""
    images, labels = mnist
    pairs = []
    seen: dict[int, np.ndarray] = {}
    heard: dict[int, list[tuple[int, str, int, Path]]] = {}
    for digit in range(10):
        times = len(range(digit, count, 10))
        seen[digit] = _draw(np.flatnonzero(labels == digit), times, random)
        takes = [row for row in recordings if row[0] == digit and (row[2] < TEST_TAKES) == (part == "test")]
        heard[digit] = [takes[i] for i in _draw(np.arange(len(takes)), times, random)]
    for i in range(count):
        digit, turn = i % 10, i // 10
        pairs.append((digit, images[seen[digit][turn]], heard[digit][turn]))
    return pairs


def _draw(pool: np.ndarray, times: int, random: np.random.Generator) -> np.ndarray:
    """Draw ``times`` elements of ``pool`` in random order; each comes once before any comes twice."""
    return np.concatenate([random.permutation(pool) for _ in range(-(-times // len(pool)))])[:times]
