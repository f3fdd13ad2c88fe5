#!/usr/bin/env bash
# The weight gradient of a grouped convolution is counted once for each group by PyTorch's FLOP counter.
#
# Versions: torch 2.11.0. Valid input: a 3 x 3 convolution, 8 to 16 channels on 16 x 16 places, with 1, 2, 4, 8 groups;
# the input needs no gradient, so the backward pass is the weight gradient alone.
# Expected: it takes as many multiply-accumulates as the forward pass, however many groups there are: each weight meets
# each place once in both.
# Seen: G times as many with G groups. The forward pass is divided by G, as it should be, and the backward pass is not.
# A depthwise network's training (MobileNet and the like) looks many times dearer than it is.
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'torch==2.11.0' 'numpy==2.4.6'
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

print("torch", torch.__version__)
for groups in (1, 2, 4, 8):
    convolution = nn.Conv2d(8, 16, 3, padding=1, groups=groups, bias=False)
    with FlopCounterMode(display=False) as counter:
        result = convolution(torch.zeros(1, 8, 16, 16))
    forward = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        result.sum().backward()
    backward = counter.get_total_flops()
    print(f"{groups} groups: forward {forward:,}, weight gradient {backward:,}, {backward / forward:g} times")
    assert forward == 2 * 16 * 16 * 16 * (8 // groups) * 9
    assert backward == groups * forward, "the counter divides by the groups now"
PYTHON
