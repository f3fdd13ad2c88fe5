"""Drawn faces: brows, eyes, nose and mouth follow the shown emotion, the rest the actor and the take.

Pictures are small. The relevant features have few pixels and the others (skin, hair, background, light, pose, the
spoken vowel) have many, so a network learns faces later than voices.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from learners.data.clips import Clip
from learners.data.surrogate.emotion import FACE, shown
from netsim.core.streams import stream

WIDTH, HEIGHT = 128, 96
_FINE = 2  # drawn this many times larger, then averaged down: smooth edges

# How an emotion moves a face at strength 1, in the spirit of Ekman's action units.
# Columns: brow height, brow slope (inner ends up), eye opening, mouth corners, mouth opening, upper lip, nose wrinkle.
_MOVES = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # NEU
        [0.1, 0.0, -0.3, 1.0, 0.5, 0.2, 0.0],  # HAP
        [0.1, 0.9, -0.4, -0.8, -0.1, 0.0, 0.0],  # SAD
        [0.9, 0.6, 0.9, -0.3, 0.6, 0.0, 0.0],  # FEA
        [-0.5, -0.2, -0.6, -0.4, 0.2, 0.9, 1.0],  # DIS
        [-0.7, -0.9, 0.4, -0.4, -0.2, 0.1, 0.3],  # ANG
    ]
)
_JITTER = np.array([0.16, 0.16, 0.16, 0.16, 0.22, 0.16, 0.16])


def face(clip: Clip) -> Image.Image:
    """Draw ``clip`` in mid-utterance: RGB, 128 x 96 pixels, with the aspect of CREMA-D's frames."""
    label, strength = shown(clip, "face", FACE)
    random = stream(0, "surrogate", "face", clip.name)
    moves = _MOVES[label] * strength + random.normal(0, 1, 7) * _JITTER
    moves[4] += max(0.0, random.normal(0.1, 0.2))  # speaking opens the mouth, in every emotion
    look = _Look(clip.actor)

    picture = Image.new("RGB", (WIDTH * _FINE, HEIGHT * _FINE), look.background)
    unit = HEIGHT * _FINE * look.size * float(np.exp(random.normal(0, 0.05)))  # height of the face in pixels
    centre = np.array([WIDTH, HEIGHT]) * _FINE / 2 + random.normal(0, 0.025, 2) * HEIGHT * _FINE
    centre += look.offset * HEIGHT * _FINE
    _draw(ImageDraw.Draw(picture), look, moves, centre, unit)
    small = picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    small = small.rotate(
        float(look.tilt + random.normal(0, 4)), Image.Resampling.BILINEAR, fillcolor=look.background
    )
    small = small.filter(ImageFilter.GaussianBlur(abs(random.normal(0, 0.4))))
    return _lit(small, look, random)


class _Look:
    """The looks of an actor, the same in all of its clips."""

    def __init__(self, actor: int) -> None:
        random = stream(0, "surrogate", "face", "actor", actor)
        pale = random.uniform(0.35, 1.0)
        skin = np.array([235, 195, 170]) * pale + random.normal(0, 6, 3)
        self.skin = _colour(skin)
        self.shade = _colour(skin * 0.8)
        self.lip = _colour(skin * np.array([0.85, 0.6, 0.6]))
        self.hair = _colour(np.array([90, 65, 45]) * random.uniform(0.2, 2.0) + random.normal(0, 8, 3))
        self.iris = _colour(np.array([60, 60, 60]) + random.uniform(0, 60, 3))
        self.background = _colour(np.array([120, 130, 125]) + random.normal(0, 12, 3))
        self.size = random.uniform(0.68, 0.80)
        self.width = random.uniform(0.68, 0.82)
        self.eyes = random.uniform(0.17, 0.21)  # half their distance
        self.eye_height = random.uniform(-0.12, -0.06)
        self.brow_width = random.uniform(0.018, 0.04)
        self.brow_gap = random.uniform(0.085, 0.115)
        self.brow_slope = random.normal(0, 0.012)
        self.mouth = random.uniform(0.14, 0.19)  # half its width
        self.mouth_height = random.uniform(0.22, 0.27)
        self.corner = random.normal(0, 0.01)
        self.fringe = random.uniform(0.02, 0.18)
        self.beard = random.random() < 0.15
        self.offset = random.normal(0, 0.02, 2)
        self.tilt = random.normal(0, 2)
        self.light = random.normal(0, 0.15, 2)


def _draw(draw: ImageDraw.ImageDraw, look: _Look, moves: np.ndarray, centre: np.ndarray, unit: float) -> None:
    brow, slope, eye, corner, opening, lip, wrinkle = moves

    def at(x: float, y: float) -> tuple[float, float]:
        return (float(centre[0] + unit * x), float(centre[1] + unit * y))

    def oval(x: float, y: float, half_width: float, half_height: float, fill: tuple[int, int, int]) -> None:
        draw.ellipse([*at(x - half_width, y - half_height), *at(x + half_width, y + half_height)], fill=fill)

    def line(points: list[tuple[float, float]], width: float, fill: tuple[int, int, int]) -> None:
        draw.line(
            [at(*point) for point in points], fill=fill, width=max(1, round(width * unit)), joint="curve"
        )

    oval(0, -0.05, look.width * 0.56, 0.55, look.hair)
    draw.rectangle([*at(-0.16, 0.3), *at(0.16, 0.9)], fill=look.shade)
    oval(0, 0, look.width / 2, 0.5, look.skin)
    draw.chord(
        [*at(-look.width * 0.5, -0.52), *at(look.width * 0.5, 0.2)], 205 - 60 * look.fringe, 335 + 60 * look.fringe,
        fill=look.hair,
    )  # fmt: skip
    if look.beard:
        draw.chord([*at(-look.width * 0.4, -0.1), *at(look.width * 0.4, 0.5)], 20, 160, fill=look.hair)
        oval(0, look.mouth_height, look.mouth * 1.2, 0.09, look.skin)

    for side in (-1.0, 1.0):
        x = side * look.eyes
        half_open = max(0.006, 0.034 * (1 + 0.6 * eye))
        oval(x, look.eye_height, 0.075, half_open, (240, 240, 238))
        oval(x, look.eye_height, min(0.032, half_open * 1.2), min(0.032, half_open), look.iris)
        height = look.eye_height - look.brow_gap - 0.035 * brow
        lift = 0.035 * slope + look.brow_slope
        line(
            [(x - side * 0.085, height - lift), (x, height - 0.014), (x + side * 0.085, height + lift * 0.7)],
            look.brow_width,
            look.hair,
        )
        if wrinkle > 0.2:
            for step in (0.0, 0.035):
                line(
                    [(side * 0.03, 0.0 + step), (side * (0.03 + 0.05 * wrinkle), 0.02 + step)],
                    0.012,
                    look.shade,
                )
            line([(side * 0.09, 0.1), (side * 0.15, 0.13 + 0.05 * wrinkle)], 0.014, look.shade)
    line(
        [(0, look.eye_height + 0.05), (0.035, 0.1 - 0.02 * wrinkle), (-0.01, 0.12 - 0.02 * wrinkle)],
        0.016,
        look.shade,
    )

    rise = 0.055 * corner + look.corner  # corners above the middle
    half = look.mouth * (1 + 0.18 * corner)
    top = look.mouth_height - 0.035 * max(0.0, lip)
    gap = 0.055 * max(0.0, opening)
    turns = np.linspace(-1, 1, 13)
    upper = [(half * t, top - rise * t**2 - gap * (1 - t**2) * 0.5) for t in turns]
    lower = [(half * t, look.mouth_height - rise * t**2 + gap * (1 - t**2)) for t in turns]
    draw.polygon([at(*point) for point in upper + lower[::-1]], fill=(70, 25, 30))
    if gap > 0.015:
        line([(0.75 * x, y + 0.012) for x, y in upper], 0.014, (225, 222, 215))  # teeth
    line(upper, 0.02, look.lip)
    line(lower, 0.024, look.lip)


def _lit(picture: Image.Image, look: _Look, random: np.random.Generator) -> Image.Image:
    """Add light from one side, the camera's gain, and its noise."""
    across, down = look.light + random.normal(0, 0.06, 2)
    ramp = 1 + across * np.linspace(-1, 1, WIDTH)[None, :] + down * np.linspace(-1, 1, HEIGHT)[:, None]
    ramp *= np.exp(random.normal(0, 0.08))
    noise = random.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * 4
    pixels = np.asarray(picture, dtype=np.float32) * ramp[:, :, None].astype(np.float32) + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _colour(rgb: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(rgb, 0, 255).astype(int).tolist()
    return red, green, blue
