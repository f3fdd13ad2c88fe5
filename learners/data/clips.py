"""Names of CREMA-D's clips: ``1001_DFA_ANG_XX`` is actor, sentence, emotion and level."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
"""Label ``i`` is ``EMOTIONS[i]``: the order of the OGM-GE pipeline (docs/data.md)."""

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
LEVELS = ("XX", "LO", "MD", "HI")
ACTORS = range(1001, 1092)

# The 20 clips that the published set of 7,442 lacks: (actor, sentence) -> emotions that were not recorded.
_MISSING: dict[tuple[int, str], frozenset[str]] = {
    (1002, "TIE"): frozenset({"NEU"}),
    (1008, "WSI"): frozenset(EMOTIONS),
    (1009, "MTI"): frozenset(EMOTIONS),
    (1019, "ITH"): frozenset(EMOTIONS),
    (1076, "ITS"): frozenset({"NEU"}),
}

_PATTERN = re.compile(rf"(\d{{4}})_({'|'.join(SENTENCES)})_({'|'.join(EMOTIONS)})_({'|'.join(LEVELS)}|X)")


@dataclass(frozen=True, order=True)
class Clip:
    """One recorded utterance."""

    actor: int
    sentence: str
    emotion: str
    level: str

    @property
    def name(self) -> str:
        """Return the clip's name in files, without an ending."""
        return f"{self.actor}_{self.sentence}_{self.emotion}_{self.level}"

    @property
    def label(self) -> int:
        """Return its class."""
        return EMOTIONS.index(self.emotion)


def parse(name: str) -> Clip | None:
    """Return the clip with this ``name`` (no folder, no ending), or None if CREMA-D has no such clip."""
    match = _PATTERN.fullmatch(name)
    return Clip(int(match[1]), match[2], match[3], match[4]) if match else None


def complete() -> list[Clip]:
    """Return all 7,442 clips of CREMA-D, sorted by name.

    Each of 91 actors says 12 sentences in 6 emotions at no stated level (XX), but the sentence IEO at three
    levels (LO, MD, HI) of each emotion other than neutral; 20 of these 7,462 were never published.
    """
    return sorted(_recorded(), key=lambda clip: clip.name)


def _recorded() -> Iterator[Clip]:
    for actor in ACTORS:
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                if emotion in _MISSING.get((actor, sentence), ()):
                    continue
                graded = sentence == "IEO" and emotion != "NEU"
                for level in ("LO", "MD", "HI") if graded else ("XX",):
                    yield Clip(actor, sentence, emotion, level)
