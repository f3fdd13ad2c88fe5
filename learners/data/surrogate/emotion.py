"""Emotions that a clip of the surrogate shows in its voice and in its face, and their strength.

People in recordings do not always express the emotion that they were asked for. Here each clip draws, for each
modality independently, the *shown* emotion from a row of a confusion matrix. A network of any size has only the shown
emotion, not the intended one. So the matrices give a ceiling on its accuracy, which :func:`ceiling` computes. The
voice confuses emotions of similar arousal (neutral and sad, happy and angry), the face those of similar features
(disgust and anger, fear and sadness): the two complement each other, as in the recordings.
"""

from __future__ import annotations

import numpy as np

from learners.data.clips import Clip
from netsim.core.streams import stream

# Rows: intended; columns: shown; both in the order NEU HAP SAD FEA DIS ANG. Percent.
VOICE = np.array(
    [
        [67, 2, 19, 2, 8, 2],
        [5, 64, 2, 12, 3, 14],
        [19, 1, 65, 6, 8, 1],
        [3, 12, 9, 65, 5, 6],
        [11, 5, 11, 6, 63, 4],
        [1, 14, 1, 5, 6, 73],
    ]
)
FACE = np.array(
    [
        [66, 2, 13, 5, 5, 9],
        [4, 80, 2, 4, 8, 2],
        [12, 1, 65, 13, 6, 3],
        [5, 4, 14, 66, 7, 4],
        [5, 6, 5, 6, 62, 16],
        [9, 1, 4, 5, 16, 65],
    ]
)

_LEVEL_STRENGTH = {"LO": 0.75, "MD": 0.95, "HI": 1.2}


def shown(clip: Clip, modality: str, confusion: np.ndarray) -> tuple[int, float]:
    """Return the emotion that ``clip`` shows in ``modality`` (a label), and its strength (1 is typical)."""
    random = stream(0, "surrogate", modality, "shown", clip.name)
    label = int(random.choice(6, p=confusion[clip.label] / 100))
    strength = _LEVEL_STRENGTH.get(clip.level, random.uniform(0.75, 1.2)) * random.uniform(0.9, 1.1)
    return label, float(strength)


def ceiling(*confusions: np.ndarray) -> float:
    """Compute the accuracy of the best possible classifier of shown emotions, for equally frequent emotions.

    It gets one shown emotion per matrix, drawn independently given the intended one, and returns the most likely
    intended emotion. Its accuracy is the sum over all outcomes of max over e of
    P(e) P(shown_1 | e) P(shown_2 | e) ...
    """
    joint = np.ones((6, 1)) / 6  # [intended, outcomes so far]
    for confusion in confusions:
        joint = (joint[:, :, None] * (confusion / 100)[:, None, :]).reshape(6, -1)
    return float(joint.max(axis=0).sum())
