"""Splits of CREMA-D into clips for training and clips for testing."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from learners.data.clips import EMOTIONS, Clip, parse
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed, stream

COMPLETE = 7442
PUBLISHED_TEST = {"SAD": 140, "FEA": 133, "DIS": 129, "HAP": 123, "NEU": 114, "ANG": 105}
"""Test clips per emotion in the lists of the OGM-GE repository: 744 in all, which leaves 6,698 to train."""


def published(clips: Sequence[Clip]) -> np.ndarray:
    """Return bool [clips], True for test clips, with the published number of each emotion but other clips.

    Clips are ranked by a hash of their name, and the first of each emotion are test clips, so the split does not depend
    on a seed. In an incomplete set, a tenth of each emotion are test clips (rounded, at least one).
    """
    test = np.zeros(len(clips), dtype=bool)
    for emotion in EMOTIONS:
        rows = [row for row, clip in enumerate(clips) if clip.emotion == emotion]
        rows.sort(key=lambda row: derive_seed(0, "crema_d", "published", clips[row].name))
        count = PUBLISHED_TEST[emotion] if len(clips) == COMPLETE else max(1, round(len(rows) / 10))
        test[rows[:count]] = True
    return test


def by_actor(clips: Sequence[Clip], seed: int) -> np.ndarray:
    """Return bool [clips], True for test clips: all clips of a tenth of the actors, drawn with ``seed``."""
    actors = sorted({clip.actor for clip in clips})
    count = max(1, round(len(actors) / 10))
    chosen = set(stream(seed, "crema_d", "test actors").choice(actors, count, replace=False).tolist())
    return np.array([clip.actor in chosen for clip in clips])


def from_file(clips: Sequence[Clip], path: Path) -> np.ndarray:
    """Return bool [clips], True for the clips named in the first column of the csv file ``path``.

    A first line that names no clip is taken for a header; a folder before and an ending after a name are ignored.

    Raises:
        ScenarioError: The file cannot be read, or contains a name that is not among ``clips``.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            column = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a csv file"
        raise ScenarioError(f"data.split_file: {path} cannot be read ({reason})") from None
    names = [Path(entry).name.split(".")[0] for entry in column]
    if names and parse(names[0]) is None:
        names = names[1:]
    rows = {clip.name: row for row, clip in enumerate(clips)}
    unknown = [name for name in names if name not in rows]
    if unknown:
        near = difflib.get_close_matches(unknown[0], rows, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ScenarioError(
            f"data.split_file: {path}: {len(unknown)} of {len(names)} names are no clip that is here, the first is "
            f"{unknown[0]!r}.{hint} Give one clip name per line, such as 1001_DFA_ANG_XX."
        )
    test = np.zeros(len(clips), dtype=bool)
    test[[rows[name] for name in names]] = True
    return test
