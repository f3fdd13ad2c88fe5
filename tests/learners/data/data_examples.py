"""Examples for the tests of data: a small data set in memory, files in CREMA-D's layout, the real data's folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from learners.data.dataset import MultimodalDataset

EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")


def dataset(train_per_class: Sequence[int], groups: int = 4) -> MultimodalDataset:
    """Two modalities; class c has ``train_per_class[c]`` training rows, and there are as many test rows as classes."""
    labels = np.concatenate(
        [np.repeat(np.arange(len(train_per_class)), train_per_class), np.arange(len(train_per_class))]
    )
    count = len(labels)
    return MultimodalDataset(
        name="example",
        classes=tuple(EMOTIONS[: len(train_per_class)]),
        inputs={"audio": torch.zeros(count, 1, 2, 2), "visual": torch.zeros(count, 3)},
        labels=torch.from_numpy(labels),
        groups=np.arange(count) % groups,
        train=np.arange(count - len(train_per_class)),
        test=np.arange(count - len(train_per_class), count),
    )


def write_clip(
    root: Path, name: str, seconds: float = 1.0, colour: tuple[int, int, int] = (200, 100, 50)
) -> None:
    """A tone and a picture of one colour with a dark edge, where CREMA-D has ``name``."""
    for folder in ("AudioWAV", "Frames"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(16_000 * seconds)) / 16_000)
    soundfile.write(root / "AudioWAV" / f"{name}.wav", tone, 16_000)
    picture = Image.new("RGB", (128, 96), colour)
    picture.paste((0, 0, 0), (0, 0, 128, 2))
    picture.save(root / "Frames" / f"{name}.png")


def write_crema_d(root: Path, actors: Sequence[int] = (1001, 1002)) -> list[str]:
    """Two sentences in six emotions by each actor; the names of the clips."""
    names = [
        f"{actor}_{said}_{emotion}_XX" for actor in actors for said in ("DFA", "TIE") for emotion in EMOTIONS
    ]
    for name in names:
        write_clip(root, name)
    return sorted(names)


def real_data(name: str) -> Path:
    """The folder of real data if ``name`` is in it, else the test is skipped.

    It is the environment variable NETSIM_DATA, or ``shared/data`` beside this repository.
    """
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("NETSIM_DATA", beside))
    if not (folder / name).exists():
        pytest.skip(f"no {name} beside the repository or in NETSIM_DATA")
    return folder
