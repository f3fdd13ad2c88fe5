"""Accuracies of small networks on CREMA-D or its surrogate, trained centrally: a slow check, run by hand.

``python -m learners.checks.surrogate --cache DIR`` trains one network per modality and one of both, and
prints accuracies by epoch. They show whether the surrogate still behaves as docs/data.md claims: the voice is learnt
sooner than the face, both together better than either, and none far above the ceiling of its confusion matrices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from learners.data.dataset import MultimodalDataset
from learners.data.sets.avdigits import AVDigits, AVDigitsOptions
from learners.data.sets.crema_d import CremaD, CremaDOptions
from learners.data.sets.ravdess import Ravdess, RavdessOptions
from learners.data.surrogate.emotion import FACE, VOICE, ceiling
from learners.training.optimizers import Adam


class LateFusion(nn.Module):
    """One extractor per modality and one linear layer over all features."""

    def __init__(self, data: MultimodalDataset, modalities: Sequence[str], width: int) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.extractors = nn.ModuleDict({m: _extractor(data.inputs[m], width) for m in modalities})
        self.classify = nn.LazyLinear(len(data.classes))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return logits [batch, classes]."""
        return self.classify(torch.cat([self.extractors[m](inputs[m]) for m in self.modalities], dim=1))


def _extractor(stored: Tensor, width: int) -> nn.Module:
    if stored.ndim == 2:
        return nn.Sequential(
            nn.Linear(stored.shape[1], 2 * width), nn.ReLU(), nn.Linear(2 * width, width), nn.ReLU()
        )
    layers: list[nn.Module] = []
    channels = stored.shape[1]
    for factor in (1, 2, 4):
        layers += [
            nn.Conv2d(channels, factor * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(factor * width),
        ]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = factor * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def train(
    data: MultimodalDataset,
    modalities: Sequence[str],
    seed: int,
    epochs: int,
    batch: int = 64,
    width: int = 16,
) -> list[float]:
    """Train with Adam at 1e-3 and return the test accuracy after each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = LateFusion(data, modalities, width)
    network({m: data.transforms[m].test(data.inputs[m][:2]) for m in modalities})  # sizes the lazy layer
    optimizer = Adam(network.parameters(), lr=1e-3)
    rows, test = torch.from_numpy(data.train), torch.from_numpy(data.test)
    accuracies = []
    for _ in range(epochs):
        network.train()
        for chosen in rows[torch.randperm(len(rows), generator=generator)].split(batch):
            inputs = {m: data.transforms[m].train(data.inputs[m][chosen], generator) for m in modalities}
            loss = nn.functional.cross_entropy(network(inputs), data.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        right = 0
        with torch.no_grad():
            for chosen in test.split(256):
                inputs = {m: data.transforms[m].test(data.inputs[m][chosen]) for m in modalities}
                right += int((network(inputs).argmax(1) == data.labels[chosen]).sum())
        accuracies.append(right / len(test))
    return accuracies


def main() -> None:
    """Train the networks and print their accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder for generated and pre-processed data"
    )
    parser.add_argument("--data", choices=["crema_d", "ravdess", "avdigits"], default="crema_d")
    parser.add_argument("--root", help="folder of the real data set")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--width", type=int, default=16, help="channels of the first layer")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--audio-shape", type=int, nargs=2, default=[32, 24])
    parser.add_argument("--split", choices=["published", "actor"], default="published")
    args = parser.parse_args()
    for seed in range(args.seeds):
        data = _load(args, seed)
        if seed == 0:
            print(f"{data.name}: {len(data.train)} to train, {len(data.test)} to test")
            if data.surrogate:
                print(
                    f"ceilings: audio {ceiling(VOICE):.3f}, visual {ceiling(FACE):.3f}, both {ceiling(VOICE, FACE):.3f}"
                )
        for modalities in (data.modalities[:1], data.modalities[1:], data.modalities):
            start_s = time.perf_counter()
            accuracies = train(data, modalities, seed, args.epochs, width=args.width)
            text = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
            print(
                f"seed {seed} {'+'.join(modalities):13s} {text}  ({time.perf_counter() - start_s:.0f} s)",
                flush=True,
            )


def _load(args: argparse.Namespace, seed: int) -> MultimodalDataset:
    if args.data == "ravdess":
        return Ravdess(RavdessOptions(root=args.root)).load(seed, args.cache, print)
    if args.data == "avdigits":
        return AVDigits(AVDigitsOptions(root=args.root)).load(seed, args.cache, print)
    options = CremaDOptions(
        root=args.root,
        split=args.split,
        image_size=args.image_size,
        audio_shape=tuple(args.audio_shape),
        standardise_audio=True,
    )
    return CremaD(options).load(seed, args.cache, print)


if __name__ == "__main__":
    main()
