"""Ways to train one group of devices on a CPU, bare: what a step of one device costs in each of them.

Every design does the same work: K devices with equal networks, each with data and weights of its own, train one
epoch of plain SGD. Nothing is simulated, sent or recorded. What is measured is the epoch (the thing that a
simulator hands out as jobs) divided by its device steps. All designs of a case are measured in turn, over and over,
in one run, so that whatever else the machine does falls on all of them: compare ratios, not microseconds.

python benchmarks/designs.py
python benchmarks/designs.py --case mlp --repeats 15 --no-compile
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import math
import multiprocessing
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import networkx as nx
import torch
from plain_loop import lenet, logistic, mlp
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from learners.networks import resnet

LEARNING_RATE = 0.01


class Pair(nn.Module):
    """Two ResNet-18s of a quarter of its width, one per modality, whose logits are added; 64 × 64 inputs."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        options = resnet.SmallResNet.Options.model_validate(
            {
                "widths": [16, 32, 64, 128],
                "blocks": 2,
                "stem_stride": 4,
                "shortcut": "projection",
            }
        )
        trunks = [resnet.SmallResNet(options).build((3, 64, 64)) for _ in range(2)]
        self.branches = nn.ModuleList(
            nn.Sequential(trunk, nn.Linear(trunk.feature_count, classes)) for trunk in trunks
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, classes] of ``x`` [batch, 3, 64, 64], which both branches see."""
        first, second = self.branches
        return first(x) + second(x)


@dataclass(frozen=True)
class Case:
    """A group of devices.

    Attributes:
        network: Makes a network with fresh weights.
        shape: Of a sample.
        classes: How many.
        devices: Devices K.
        steps: Steps of an epoch.
        batch_size: Samples of a step.
    """

    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    devices: int
    steps: int = 6
    batch_size: int = 32


CASES = {
    "logistic": Case(logistic, (57,), 2, devices=100),
    "mlp": Case(mlp, (57,), 2, devices=100),
    "lenet10": Case(lenet, (1, 28, 28), 10, devices=10),
    "lenet100": Case(lenet, (1, 28, 28), 10, devices=100, steps=1),
    "resnets": Case(Pair, (3, 64, 64), 6, devices=12, steps=1, batch_size=16),
}

Epoch = Callable[[], float]
"""Trains every device for ``case.steps`` steps and returns the mean loss of the last."""


@dataclass
class Group:
    """Networks, samples [K, steps, batch, *shape] and classes [K, steps, batch] of a case's devices."""

    networks: list[nn.Module]
    x: Tensor
    y: Tensor

    @staticmethod
    def make(case: Case) -> Group:
        """The same group every time."""
        torch.manual_seed(0)
        sizes = (case.devices, case.steps, case.batch_size)
        networks = [case.network() for _ in range(case.devices)]
        return Group(networks, torch.randn(*sizes, *case.shape), torch.randint(case.classes, sizes))

    def half(self, part: int) -> Group:
        """Every other device, from the first (``part`` 0) or from the second (1)."""
        return Group(self.networks[part::2], self.x[part::2], self.y[part::2])


# The designs. Each makes an epoch out of a case, and may hold resources while the epoch is in use.


@contextlib.contextmanager
def loop(case: Case, bf16: bool = False) -> Iterator[Epoch]:
    """Device after device, each with its own module and optimizer."""
    train = trainer(Group.make(case), bf16)

    def epoch() -> float:
        return float(torch.stack(train()).mean())

    yield epoch


def trainer(group: Group, bf16: bool = False) -> Callable[[], list[Tensor]]:
    """A plain epoch over the devices of ``group``; returns each one's last loss."""
    optimizers = [torch.optim.SGD(net.parameters(), LEARNING_RATE) for net in group.networks]

    def train() -> list[Tensor]:
        losses = []
        for net, optimizer, x, y in zip(group.networks, optimizers, group.x, group.y, strict=True):
            for step in range(len(x)):
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = F.cross_entropy(net(x[step]), y[step])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.detach())
        return losses

    return train


@contextlib.contextmanager
def plain_layout() -> Iterator[None]:
    """Keep the package's ResNets in PyTorch's default layout instead of channels-last.

    ``vmap`` knows no other, and folded networks are faster in it; the loop is faster in channels-last.
    """
    with mock.patch.object(resnet, "_channels_last", Tensor.contiguous):
        yield


@contextlib.contextmanager
def vmap(case: Case) -> Iterator[Epoch]:
    """One forward and one backward pass for all: ``torch.vmap`` over weights stacked to [K, ...]."""
    group = Group.make(case)
    template = copy.deepcopy(group.networks[0])
    stacked, stacked_buffers = stack_module_state(group.networks)
    optimizer = torch.optim.SGD(stacked.values(), LEARNING_RATE)

    def one_loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(template, (weights, buffers), (x,)), y)

    losses_of = torch.vmap(one_loss)

    @plain_layout()
    def epoch() -> float:
        for step in range(case.steps):
            losses = losses_of(stacked, stacked_buffers, group.x[:, step], group.y[:, step])  # [K]
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
        return float(losses.detach().mean())

    yield epoch


@contextlib.contextmanager
def grouped(case: Case) -> Iterator[Epoch]:
    """K networks folded into one whose activations are [B, K·C, ...]: grouped convolutions, batched products."""
    group = Group.make(case)
    count = case.devices
    net = fold(group.networks)
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE)

    @plain_layout()
    def epoch() -> float:
        for step in range(case.steps):
            x = group.x[:, step].transpose(0, 1).flatten(1, 2)  # [B, K·C, ...], a copy
            y = group.y[:, step].T.reshape(-1)  # [B·K]
            logits = net(x).reshape(len(x) * count, -1)  # [B·K, classes]
            loss = F.cross_entropy(logits, y, reduction="sum") / len(x)  # sum over devices of mean losses
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach()) / count

    yield epoch


class FoldedLinear(nn.Module):
    """K linear layers on [B, K·in], each on its own columns; [B, K·out]."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))  # [K, in, out]
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))  # [K, 1, out]

    def forward(self, x: Tensor) -> Tensor:
        """All K at once; ``x`` [B, K·in]."""
        x = x.view(len(x), len(self.weight), -1).transpose(0, 1)  # [K, B, in]
        return torch.baddbmm(self.bias, x, self.weight).transpose(0, 1).flatten(1)


def fold(networks: list[nn.Module]) -> nn.Module:
    """One network that does what ``networks``, alike but for their weights, do side by side."""
    first = networks[0]
    if isinstance(first, nn.Linear):
        return FoldedLinear(networks)
    if isinstance(first, nn.Conv2d | nn.BatchNorm2d):
        folded = widened(first, len(networks))
        for name, tensor in folded.state_dict().items():
            own = [net.state_dict()[name] for net in networks]
            tensor.copy_(torch.cat(own) if own[0].dim() else own[0])
        return folded
    folded = copy.deepcopy(first)
    for name, _ in first.named_children():
        setattr(folded, name, fold([getattr(net, name) for net in networks]))
    return folded


def widened(layer: nn.Conv2d | nn.BatchNorm2d, times: int) -> nn.Module:
    """A layer of ``times`` as many channels, in as many groups."""
    if isinstance(layer, nn.BatchNorm2d):
        return nn.BatchNorm2d(times * layer.num_features)
    return nn.Conv2d(
        times * layer.in_channels,
        times * layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        groups=times,
        bias=layer.bias is not None,
    )


@contextlib.contextmanager
def threads(case: Case) -> Iterator[Epoch]:
    """Two Python threads with half the devices each, one thread inside the operators of either."""
    group = Group.make(case)
    halves = [trainer(group.half(part)) for part in range(2)]
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:

        def epoch() -> float:
            losses = [loss for found in pool.map(lambda train: train(), halves) for loss in found]
            return float(torch.stack(losses).mean())

        yield epoch


@contextlib.contextmanager
def processes(case: Case) -> Iterator[Epoch]:
    """Two processes with half the devices each, data and weights inside; only orders and losses travel."""
    spawn = multiprocessing.get_context("spawn")
    ends, workers = [], []
    for part in range(2):
        here, there = spawn.Pipe()
        worker = spawn.Process(target=serve, args=(there, case, part), daemon=True)
        worker.start()
        ends.append(here)
        workers.append(worker)

    def epoch() -> float:
        for end in ends:
            end.send(True)
        return statistics.mean(loss for end in ends for loss in end.recv())

    try:
        yield epoch
    finally:
        for end, worker in zip(ends, workers, strict=True):
            end.send(False)
            worker.join()


def serve(orders: Connection, case: Case, part: int) -> None:
    """What a worker process does until it is told to stop."""
    torch.set_num_threads(1)
    train = trainer(Group.make(case).half(part))
    while orders.recv():
        orders.send([float(loss) for loss in train()])


@contextlib.contextmanager
def compiled(case: Case) -> Iterator[Epoch]:
    """The loop with loss and gradients from ``torch.compile``, compiled once for all devices."""
    group = Group.make(case)
    template = copy.deepcopy(group.networks[0])
    states = [(dict(net.named_parameters()), dict(net.named_buffers())) for net in group.networks]
    optimizers = [torch.optim.SGD(weights.values(), LEARNING_RATE) for weights, _ in states]

    @torch.compile(dynamic=False)
    def loss_of(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(template, (weights, buffers), (x,)), y)

    def epoch() -> float:
        losses = []
        for (weights, buffers), optimizer, x, y in zip(states, optimizers, group.x, group.y, strict=True):
            for step in range(len(x)):
                loss = loss_of(weights, buffers, x[step], y[step])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    yield epoch


Design = Callable[[Case], contextlib.AbstractContextManager[Epoch]]


def on_two_threads(design: Design) -> Design:
    """``design`` with two threads inside PyTorch's operators."""

    @contextlib.contextmanager
    def started(case: Case) -> Iterator[Epoch]:
        with design(case) as plain:

            def epoch() -> float:
                torch.set_num_threads(2)
                try:
                    return plain()
                finally:
                    torch.set_num_threads(1)

            yield epoch

    return started


DESIGNS: dict[str, Design] = {
    "loop, 1 thread": loop,
    "loop, 2 threads": on_two_threads(loop),
    "vmap, 1 thread": vmap,
    "vmap, 2 threads": on_two_threads(vmap),
    "grouped, 1 thread": grouped,
    "grouped, 2 threads": on_two_threads(grouped),
    "threads, 2 × 1": threads,
    "processes, 2 × 1": processes,
    "loop, bf16": functools.partial(loop, bf16=True),
    "loop, compiled": compiled,
}


# Measuring.


TOO_SLOW = 5
"""A design that is so many times slower than the loop at its start is not measured again in this run."""


@dataclass
class Measured:
    """Microseconds per device step of each repeat, and the second epoch's loss; or why there are none."""

    step_us: list[float]
    loss: float = float("nan")
    failure: str = ""


def measure(
    case: Case, designs: list[str], repeats: int, at_least_s: float, start_limit_s: float
) -> dict[str, Measured]:
    """Start every design, then measure all of them in turn, ``repeats`` times.

    Args:
        case: The group of devices.
        designs: Names in :data:`DESIGNS`.
        repeats: How many times.
        at_least_s: A measurement is as many epochs as take so long [s].
        start_limit_s: A design that has not done two epochs after so long counts as failed [s].
    """
    torch.set_num_threads(1)
    found = {name: Measured([]) for name in designs}
    device_steps = case.devices * case.steps
    patience_us = math.inf
    with contextlib.ExitStack() as stack:
        running: dict[str, tuple[Epoch, int]] = {}
        for name in designs:
            try:
                with time_limit(start_limit_s):
                    epoch = stack.enter_context(DESIGNS[name](case))
                    epoch()
                    start_s = time.perf_counter()
                    found[name].loss = epoch()
                    second_s = time.perf_counter() - start_s
                    same_work(found[name].loss, found[designs[0]].loss)
                second_us = 1e6 * second_s / device_steps
                if name == designs[0]:
                    patience_us = TOO_SLOW * second_us
                if second_us > patience_us:
                    found[name].step_us.append(second_us)
                else:
                    running[name] = epoch, max(1, round(at_least_s / second_s))
            except Exception as error:  # a design that cannot do it is a result too
                found[name].failure = why(error)
        for repeat in range(repeats):
            order = list(running) if repeat % 2 else list(reversed(running))
            for name in order:
                epoch, times = running[name]
                start_s = time.perf_counter()
                for _ in range(times):
                    epoch()
                step_us = 1e6 * (time.perf_counter() - start_s) / times / device_steps
                found[name].step_us.append(step_us)
                if step_us > patience_us and name != designs[0]:
                    del running[name]
    return found


def same_work(loss: float, expected: float) -> None:
    """Raise ValueError unless ``loss`` is ``expected`` but for rounding, which in bfloat16 is 0.4 % a number."""
    if not math.isclose(loss, expected, rel_tol=0.01):
        raise ValueError(f"does other work: loss {loss:.4f} where the loop's is {expected:.4f}")


def why(error: Exception) -> str:
    """The first line of ``error``, short enough for a table."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].replace("|", "/")
    return text if len(text) <= 120 else text[:117] + "..."


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread after ``seconds``."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"not started within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def table(name: str, case: Case, found: dict[str, Measured]) -> str:
    """The measurements as a Markdown table; ratios are medians over repeats, each against its own round's loop."""
    parameters = sum(weight.numel() for weight in case.network().parameters())
    lines = [
        f"### {name}: {case.devices} devices, {parameters:,} parameters each, batch {case.batch_size}",
        "",
        "| design | µs per device step | lowest to highest | times faster than the loop | loss of the second epoch |",
        "| --- | --- | --- | --- | --- |",
    ]
    reference = found["loop, 1 thread"].step_us
    for design, measured in found.items():
        if measured.failure:
            lines.append(f"| {design} | failed: {measured.failure} | | | |")
            continue
        us = measured.step_us
        spread = f"{min(us):,.0f} to {max(us):,.0f}" if len(us) > 1 else "once"
        if 1 < len(us) < len(reference):
            spread += f" in {len(us)}"
        ratio = statistics.median(loop_us / own for loop_us, own in zip(reference, us, strict=False))
        lines.append(
            f"| {design} | {statistics.median(us):,.0f} | {spread} | {ratio:.2f} | {measured.loss:.5f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print a table per case."""
    parser = argparse.ArgumentParser(description="Designs for training one group of devices, bare.")
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS)[1:], default=list(DESIGNS)[1:])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--devices", type=int, help="another number of devices")
    parser.add_argument("--at-least", type=float, default=0.2, help="seconds of one measurement")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--start-limit", type=float, default=60, help="seconds to start a design, compilation included"
    )
    words = parser.parse_args()
    designs = ["loop, 1 thread", *words.designs]
    if words.no_compile:
        designs = [name for name in designs if name != "loop, compiled"]
    print(
        f"Median of {words.repeats} repeats, designs in turn. {multiprocessing.cpu_count()} cores "
        f"({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}), Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}, networkx {nx.__version__}"
    )
    for name in words.case:
        case = replace(CASES[name], devices=words.devices) if words.devices else CASES[name]
        found = measure(case, designs, words.repeats, words.at_least, words.start_limit)
        print(f"\n{table(name, case, found)}", flush=True)


if __name__ == "__main__":
    main()
