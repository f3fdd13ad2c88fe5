"""Speech-like sound: a glottal source and noise, filtered by formants (Fant's source-filter model).

Pitch, its range, tempo, loudness, spectral tilt, breath and tremor follow the emotion shown; base pitch, vocal
tract length and loudness the actor; the order of vowels and consonants the sentence. The filter is applied to
short-time spectra, all frames of a clip at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from learners.data.clips import Clip
from learners.data.surrogate.emotion import VOICE, shown
from netsim.core.streams import stream

SAMPLE_RATE_HZ = 16_000
_WINDOW = 512
_HOP = 256
_BINS_HZ = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE_HZ).astype(np.float32)  # [257]
_OCTAVES = np.log2(np.maximum(_BINS_HZ, 500) / 500)  # above 500 Hz, [257]

# First three formants [Hz] of a male speaker, after Peterson & Barney (1952), Table II.
_VOWELS_HZ = {
    "i": (270, 2290, 3010),
    "I": (390, 1990, 2550),
    "e": (530, 1840, 2480),
    "a": (660, 1720, 2410),
    "A": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "@": (640, 1190, 2390),
    "r": (490, 1350, 1690),
}
_BANDWIDTHS_HZ = (80.0, 110.0, 160.0)

# A vowel per syllable; a dot before it marks a hissing consonant.
_SENTENCES = {
    "IEO": "I I .e @ @ A",
    "TIE": ".a .I e .a I .A .a @",
    "IOM": "A A A e .u .@ i .I",
    "IWW": "A @ r A .I .I @ A",
    "TAI": ".@ e e .I A o .u",
    "MTI": "e i .u A o I .I i o",
    "IWL": "A u A @ u @ A A",
    "ITH": "A .I A .a @ A .r @ o .e",
    "DFA": "o .o e @ .a .e",
    "ITS": "A .I A .i .I i o",
    "TSI": ".@ .r .@ .I .I",
    "WSI": "i .A I @ .@ @ @ I .I",
}


@dataclass(frozen=True)
class _Manner:
    """Changes of a voice by an emotion at strength 1; all zero for neutral."""

    pitch: float = 0.0  # log of the ratio to the actor's own
    range: float = 0.0  # log of the ratio of the pitch range
    tempo: float = 0.0  # log of the ratio of syllables per second
    loudness_db: float = 0.0
    tilt_db: float = 0.0  # per octave above 500 Hz
    breath_db: float = 0.0
    formants: float = (
        0.0  # log of the ratio: lips spread in a smile shorten the tract, a pharynx drawn in lengthens it
    )
    tremor: float = 0.0  # relative pitch deviation at 6 Hz


# NEU HAP SAD FEA DIS ANG, in the directions reported for acted speech by Scherer (2003), Table 2.
_MANNERS = (
    _Manner(),
    _Manner(pitch=0.30, range=0.9, tempo=0.10, loudness_db=5, tilt_db=1.0, formants=0.10),
    _Manner(pitch=-0.08, range=-0.5, tempo=-0.25, loudness_db=-7, tilt_db=-3.0, breath_db=6, formants=-0.03),
    _Manner(pitch=0.38, range=-0.2, tempo=0.25, loudness_db=0, tilt_db=-1.5, breath_db=14, tremor=0.04),
    _Manner(pitch=-0.18, range=0.5, tempo=-0.20, loudness_db=-1, tilt_db=3.0, breath_db=-4, formants=-0.10),
    _Manner(pitch=0.20, range=0.6, tempo=0.12, loudness_db=11, tilt_db=4.0, breath_db=-6),
)


def voice(clip: Clip) -> np.ndarray:
    """Generate the sound of ``clip``: int16 [samples] at 16 kHz, 1.3 to 4 s."""
    label, strength = shown(clip, "voice", VOICE)
    manner = _MANNERS[label]
    actor = stream(0, "surrogate", "voice", "actor", clip.actor)
    female = actor.random() < 43 / 91
    base_hz = float(np.exp(actor.normal(np.log(205 if female else 115), 0.10)))
    tract = (1.14 if female else 1.0) * float(np.exp(actor.normal(0, 0.04)))
    actor_db, room_db, actor_tempo = actor.normal(0, 1.0), actor.normal(-55, 2), actor.normal(0, 0.05)
    random = stream(0, "surrogate", "voice", clip.name)

    # Time: one rise of loudness per syllable, a short hiss for hissing consonants.
    syllables = _SENTENCES[clip.sentence].split()
    tempo = 4.6 * np.exp(manner.tempo * strength + actor_tempo + random.normal(0, 0.08))  # per second
    seconds = random.uniform(0.75, 1.25, len(syllables)) / tempo
    onset_s = random.uniform(0.15, 0.5) + np.concatenate([[0.0], np.cumsum(seconds)])
    total_s = onset_s[-1] + random.uniform(0.2, 0.6)
    frames = int(total_s * SAMPLE_RATE_HZ / _HOP)
    at_s = np.arange(frames) * _HOP / SAMPLE_RATE_HZ
    index = np.clip(np.searchsorted(onset_s, at_s, side="right") - 1, 0, len(syllables) - 1)
    progress = (at_s - onset_s[index]) / seconds[index]  # 0 to 1 within a syllable
    speaking = (progress >= 0) & (progress < 1)
    stress = random.uniform(0.6, 1.0, len(syllables))[index]
    voiced = np.where(speaking, stress * np.sin(np.pi * np.clip(progress, 0, 1)) ** 0.7, 0.0)
    hisses = np.array([syllable[0] == "." for syllable in syllables])[index]
    hiss = np.where(speaking & hisses & (progress < 0.3), 0.5, 0.0)

    # Source: pulses whose pitch falls over the sentence, rises and falls with each syllable, and may tremble.
    spread = 0.09 * np.exp(manner.range * strength + random.normal(0, 0.25))
    accents = random.normal(0, 1, len(syllables))[index] * np.sin(np.pi * np.clip(progress, 0, 1))
    contour = spread * (accents + 1.2 - 2.4 * at_s / total_s)
    contour += manner.tremor * strength * np.sin(2 * np.pi * 6 * at_s + random.uniform(0, 6))
    pitch_hz = base_hz * np.exp(manner.pitch * strength + random.normal(0, 0.08) + contour)
    samples = (frames - 1) * _HOP + _WINDOW
    fine = np.interp(np.arange(samples), np.arange(frames) * _HOP + _WINDOW / 2, pitch_hz)
    phase = np.cumsum(fine / SAMPLE_RATE_HZ)
    fall = (1 - (phase - np.floor(phase))).astype(np.float32)  # 1 at a pulse, falling to 0 before the next
    pulses = fall * fall * fall * fall - 0.2

    # Filter: three moving resonances, and a tilt that is the voice's effort.
    tilt_db = -4 + manner.tilt_db * strength + random.normal(0, 0.5)
    vowels_hz = np.array([_VOWELS_HZ[syllable[-1]] for syllable in syllables])[index]  # [frames, 3]
    shift = np.float32(tract * np.exp(manner.formants * strength + random.normal(0, 0.015)))
    tilt = (10 ** (tilt_db / 20 * _OCTAVES)).astype(np.float32)
    tract_filter = _resonances(_smooth(vowels_hz) * shift) * tilt * voiced[:, None].astype(np.float32)
    breath = np.float32(10 ** ((-26 + manner.breath_db * strength + random.normal(0, 2)) / 20))
    noise = random.standard_normal((frames, 2 * len(_BINS_HZ)), dtype=np.float32).view(np.complex64)
    spectra = (_analyse(pulses) + noise * breath) * tract_filter
    hissing = np.flatnonzero(hiss)
    spectra[hissing] += noise[hissing] * (0.4 * hiss[hissing, None].astype(np.float32) * _HISS)
    sound = _synthesise(spectra)

    # Loudness depends on emotion, actor and microphone; the room's noise does not.
    level_db = -29 + manner.loudness_db * strength + actor_db + random.normal(0, 1.0)
    sound *= np.float32(10 ** (level_db / 20) / np.sqrt(np.mean(sound**2)))
    sound += np.float32(10 ** (room_db / 20)) * random.standard_normal(len(sound), dtype=np.float32)
    return (np.clip(sound, -0.99, 0.99) * 32767).astype(np.int16)


_SINE = np.sin(np.pi * (np.arange(_WINDOW) + 0.5) / _WINDOW).astype(np.float32)
_HISS = (1 / (1 + np.exp(-(_BINS_HZ - 3500) / 500))).astype(np.float32)  # a smooth high-pass


def _resonances(centres_hz: np.ndarray) -> np.ndarray:
    """Return the magnitude of the tract's filter, [frames, 257], for formants [frames, 3]: a sum of Lorentz curves."""
    response = np.full((len(centres_hz), len(_BINS_HZ)), 0.02, dtype=np.float32)
    for column, bandwidth_hz in enumerate(_BANDWIDTHS_HZ):
        distance = (_BINS_HZ - centres_hz[:, column, None]) * np.float32(1 / bandwidth_hz)
        response += 1 / np.sqrt(1 + distance * distance) / np.float32(column + 1)
    return response


def _smooth(track: np.ndarray) -> np.ndarray:
    """Return the running mean over 5 frames (80 ms), since mouths move continuously."""
    padded = np.pad(track.astype(np.float32), ((2, 2), (0, 0)), mode="edge")
    return sum(padded[i : i + len(track)] for i in range(5)) / np.float32(5)  # type: ignore[return-value]


def _analyse(sound: np.ndarray) -> np.ndarray:
    """Return short-time spectra, complex64 [frames, 257]."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    return fft.rfft(frames * _SINE, axis=1)


def _synthesise(spectra: np.ndarray) -> np.ndarray:
    """Return the sound by overlap-add; a sine window twice is a squared sine, whose halves sum to one."""
    frames = fft.irfft(spectra, n=_WINDOW, axis=1).astype(np.float32) * _SINE
    sound = np.zeros((len(frames) + 1) * _HOP, dtype=np.float32)
    sound[:-_HOP] += frames[:, :_HOP].ravel()
    sound[_HOP:] += frames[:, _HOP:].ravel()
    return sound
