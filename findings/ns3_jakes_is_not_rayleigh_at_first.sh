#!/usr/bin/env bash
# ns-3's Jakes fading does not begin as Rayleigh fading: over many links, the variance of the power at 0 s is twice what
# it should be, and deep fades are two and a half times as frequent.
#
# Versions: ns3 3.44.post0, the wheel on PyPI. Valid input: 4,000 models JakesPropagationLossModel with their defaults,
# each of one link, asked at the beginning of a simulation.
# Expected: the power of Rayleigh fading, exponential: variance 1 for mean 1, 9.5 % of links below -10 dB. The class is
# described as a stationary process, with an initial phase phi_n of each oscillator.
# Seen: variance 1.96, and 24.0 % of links below -10 dB. The same phase for all oscillators of a link explains
# it: at 0 s both quadratures have the common factor cos(phi), so the power is 2 cos^2(phi) times an exponential one,
# whose variance is 2. As time goes on the phases spread.
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ns3==3.44.post0' 'cppyy==3.5.0'
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
from statistics import fmean, pvariance

from ns import ns


def at(x):
    place = ns.CreateObject[ns.ConstantPositionMobilityModel]()
    place.SetPosition(ns.Vector(x, 0.0, 0.0))
    return place


a, b = at(0.0), at(10.0)
models = [ns.CreateObject[ns.JakesPropagationLossModel]() for _ in range(4000)]
powers = [10 ** (model.CalcRxPower(0.0, a, b) / 10) for model in models]
mean = fmean(powers)
variance, deep = pvariance(powers) / mean**2, fmean(power < 0.1 * mean for power in powers)
print("ns3", version("ns3"))
print(f"at 0 s: mean {mean:.3f}, variance {variance:.2f} (Rayleigh: 1), below -10 dB {100 * deep:.1f} % (Rayleigh: 9.5)")
assert variance > 1.5 and deep > 0.15, "it is Rayleigh fading now"
PYTHON
