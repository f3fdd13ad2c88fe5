"""Sound files to network inputs: reading, cutting to length, spectrograms."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np

from learners.data.media.broken import BrokenFileError
from learners.data.media.oddities import Note
from learners.data.media.wav import readable

WHOLE = 0.9
"""Sound or video below this share of its stated length counts as shortened; headers are not exact."""
_CANCELLED = 0.1


def read_mono(path: Path, sample_rate_hz: int, note: Note = lambda odd: None) -> np.ndarray:
    """Read the sound in ``path`` as mono float32 [samples] at ``sample_rate_hz``, resampled if it must be.

    ``note`` is called if the sound is silent, shorter than its header says, or cannot be mixed (:func:`mixed`).

    Raises:
        BrokenFileError: It cannot be read as sound, is zero samples long, or holds samples that are not numbers.
    """
    import soundfile

    try:
        source, share = readable(path)
        with soundfile.SoundFile(source) as file:
            rate_hz, stated = file.samplerate, file.frames
            sound = file.read(dtype="float32", always_2d=True).T
    except (OSError, RuntimeError) as error:  # soundfile's own error is a RuntimeError
        raise BrokenFileError(path, f"cannot be read as sound ({_first_line(error)})") from None
    if sound.shape[1] == 0:
        raise BrokenFileError(path, "holds zero samples")
    if not np.isfinite(sound).all():
        raise BrokenFileError(path, "holds samples that are not numbers")
    if share * sound.shape[1] < WHOLE * stated:
        note("shortened_clips")
    return resampled(mixed(sound, note), rate_hz, sample_rate_hz)


def mixed(sound: np.ndarray, note: Note) -> np.ndarray:
    """Mix ``sound`` [channels, samples] down to one channel [samples].

    The result is the mean of the channels. If the mean has less than a tenth of the energy expected for unrelated
    channels, E = (E_1 + ... + E_n) / n^2, the channels cancel each other, as in stereo with one side connected the
    wrong way round. Then the result is the loudest channel, and ``note`` is called. ``note`` is also called for
    silence.
    """
    energies = np.square(sound, dtype=np.float64).sum(axis=1)
    if not energies.any():
        note("silent_clips")
    mono: np.ndarray = sound.mean(axis=0)
    if np.square(mono, dtype=np.float64).sum() < _CANCELLED * energies.sum() / len(sound) ** 2:
        note("antiphase_clips")
        return sound[int(energies.argmax())]
    return mono


def resampled(mono: np.ndarray, rate_hz: int, to_hz: int) -> np.ndarray:
    """Convert ``mono`` [samples] at ``rate_hz`` to the same sound at ``to_hz``."""
    if rate_hz == to_hz:
        return mono
    import librosa

    sound: np.ndarray = librosa.resample(mono, orig_sr=rate_hz, target_sr=to_hz)
    return sound


def tile(sound: np.ndarray, samples: int) -> np.ndarray:
    """Repeat ``sound`` [n] until it fills ``samples``, and cut it there."""
    return np.tile(sound, -(-samples // len(sound)))[:samples]


def loudest_window(sound: np.ndarray, samples: int) -> np.ndarray:
    """Return the ``samples`` consecutive samples of ``sound`` [n] with most energy; zero-padded around if shorter."""
    spare = len(sound) - samples
    if spare <= 0:
        return np.pad(sound, (-spare // 2, -spare - (-spare // 2)))
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[samples:] - energy[:-samples]))
    return sound[start : start + samples]


def log_spectrogram(sound: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Compute the logarithm of the magnitude of the short-time Fourier transform, ln(|S| + 1e-7).

    Args:
        sound: Samples [samples].
        n_fft: Samples per (Hann) window.
        hop: Samples between windows; windows are centred, zeros beyond the ends.

    Returns:
        float32 [n_fft/2 + 1, 1 + floor(samples/hop)].
    """
    import librosa

    return np.log(np.abs(librosa.stft(sound, n_fft=n_fft, hop_length=hop)) + 1e-7, dtype=np.float32)


def log_mel(sound: np.ndarray, sample_rate_hz: int, bands: int, frames: int, n_fft: int) -> np.ndarray:
    """Compute the log power in ``bands`` mel bands, ln(P + 1e-6), in ``frames`` windows; float32 [bands, frames]."""
    import librosa

    spectrum = librosa.stft(sound, n_fft=n_fft, hop_length=len(sound) // frames)[:, :frames]
    power = _mel_filters(sample_rate_hz, n_fft, bands) @ np.square(np.abs(spectrum))
    return np.log(power + 1e-6, dtype=np.float32)


@lru_cache(maxsize=8)
def _mel_filters(sample_rate_hz: int, n_fft: int, bands: int) -> np.ndarray:
    """Return weights [bands, n_fft/2 + 1]; cached, since computing them takes longer than using them."""
    import librosa

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Empty filters"
        )  # narrow low bands at small n_fft: harmless
        return librosa.filters.mel(sr=sample_rate_hz, n_fft=n_fft, n_mels=bands)


def pooled(spectrogram: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Reduce ``spectrogram`` [bins, frames] to ``shape`` by averaging cells (adaptive average pooling)."""
    if spectrogram.shape == shape:
        return spectrogram
    import torch

    cells = torch.from_numpy(spectrogram)[None]  # [1, bins, frames]
    return torch.nn.functional.adaptive_avg_pool2d(cells, shape)[0].numpy()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
