"""Path loss of 3GPP TR 38.901 (version 18, Tables 7.4.1-1 and 7.4.2-1): streets, offices and factories.

Distances: d2 over the ground, d3 between the antennas. A link is in line of sight with a probability that falls with
d2; its loss then follows LOS, otherwise it is the larger one of LOS and NLOS. Shadowing has Table 7.4.1-1's deviations
and Table 7.5-6's decorrelation distances. Logarithms have base 10, f is in GHz.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream
from netsim.world.radio.path_loss import SPEED_OF_LIGHT_M_PER_S, PathLoss, heights_m
from netsim.world.radio.shadowing import Shadowing, ShadowingOptions
from netsim.world.topology.topology import Link

Numbers = NDArray[np.float64]
BASE = "height of the base (of two devices the lower number)"


class Paths(NamedTuple):
    """Ends of links; all arrays are [links], and whatever is computed of them is too.

    Attributes:
        ground_m: Distance over the ground, d2 [m].
        length_m: Distance between the antennas, d3 [m].
        base_m: Height of the base, h_BS [m].
        device_m: Height of the other end, h_UT [m].
        carrier_ghz: Carrier frequency f [GHz].
        draws: Uniform draws of each link's own [3, links].
    """

    ground_m: Numbers
    length_m: Numbers
    base_m: Numbers
    device_m: Numbers
    carrier_ghz: float
    draws: Numbers


class Range(NamedTuple):
    """A range that a model is valid for: ``values`` of all links, or one, from ``low`` to ``high``."""

    what: str
    values: Numbers | float
    low: float
    high: float
    unit: str = "m"


class TR38901(PathLoss):
    """A scenario of TR 38.901: LOS, NLOS, the probability of LOS, shadowing, and what it is valid for.

    Whether a link is in line of sight follows from a uniform draw of its own stream, ``("line_of_sight", *ends)``, and
    from the probability at its length: it is the same in both directions, and a link that grows loses sight once.

    Attributes:
        BASE_M: Height of the base, unless the scenario says another [m].
        DEVICE_M: Height of devices, likewise [m].
        SIGMA_DB: Standard deviation of the shadowing, LOS and NLOS [dB].
        DECORRELATION_M: Its decorrelation distance, LOS and NLOS [m].
        LENGTH: What limits its links, and that number's name in :class:`Paths`.
        SHORTEST_M, LONGEST_M: Lengths that the model is valid for [m].
    """

    class Options(Options):
        """Options of all scenarios of TR 38.901."""

        los: Literal["draw", "always", "never"] = Field(
            "draw",
            description="line of sight: drawn for each link with the model's probability, or for none or all",
        )
        base_height_m: float | None = Field(
            None,
            gt=0,
            description="height of the edge server's antenna [m]; null: 10 for umi, 25 for uma, 3 for inh, 1.5 for "
            "inf_sl and inf_dl, 8 for inf_sh and inf_dh",
        )
        device_height_m: float | None = Field(
            None, gt=0, description="height of a device's antenna [m]; null: 1 for inh, 1.5 for the others"
        )
        shadowing: ShadowingOptions | None = Field(
            ShadowingOptions(), description="log-normal shadowing, by default TR 38.901's; null: none"
        )
        extrapolate: bool = Field(
            False,
            description="go on outside the distances, heights and frequencies that the model is valid for",
        )

    options: TR38901.Options
    BASE_M: ClassVar[float]
    DEVICE_M: ClassVar[float] = 1.5
    SIGMA_DB: ClassVar[tuple[float, float]]
    DECORRELATION_M: ClassVar[tuple[float, float]]
    LENGTH: ClassVar[tuple[str, str]] = ("distance between the antennas", "length_m")
    SHORTEST_M: ClassVar[float] = 1.0
    LONGEST_M: ClassVar[float]

    def __init__(self, options: Any, seed: int) -> None:
        super().__init__(options, seed)
        self._shadowing = Shadowing(options.shadowing, seed) if options.shadowing is not None else None

    @abstractmethod
    def los_db(self, paths: Paths) -> Numbers:
        """Return the loss in line of sight [dB]."""

    @abstractmethod
    def nlos_db(self, paths: Paths) -> Numbers:
        """Return the loss without line of sight before the maximum with ``los_db``, PL' [dB]."""

    @abstractmethod
    def los_probability(self, paths: Paths) -> Numbers:
        """Return the probability of line of sight."""

    def ranges(self, paths: Paths) -> Iterator[Range]:
        """Yield what the model is valid for."""
        yield Range("carrier frequency", paths.carrier_ghz, 0.5, 100, "GHz")
        what, name = self.LENGTH
        yield Range(what, getattr(paths, name), self.SHORTEST_M, self.LONGEST_M)

    def loss_db(self, link: Link, carrier_hz: float) -> float:
        """Return the loss of one link [dB].

        Raises:
            ScenarioError: The model is not valid for it, and the scenario does not extrapolate.
        """
        return self.losses_db([link], carrier_hz)[0]

    def losses_db(self, links: Sequence[Link], carrier_hz: float) -> list[float]:
        """Return the loss of each link, shadowing included [dB].

        Raises:
            ScenarioError: The model is not valid for one of them, and the scenario does not extrapolate.
        """
        paths = self.paths(links, carrier_hz)
        if not self.options.extrapolate:
            self._check(links, paths)
        in_sight = self.in_sight(paths)
        los_db = self.los_db(paths)
        loss_db = np.where(in_sight, los_db, np.maximum(los_db, self.nlos_db(paths)))
        if self._shadowing is not None:
            sigma_db, decorrelation_m = (
                np.where(in_sight, *pair) for pair in (self.SIGMA_DB, self.DECORRELATION_M)
            )
            loss_db = loss_db + self._shadowing.values_db(links, sigma_db, decorrelation_m)
        return loss_db.tolist()

    def in_sight(self, paths: Paths) -> NDArray[np.bool_]:
        """Return whether each link is in line of sight."""
        if self.options.los == "draw":
            return paths.draws[0] < self.los_probability(paths)
        return np.full(len(paths.ground_m), self.options.los == "always")

    def paths(self, links: Sequence[Link], carrier_hz: float) -> Paths:
        """Return where links run; antennas less than 1 m apart count as 1 m apart."""
        o = self.options
        height_m = (o.base_height_m or self.BASE_M, o.device_height_m or self.DEVICE_M)
        base_m, device_m = np.array([heights_m(link, *height_m) for link in links]).reshape(-1, 2).T
        ground_m = np.array([link.distance_m for link in links])
        length_m = np.maximum(np.hypot(ground_m, base_m - device_m), 1.0)
        own = [stream(self.seed, "line_of_sight", *link.ends).random(3) for link in links]
        draws = np.array(own).reshape(-1, 3).T
        return Paths(ground_m, length_m, base_m, device_m, carrier_hz / 1e9, draws)

    def _check(self, links: Sequence[Link], paths: Paths) -> None:
        """Refuse the first link that the model is not valid for."""
        for what, values, low, high, unit in self.ranges(paths):
            values = np.broadcast_to(values, len(links))
            outside = (values < low - 1e-9) | (
                values > high + 1e-9
            )  # as much as links of a range may be longer
            if outside.any():
                first = int(outside.argmax())
                link, value = links[first], values[first]
                allowed = (
                    f"{low:g}"
                    if low == high
                    else f"{low:g} to {high:g}"
                    if high < math.inf
                    else f"from {low:g}"
                )
                raise ScenarioError(
                    f"the link {link.ends[0]} - {link.ends[1]} of {link.distance_m:g} m is outside what TR 38.901's "
                    f"model is valid for: {what} {value:g} {unit}, valid: {allowed} {unit}; change it, name another "
                    "path loss, or go on with extrapolate: true"
                )


class Outdoor(TR38901):
    """Streets below or above roofs: LOS with a breakpoint of effective heights."""

    class Options(TR38901.Options):
        """Options of UMi and UMa."""

        @field_validator("base_height_m", "device_height_m")
        @classmethod
        def _above_the_environment(cls, height_m: float | None) -> float | None:
            if height_m is not None and height_m <= 1:
                raise ValueError("must be more than 1 m, which TR 38.901 takes off for traffic and people")
            return height_m

    options: Outdoor.Options
    LENGTH = ("distance over the ground", "ground_m")
    SHORTEST_M, LONGEST_M = 10.0, 5000.0

    def ranges(self, paths: Paths) -> Iterator[Range]:
        """Yield the valid distances over the ground, heights and frequencies (Table 7.4.1-1)."""
        yield from super().ranges(paths)
        yield Range(BASE, paths.base_m, self.BASE_M, self.BASE_M)
        yield Range("height of the device", paths.device_m, 1.5, 22.5)

    @staticmethod
    def dual_slope_db(
        paths: Paths, environment_m: Numbers | float, at_1_m_db: float, slope: float
    ) -> Numbers:
        r"""Return :math:`PL_1` up to the breakpoint, :math:`PL_2` beyond, which are equal there [dB].

        :math:`PL_1 = c + n \log d_3 + 20 \log f`, :math:`PL_2 = c + 40 \log d_3 + 20 \log f - \frac{40 - n}{2}
        \log(d_{BP}^2 + (h_{BS} - h_{UT})^2)`, :math:`d_{BP} = 4 (h_{BS} - h_E)(h_{UT} - h_E) f / c` over the ground.
        """
        above = (paths.base_m - environment_m) * (paths.device_m - environment_m)
        breakpoint_m = 4 * above * paths.carrier_ghz * 1e9 / SPEED_OF_LIGHT_M_PER_S
        beyond = np.maximum(paths.length_m / np.hypot(breakpoint_m, paths.base_m - paths.device_m), 1.0)
        near_db = at_1_m_db + slope * np.log10(paths.length_m) + 20 * math.log10(paths.carrier_ghz)
        return near_db + (40 - slope) * np.log10(beyond)

    @staticmethod
    def _seen(ground_m: Numbers, fading_m: float) -> Numbers:
        """Return 18/d + exp(-d/fading_m) (1 - 18/d) beyond 18 m, 1 up to there."""
        near = 18 / np.maximum(ground_m, 18.0)
        return near + np.exp(-ground_m / fading_m) * (1 - near)


class UMi(Outdoor):
    """Urban micro cells in street canyons, the base below roofs (TR 38.901 UMi).

    At 2.6 GHz, heights 10 m and 1.5 m, 100 m over the ground (d3 = 100.3606 m, breakpoint 156.11 m): LOS 82.7323 dB,
    NLOS 101.8941 dB, probability of LOS 0.230985. At 500 m: LOS 106.9735 dB.
    """

    BASE_M = 10.0
    SIGMA_DB, DECORRELATION_M = (4.0, 7.82), (10.0, 13.0)

    def los_db(self, paths: Paths) -> Numbers:
        """Return 32.4 + 21 log d3 + 20 log f, 40 dB a decade beyond the breakpoint [dB]."""
        return self.dual_slope_db(paths, 1.0, 32.4, 21.0)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 35.3 log d3 + 22.4 + 21.3 log f - 0.3 (h_UT - 1.5) [dB]."""
        over_distance_db = 35.3 * np.log10(paths.length_m) + 22.4 + 21.3 * math.log10(paths.carrier_ghz)
        return over_distance_db - 0.3 * (paths.device_m - 1.5)

    def los_probability(self, paths: Paths) -> Numbers:
        """Return 18/d2 + exp(-d2/36) (1 - 18/d2), 1 up to 18 m."""
        return self._seen(paths.ground_m, 36.0)


class UMa(Outdoor):
    """Urban macro cells, the base above roofs (TR 38.901 UMa).

    At 2.6 GHz, heights 25 m and 1.5 m, 100 m over the ground (d3 = 102.7241 m): LOS 80.5563 dB, NLOS 100.4556 dB,
    probability of LOS 0.347671.
    """

    BASE_M = 25.0
    SIGMA_DB, DECORRELATION_M = (4.0, 6.0), (37.0, 50.0)

    def los_db(self, paths: Paths) -> Numbers:
        """Return 28 + 22 log d3 + 20 log f, 40 dB a decade beyond the breakpoint [dB]."""
        return self.dual_slope_db(paths, self.environment_m(paths), 28.0, 22.0)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 13.54 + 39.08 log d3 + 20 log f - 0.6 (h_UT - 1.5) [dB]."""
        over_distance_db = 13.54 + 39.08 * np.log10(paths.length_m) + 20 * math.log10(paths.carrier_ghz)
        return over_distance_db - 0.6 * (paths.device_m - 1.5)

    def los_probability(self, paths: Paths) -> Numbers:
        """Return (18/d2 + exp(-d2/63) (1 - 18/d2)) (1 + C'(h_UT) 5/4 (d2/100)³ exp(-d2/150)), 1 up to 18 m."""
        return self._seen(paths.ground_m, 63.0) * (1 + self._tall(paths))

    def environment_m(self, paths: Paths) -> Numbers:
        """Draw the height h_E of the environment (Table 7.4.1-1, Note 1): 1 m with probability 1/(1 + C(d2, h_UT)).

        Otherwise it is one of 12, 15, ... m up to 1.5 m below the lower antenna. So it is 1 m for antennas up to 13 m.
        """
        lower_m = np.minimum(paths.base_m, paths.device_m)
        heights = np.where(lower_m < 13.0, 0, np.maximum(np.floor((lower_m - 1.5 - 12) / 3) + 1, 1))
        tall = (paths.draws[1] >= 1 / (1 + self._tall(paths))) & (heights > 0)
        return np.where(tall, 12 + 3 * np.floor(paths.draws[2] * heights), 1.0)

    @staticmethod
    def _tall(paths: Paths) -> Numbers:
        """Return ((h_UT - 13)/10)^1.5 5/4 (d2/100)³ exp(-d2/150), 0 up to 13 m of height or 18 m of distance."""
        above = (np.maximum(paths.device_m - 13.0, 0.0) / 10) ** 1.5
        ground_m = paths.ground_m
        return above * np.where(ground_m > 18, 1.25 * (ground_m / 100) ** 3 * np.exp(-ground_m / 150), 0.0)


class InH(TR38901):
    """Indoor offices, open or mixed (TR 38.901 InH).

    At 2.6 GHz, heights 3 m and 1 m, 20 m over the ground (d3 = 20.0998 m): LOS 63.2447 dB, NLOS 77.5450 dB; probability
    of LOS 0.211497 in a mixed and 0.809074 in an open office.
    """

    class Options(TR38901.Options):
        """Block ``radio.path_loss`` with name ``inh``."""

        office: Literal["mixed", "open"] = Field(
            "mixed",
            description="whether walls or low partitions are in the way: the probability of line of sight",
        )

    options: InH.Options
    BASE_M, DEVICE_M = 3.0, 1.0
    SIGMA_DB, DECORRELATION_M = (3.0, 8.03), (10.0, 6.0)
    LONGEST_M = 150.0

    def los_db(self, paths: Paths) -> Numbers:
        """Return 32.4 + 17.3 log d3 + 20 log f [dB]."""
        return 32.4 + 17.3 * np.log10(paths.length_m) + 20 * math.log10(paths.carrier_ghz)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 38.3 log d3 + 17.3 + 24.9 log f [dB]."""
        return 38.3 * np.log10(paths.length_m) + 17.3 + 24.9 * math.log10(paths.carrier_ghz)

    def los_probability(self, paths: Paths) -> Numbers:
        """Return the two exponentials of d2, which do not quite meet: 1.2, 6.5 m (mixed), 5, 49 m (open)."""
        mixed = (1.2, 6.5, 4.7, 32.6, 0.32)
        first_m, second_m, near_m, far_m, share = (
            mixed if self.options.office == "mixed" else (5, 49, 70.8, 211.7, 0.54)
        )
        near = np.exp(-np.maximum(paths.ground_m - first_m, 0.0) / near_m)
        far = share * np.exp(-(paths.ground_m - second_m) / far_m)
        return np.where(paths.ground_m <= second_m, near, far)


class InF(TR38901):
    """Indoor factories with clutter: machines, shelves, assembly lines (TR 38.901 InF).

    Attributes:
        CLUTTER: Share of the floor, size [m] and height [m] of the clutter, unless the scenario says another.
        DENSITIES: Shares of the floor that the model is valid for.
    """

    class Options(TR38901.Options):
        """Options of all four factories."""

        clutter_density: float | None = Field(
            None, gt=0, lt=1, description="share of the floor under clutter; null: 0.2, 0.6 in dense clutter"
        )
        clutter_size_m: float | None = Field(
            None, gt=0, description="typical size of the clutter [m]; null: 10, 2 in dense clutter"
        )
        clutter_height_m: float | None = Field(
            None, gt=0, le=10, description="height of the clutter [m]; null: 2, 6 in dense clutter"
        )

    options: InF.Options
    DECORRELATION_M = (10.0, 10.0)
    LONGEST_M = 600.0
    CLUTTER: ClassVar[tuple[float, float, float]] = (0.2, 10.0, 2.0)
    DENSITIES: ClassVar[tuple[float, float]] = (0.0, 0.4)

    def ranges(self, paths: Paths) -> Iterator[Range]:
        """Yield the valid lengths and frequencies (Table 7.4.1-1), and the clutter and bases of Table 7.2-4."""
        yield from super().ranges(paths)
        density, _, height_m = self._clutter
        yield Range("clutter density", density, *self.DENSITIES, "of the floor")
        above = self.CLUTTER[-1] < self.BASE_M
        yield Range(BASE, paths.base_m, *((height_m, math.inf) if above else (0.0, height_m)))
        yield Range("height of the device", paths.device_m, 0.0, height_m)

    def los_db(self, paths: Paths) -> Numbers:
        """Return 31.84 + 21.5 log d3 + 19 log f [dB]."""
        return 31.84 + 21.5 * np.log10(paths.length_m) + 19 * math.log10(paths.carrier_ghz)

    def los_probability(self, paths: Paths) -> Numbers:
        r"""Return exp(-d2/k), :math:`k = -\frac{d_c}{\ln(1 - r)} \frac{h_{BS} - h_{UT}}{h_c - h_{UT}}`.

        The second factor is that of bases above the clutter: only a part of the path is in it. It is 1 where all of it
        is, and there is line of sight from above the clutter to above it.
        """
        density, size_m, height_m = self._clutter
        deep = height_m - paths.device_m
        free = np.maximum((paths.base_m - paths.device_m) / np.where(deep > 0, deep, 1.0), 1.0)
        return np.where(deep > 0, np.exp(paths.ground_m * math.log1p(-density) / (size_m * free)), 1.0)

    @property
    def _clutter(self) -> tuple[float, float, float]:
        o, (density, size_m, height_m) = self.options, self.CLUTTER
        return o.clutter_density or density, o.clutter_size_m or size_m, o.clutter_height_m or height_m

    @staticmethod
    def _over(paths: Paths, at_1_m_db: float, slope: float) -> Numbers:
        return at_1_m_db + slope * np.log10(paths.length_m) + 20 * math.log10(paths.carrier_ghz)


class InFSparseLow(InF):
    """A factory with sparse clutter and bases in it (TR 38.901 InF-SL).

    At 2.6 GHz, heights 1.5 m, 50 m: LOS 76.2523 dB, NLOS 84.6232 dB, probability of LOS 0.327680.
    """

    BASE_M = 1.5
    SIGMA_DB = (4.3, 5.7)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 33 + 25.5 log d3 + 20 log f [dB]."""
        return self._over(paths, 33.0, 25.5)


class InFDenseLow(InFSparseLow):
    """A factory with dense clutter and bases in it (TR 38.901 InF-DL).

    At 2.6 GHz, heights 1.5 m, 50 m: NLOS 87.5527 dB.
    """

    SIGMA_DB = (4.3, 7.2)
    CLUTTER, DENSITIES = (0.6, 2.0, 6.0), (0.4, 1.0)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 18.6 + 35.7 log d3 + 20 log f, or sparse clutter's if that is more [dB]."""
        return np.maximum(self._over(paths, 18.6, 35.7), super().nlos_db(paths))


class InFSparseHigh(InF):
    """A factory with sparse clutter and bases above it (TR 38.901 InF-SH).

    At 2.6 GHz, heights 8 m and 1.5 m, 50 m (d3 = 50.4207 m): LOS 76.3306 dB, NLOS 79.8595 dB, probability of LOS
    0.917755.
    """

    BASE_M = 8.0
    SIGMA_DB = (4.3, 5.9)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 32.4 + 23 log d3 + 20 log f [dB]."""
        return self._over(paths, 32.4, 23.0)


class InFDenseHigh(InF):
    """A factory with dense clutter and bases above it (TR 38.901 InF-DH).

    At 2.6 GHz, heights 8 m and 1.5 m, 50 m: NLOS 79.2166 dB.
    """

    BASE_M = 8.0
    SIGMA_DB = (4.3, 4.0)
    CLUTTER, DENSITIES = (0.6, 2.0, 6.0), (0.4, 1.0)

    def nlos_db(self, paths: Paths) -> Numbers:
        """Return 33.63 + 21.9 log d3 + 20 log f [dB]."""
        return self._over(paths, 33.63, 21.9)
