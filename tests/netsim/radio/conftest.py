"""A radio of 1 Hz, noise of 1 W/Hz and gains of 1: SNR 1, so exactly one bit per second and joule."""

from __future__ import annotations

import itertools

import pytest

from netsim.world.radio import Air, Radio
from netsim.world.radio.access import Dedicated
from netsim.world.radio.fading import NoFading
from netsim.world.radio.losses import Losses


@pytest.fixture
def air(env, make_device):
    """Makes devices in mutual range, without loss unless said, and a radio; returns them and the finished transfers."""

    def make(
        access=Dedicated, channel=None, outage_snr=0.0, bandwidth_hz=1.0, losses_db=None, count=3, **device
    ):
        rows = []
        radio = Radio(
            env,
            Air(bandwidth_hz, 1.0, outage_snr),
            channel or NoFading(None, 0),
            access(None, env),
            Losses(dict.fromkeys(itertools.combinations(range(count), 2), 0.0) | (losses_db or {})),
            lambda batch: rows.extend(batch.rows()),
        )
        return radio, [make_device(k, **device) for k in range(count)], rows

    return make
