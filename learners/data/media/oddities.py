"""Oddities of clips that do not stop a run: shown on the screen, and kept in the run's facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

ODDITIES = {
    "silent_clips": "have no sound, or zeros for sound",
    "blank_clips": "show a single colour and nothing else",
    "shortened_clips": "end before their files say: parts of these files are missing",
    "antiphase_clips": "have channels that cancel each other out: their loudest channel is used, not the mean",
}
"""Descriptions of odd clips, by key in a run's facts."""

Note = Callable[[str], None]
"""A function called with the key of an oddity of the file that is being read."""

_FIRST = 5


def flags(odd: Collection[str]) -> np.ndarray:
    """Return one row of the flags for :func:`tell`, bool [oddities]."""
    return np.array([key in odd for key in ODDITIES])


def tell(
    odd: np.ndarray, names: Sequence[str], say: Callable[[str], None], what: str = "clips"
) -> dict[str, Any]:
    """Show a message about odd clips and return their facts.

    Args:
        odd: bool [rows, oddities], in the order of ``ODDITIES``.
        names: Name of the clip in each row; a clip in several rows counts once.
        say: Called with a sentence for each oddity found.
        what: Word for the clips in this sentence.

    Returns:
        For the run's facts: by oddity found, the ``count`` of such clips and the ``first`` names.
    """
    facts = {}
    for (key, text), rows in zip(ODDITIES.items(), odd.T, strict=True):
        found = list(dict.fromkeys(name for name, is_odd in zip(names, rows, strict=True) if is_odd))
        if found:
            say(f"{len(found):,} of {len(set(names)):,} {what} {text}; the first is {found[0]}")
            facts[key] = {"count": len(found), "first": found[:_FIRST]}
    return facts
