"""Gauss-Markov mobility: velocities that remember."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from netsim.core.arrays import Floats
from netsim.core.errors import ScenarioError
from netsim.core.philox import Draws
from netsim.world.mobility.mobility import Area, Moving
from netsim.world.topology.placement import Positions


class GaussMarkov(Moving):
    r"""Changes each component of the velocity every ``step_s``, with a memory, and reflects devices at the border.

    .. math:: v' = \alpha v + (1 - \alpha) \mu + \sqrt{1 - \alpha^2}\, \sigma w, \qquad w \sim N(0, 1)

    (Liang and Haas, INFOCOM 1999.) Its autocorrelation after n steps is :math:`\alpha^n`, its variance
    :math:`\sigma^2`. Velocities begin in this stationary state, positions with ``topology.placement``. Between steps a
    device goes straight on. At the border its velocity and its mean velocity are reflected.

    Attributes:
        velocity_mps: Velocity of each device as it would be without borders [m/s], [devices, 2].
    """

    class Options(Area, Moving.Options):
        """Block ``mobility`` with name ``gauss_markov``."""

        area_m: tuple[float, float, float, float] = Field(
            description="the rectangle that devices stay in: lowest x, lowest y, highest x, highest y [m]"
        )
        alpha: float = Field(
            0.85, ge=0, le=1, description="memory α: 0 none, 1 a velocity that never changes"
        )
        speed_mps: float = Field(1.0, ge=0, description="length of the mean velocity μ [m/s]")
        direction_deg: float | None = Field(
            None,
            description="direction of μ, from the x axis to the y axis [degree]; null: each device draws its own",
        )
        sigma_mps: float = Field(
            0.5, ge=0, description="standard deviation σ of each component of the velocity [m/s]"
        )
        step_s: float = Field(1.0, gt=0, description="time between two changes of the velocity [s]")

        @model_validator(mode="after")
        def _moves(self) -> Any:
            if self.speed_mps == self.sigma_mps == 0:
                raise ValueError("speed_mps and sigma_mps: one must be greater than 0; or use static")
            return self

    options: GaussMarkov.Options
    velocity_mps: Floats

    def __init__(self, options: Any, placed_m: Positions, seed: int) -> None:
        super().__init__(options, placed_m, seed)
        low, high = np.array(options.area_m[:2]), np.array(options.area_m[2:])
        outside = np.flatnonzero(((placed_m < low) | (placed_m > high)).any(axis=1))
        if len(outside):
            x, y = placed_m[outside[0]]
            raise ScenarioError(
                f"mobility.area_m: device {outside[0]} is placed outside, at ({x:g}, {y:g}) m; make the area "
                "larger, or change topology.placement"
            )
        self._low, self._size = low, high - low
        self._draws = Draws(seed, "velocities")
        angle = options.direction_deg
        directions = (
            2 * math.pi * self._uniform(0)[2]
            if angle is None
            else np.full(len(placed_m), math.radians(angle))
        )
        self._mean_mps = options.speed_mps * np.column_stack([np.cos(directions), np.sin(directions)])
        self._begin()

    def positions_m(self, time_s: float) -> Positions:
        """Return where the devices are at ``time_s`` [s] [m], [devices, 2]."""
        step_s, step = self.options.step_s, int(time_s // self.options.step_s)
        if step < self._step:
            self._begin()
        while self._step < step:
            self._step += 1
            self._free_m += step_s * self.velocity_mps
            alpha = self.options.alpha
            self.velocity_mps = (
                alpha * self.velocity_mps
                + (1 - alpha) * self._mean_mps
                + math.sqrt(1 - alpha**2) * self.options.sigma_mps * self._normal(self._step)
            )
        # A reflected way is one that goes straight on, folded at the borders.
        way_m = self._free_m + (time_s - step * step_s) * self.velocity_mps - self._low
        return self._low + self._size - np.abs(way_m % (2 * self._size) - self._size)

    def _begin(self) -> None:
        """Go back to time 0."""
        self._step = 0
        self._free_m = self.placed_m.copy()
        self.velocity_mps = self._mean_mps + self.options.sigma_mps * self._normal(0)

    def _normal(self, step: int) -> Floats:
        """Return two normal draws of each device for ``step`` [devices, 2] (Box and Muller 1958)."""
        first, second, *_ = self._uniform(step)
        radius, angle = np.sqrt(-2 * np.log1p(-first)), 2 * math.pi * second
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])

    def _uniform(self, step: int) -> Floats:
        numbers = np.arange(len(self.placed_m))
        return self._draws.of_many(numbers, np.full_like(numbers, step), 0, 4)
