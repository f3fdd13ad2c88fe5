import pytest

from netsim.world.devices import Processor


def test_the_papers_processor_does_four_gflops_at_half_a_hundred_picojoules():
    """At f = 1 GHz, e = 4, ε = 2e-28 F: 4e9 FLOP/s, and 2e-28 · 1e18 / 4 = 5e-11 J per FLOP."""
    paper = Processor()
    assert paper.time_s(4e9) == 1.0
    assert paper.energy_j(1.0) == pytest.approx(5e-11, rel=1e-12)


@pytest.mark.parametrize(
    ("gigahertz", "seconds", "joules", "watts"),
    [(0.5, 40, 0.5, 0.0125), (1.0, 20, 2.0, 0.1), (2.0, 10, 8.0, 0.8)],
)
def test_energy_grows_with_the_square_of_the_clock(gigahertz, seconds, joules, watts):
    """κ = 1e-28, 2e10 cycles of one FLOP: E = κ C f², T = C / f, P = κ f³."""
    p = Processor(frequency_hz=gigahertz * 1e9, flops_per_cycle=1, effective_capacitance_f=1e-28)
    assert p.time_s(2e10) == pytest.approx(seconds)
    assert p.energy_j(2e10) == pytest.approx(joules)
    assert p.energy_j(2e10) / p.time_s(2e10) == pytest.approx(watts)


def test_doubling_flops_per_cycle_halves_time_and_energy():
    slow, fast = Processor(flops_per_cycle=4), Processor(flops_per_cycle=8)
    assert fast.time_s(1e12) == pytest.approx(slow.time_s(1e12) / 2)
    assert fast.energy_j(1e12) == pytest.approx(slow.energy_j(1e12) / 2)
