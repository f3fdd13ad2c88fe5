"""Compressors of what averaging learners send: found by name and without PyTorch.

A compressor makes of a change of d weights one that fewer bits can say. Each part of a network is compressed on its
own, for receivers may hold different parts. Its bits depend on sizes alone, so they are known before the training.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

import netsim.core.options
from learners.choice import Choice
from netsim.core.options import NoOptions
from netsim.core.registry import load

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SEED_BITS = 64
"""Bits of a seed that says which numbers are sent."""

SAMPLE = 1024
"""Numbers from which it is guessed how large the largest are."""

NEARLY = 0.98
"""The least of a device's largest numbers, as a part of that of the device before, if all goes well."""


class Compressor(ABC):
    """A compressor of changes.

    Attributes:
        Options: The model of its block in the scenario.
        FLOPS: FLOPs for each weight: sums, products, comparisons, with those of the change and of what is left over.
    """

    Options: ClassVar[type[netsim.core.options.Options]] = NoOptions
    FLOPS: ClassVar[int] = 0

    def __init__(self, options: netsim.core.options.Options) -> None:
        self.options: Any = options

    @abstractmethod
    def bits(self, sizes: Sequence[int], value_bits: float) -> float:
        """Return the bits of the encoding.

        Args:
            sizes: Numbers of each tensor of the part.
            value_bits: Bits of a number that is sent as it is.
        """

    @abstractmethod
    def compress(
        self, rows: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> Tensor:
        """Return what a receiver makes of the message, a tensor of its own [devices, d].

        A device's result must not depend on the others.

        Args:
            rows: The change of each device [devices, d].
            tensors: The places of the part's tensors in a row.
            seeds: What each device's randomness comes from.
            unbiased: Whether the mean over the randomness is to be the change itself, as far as the method can. Else
                the result is to be near the change (a contraction), which memories of errors need.
        """

    def move(
        self, change: Tensor, known: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> None:
        """Move what messages say from ``change`` to ``known``, both [devices, d], in place; the rest of it stays.

        Args:
            change: The change of each device.
            known: What receivers have, and have then.
            tensors: As for :meth:`compress`, like the rest.
            seeds: What each device's randomness comes from.
            unbiased: Whether the mean is to be the change itself.
        """
        said = self.compress(change, tensors, seeds, unbiased)
        known += said
        change -= said


class Whole(Compressor):
    """The change itself, each number as it is."""

    def bits(self, sizes: Sequence[int], value_bits: float) -> float:
        """Return d numbers."""
        return sum(sizes) * value_bits

    def compress(
        self, rows: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> Tensor:
        """Return a copy."""
        return rows.clone()


class Lossy(netsim.core.options.Options):
    """Options of all compressors that lose something."""

    error_feedback: bool = Field(
        default=False,
        description="under a server: a device adds what its last message left out to its next one (Karimireddy "
        "et al. 2019); without a server devices do so anyway",
    )
    gossip_step: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="without a server: γ, how far a device goes towards what it knows of its neighbours' models "
        "(CHOCO); the stronger the compression, the smaller it has to be",
    )


class SparseOptions(Lossy):
    """Block of compressors ``top_k`` and ``random_k``."""

    ratio: float = Field(
        default=0.1, gt=0, le=1, description="k/d, the part of each part's weights that is sent"
    )


class Sparse(Compressor):
    """Base of compressors that send k = ⌈ratio · d⌉ of d numbers."""

    Options = SparseOptions
    options: SparseOptions

    def count(self, size: int) -> int:
        """Return k of ``size`` numbers."""
        return min(size, math.ceil(round(self.options.ratio * size, 6)))

    @abstractmethod
    def places(self, rows: NDArray[Any], seeds: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield the places of the k numbers of each of ``rows`` [devices, d]."""

    def factor(self, size: int, unbiased: bool) -> float:
        """Return what a number is multiplied by."""
        return 1.0

    def _said(
        self, rows: NDArray[Any], seeds: Sequence[int], unbiased: bool
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield places and values of each row's message."""
        factor = self.factor(rows.shape[1], unbiased)
        for row, places in zip(rows, self.places(rows, seeds), strict=True):
            values = row.take(places)
            yield places, values if factor == 1 else values * factor

    def compress(
        self, rows: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> Tensor:
        """Return k numbers of each row, and zeros."""
        import torch

        here = rows.cpu()
        found = torch.zeros_like(here)
        for own, (places, values) in zip(
            found.numpy(), self._said(here.numpy(), seeds, unbiased), strict=True
        ):
            own[places] = values
        return found.to(rows.device)

    def move(
        self, change: Tensor, known: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> None:
        """Move k numbers of each row, and touch no others."""
        here, there = change.cpu(), known.cpu()  # themselves, if they are there
        rows = here.numpy()
        for row, own, (places, values) in zip(
            rows, there.numpy(), self._said(rows, seeds, unbiased), strict=True
        ):
            own[places] += values
            row[places] -= values
        change.copy_(here)
        known.copy_(there)


class TopK(Sparse):
    """The k numbers that are largest without their signs, of equal ones the first (Stich et al. 2018)."""

    FLOPS = 6

    def __init__(self, options: netsim.core.options.Options) -> None:
        super().__init__(options)
        self._least = math.inf  # of those chosen last: where to begin looking

    def bits(self, sizes: Sequence[int], value_bits: float) -> float:
        """Return k values and their places, of ⌈log₂ d⌉ bits or in a map of d bits; or all d if that is less."""
        size = sum(sizes)
        values = self.count(size) * value_bits
        places = min(self.count(size) * math.ceil(math.log2(size)) if size > 1 else 0, size)
        return min(values + places, size * value_bits)

    def places(self, rows: NDArray[Any], seeds: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield the places of the largest k of each row."""
        import numpy as np

        count, sizes = self.count(rows.shape[1]), np.empty_like(rows[0])
        for row in rows:
            np.abs(row, out=sizes)
            found = largest(sizes, count, self._least * NEARLY)
            self._least = float(sizes.take(found).min())
            yield found


class RandomK(Sparse):
    """Any k numbers, drawn without replacement from a seed that is sent (Stich et al. 2018)."""

    FLOPS = 4

    def bits(self, sizes: Sequence[int], value_bits: float) -> float:
        """Return the seed and k values."""
        return SEED_BITS + self.count(sum(sizes)) * value_bits

    def factor(self, size: int, unbiased: bool) -> float:
        """Return d/k where it is to be ``unbiased``."""
        return size / self.count(size) if unbiased else 1.0

    def places(self, rows: NDArray[Any], seeds: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield k places drawn from each seed."""
        import torch

        size = rows.shape[1]
        for seed in seeds:
            order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
            yield order[: self.count(size)].numpy()


class QuantiseOptions(Lossy):
    """Block of compressor ``quantise``."""

    levels: PositiveInt = Field(default=16, description="s, steps between 0 and a tensor's norm")


class Quantise(Compressor):
    """QSGD (Alistarh et al. 2017, Section 3.1): ‖v‖ sign(v_i) ξ_i/s, with ξ_i a whole number next to s |v_i|/‖v‖.

    The upper one is drawn with the probability that makes the mean right. Each tensor has its own norm. Where memories
    need a contraction, it is divided by τ = 1 + min(d/s², √d/s) (Koloskova et al. 2019, Section 3.5).
    """

    Options = QuantiseOptions
    options: QuantiseOptions
    FLOPS = 8

    def bits(self, sizes: Sequence[int], value_bits: float) -> float:
        """Return ⌈log₂(2 s + 1)⌉ bits for each number, and the norm of each tensor."""
        return sum(sizes) * math.ceil(math.log2(2 * self.options.levels + 1)) + len(sizes) * value_bits

    def compress(
        self, rows: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> Tensor:
        """Return quantised rows."""
        import torch

        levels, found = self.options.levels, torch.empty_like(rows)
        for own, row, seed in zip(found, rows, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            chance = torch.rand(len(row), generator=generator, dtype=row.dtype).to(row.device)
            for place in tensors:
                v = row[place]
                norm = torch.linalg.vector_norm(v)
                steps = (levels * v.abs() / norm + chance[place]).floor_().clamp_(max=levels)
                spread = 1.0 if unbiased else 1 + min(len(v) / levels**2, len(v) ** 0.5 / levels)
                own[place] = v.sign() * steps.mul_(norm / (levels * spread)) if norm else 0.0
        return found


class Sign(Compressor):
    """The sign of each number (Bernstein et al. 2018), times its tensor's mean size (Karimireddy et al. 2019)."""

    Options = Lossy
    FLOPS = 5

    def bits(self, sizes: Sequence[int], value_bits: float) -> float:
        """Return a bit for each number, and the scale of each tensor."""
        return sum(sizes) + len(sizes) * value_bits

    def compress(
        self, rows: Tensor, tensors: Sequence[slice], seeds: Sequence[int], unbiased: bool
    ) -> Tensor:
        """Return ‖v‖₁/d times the signs of each tensor, + for 0; it is never unbiased."""
        import torch

        found = torch.empty_like(rows)
        for own, row in zip(found, rows, strict=True):
            for place in tensors:
                scale = row[place].abs().mean()
                own[place] = torch.where(row[place] < 0, -scale, scale)
        return found


def largest(sizes: NDArray[Any], count: int, guess: float = math.inf) -> NDArray[Any]:
    """Return the places of the ``count`` largest ``sizes``, of equal ones the first.

    Only numbers that are as large as a ``guess`` are sorted, if it leaves enough of them and not many more. Else a
    sample says about how large they are; if that leaves too few, everything is sorted.
    """
    import numpy as np

    some = (sizes >= sizes.dtype.type(guess)).nonzero()[0]
    if not count <= len(some) <= 3 * count:
        sample = sizes[:: max(1, len(sizes) // SAMPLE)]
        wanted = min(len(sample), 4 + math.ceil(1.5 * count * len(sample) / len(sizes)))
        some = (sizes >= np.partition(sample, len(sample) - wanted)[len(sample) - wanted]).nonzero()[0]
    if len(some) < count:
        some = np.arange(len(sizes))
    own = sizes.take(some)
    least = np.partition(own, len(own) - count)[len(own) - count]
    found: NDArray[Any] = some[own >= least]
    if len(found) > count:
        above = some[own > least]
        found = np.concatenate([above, some[own == least][: count - len(above)]])
    return found


class CompressorChoice(Choice):
    """A compressor by name, with its options beside it: ``{name: top_k, ratio: 0.01}``."""

    KIND: ClassVar[str] = "compressors"

    def make(self) -> Compressor:
        """Return the compressor."""
        kind = load(self.KIND, self.name)
        found: Compressor = kind(kind.Options.model_validate(self.options))
        return found


WHOLE = CompressorChoice.model_construct(name="none")
