"""Air and rate of a scenario's radios."""

from __future__ import annotations

import math

from netsim.core.errors import ScenarioError
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices, RadioOptions, ServerOptions
from netsim.world.radio.air import Air
from netsim.world.radio.rate import Rate
from netsim.world.radio.units import db_to_power, dbm_to_w, power_to_db

End = Devices | ServerOptions
"""Both ends of a link have an antenna and a receiver."""


def rate_of(plan: Plan) -> Rate:
    """Make the rate that the scenario names.

    Raises:
        ScenarioError: It is not positive where it says that it is.
    """
    part = plan.parts["radio.rate"]
    rate: Rate = part.make(plan.scenario.seed)
    least = rate.least_snr
    for snr in [*([least] if least > 0 else []), *(10.0**k for k in range(-6, 13) if 10.0**k > least)]:
        found = rate.rate_bps(1.0, snr)
        if not 0 < found < math.inf:
            raise ScenarioError(
                f"{plan.file}: radio.rate: {part.name!r} gives {found!r} bit/s in 1 Hz at an SNR of "
                f"{power_to_db(snr):.1f} dB; rate_bps must be positive, at least from least_snr on"
            )
    return rate


def air_of(options: RadioOptions, rate: Rate, bandwidth_hz: float, sender: End, receiver: End) -> Air:
    """Gather what the links of a radio have in common, all from a ``sender`` to a ``receiver``."""
    threshold_db = options.outage_snr_db
    return Air(
        bandwidth_hz,
        dbm_to_w(options.noise_dbm_per_hz + receiver.noise_figure_db),
        max(db_to_power(threshold_db) if threshold_db is not None else 0.0, rate.least_snr),
        options.acknowledgement_bits,
        rate,
        sender.antenna_gain_dbi + receiver.antenna_gain_dbi,
    )
