"""The optimizers of single devices are PyTorch's own, without the compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn, optim

from learners.training.optimizers import SGD, Adam

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
