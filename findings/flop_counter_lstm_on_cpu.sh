#!/usr/bin/env bash
# An LSTM on a CPU costs nothing, says PyTorch's FLOP counter, and a GRU of the same size costs what it should.
#
# Versions: torch 2.11.0. Valid input: one recording of 64 steps of 20 numbers, 32 hidden units.
# Expected: the LSTM has 4/3 of the GRU's FLOPs (four gates against three): 851,968 and 638,976.
# Seen: 0 and 638,976. On a CPU the LSTM is one fused operator of oneDNN, for which the counter has no formula; it
# counts an operator without a formula as nothing, without a word. With oneDNN off the LSTM's count is right.
# Who trusts the count gives an LSTM free computing.
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

STEPS, INPUTS, HIDDEN = 64, 20, 32


def counted(network):
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, STEPS, INPUTS))
    return counter.get_total_flops()


def closed_form(gates):
    return 2 * gates * STEPS * HIDDEN * (INPUTS + HIDDEN)


lstm, gru = nn.LSTM(INPUTS, HIDDEN, batch_first=True).eval(), nn.GRU(INPUTS, HIDDEN, batch_first=True).eval()
print("torch", torch.__version__)
print(f"GRU:  counted {counted(gru):,}, closed form {closed_form(3):,}")
print(f"LSTM: counted {counted(lstm):,}, closed form {closed_form(4):,}")
with torch.backends.mkldnn.flags(enabled=False):
    without = counted(lstm)
print(f"LSTM with oneDNN off: counted {without:,}")
assert counted(gru) == closed_form(3)
assert counted(lstm) == 0, "the counter knows the fused LSTM now"
assert without == closed_form(4)
PYTHON
