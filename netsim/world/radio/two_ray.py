"""Two-ray ground reflection: the direct path and the one by way of flat ground."""

from __future__ import annotations

import cmath
import math
from typing import Literal

from pydantic import Field

from netsim.world.radio.path_loss import SPEED_OF_LIGHT_M_PER_S, Shadowed, heights_m
from netsim.world.topology.topology import Link


def two_ray_db(
    distance_m: float, base_m: float, device_m: float, carrier_hz: float, reflection: float = -1.0
) -> float:
    r"""Compute the loss of direct and reflected path, :math:`-20 \log_{10}(\frac{\lambda}{4\pi}
    |\frac{e^{-jkl}}{l} + \Gamma \frac{e^{-jkr}}{r}|)` [dB] (Rappaport, Wireless Communications, 2nd ed., Section 4.6).

    With :math:`l^2 = d^2 + (h_1 - h_2)^2` and :math:`r^2 = d^2 + (h_1 + h_2)^2`. At 2.6 GHz, between 10 m and 1.5 m of
    height: 97.4686 dB at 1 km, where free space has 100.7474 dB, and 75.1117 dB at 100 m, where it has 80.7474 dB.

    Args:
        distance_m: Distance over the ground :math:`d` [m].
        base_m: Height of one antenna [m].
        device_m: Height of the other [m].
        carrier_hz: Carrier frequency [Hz].
        reflection: Coefficient :math:`\Gamma` of the ground; -1: all is reflected, with its phase turned round.
    """
    wavelength_m = SPEED_OF_LIGHT_M_PER_S / carrier_hz
    direct_m, reflected_m = (
        math.hypot(distance_m, base_m - device_m),
        math.hypot(distance_m, base_m + device_m),
    )
    behind = 2 * math.pi * (reflected_m - direct_m) / wavelength_m
    amplitude = abs(1 / direct_m + reflection * cmath.exp(-1j * behind) / reflected_m)
    return -20 * math.log10(wavelength_m / (4 * math.pi) * amplitude) if amplitude else math.inf


def plane_earth_db(distance_m: float, base_m: float, device_m: float, carrier_hz: float) -> float:
    r"""Compute free space up to :math:`d_c = 4\pi h_1 h_2 / \lambda`, and :math:`40 \log_{10} d - 20 \log_{10} h_1 h_2`
    beyond [dB]: the two-ray loss for :math:`\Gamma = -1` without its ripple, continuous at :math:`d_c`.

    At 2.6 GHz, between 10 m and 1.5 m of height, :math:`d_c` is 1634.76 m with 105.0163 dB; 136.4782 dB at 10 km.

    Args:
        distance_m: Distance [m]; the same over ground and between antennas in this approximation.
        base_m: Height of one antenna [m].
        device_m: Height of the other [m].
        carrier_hz: Carrier frequency [Hz].
    """
    wavelength_m = SPEED_OF_LIGHT_M_PER_S / carrier_hz
    crossover_m = 4 * math.pi * base_m * device_m / wavelength_m
    slope = 20 * math.log10(max(distance_m / crossover_m, 1.0))
    return 20 * math.log10(4 * math.pi * distance_m / wavelength_m) + slope


class TwoRay(Shadowed):
    """Two-ray ground reflection: the sum of both paths, or its asymptotes without the ripple."""

    class Options(Shadowed.Options):
        """Block ``radio.path_loss`` with name ``two_ray``."""

        form: Literal["exact", "asymptotic"] = Field(
            "exact",
            description="sum of both paths with their phases; or free space, and 40 dB a decade beyond the "
            "crossover 4π h1 h2 / λ",
        )
        base_height_m: float = Field(10.0, gt=0, description="height of the edge server's antenna [m]")
        device_height_m: float = Field(1.5, gt=0, description="height of a device's antenna [m]")
        reflection: float = Field(
            -1.0, ge=-1, le=1, description="reflection coefficient of the ground, for the exact form"
        )
        minimum_m: float = Field(1.0, gt=0, description="shorter distances count as this [m]")

    options: TwoRay.Options

    def mean_db(self, link: Link, carrier_hz: float) -> float:
        """Return the loss of :func:`two_ray_db` or :func:`plane_earth_db` [dB]."""
        o = self.options
        distance_m = max(link.distance_m, o.minimum_m)
        base_m, device_m = heights_m(link, o.base_height_m, o.device_height_m)
        if o.form == "exact":
            return two_ray_db(distance_m, base_m, device_m, carrier_hz, o.reflection)
        return plane_earth_db(distance_m, base_m, device_m, carrier_hz)
