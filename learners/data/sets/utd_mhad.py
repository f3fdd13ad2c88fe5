"""UTD-MHAD (Chen, Jafari & Kehtarnavaz 2015): 8 people, 27 actions; a worn sensor, a skeleton and depth images."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
from pydantic import Field

from learners.data.cache import Cache, fingerprint
from learners.data.dataset import DataSource, MultimodalDataset
from learners.data.media.broken import BrokenFileError, why
from learners.data.sets.parallel import in_order
from learners.data.sets.root import find_root
from netsim.core.errors import ScenarioError
from netsim.core.options import Options

ACTIONS = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "cross arms",
    "basketball shoot",
    "draw x",
    "draw circle clockwise",
    "draw circle counter-clockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock on door",
    "catch",
    "pick up and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "forward lunge",
    "squat",
)
SUBJECTS = 8
CHANNELS = 6  # accelerometer x, y, z [g] and gyroscope x, y, z [deg/s], 50 Hz
JOINTS = 20
HIP = 3  # hip_center is the fourth joint
DEPTH_STORED = (16, 60, 80)  # frames, height, width of depth_small.npz
DEPTH_SHAPE = (16, 30, 40)
INDEX = "index.csv"
DEPTH = "depth_small.npz"

_RULE = 1  # version of the pre-processing below; raise it when that changes
_WAY_OUT = (
    f"Give data.root, or set UTD_MHAD_ROOT, to a folder that holds {INDEX}, {DEPTH}, Inertial/<clip>_inertial.mat "
    "and Skeleton/<clip>_skeleton.mat; docs/data.md says what is in them."
)


class UTDMHADOptions(Options):
    """The ``data`` block for ``utd_mhad``.

    Attributes:
        root: Folder with ``index.csv``, ``depth_small.npz``, ``Inertial`` and ``Skeleton``; if that is not there, the
            variable UTD_MHAD_ROOT.
        test_subjects: People whose clips are test clips, from 1 to 8; the default is the data set's usual protocol.
        inertial_samples: Points in time to which an inertial recording (107 to 326 samples) is averaged.
        skeleton_frames: Points in time to which a skeleton recording (41 to 125 frames) is averaged.
    """

    root: Path | None = None
    test_subjects: tuple[Annotated[int, Field(ge=1, le=SUBJECTS)], ...] = Field(
        default=(2, 4, 6, 8), min_length=1, max_length=SUBJECTS - 1
    )
    inertial_samples: int = Field(default=64, ge=4, le=512)
    skeleton_frames: int = Field(default=16, ge=2, le=256)


@dataclass(frozen=True)
class _Clips:
    """The rows of the index: ``names`` [clips], ``labels`` and ``subjects`` int64 [clips]."""

    names: list[str]
    labels: np.ndarray
    subjects: np.ndarray


class UTDMHAD(DataSource):
    """UTD-MHAD: 27 actions of eight people in inertial, skeleton and depth recordings, tested on unseen people."""

    Options = UTDMHADOptions
    MODALITIES = ("inertial", "skeleton", "depth")
    options: UTDMHADOptions

    def check(self) -> None:
        """Check that the index, the depth images and both folders exist.

        Raises:
            ScenarioError: They do not; names the files and the place searched.
        """
        root = self._root()
        for name in (INDEX, DEPTH, "Inertial/", "Skeleton/"):
            path = root / name
            if not (path.is_dir() if name.endswith("/") else path.is_file()):
                raise ScenarioError(
                    f"data.root: {root} is not UTD-MHAD as expected: it has no {name}. {_WAY_OUT}"
                )

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read the 861 clips; they are the same for every ``seed``.

        ``inputs["inertial"]`` is float32 [clips, 6 * inertial_samples], channel by channel, each channel
        standardised over the training clips; ``inputs["skeleton"]`` float32 [clips, skeleton_frames * 60] in
        metres from the hip, frame by frame, less the mean of the training clips; ``inputs["depth"]`` uint8
        [clips, 16, 30, 40], which the transform takes to 0 to 1, frames as channels.
        """
        import torch

        from learners.data.transforms.transform import Standardise

        self.check()
        clips = self._index()
        test = np.isin(clips.subjects, self.options.test_subjects)
        train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test)
        if len(train_rows) == 0 or len(test_rows) == 0:
            raise ScenarioError(
                f"data.test_subjects: {list(self.options.test_subjects)} leaves {len(train_rows)} clips to train and "
                f"{len(test_rows)} to test; the clips in {self._root()} are of subjects "
                f"{sorted(set(clips.subjects.tolist()))}, and both parts need some"
            )
        arrays = self._arrays(clips.names, cache_dir, say)
        inertial, skeleton = arrays["inertial"], arrays["skeleton"]
        moved = inertial[train_rows]  # [train, 6, samples]
        points = inertial.shape[2]
        channel_mean = moved.mean(axis=(0, 2)).repeat(points)
        channel_std = _positive(moved.std(axis=(0, 2))).repeat(points)
        posed = skeleton[train_rows].reshape(len(train_rows), -1)
        pose_mean = posed.mean(axis=0)
        # One spread for all coordinates: those of the trunk hardly move, and scaled up they would be mostly noise.
        pose_std = _positive((posed - pose_mean).std())
        return MultimodalDataset(
            name="UTD-MHAD",
            classes=ACTIONS,
            inputs={
                "inertial": torch.from_numpy(inertial.reshape(len(inertial), -1)),
                "skeleton": torch.from_numpy(skeleton.reshape(len(skeleton), -1)),
                "depth": torch.from_numpy(arrays["depth"]),
            },
            labels=torch.from_numpy(clips.labels),
            groups=clips.subjects,
            train=train_rows,
            test=test_rows,
            transforms={
                "inertial": Standardise(torch.from_numpy(channel_mean), torch.from_numpy(channel_std)),
                "skeleton": Standardise(torch.from_numpy(pose_mean), float(pose_std)),
                "depth": Standardise(0.0, 255.0),
            },
        )

    def _root(self) -> Path:
        return find_root(self.options.root, "UTD_MHAD_ROOT", _WAY_OUT)

    def _index(self) -> _Clips:
        path = self._root() / INDEX
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            names = [row["clip"] for row in rows]
            actions = np.array([int(row["action"]) for row in rows], dtype=np.int64)
            subjects = np.array([int(row["subject"]) for row in rows], dtype=np.int64)
        except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError):
            reason = why(path, "cannot be read as a table with the columns clip, action and subject")
            raise ScenarioError(f"data.root: {path} {reason}. {_WAY_OUT}") from None
        if not names or actions.min() < 1 or actions.max() > len(ACTIONS):
            raise ScenarioError(
                f"data.root: {path} must list clips of actions 1 to {len(ACTIONS)}. {_WAY_OUT}"
            )
        return _Clips(names, actions - 1, subjects)

    def _arrays(self, clips: list[str], cache_dir: Path, say: Callable[[str], None]) -> dict[str, np.ndarray]:
        """Return by modality float32 [clips, 6, samples], float32 [clips, frames, 20, 3], uint8 [clips, 16, 30, 40]."""
        root = self._root()
        inertial = [root / "Inertial" / f"{clip}_inertial.mat" for clip in clips]
        skeleton = [root / "Skeleton" / f"{clip}_skeleton.mat" for clip in clips]
        recordings = [*inertial, *skeleton]
        absent = [path for path in recordings if not path.is_file()]
        if absent:
            raise ScenarioError(
                f"data.root: {len(absent)} of {len(recordings)} recordings are missing, the first is {absent[0]}. "
                f"Complete the folder, or take their clips out of {root / INDEX}."
            )
        points, frames = self.options.inertial_samples, self.options.skeleton_frames
        settings: dict[str, Any] = {"rule": _RULE, "points": points, "frames": frames, "clips": clips}
        cache = Cache(cache_dir / "utd_mhad", fingerprint(settings, [*recordings, root / DEPTH]))
        found = cache.get(*self.MODALITIES)
        if found is not None:
            return found
        say(f"pre-processing {len(clips):,} clips of UTD-MHAD (once, kept in {cache.folder})")
        try:
            arrays = {
                "inertial": np.stack(list(in_order(lambda path: _inertial(path, points), inertial))),
                "skeleton": np.stack(list(in_order(lambda path: _skeleton(path, frames), skeleton))),
                "depth": _depth(root / DEPTH, clips),
            }
        except BrokenFileError as error:
            raise ScenarioError(f"data.root: {error.path} {error.reason}. Replace the file.") from None
        cache.put(arrays)
        return arrays


def averaged(recording: np.ndarray, points: int) -> np.ndarray:
    """Divide ``recording`` [time, ...] into ``points`` equal parts and average each; float32 [points, ...].

    A part that begins or ends between two samples has a share in them, so any length is possible, also a longer one.
    """
    time = len(recording)
    edges = np.linspace(0, time, points + 1)
    total = np.concatenate([np.zeros_like(recording[:1]), np.cumsum(recording, axis=0)])  # up to each sample
    before = np.minimum(edges.astype(np.int64), time - 1)
    share = (edges - before).reshape(-1, *[1] * (recording.ndim - 1))
    at_edges = total[before] + share * recording[before]
    return (np.diff(at_edges, axis=0) * (points / time)).astype(np.float32)


def _inertial(path: Path, points: int) -> np.ndarray:
    """Return float32 [6, points]."""
    recording = _matrix(path, "d_iner")
    if recording.ndim != 2 or recording.shape[1] != CHANNELS or len(recording) == 0:
        raise BrokenFileError(path, f"holds d_iner of shape {list(recording.shape)}, not [time, {CHANNELS}]")
    return np.ascontiguousarray(averaged(recording, points).T)


def _skeleton(path: Path, frames: int) -> np.ndarray:
    """Return float32 [frames, 20, 3], metres from the hip of the same frame, since positions have no meaning."""
    recording = _matrix(path, "d_skel")
    if recording.ndim != 3 or recording.shape[:2] != (JOINTS, 3) or recording.shape[2] == 0:
        raise BrokenFileError(path, f"holds d_skel of shape {list(recording.shape)}, not [{JOINTS}, 3, time]")
    return averaged((recording - recording[HIP]).transpose(2, 0, 1), frames)


def _matrix(path: Path, name: str) -> np.ndarray:
    """Return the array ``name`` of a MATLAB file, float64.

    Raises:
        BrokenFileError: It cannot be read, has no such array, or holds values that are not numbers.
    """
    from scipy.io import loadmat

    try:
        array = np.asarray(loadmat(path, variable_names=[name])[name], dtype=np.float64)
    except KeyError:
        raise BrokenFileError(path, f"has no array called {name}") from None
    except Exception:  # a damaged file makes scipy raise nearly anything
        raise BrokenFileError(path, "cannot be read as a MATLAB file") from None
    if not np.isfinite(array).all():
        raise BrokenFileError(path, "holds values that are not numbers")
    return array


def _depth(path: Path, clips: list[str]) -> np.ndarray:
    """Return depth images of ``clips``, uint8 [clips, 16, 30, 40]: squares of four pixels averaged, 0 is background."""
    try:
        with np.load(path, allow_pickle=False) as table:
            images, names = table["depth"], table["clip"].tolist()
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error):
        raise BrokenFileError(path, "cannot be read as NumPy arrays called depth and clip") from None
    if images.shape != (len(names), *DEPTH_STORED) or images.dtype != np.uint8:
        raise BrokenFileError(
            path,
            f"holds {images.dtype} depth of shape {list(images.shape)}, not uint8 {[len(names), *DEPTH_STORED]}",
        )
    row_of = {name: row for row, name in enumerate(names)}
    lacking = [clip for clip in clips if clip not in row_of]
    if lacking:
        raise BrokenFileError(
            path, f"lacks {len(lacking)} of the clips in {INDEX}, the first is {lacking[0]}"
        )
    frames, height, width = DEPTH_SHAPE
    images = images[[row_of[clip] for clip in clips]].reshape(len(clips), frames, height, 2, width, 2)
    return np.rint(images.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8)


def _positive(spread: np.ndarray) -> np.ndarray:
    """Return ``spread``, with 1 in place of 0."""
    return np.where(spread > 0, spread, 1).astype(np.float32)
