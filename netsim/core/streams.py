"""Named random streams: each consumer of randomness has its own, so adding one changes no other."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *name: str | int) -> int:
    """Derive a 63-bit seed from the run's ``seed`` and the consumer's ``name``, and from nothing else.

    Args:
        seed: The run's seed.
        *name: Who draws, for what: ``("stragglers", device, round)``, ``("fading",)`` ...

    Returns:
        An integer in [0, 2**63), fit for NumPy and for ``torch.Generator.manual_seed``. It is the head of
        a SHA-256 digest: stable across processes, machines and versions, unlike ``hash()``.
    """
    text = f"{int(seed)}"
    for part in name:  # in half the time that a join takes; every training asks twice
        text += f"\x1f{type(part).__name__}:{part}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return the random stream of the consumer called ``name``, at its beginning.

    Asking twice gives the same numbers twice: a stream is a function of seed and name, not of who asked
    first. See :func:`derive_seed`.
    """
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *name)))
