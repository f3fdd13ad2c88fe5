"""Profiles of real boards: what was measured of them, as keys of the block ``devices``.

Numbers are for the whole board or module. While it computes it draws what it draws at full load; a power at several
clock frequencies f is P0 + ε f³. A multiply-add is two FLOPs. ``tx_power_w`` is the radiated power, which is what the
radio model knows; what a power amplifier draws above that is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Profile(NamedTuple):
    """A board.

    Attributes:
        about: What it is, and where its numbers are from.
        block: The keys that it stands for.
    """

    about: str
    block: Mapping[str, Any]


def _processor(flops_per_s: float, power_w: Mapping[float, float]) -> dict[str, Any]:
    """Return the keys of a processor whose power was measured at two clock frequencies, 0 Hz for an idle board.

    Args:
        flops_per_s: Speed at the higher frequency [FLOP/s].
        power_w: Power while computing [W], by frequency [Hz].
    """
    low_hz, high_hz = sorted(power_w)
    capacitance_f = (power_w[high_hz] - power_w[low_hz]) / (high_hz**3 - low_hz**3)
    return {
        "frequency_hz": high_hz,
        "flops_per_cycle": flops_per_s / high_hz,
        "effective_capacitance_f": capacitance_f,
        "static_power_w": power_w[low_hz] - capacitance_f * low_hz**3,
        "frequencies_hz": (low_hz, high_hz) if low_hz else (high_hz,),
    }


PROFILES: Mapping[str, Profile] = {
    "raspberry_pi_4": Profile(
        "Raspberry Pi 4, four cores at 1.5 GHz: 8 GFLOP/s with HPL (B. Feiereisen, Benchmarking the Raspberry Pi 4 "
        "with Raspberry Pi OS64, feiereisen.net, 2022); 2.2 W idle, 5.4 W under high load, measured at the USB supply "
        "(chipwired.com/raspberry-pi-power-use)",
        {
            "processor": _processor(8e9, {0.0: 2.2, 1.5e9: 5.4}),
            "rx_power_w": 2.2,
            "idle_power_w": 2.2,
        },
    ),
    "esp32": Profile(
        "ESP32-WROOM-32, one core: 475 MFLOP/s at 240 MHz with single-precision multiply-adds (github.com/wled/WLED "
        "issue 4206); at 3.3 V 40 mA (middle of 30 to 50) at 240 MHz, 22.5 mA (20 to 25) at 80 MHz, 0.8 mA in light "
        "sleep (its datasheet, Table 4: Power Consumption by Power Modes); receiving 110 mA (ESP32-PICO-ZERO user's "
        "manual, Table 6)",
        {
            "processor": _processor(475e6, {80e6: 3.3 * 22.5e-3, 240e6: 3.3 * 40e-3}),
            "rx_power_w": 3.3 * 0.110,
            "idle_power_w": 3.3 * 22.5e-3,
            "sleep_power_w": 3.3 * 0.8e-3,
        },
    ),
    "esp32_s2": Profile(
        "ESP32-S2-WROOM, which has no floating-point unit: 6.43 MFLOP/s at 240 MHz with single-precision multiply-adds "
        "(github.com/wled/WLED issue 4206); at 3.3 V 22 mA at 240 MHz, 14 mA at 80 MHz, 0.55 mA in light sleep, "
        "receiving 63 mA, transmitting 802.11b at 19.5 dBm (its datasheet V1.1, Tables 7 and 8)",
        {
            "processor": _processor(6.43e6, {80e6: 3.3 * 14e-3, 240e6: 3.3 * 22e-3}),
            "tx_power_w": 0.0891,
            "rx_power_w": 3.3 * 0.063,
            "idle_power_w": 3.3 * 14e-3,
            "sleep_power_w": 3.3 * 0.55e-3,
        },
    ),
}
"""By name, as ``devices.profile`` and the profile of a class call them."""


def with_profile(block: Any) -> Any:
    """Return a block of a device with the keys of the profile that it names, where it does not say otherwise.

    Raises:
        ValueError: There is no such profile; says which there are.
    """
    name = block.get("profile") if isinstance(block, dict) else None
    if name is None:
        return block
    if not isinstance(name, str) or name not in PROFILES:
        raise ValueError(f"profile: no board {name!r}; boards are {', '.join(PROFILES)}")
    filled = {**PROFILES[name].block, **block}
    own = block.get("processor", {})
    if isinstance(own, dict):
        filled["processor"] = {**PROFILES[name].block["processor"], **own}
    return filled
