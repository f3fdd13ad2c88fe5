"""The optimizers of single devices are PyTorch's own, without the compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn, optim

from learners.training.optimizers import SGD, Adam, AdamW, Rows, Rule, shortened

NO_COMPILER = """
import sys, torch
from learners.training.optimizers import SGD
weight = torch.nn.Parameter(torch.ones(3))
optimizer = SGD([weight], 0.1)
weight.square().sum().backward()
optimizer.step()
optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize(
    ("eager", "usual", "settings"),
    [
        (SGD, optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
        (Adam, optim.Adam, {"lr": 0.1, "fused": True}),
        (AdamW, optim.AdamW, {"lr": 0.1, "weight_decay": 0.1, "fused": True}),
    ],
)
def test_they_take_the_steps_of_pytorchs(eager, usual, settings):
    """Take three steps with each from the same weights, on the same gradients."""
    found = []
    for kind in (eager, usual):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
        optimizer = kind(net.parameters(), **settings)
        for _ in range(3):
            net(torch.randn(4, 5)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert all(weight.grad is None and weight.requires_grad for weight in net.parameters())
        found.append([weight.detach() for weight in net.parameters()])
    assert all(map(torch.equal, *found))


def test_they_do_not_load_the_compiler():
    """Train in a new interpreter: the compiler would take 0.9 s to load, in every worker."""
    done = subprocess.run([sys.executable, "-c", NO_COMPILER], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_rows_of_two_devices_are_pytorchs_own_steps(name, clip_norm):
    """Two parts of two devices at paces 1 and 1/2, with decay and a pull: those of PyTorch's optimizer, one by one.

    Gradients are clipped by the norm over both parts of a device; device 1 sits out the second step.
    """
    rule = Rule(name, 0.1, 0.5 if name == "sgd" else 0.0, 0.1, 0.3, clip_norm)
    draw = torch.Generator().manual_seed(0)
    starts = [torch.randn(2, size, generator=draw, dtype=torch.float64) for size in (3, 4)]
    steps = [[torch.randn(2, s, generator=draw, dtype=torch.float64) for s in (3, 4)] for _ in range(3)]
    weights = [start.clone() for start in starts]
    paces = torch.tensor([1.0, 0.5], dtype=torch.float64)
    rows = {str(n): Rows(rule, own, [None, None], paces) for n, own in enumerate(weights)}
    for number, gradients in enumerate(steps):
        taking = torch.tensor([True, number != 1])
        own = {
            part: one.pulled_back([(slice(None), torch.where(taking[:, None], g, 0.0))], taking, slice(None))
            for (part, one), g in zip(rows.items(), gradients, strict=True)
        }
        if clip_norm is not None:
            own = shortened(own, clip_norm)
        for part, one in rows.items():
            one.take_step(own[part], taking)
    kinds = {
        "sgd": lambda own, lr: optim.SGD(own, lr, 0.5, weight_decay=0.1),
        "adam": lambda own, lr: optim.Adam(own, lr, weight_decay=0.1),
        "adamw": lambda own, lr: optim.AdamW(own, lr, weight_decay=0.1),
    }
    for k, pace in enumerate(paces.tolist()):
        own = [nn.Parameter(start[k].clone()) for start in starts]
        optimizer = kinds[name](own, 0.1 * pace)
        for number, gradients in enumerate(steps):
            if k == 1 and number == 1:
                continue
            for weight, start, gradient in zip(own, starts, gradients, strict=True):
                weight.grad = gradient[k] + 0.3 * (weight.detach() - start[k])
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(own, clip_norm)
            optimizer.step()
        for weight, found in zip(own, weights, strict=True):
            torch.testing.assert_close(found[k], weight.detach(), rtol=1e-10, atol=1e-12)
