"""Rates of modulation and coding schemes, whose blocks are lost with a probability that depends on the SNR."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Literal

from pydantic import Field, field_validator

from netsim.core.options import Options
from netsim.core.streams import stream
from netsim.world.radio.blocks import Blocks
from netsim.world.radio.rate import Rate
from netsim.world.radio.units import db_to_power, power_to_db

AT_THRESHOLD = 0.1
"""Block error rate at the SNR of a table's entry."""

LTE = (
    (0.1523, -6.76, 0.69), (0.2344, -4.98, 0.55), (0.3770, -2.96, 0.44), (0.6016, -1.02, 0.35), (0.8770, 0.95, 0.30),
    (1.1758, 2.84, 0.27), (1.4766, 4.88, 0.25), (1.9141, 6.67, 0.23), (2.4063, 8.71, 0.24), (2.7305, 10.51, 0.22),
    (3.3223, 12.42, 0.21), (3.9023, 14.31, 0.22), (4.5234, 16.05, 0.22), (5.1152, 17.83, 0.20), (5.5547, 19.98, 0.26),
)  # fmt: skip
"""Efficiency [bit/s/Hz], SNR of a block error rate of 0.1 [dB] and spread [dB] of LTE's schemes, by their CQI."""


class Scheme(Options):
    """An entry of the table of modulation and coding schemes."""

    efficiency_bps_per_hz: float = Field(gt=0, description="rate of the scheme [bit/s/Hz]")
    snr_db: float = Field(ge=-1000, le=1000, description="SNR at which a tenth of its blocks is lost [dB]")
    spread_db: float = Field(
        0.25, gt=0, le=100, description="width σ of the fall of its block error rate over the SNR [dB]"
    )


class MCS(Rate):
    r"""Modulation and coding schemes, chosen by SNR; blocks that are lost are sent again.

    A transfer has the fastest scheme of the table whose block error rate is at most ``target_bler`` at its SNR, and is
    in outage where there is none. The error rate of a scheme at :math:`x` dB is :math:`Q(Q^{-1}(0.1) + (x - x_{0.1}) /
    \sigma)`, with the tail :math:`Q` of the normal distribution and the table's ``snr_db`` :math:`x_{0.1}` and
    ``spread_db`` :math:`\sigma`.

    The default table has the efficiencies of LTE, 3GPP TS 36.213 Table 7.2.3-1. SNRs and spreads are fitted to the
    simulated block error rates of white noise that LTE-Sim contains (Piro et al., "Simulating LTE Cellular Systems: An
    Open-Source Framework", IEEE Trans. Vehicular Technology 60(2), 2011), and meet them within 0.03 (0.06 at CQI 15).
    They are 1.7 to 3.3 dB from capacity.

    With ``combining: chase`` (Chase, "Code combining", IEEE Trans. Commun. 33(5), 1985) a block that has been sent k
    times with SNRs :math:`s_1 \dots s_k` is missing with the error rate of the scheme of the last time at
    :math:`s_1 + \dots + s_k`, as maximum ratio combining of equal blocks has it.
    """

    class Options(Options):
        """Block ``radio.rate`` with name ``mcs``."""

        table: tuple[Scheme, ...] | None = Field(
            None, description="the schemes, from the slowest to the fastest; null: those of LTE"
        )
        target_bler: float = Field(
            0.1, gt=0, lt=1, description="block error rate that a scheme has at most where it is chosen"
        )
        block_bits: float = Field(
            6144.0, ge=40, description="size of a block at most [bit]; LTE's code blocks have 40 to 6,144"
        )
        retransmissions: int = Field(
            3, ge=0, le=1000, description="how often a lost block is sent again, at most"
        )
        combining: Literal["none", "chase"] = Field(
            "none",
            description="what a receiver does with a block that was lost: nothing, or it adds what it hears of it each "
            "time, so that their SNRs add up (Chase combining)",
        )
        answer_s: float = Field(
            0.0,
            ge=0,
            description="time until the sender knows which blocks are missing, when it has sent all that are due and "
            "some are sent again [s]; it is silent then",
        )

        @field_validator("table")
        @classmethod
        def _rises(cls, table: tuple[Scheme, ...] | None) -> tuple[Scheme, ...] | None:
            if table is not None and not table:
                raise ValueError("must have at least one scheme; null: those of LTE")
            for number, (one, next) in enumerate(pairwise(table or ())):
                if not (one.efficiency_bps_per_hz < next.efficiency_bps_per_hz and one.snr_db < next.snr_db):
                    raise ValueError(
                        f"must rise in efficiency_bps_per_hz and in snr_db from entry to entry; entry {number + 1} "
                        "does not; sort the table, and leave out schemes that need more SNR and are no faster"
                    )
            return table

    options: MCS.Options
    lossy = True

    def __init__(self, options: Any, seed: int) -> None:
        super().__init__(options, seed)
        given = options.table or ()
        table = [(one.efficiency_bps_per_hz, one.snr_db, one.spread_db) for one in given] or LTE
        self._efficiency = [efficiency for efficiency, *_ in table]
        self._middle_db = [snr_db + spread_db * _quantile(AT_THRESHOLD) for _, snr_db, spread_db in table]
        self._spread_db = [spread_db for *_, spread_db in table]
        self._from: list[float] = []  # the least SNR at which a scheme, or a faster one, is good enough
        for middle_db, spread_db in zip(self._middle_db[::-1], self._spread_db[::-1], strict=True):
            good = db_to_power(middle_db - spread_db * _quantile(options.target_bler))
            self._from.insert(0, min([good, *self._from[:1]]))
        self._sent: dict[tuple[str | int, ...], tuple[str | int, int]] = {}

    @property
    def least_snr(self) -> float:
        """Return the SNR from which on the first scheme is chosen."""
        return self._from[0]

    def rate_bps(self, bandwidth_hz: float, snr: float) -> float:
        """Return the rate of the scheme that is chosen [bit/s]."""
        scheme = self._scheme(snr)
        return bandwidth_hz * self._efficiency[scheme] if scheme >= 0 else 0.0

    def loss(self, snr: float, worst: float | None = None) -> float:
        """Return the block error rate of the scheme that is chosen at ``worst``; 1 below the first."""
        scheme = self._scheme(snr if worst is None else worst)
        if scheme < 0:
            return 1.0
        beyond = (power_to_db(snr) - self._middle_db[scheme]) / self._spread_db[scheme]
        return math.erfc(beyond / math.sqrt(2)) / 2

    def blocks(self, size_bits: float, receivers: int, *name: str | int) -> Blocks:
        """Return the blocks of the next message called ``name``."""
        *link, round = name
        last, number = self._sent.get(tuple(link), (round, -1))
        number = number + 1 if last == round else 0
        self._sent[tuple(link)] = round, number
        o = self.options
        draws = stream(self.seed, "blocks", *name, number)
        combined = self.loss if o.combining == "chase" else None
        return Blocks(size_bits, o.block_bits, o.retransmissions, receivers, draws, combined)

    def _scheme(self, snr: float) -> int:
        """Return the number of the scheme that is chosen; -1 for none."""
        return bisect_right(self._from, snr) - 1


def _quantile(share: float) -> float:
    """Return the standard normal quantile of ``share``."""
    return NormalDist().inv_cdf(share)
