"""Top-k of many devices: all in one call of a learner's task, one by one, and by plain PyTorch.

    python benchmarks/compression.py

Seconds of processor time on one thread, in turns; ratios are those of each turn. ``torch.topk`` is how a loop over
devices is written without this program: the change, its largest numbers, what receivers have, and what is left over.
``only memory`` does the same without choosing: it reads three tables and writes two, which no way can do without.
Memory stays with the process, so that no way waits for the kernel's pages.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from learners.networks.state import Entry, Layout, Part, Row
from learners.training.coding import Codec, compressed
from learners.training.compression import CompressorChoice
from learners.training.late_fusion.local_update import Trained

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Top-k of many devices.")
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=60_000)
    parser.add_argument("--ratio", type=float, default=0.01)
    parser.add_argument("--repeats", type=int, default=7)
    words = parser.parse_args()
    torch.set_num_threads(1)
    for number in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(number, 2**30)
    count, size = words.devices, words.parameters
    layout = Layout({"w": Entry("w", 0, size, (size,))}, size, size, size)
    before, after = torch.randn(2, count, size, generator=torch.Generator().manual_seed(0))
    codec = Codec(CompressorChoice(name="top_k", ratio=words.ratio, error_feedback=True), {}, 0, False)
    k = codec.compressor.count(size)  # type: ignore[attr-defined]
    error = torch.zeros(count, size)
    empty = Trained({}, 0.0, {}, 1, 1.0, {}, {})
    jobs = [
        {
            "codec": codec,
            "device": device,
            "round": 1,
            "trained": replace(empty, state={"w": Part(Row(after, device), layout)}),
            "known": {"w": Part(Row(before, device), layout)},
            "error": {"w": Row(error, device)},
        }
        for device in range(count)
    ]

    def plain() -> list[tuple[torch.Tensor, torch.Tensor]]:
        found = []
        for device in range(count):
            change = after[device] - before[device] + error[device]
            places = change.abs().topk(k).indices
            said = torch.zeros_like(change).scatter_(0, places, change[places])
            known = before[device] + said
            change -= said
            found.append((known, change))
        return found

    def memory() -> tuple[torch.Tensor, torch.Tensor]:
        known, left = torch.empty_like(before), torch.empty_like(before)
        for device in range(count):
            torch.sub(after[device], before[device], out=left[device]).add_(error[device])
            known[device] = before[device]
        return known, left

    ways: dict[str, Callable[[], Any]] = {
        "stacked": lambda: compressed(jobs),
        "one by one": lambda: [compressed([job])[0] for job in jobs],
        "torch.topk in a loop": plain,
        "only memory": memory,
    }
    for one, alone, (known, left) in zip(ways["stacked"](), ways["one by one"](), plain(), strict=True):
        for sent in (one, alone):
            assert torch.equal(sent.trained.state["w"].row.tensor, known)
            assert torch.equal(sent.error["w"].tensor, left)
    change = after - before

    def chosen() -> list[torch.Tensor]:
        found = []
        for row in change:
            places = row.abs().topk(k).indices
            found.append(torch.zeros_like(row).scatter_(0, places, row[places]))
        return found

    compress = codec.compressor.compress
    tensors = [slice(0, size)]
    selection: dict[str, Callable[[], Any]] = {
        "stacked": lambda: compress(change, tensors, range(count), False),
        "one by one": lambda: [compress(row[None], tensors, [0], False) for row in change],
        "torch.topk in a loop": chosen,
    }
    about = f"top-{k} of {count} devices x {size} parameters"
    report(selection, words.repeats, f"{about}: the selection alone")
    report(ways, words.repeats, f"{about}, with what comes before and after")


def report(ways: Mapping[str, Callable[[], Any]], repeats: int, about: str) -> None:
    """Measure ``ways`` in turns, the first of which is ``stacked``, and print."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            taken[name].append(time.process_time() - begin)
    print(f"{about}; processor time, median of {repeats}\n")
    for name, seconds in taken.items():
        ratios = sorted(a / b for a, b in zip(seconds, taken["stacked"], strict=True))
        middle = len(ratios) // 2
        spread = f"{ratios[middle]:.2f} times stacked ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:22} {1000 * sorted(seconds)[middle]:7.1f} ms  {spread}")
    print()


if __name__ == "__main__":
    main()
