"""From a sound file to what a network sees: reading, cutting to length, spectrograms."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch

from learners.data.broken import BrokenFileError


def read_mono(path: Path, sample_rate_hz: int) -> np.ndarray:
    """The sound in ``path`` as mono float32 [samples] at ``sample_rate_hz``, resampled if it must be.

    Raises:
        BrokenFileError: It cannot be read as sound, or is zero samples long.
    """
    try:
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:  # soundfile's own error is a RuntimeError
        raise BrokenFileError(path, f"cannot be read as sound ({_first_line(error)})") from None
    if len(sound) == 0:
        raise BrokenFileError(path, "holds zero samples")
    mono = sound.mean(axis=1)
    if not np.isfinite(mono).all():
        raise BrokenFileError(path, "holds samples that are not numbers")
    if rate_hz != sample_rate_hz:
        mono = librosa.resample(mono, orig_sr=rate_hz, target_sr=sample_rate_hz)
    return mono


def tile(sound: np.ndarray, samples: int) -> np.ndarray:
    """``sound`` [n], said again and again until it fills ``samples``, and cut there."""
    return np.tile(sound, -(-samples // len(sound)))[:samples]


def loudest_window(sound: np.ndarray, samples: int) -> np.ndarray:
    """The ``samples`` consecutive samples of ``sound`` [n] that hold most energy; zero-padded around if shorter."""
    spare = len(sound) - samples
    if spare <= 0:
        return np.pad(sound, (-spare // 2, -spare - (-spare // 2)))
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[samples:] - energy[:-samples]))
    return sound[start : start + samples]


def log_spectrogram(sound: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Logarithm of the magnitude of the short-time Fourier transform, ln(|S| + 1e-7).

    Args:
        sound: [samples].
        n_fft: Samples per (Hann) window.
        hop: Samples between windows; windows are centred, zeros beyond the ends.

    Returns:
        float32 [n_fft/2 + 1, 1 + floor(samples/hop)].
    """
    return np.log(np.abs(librosa.stft(sound, n_fft=n_fft, hop_length=hop)) + 1e-7, dtype=np.float32)


def log_mel(sound: np.ndarray, sample_rate_hz: int, bands: int, frames: int, n_fft: int) -> np.ndarray:
    """Logarithm of the power in ``bands`` mel bands, ln(P + 1e-6), in ``frames`` windows; float32 [bands, frames]."""
    spectrum = librosa.stft(sound, n_fft=n_fft, hop_length=len(sound) // frames)[:, :frames]
    power = _mel_filters(sample_rate_hz, n_fft, bands) @ np.square(np.abs(spectrum))
    return np.log(power + 1e-6, dtype=np.float32)


@lru_cache(maxsize=8)
def _mel_filters(sample_rate_hz: int, n_fft: int, bands: int) -> np.ndarray:
    """Weights [bands, n_fft/2 + 1]; kept, since making them takes longer than using them."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Empty filters"
        )  # narrow low bands at small n_fft: harmless
        return librosa.filters.mel(sr=sample_rate_hz, n_fft=n_fft, n_mels=bands)


def pooled(spectrogram: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``spectrogram`` [bins, frames] reduced to ``shape`` by averaging cells (adaptive average pooling)."""
    if spectrogram.shape == shape:
        return spectrogram
    cells = torch.from_numpy(spectrogram)[None]  # [1, bins, frames]
    return torch.nn.functional.adaptive_avg_pool2d(cells, shape)[0].numpy()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
