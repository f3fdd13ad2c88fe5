#!/usr/bin/env bash
# Counting the FLOPs of one linear layer imports PyTorch's compiler and a computer algebra system.
#
# Versions: torch 2.11.0. Valid input: one sample of 4 numbers, a layer with 2 outputs, not compiled.
# Expected: 16 FLOPs, and little more than that.
# Seen: 16 FLOPs, some 800 modules more (torch._dynamo and sympy among them), more than a second of processor time. A
# dispatch mode is wrapped so that the compiler keeps out of it, and the wrapper imports the compiler at the first
# operator. A mode whose class method _should_skip_dynamo returns False imports nothing and sees the same operators.
# A tool that counts FLOPs before each run pays this at each start.
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'torch==2.11.0' 'numpy==2.4.6'
cd "$folder"
cat > counting.py <<'PYTHON'
import sys
import time

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class Seen(TorchDispatchMode):
    """Notes the operators that run."""

    operators = ()

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.operators += (str(operator),)
        return operator(*args, **(kwargs or {}))


mode = FlopCounterMode(display=False) if sys.argv[1] == "counter" else Seen()
before, since_s = len(sys.modules), time.process_time()
with mode:
    nn.Linear(4, 2)(torch.zeros(1, 4))
seen = mode.get_total_flops() if sys.argv[1] == "counter" else mode.operators
spent_s = time.process_time() - since_s
print(f"{sys.argv[1]}: {seen}, {len(sys.modules) - before} more modules, {spent_s:.2f} s of processor time")
compiler = {"torch._dynamo", "sympy"} & set(sys.modules)
assert compiler == ({"torch._dynamo", "sympy"} if sys.argv[1] == "counter" else set()), compiler
PYTHON
"$folder/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
"$folder/venv/bin/python" counting.py counter
"$folder/venv/bin/python" counting.py mode
